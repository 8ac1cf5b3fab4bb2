"""The Dockerfile of a bundle: its steps in a bare environment, and in an engine if one is there."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from importlib.metadata import requires, version
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement

from tests.submission.made_study import TrainedStudy
from tests.submission.stub_wheels import write_stub_wheels
from workbench.submission.bundle import Bundle
from workbench.submission.documents import dockerfile
from workbench.submission.verify import check_bundle
from workbench.submission.verify_environment import link_packages, read_requirements

NAMES = ("t0.mp4", "broken.mp4")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each a word and the rest of its line."""
    lines = text.replace("\\\n", " ").splitlines()
    parts = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in parts]


def test_the_image_has_its_commands_and_a_base_that_can_be_chosen() -> None:
    for training, commands in (("", ["predict"]), ("./w.whl", ["predict", "train"])):
        steps = instructions(dockerfile(training))
        assert ("ARG", f"BASE=python:3.{sys.version_info.minor}-slim") in steps
        assert steps[1] == ("FROM", "${BASE}")
        made = [
            rest.rpartition("/usr/local/bin/")[2]
            for word, rest in steps
            if (word, "chmod" in rest) == ("RUN", True)
        ]
        assert made == commands
        installed = [rest for word, rest in steps if word == "RUN" and "pip" in rest]
        assert [one.split()[-1] for one in installed] == [
            "requirements.txt",
            *filter(None, [training]),
        ]


def build_here(text: str, context: Path, root: Path) -> list[str]:
    """Take the steps of a Dockerfile below `root`, a virtual environment for its base image."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(root / "base")
    link_packages(["pip"], next((root / "base").glob("lib/python*/site-packages")))
    (root / "bundle").mkdir()
    tools = root / "base" / "bin"
    variables = {"PATH": f"{tools}:{os.defpath}", "HOME": str(root), "PIP_CONFIG_FILE": "/dev/null"}
    variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(root / "wheels")}

    def here(words: str) -> str:
        return words.replace("/usr/local/bin", str(tools)).replace("/bundle", str(root / "bundle"))

    for word, rest in instructions(text):
        match word:
            case "ENV":
                variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "COPY" if rest == ". .":
                shutil.copytree(context, root / "bundle", dirs_exist_ok=True)
            case "COPY":
                source, target = rest.split()
                shutil.copy(context / source, root / "bundle" / target)
            case "RUN":
                command = ["sh", "-c", here(rest)]
                subprocess.run(command, cwd=root / "bundle", env=variables, check=True)
            case "CMD":
                found: list[str] = json.loads(rest)
                return found
            case "ARG" | "FROM" | "WORKDIR":
                continue
            case _:
                raise AssertionError(word)
    raise AssertionError("no CMD")


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_what_predicts(
    bundle: Bundle, study: TrainedStudy, tmp_path: Path
) -> None:
    # Of what predicts, and of what the wheel of this program asks for, which trains.
    write_stub_wheels(
        read_requirements(bundle.path) | versions_of(requires("workbench") or []),
        tmp_path / "wheels",
    )
    text = (bundle.path / "Dockerfile").read_text()
    assert build_here(text, bundle.path, tmp_path) == ["predict", "--help"]
    tools = tmp_path / "base" / "bin"
    variables = {"PATH": f"{tools}:{os.defpath}", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command: list[str | Path] = [tools / "predict", *NAMES, "--out", tmp_path / "scores.csv"]
    subprocess.run(command, cwd=study.data / "testset", env=variables, check=True)
    assert_same(bundle, tmp_path / "scores.csv")
    assert (tools / "train").exists() == (bundle.path / "train.py").exists()
    if (tools / "train").exists():
        asked = subprocess.run(
            [tools / "train", "--help"],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr
        assert "Usage: train.py" in asked.stdout
    check_bundle(tmp_path / "bundle")


def versions_of(requirements: list[str]) -> dict[str, str]:
    """Return a version of each package that is required without an extra, one that is fit."""
    found = {}
    for one in map(Requirement, requirements):
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            # A wheel may tell another version within than by its name.
            exact = [pin.version for pin in one.specifier if pin.operator == "=="]
            plain = [number for number in exact if not number.endswith(".*")]
            found[one.name] = plain[0] if plain else version(one.name).partition("+")[0]
    return found


def assert_same(bundle: Bundle, scores: Path) -> None:
    stored = pd.read_csv(bundle.path / "predictions.csv").drop_duplicates("video_name")
    wanted = stored.set_index("video_name")["y_pred"][[*NAMES]]
    found = pd.read_csv(scores).set_index("video_name")["y_pred"]
    assert found.index.tolist() == [*NAMES]
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def has_engine() -> bool:
    """Say whether a container engine runs here that has the base image already."""
    base = f"python:3.{sys.version_info.minor}-slim"
    try:
        ask = ["docker", "image", "inspect", base]
        return not subprocess.run(ask, capture_output=True, timeout=20, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.slow
def test_the_image_predicts_without_a_network(
    bundle: Bundle, study: TrainedStudy, tmp_path: Path
) -> None:
    if not has_engine():
        pytest.skip("no container engine with the base image runs here")
    build: list[str | Path] = ["docker", "build", "--quiet", bundle.path]
    image = subprocess.run(build, capture_output=True, text=True, check=True).stdout.strip()
    mounts = ["-v", f"{study.data / 'testset'}:/media:ro", "-v", f"{tmp_path}:/out"]
    command = ["docker", "run", "--rm", "--network", "none", *mounts, "-w", "/media", image]
    subprocess.run([*command, "predict", *NAMES, "--out", "/out/scores.csv"], check=True)
    assert_same(bundle, tmp_path / "scores.csv")
