"""A search on a real Ray cluster of this machine: its processes and its head are killed."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.trial.result import TrialFolder

pytestmark = [
    pytest.mark.slow(2),
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None or sys.platform != "linux",
        reason="needs the extra `ray`, and Linux",
    ),
]

NUM_EPOCHS = 40


def processes(title: str, environment: str) -> list[int]:
    """Return the processes whose command line begins so, and that have this in their environment.

    What cannot be read is another's, or has ended.
    """
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or title.encode() not in (entry / "cmdline").read_bytes():
                continue
            if environment.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until(there: Callable[[], bool], searching: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 180.0
    while not there():
        assert searching.poll() is None, "the search ended"
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_process_and_the_head_are_killed_and_no_epoch_is_lost(tmp_path: Path) -> None:
    data, mark = write_data(tmp_path / "data"), f"HOME={tmp_path}"
    space = {**SPACE, "backbone": "test_resnet", "num_epochs": NUM_EPOCHS}
    write_experiment(tmp_path, space, name="killed")
    command = [sys.executable, "-m", "workbench", "search", "experiments/killed.yaml"]
    command += ["--data", str(data), "--trials", "1", "--device", "cpu", "--runner", "ray"]
    root = Path(__file__).parents[2]
    # Its token is made in the home folder.
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(root)}
    said, study = tmp_path / "said.txt", StudyFolder(tmp_path / "experiments" / "killed")

    def told(words: str) -> bool:
        return words in said.read_text(encoding="utf-8")

    def has_checkpoint() -> bool:
        return any(study.path.glob("trials/*/checkpoint*"))

    with said.open("wb") as out:
        searching = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            wait_until(has_checkpoint, searching)
            [host] = processes("ray::TrialHost", mark)
            assert os.getpriority(os.PRIO_PROCESS, host) == os.getpriority(os.PRIO_PROCESS, 0)
            os.kill(host, signal.SIGKILL)
            wait_until(lambda: told("Another worker goes on after epoch"), searching)
            [head] = processes("gcs_server", mark)
            os.kill(head, signal.SIGKILL)
            assert searching.wait(60.0) == 1
        finally:
            searching.kill()
            for left in [*processes("ray::", mark), *processes("raylet", mark)]:
                os.kill(left, signal.SIGKILL)
    last = said.read_text(encoding="utf-8").strip().splitlines()[-1]
    assert "head of the Ray cluster" in last and "the same command goes on" in last

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    [row] = read_trials(study)
    assert row.state == "complete"
    result = TrialFolder(study.trial(row.recipe).path).kept_result()
    assert result is not None
    assert [epoch.epoch for epoch in result.epochs] == list(range(1, NUM_EPOCHS + 1))
    assert processes("ray::", mark) == []
