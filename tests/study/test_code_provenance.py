"""What is noted of the code that runs: its own commit, not that of the folder one stands in."""

import subprocess
from pathlib import Path

import pytest

from workbench.study.provenance import code_tags, describe_code, environment_tags


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package in a checkout of its own."""
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VERSION = 1\n")
    git(tmp_path, "init", "-q", str(package.parent))
    git(package, "add", ".")
    git(package, "commit", "-qm", "begun")
    return package


def test_the_commit_is_that_of_the_code(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    tags = code_tags(checkout)
    assert tags["git_commit"] == git(checkout, "rev-parse", "HEAD")
    assert tags["git_dirty"] == "false"
    assert describe_code(tags).endswith(
        f"commit {tags['git_commit'][:12]} (code {tags['code_hash']})"
    )


def test_uncommitted_changes_are_noted(checkout: Path) -> None:
    before = code_tags(checkout)
    (checkout / "__init__.py").write_text("VERSION = 2\n")
    after = code_tags(checkout)
    assert (after["git_commit"], after["git_dirty"]) == (before["git_commit"], "true")
    assert after["code_hash"] != before["code_hash"]
    assert "with uncommitted changes" in describe_code(after)
    (checkout.parent / "notes.txt").write_text("of no concern")
    git(checkout, "commit", "-qam", "changed")
    assert code_tags(checkout)["git_dirty"] == "false"


def test_a_package_below_somebodys_checkout_is_not_of_it(checkout: Path) -> None:
    installed = checkout.parent / "env" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("VERSION = 1\n")
    tags = code_tags(installed)
    assert "git_commit" not in tags
    assert tags["code_hash"] == code_tags(checkout)["code_hash"]


def test_nothing_runs_that_the_configuration_of_a_checkout_around_it_names(
    checkout: Path, tmp_path: Path
) -> None:
    program, ran = tmp_path / "program", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    program.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(program))
    installed = checkout.parent / "env" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("VERSION = 1\n")
    assert "code_hash" in code_tags(installed)
    assert not ran.exists()


def test_the_versions_of_the_libraries_are_noted() -> None:
    assert environment_tags()["version.torch"].startswith("2.")
