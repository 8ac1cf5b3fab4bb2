"""The list of studies, and the deletion of one from all places."""

import fcntl
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.maintenance.conftest import ranked, register, write_champion
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.access import is_locked
from workbench.errors import StudyError
from workbench.files import write_text
from workbench.maintenance.deletion import delete_study, describe_study, kept_told
from workbench.maintenance.listing import describe_studies, list_studies
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.tracking.removal import RemovedRecord, StudyRecord, artifact_folder
from workbench.tracking.runs import Tracking
from workbench.tracking.transfer import artifacts_of
from workbench.workspace import Workspace


@pytest.mark.slow
def test_a_study_is_listed_and_deleted_in_all_three_places(
    bench: Bench, trials: InlineTrials
) -> None:
    trials.weights_bytes = 1000
    other = bench.search(bench.experiment(), 1)
    outcome = bench.search(bench.experiment(), 3)
    folder, workspace = outcome.folder, bench.workspace
    best = ranked(folder)[0]
    write_champion(folder, best, register(bench, folder, best))
    (folder.trial("0" * 12).path).mkdir()
    (folder.trial("0" * 12).checkpoint).write_bytes(bytes(77))

    listed = {one.name: one for one in list_studies(workspace)}
    assert listed.keys() == {folder.name, other.folder.name}
    own = listed[folder.name]
    assert (own.complete, own.pruned, own.failed, own.paused) == (3, 0, 0, 0)
    assert own.champion is not None
    assert own.champion.trial == best.number
    assert own.size.checkpoints == 77
    assert own.size.weights == 3000
    assert own.tracking_bytes > 5000  # of the registered model
    assert not own.problem
    now = datetime.now(UTC) + timedelta(days=3)
    table = describe_studies(list_studies(workspace), workspace, now=now)
    assert max(map(len, table.splitlines())) <= 80
    assert "3 days ago" in table
    assert "of which no study uses 0 B" in table

    deleted = delete_study(folder, workspace)
    assert deleted.record.num_runs == 4
    assert deleted.record.num_versions == 1
    assert deleted.freed_bytes == own.total_bytes
    assert not folder.path.exists()
    assert not artifact_folder(workspace.tracking, folder.name).exists()
    client = Tracking(workspace.tracking).store.client
    assert client.get_experiment_by_name(folder.name) is None
    assert not client.search_registered_models(f"name = '{folder.name}'")
    with pytest.raises(StudyError, match="has no study"):
        Tracking(workspace.tracking).find_study(folder.name)
    assert not (workspace.studies / ".last-study").exists()
    # The other one is as it was.
    assert [one.name for one in list_studies(workspace)] == [other.folder.name]
    assert len(bench.runs(other)) == 1


@pytest.mark.slow
def test_what_was_deleted_by_hand_in_mlflow_stays_in_its_trash(
    bench: Bench, trials: InlineTrials
) -> None:
    kept = bench.search(bench.experiment(), 1)
    gone = bench.search(bench.experiment(), 1)
    client = Tracking(bench.workspace.tracking).store.client
    [run] = bench.runs(kept)
    client.delete_run(run.run_id)
    trash = client.create_experiment("someone's")
    client.delete_experiment(trash)
    disk = gone.folder.path.rename(bench.workspace.root / "another disk")
    gone.folder.path.symlink_to(disk)
    delete_study(gone.folder, bench.workspace)
    assert not disk.exists() and not gone.folder.path.is_symlink()
    assert client.get_run(run.run_id).info.lifecycle_stage == "deleted"
    assert client.get_experiment(trash).lifecycle_stage == "deleted"
    names = {one.name for one in client.search_experiments()}
    assert names == {kept.folder.name}


def test_a_study_that_a_search_holds_is_not_deleted(bench: Bench, trials: InlineTrials) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    with (folder.path / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list_studies(bench.workspace)[0].is_searched
        with pytest.raises(StudyError, match="is held by another search"):
            delete_study(folder, bench.workspace)
    assert folder.info_file.exists()


@pytest.mark.slow
def test_a_deletion_that_is_killed_near_its_end_leaves_no_model_behind(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    register(bench, folder, ranked(folder)[0])

    def killed(_: StudyRecord) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudyRecord, "_remove_empty_folders", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_study(folder, bench.workspace)
    assert delete_study(folder, bench.workspace).record.num_runs == 0
    client = Tracking(bench.workspace.tracking).store.client
    assert not client.search_registered_models(f"name = '{folder.name}'")
    assert not artifact_folder(bench.workspace.tracking, folder.name).exists()


@pytest.mark.slow
def test_a_deletion_that_is_killed_among_a_models_files_removes_the_rest_when_called_again(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    register(bench, folder, ranked(folder)[0])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workbench.tracking.removal.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_study(folder, bench.workspace)
    delete_study(folder, bench.workspace)
    assert not artifact_folder(bench.workspace.tracking, folder.name).exists()


def test_a_model_that_is_being_registered_does_not_outlive_its_study(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    held: list[bool] = []
    remove = StudyRecord.remove

    def removed(self: StudyRecord) -> RemovedRecord:
        held.append(is_locked(folder.path / ".promoting"))
        return remove(self)

    monkeypatch.setattr(StudyRecord, "remove", removed)
    unlink, order = Path.unlink, list[str]()

    def unlinked(path: Path) -> None:
        order.append(path.name)
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlinked)
        delete_study(folder, bench.workspace)
    assert held == [True] and not folder.path.exists()
    # Else a search that came meanwhile would begin in a folder that goes.
    assert {*order[-4:-1]} >= {"lock", ".promoting", "study.json"}


@pytest.mark.slow
def test_a_damaged_study_is_listed_with_its_problem_and_can_be_deleted(
    bench: Bench, trials: InlineTrials
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    write_text(folder.journal, "no journal\n")
    [one] = list_studies(bench.workspace)
    assert "is damaged" in one.problem
    assert one.problem in describe_studies([one], bench.workspace, now=datetime.now(UTC))
    delete_study(folder, bench.workspace)
    assert list_studies(bench.workspace) == []


def test_an_address_of_other_files_neither_deletes_nor_exports_them(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bench.search(bench.experiment(), 1).folder
    folder = bench.search(bench.experiment(), 3).folder
    (mine := tmp_path / "mine").mkdir()
    (mine / "note.txt").write_text("my own")
    store = bench.workspace.tracking
    others = artifact_folder(store, other.name)
    kept = {file: file.read_bytes() for file in [*others.rglob("*.json"), mine / "note.txt"]}
    assert len(kept) > 1
    wrong = (mine, store / "artifacts", others / "models")
    first, *ids = [run.info.run_id for run in record(bench, folder).runs()]
    with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        for run_id, place in zip(ids, wrong, strict=True):
            changed = place.as_uri(), run_id
            database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", changed)
    removed = record(bench, folder)
    (spare := tmp_path / "spare").mkdir()
    assert {run_id for run_id, _ in artifacts_of(removed, spare)} <= {first}
    named: list[str] = []

    def gc(self: StudyRecord, runs: Sequence[str], *_: object) -> None:
        # MLflow removes whatever the addresses name.
        named.extend(self._client.get_run(run_id).info.artifact_uri for run_id in runs)

    monkeypatch.setattr(StudyRecord, "_gc", gc)
    removed.remove()
    assert {file: file.read_bytes() for file in kept} == kept
    own = artifact_folder(store, folder.name).as_uri()
    assert [address.startswith(f"{own}/") for address in named] == [True] * 4


@pytest.mark.slow
def test_mlflow_is_not_the_one_in_the_folder_that_the_program_runs_in(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    (strange := tmp_path / "strange").mkdir()
    (strange / "mlflow.py").write_text("open('ran', 'w')", encoding="utf-8")
    monkeypatch.chdir(strange)
    delete_study(folder, bench.workspace)
    assert not (strange / "ran").exists()


def record(bench: Bench, folder: StudyFolder) -> StudyRecord:
    return StudyRecord(bench.workspace.tracking, folder.name, folder.info().id)


def test_what_lies_in_a_studys_folder_and_is_not_its_own_stays(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    folder = StudyFolder(workspace.studies / "mine")
    write_text(tmp_path / "disk" / "large.bin", "x" * 10_000)
    for name in (".git/HEAD", "data/1.png", "folds/fold0.csv", "journal.log.bak"):
        write_text(folder.path / name, name)
    for name in ("journal.log.damaged", "trials/0/log.txt", ".part-0.json"):
        write_text(folder.path / name, name)
    info = StudyInfo(
        name="mine", id="0", experiment="e", data="gone", fingerprint="f", seed=0, created="now"
    )
    folder.write_info(info)
    (folder.path / "linked").symlink_to(tmp_path / "disk")
    others = ".git, data, folds, journal.log.bak, linked"
    said = f"What is not the study's stays in {folder.path}: {others}."
    assert said in describe_study(folder, workspace)
    own = sum(len(name) for name in ("journal.log.damaged", "trials/0/log.txt", ".part-0.json"))
    own += folder.info_file.stat().st_size
    deleted = delete_study(folder, workspace)
    assert 0 <= deleted.freed_bytes - own < 100  # of the lock that it holds meanwhile
    assert kept_told(folder, deleted.others) == said
    left = sorted(str(p.relative_to(folder.path)) for p in folder.path.rglob("*") if p.is_file())
    assert left == [".git/HEAD", "data/1.png", "folds/fold0.csv", "journal.log.bak"]
