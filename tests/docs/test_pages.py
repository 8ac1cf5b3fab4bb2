"""README and docs: every link leads somewhere; every code block is one that the program takes."""

import re
import shlex
import unicodedata
from pathlib import Path

import pytest
import typer
import yaml

from workbench.cli.main import app
from workbench.data.dataset import read_tree
from workbench.space.experiment import Experiment
from workbench.space.space import SampledConfig, read_space
from workbench.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NAMES = [page.name for page in PAGES]
COMMANDS = typer.main.get_command(app)


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of some languages; of README also the indented ones as `sh`."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    some = [block for language, block in found if language in languages]
    if "sh" in languages:
        plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        some += re.findall(r"(?:^    .+\n)+", plain, flags=re.MULTILINE)
    return some


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page, as Markdown on a forge and MkDocs make it."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        plain = unicodedata.normalize("NFKD", heading).lower()
        found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain).strip()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_shown_is_one_that_the_program_takes(page: Path) -> None:
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\$ ", line.strip().lstrip("!")):
                words = shlex.split(command, comments=True) if "workbench" in command else []
                words = ["1" if word == "N" else word for word in words]
                if words[:1] == ["workbench"]:
                    # Raises where a command or an option is unknown; nothing is run.
                    with COMMANDS.make_context("workbench", words[1:2]) as context:
                        name, found, rest = COMMANDS.resolve_command(context, words[1:])  # type: ignore[attr-defined]
                        while hasattr(found, "resolve_command") and rest:
                            name, found, rest = found.resolve_command(context, rest)
                        found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_yaml_shown_is_read(page: Path, tmp_path: Path) -> None:
    experiment = read_tree(ROOT / "experiments" / "demo.yaml")
    for number, block in enumerate(blocks(page, "yaml")):
        for part in re.split(r"\n(?=holdout: )", block):  # several ways to write one key
            file = tmp_path / f"{page.stem}{number}.yaml"
            file.write_text(part, encoding="utf-8")
            keys = read_yaml(file)
            assert isinstance(keys, dict)
            if keys.keys() <= Experiment.model_fields.keys() - {"views"}:
                Experiment.model_validate({**experiment, **keys})
            else:
                assert keys.keys() <= SampledConfig.model_fields.keys(), block
                space = {**read_tree(ROOT / "search_spaces" / "demo.yaml"), **keys}
                whole = tmp_path / f"whole{number}.yaml"
                whole.write_text(yaml.safe_dump(space), encoding="utf-8")
                views = {*experiment["views"], "mel", "features"}
                read_space(whole, tuple(views), Experiment.model_validate(experiment).rulebook)


def test_every_block_says_what_it_is() -> None:
    """Commands, YAML, Python, a change, or what a program printed (`text`)."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        opened = re.findall(r"^```(\w*)\n.*?^```$", text, flags=re.MULTILINE | re.DOTALL)
        known = {"sh", "yaml", "python", "diff", "text", "csv", "json"}
        assert set(opened) <= known, f"{page.name}: {set(opened) - known}"


def test_the_list_of_commands_is_whole() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name in COMMANDS.commands:  # type: ignore[attr-defined]
        assert f"| `workbench {name}" in text, f"docs/commands.md lacks {name}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
