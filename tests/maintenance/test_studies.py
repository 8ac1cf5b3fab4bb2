"""The list of studies, and the deletion of one from all places."""

import fcntl
from datetime import UTC, datetime, timedelta

import pytest

from tests.maintenance.conftest import ranked, register, write_champion
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.errors import StudyError
from workbench.files import write_text
from workbench.maintenance.deletion import delete_study
from workbench.maintenance.listing import describe_studies, list_studies
from workbench.tracking.removal import artifact_folder
from workbench.tracking.runs import Tracking


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
