"""What is told of rights that lack and of changes unseen: commands without root's powers."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.cli.main import app

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
SEARCH = ["search", "experiments/tiny.yaml", "--data", "data", "--device", "cpu"]
PREPARE = ["prepare", "experiments/tiny.yaml", "--data", "data", "--jobs", "1"]

SHUT: dict[str, tuple[list[str], str, int, str]] = {
    "prepare: the working folder": (PREPARE, "experiments", 0o555, "experiments/cache"),
    "prepare: a label file": (PREPARE, "data/val_label.txt", 0, "data/val_label.txt"),
    "prepare: the template": (PREPARE, "data/prediction.txt.csv", 0, "data/prediction.txt.csv"),
    "prepare: a media folder": (PREPARE, "data/valset", 0, "data/valset"),
    "prepare: media that are listed only": (PREPARE, "data/valset", 0o444, "16 of them"),
    "prepare: the data folder": (PREPARE, "data", 0, "data/train_label.txt"),
    "prepare: the experiment": (PREPARE, "experiments/tiny.yaml", 0, "experiments/tiny.yaml"),
    "search: the working folder": (SEARCH, "experiments", 0o555, "experiments/cache"),
    "search: the search space": (SEARCH, "search_spaces/tiny.yaml", 0, "search_spaces/tiny.yaml"),
    "search: the tracking store": (SEARCH, "mlruns", 0o555, "mlruns"),
    "search: its database": (SEARCH, "mlruns/mlflow.db", 0o444, "mlruns/mlflow.db"),
    "search: its artifacts": (SEARCH, "mlruns/artifacts", 0o555, "mlruns/artifacts"),
    "search: the study's folder": (SEARCH, "experiments/tiny", 0o555, "experiments/tiny"),
    "search: the trials": (SEARCH, "experiments/tiny/trials", 0o555, "experiments/tiny/trials"),
    "weights list: the weights": (["weights", "list"], "experiments/weights", 0, "weights"),
}
"""By what is tried and of what the rights are taken away: the command, the path, its mode, and what
the sentence must name."""


def attempts() -> dict[str, dict[str, Any]]:
    """Run every command with a path shut, in the folder that this process is in."""
    said: dict[str, dict[str, Any]] = {}
    for name, (words, place, mode, _) in SHUT.items():
        path = Path(place)
        before = path.stat().st_mode
        path.chmod(mode)
        try:
            said[name] = run(words)
        finally:
            path.chmod(before)
    one = Path("data/trainset/train1.jpg")
    one.chmod(0)
    said["shut"] = run(PREPARE)
    one.chmod(0o644)
    said["open"] = run(PREPARE)
    deep, labels = Path("data/trainset/deep"), Path("data/train_label.txt")
    deep.mkdir()
    one.rename(deep / one.name)
    labels.write_text(labels.read_text().replace(one.name, f"deep/{one.name}"))
    deep.chmod(0)
    said["deep"] = run(PREPARE)
    deep.chmod(0o755)
    (array,) = Path("experiments/cache/views").glob("*/array.u8")
    then = array.stat()
    with array.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(array, ns=(then.st_atime_ns, then.st_mtime_ns))
    said["unseen"] = run(PREPARE)
    said["verified"] = run([*PREPARE, "--verify"])
    return said


def run(words: list[str]) -> dict[str, Any]:
    result = CliRunner().invoke(app, words)
    bug = result.exception
    return {
        "code": result.exit_code,
        "said": result.stderr,
        "out": result.stdout,
        "bug": "" if isinstance(bug, SystemExit | None) else repr(bug),
    }


def lose_powers() -> None:
    """Let rights mean something to root, too, from the next program on."""
    if os.geteuid() == 0:
        for power in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, power, 0, 0, 0)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each of `attempts` said."""
    root = tmp_path_factory.mktemp("rights")
    write_data(root / "data")
    write_experiment(root, SPACE)
    for folder in ("mlruns/artifacts", "experiments/tiny/trials", "experiments/weights"):
        (root / folder).mkdir(parents=True)
    (root / "mlruns" / "mlflow.db").touch()
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_rights"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lose_powers,
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("all-powerful"):
        pytest.skip("root keeps its powers here; run as another user")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", SHUT)
def test_what_a_user_may_not_read_or_write_is_named(
    said: dict[str, dict[str, Any]], name: str
) -> None:
    *_, place = SHUT[name]
    assert said[name]["bug"] == ""
    assert said[name]["code"] == 1
    *_, last = said[name]["said"].splitlines()
    assert last.startswith("error: ")
    assert f"{place}: permission denied" in last


def test_a_media_file_that_is_shut_is_no_fault_of_its_content(
    said: dict[str, dict[str, Any]],
) -> None:
    assert (said["shut"]["code"], said["open"]["code"]) == (0, 0)
    assert "train: 24 files, 12 fake; 1 denied (train1.jpg)" in said["shut"]["out"]
    expected = "image: 1 file denied, e.g. trainset/train1.jpg: permission denied"
    assert expected in said["shut"]["out"]
    assert "1 denied (deep/train1.jpg)" in said["deep"]["out"]
    assert "denied" not in said["open"]["out"]
    (row,) = (line for line in said["open"]["out"].splitlines() if line.startswith("image"))
    assert row.split()[-2:] == ["48", "48"]  # files, and ok


def test_verify_finds_what_left_no_trace(said: dict[str, dict[str, Any]]) -> None:
    assert (said["unseen"]["code"], said["verified"]["code"]) == (0, 0)
    told = "1 cached rows were changed on disk. What is needed of them is decoded anew."
    assert told not in said["unseen"]["said"]
    assert told in said["verified"]["said"]
    lines = said["verified"]["out"].splitlines()
    lines.remove("48 files were read again and every cached row was checked.")
    assert said["unseen"]["out"].splitlines() == lines


if __name__ == "__main__":
    Path("data").chmod(0)
    if os.access("data", os.R_OK):
        print("all-powerful")
    Path("data").chmod(0o755)
    print(json.dumps(attempts()))
