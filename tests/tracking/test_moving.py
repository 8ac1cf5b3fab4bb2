"""A store that was copied or moved: its artifacts are where it lies, and nowhere else."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.tracking.trials import start
from workbench.errors import StudyError
from workbench.tracking.moving import BACKUP
from workbench.tracking.runs import Tracking

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
import mlflow.artifacts


def snapshot(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and "mlflow.db" not in file.name]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trial that has an artifact. Copy it."""
    root = tmp_path_factory.mktemp("the original") / "mlruns"
    tracking = Tracking(root)
    trial = start(tracking, tracking.open_study("my study", tags={}))
    log = root / "log.txt"
    log.write_text("trained")
    tracking.end_trial(trial, state="complete", artifacts=[log])
    tracking.store.close()
    return root


@pytest.mark.parametrize("gone", [False, True], ids=["copied", "moved"])
def test_a_store_writes_where_it_lies(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, gone: bool
) -> None:
    before = tmp_path / "before"
    shutil.copytree(original, before)
    Tracking(before).store.close()
    here = tmp_path / "project" / "mlruns"
    capsys.readouterr()
    if gone:
        here.parent.mkdir()
        before.rename(here)
    else:
        shutil.copytree(before, here)
    was = snapshot(before)
    tracking = Tracking(here)
    said = capsys.readouterr().err
    assert f"was moved from {before.as_uri()}" in said
    parent = tracking.open_study("my study", tags={})
    [run] = tracking.trial_runs(parent)
    address = f"{here.as_uri()}/artifacts/my_study/{run.run_id}/artifacts"
    assert tracking.store.client.get_run(run.run_id).info.artifact_uri == address
    assert [f.path for f in tracking.store.client.list_artifacts(run.run_id)] == [
        "log.txt",
        "recipe.json",
    ]
    assert mlflow.artifacts.load_text(f"{address}/log.txt") == "trained"
    new = start(tracking, parent, 1)
    assert (here / "artifacts" / "my_study" / new / "artifacts" / "recipe.json").is_file()
    assert snapshot(before) == was
    assert before.exists() is not gone
    # The second: `before` had been moved once itself.
    with closing(sqlite3.connect(here / f"{BACKUP}-2")) as backup:
        (kept,) = backup.execute("SELECT artifact_uri FROM runs WHERE name LIKE '000%'").fetchone()
    assert kept.startswith(before.as_uri())
    Tracking(here)
    assert "was moved" not in capsys.readouterr().err


def test_an_experiment_that_was_renamed_is_moved_too(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, here = tmp_path / "before", tmp_path / "here"
    shutil.copytree(original, before)
    tracking = Tracking(before)
    [run] = tracking.trial_runs(tracking.find_study("my study"))
    tracking.store.client.rename_experiment(
        tracking.store.experiment_of(run.run_id), "as I like it"
    )
    tracking.store.close()
    shutil.copytree(before, here)
    moved = Tracking(here).store.client.get_run(run.run_id).info.artifact_uri
    assert moved == f"{here.as_uri()}/artifacts/my_study/{run.run_id}/artifacts"
    capsys.readouterr()
    Tracking(here)
    assert "was moved" not in capsys.readouterr().err


def test_another_programs_experiment_keeps_its_artifacts_where_it_likes(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    shutil.copytree(original, here)
    store = Tracking(here).store
    elsewhere = "file:///mnt/artifacts/theirs"
    number = store.client.create_experiment("another's", artifact_location=elsewhere)
    store.close()
    capsys.readouterr()
    client = Tracking(here).store.client
    assert client.get_experiment(number).artifact_location == elsewhere
    assert capsys.readouterr().err == ""


def test_the_copy_of_the_database_replaces_nothing_and_follows_no_link(
    original: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(original, first)
    target = tmp_path / "target"
    (first / BACKUP).symlink_to(target)
    Tracking(first).store.close()
    assert not target.exists()
    kept = (first / f"{BACKUP}-2").read_bytes()
    shutil.copytree(first, second, symlinks=True)
    Tracking(second).store.close()
    assert (second / f"{BACKUP}-2").read_bytes() == kept
    with closing(sqlite3.connect(second / f"{BACKUP}-3")) as backup:
        (said,) = backup.execute(
            "SELECT artifact_location FROM experiments WHERE name = 'my study'"
        ).fetchone()
    assert said == f"{first.as_uri()}/artifacts/my_study"


def test_a_store_by_another_name_of_its_folder_is_not_moved(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A mount has no link to resolve; here the address that is stored goes over one.
    copy, other = tmp_path / "copy", tmp_path / "other"
    shutil.copytree(original, copy)
    Tracking(copy).store.close()
    other.symlink_to(copy)
    with sqlite3.connect(copy / "mlflow.db") as database:
        database.execute(
            "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)",
            (copy.as_uri(), other.as_uri()),
        )
    database.close()
    capsys.readouterr()
    Tracking(copy).open_study("my study", tags={})
    assert capsys.readouterr().err == ""


def test_a_store_in_use_is_not_moved(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.tracking.store._PATIENCE_S", 0.0)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    code = (
        "import sys, fcntl\nlock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_SH)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(copy / "lock")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StudyError, match="needs moving, and another command uses it"):
            Tracking(copy)
        holder.stdin.close()
    Tracking(copy)


@pytest.mark.slow
def test_two_that_come_first_make_one_store(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.tracking.runs import Tracking\n"
        "import workbench.tracking.store\nprint('ready', flush=True); sys.stdin.readline()\n"
        "tracking = Tracking(Path(sys.argv[1]))\n"
        "parent = tracking.open_study(sys.argv[2], tags={})\n"
        "tracking.start_trial(parent, number=0, uid='u', name='n', recipe={}, tags={})"
    )
    names = ["one", "two", "three"]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "runs"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:  # all at once: none ends before the last begins
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    tracking = Tracking(tmp_path / "runs")
    for name in names:
        assert len(tracking.trial_runs(tracking.find_study(name))) == 1
