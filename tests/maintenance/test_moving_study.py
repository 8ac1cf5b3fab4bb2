"""A study that was killed goes on in another folder as if it had never moved; the real commands."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND, ENVIRONMENT, run
from tests.faults import HOOK
from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.files import hash_file
from workbench.selection.champion import read_champion
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking

SEARCH = ("search", "experiments/moved.yaml", "--jobs", "1", "--device", "cpu", "--trials")
NUM_EPOCHS = 4


def killed(root: Path, num_trials: int, num_epochs: int) -> None:
    """Run a search and kill it, workers and all, once so many epochs were trained."""
    hooks = root.parent / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join([str(hooks), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [COMMAND, *SEARCH, str(num_trials), "--data", "data"],
        cwd=root,
        env={**ENVIRONMENT, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ledger, hang, deadline = hooks / "ledger", hooks / "hang", time.monotonic() + 240

    def wait(until: Callable[[], bool]) -> None:
        while time.monotonic() < deadline and process.poll() is None and not until():
            time.sleep(0.05)

    wait(lambda: ledger.exists() and len(ledger.read_text().splitlines()) >= num_epochs)
    hang.touch()  # in a later epoch of a trial: between two trials there is nothing to cut off
    wait(lambda: not hang.exists())
    assert process.poll() is None, "it ended before it was killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def told(folder: StudyFolder) -> Iterator[tuple[object, ...]]:
    """Yield what came of each trial: all that does not go by the clock."""
    for row in read_trials(folder):
        files = folder.trial(row.recipe)
        epochs = [(epoch.epoch, epoch.train_loss, epoch.objective) for epoch in row.epochs]
        weights = hash_file(files.weights) if files.weights.exists() else ""
        yield row.number, row.state, row.recipe, row.objective, row.metrics, epochs, weights


def require_record(root: Path, folder: StudyFolder) -> None:
    """Check that each ended trial has one run in the store of `root`, with its files there."""
    info, tracking = folder.info(), Tracking(root / "mlruns")
    runs = {
        run.run_id: run
        for run in tracking.trial_runs(tracking.find_study(info.name, info.id))
        if run.state in ("complete", "pruned", "failed")
    }
    rows = read_trials(folder)
    assert {row.run_id for row in rows} == runs.keys()
    here = f"{(root / 'mlruns' / 'artifacts').as_uri()}/"
    for row in rows:
        client, run_id = tracking.store.client, str(row.run_id)
        assert runs[run_id].uid == row.recipe
        assert client.get_run(run_id).info.artifact_uri.startswith(here)
        assert "recipe.json" in {file.path for file in client.list_artifacts(run_id)}
        assert tracking.logged_epochs(run_id) == {epoch.epoch for epoch in row.epochs}
    champion = read_champion(folder)
    registry = ModelRegistry(root / "mlruns")
    version = registry.set_champion(folder.name, champion.recipe, info.id)
    assert version == champion.model_version
    tracking.store.close()


@pytest.mark.slow
def test_a_killed_study_goes_on_elsewhere_as_if_it_had_never_moved(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "another place" / "second"
    write_data(first / "data")
    pruning = {"kind": "halving", "warmup_epochs": 1}
    space = {**SPACE, "backbone": "test_efficientnet", "num_epochs": NUM_EPOCHS}
    sampler = {"kind": "tpe", "startup_trials": 2}
    write_experiment(first, space, name="moved", pruning=pruning, sampler=sampler)
    run(first, *SEARCH, "2", "--data", "data")
    killed(first, 8, 3)
    here = StudyFolder(first / "experiments" / "moved")
    waiting = list(here.path.glob("trials/*/checkpoint.pt"))
    assert waiting, "nothing was cut off"

    said = run(first, "study-export", "moved", "--out", "moved.tar").stdout
    assert f"{len(waiting)} checkpoint" in said
    second.mkdir(parents=True)
    shutil.copytree(first / "data", second / "pictures")
    shutil.move(first / "moved.tar", second / "moved.tar")
    came = run(second, "study-import", "moved.tar")
    assert "experiments/moved.yaml was not here: written from what the study keeps." in came.stdout
    assert "registered as models:/moved@champion" in came.stdout
    there = StudyFolder(second / "experiments" / "moved")
    assert list(told(there)) == list(told(here))
    require_record(second, there)

    run(first, *SEARCH, "8", "--data", "data")
    again = run(second, *SEARCH, "8", "--data", "pictures")
    assert "MLflow lacked" not in again.stderr
    assert "The last search was cut off" in again.stderr
    assert len(read_trials(there)) == 8
    assert list(told(there)) == list(told(here))
    require_record(second, there)
    assert there.info().data == str(second / "pictures")
    assert read_champion(there).recipe == read_champion(here).recipe
    # Nothing there names where it came from, but what a person reads in its log.
    for file in there.path.rglob("*.json"):
        assert str(first) not in file.read_text(), file
    assert json.loads((there.path / "prepared.json").read_text())["views"]["image"]["array"]
