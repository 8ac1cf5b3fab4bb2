"""The runs of a study, read back through MLflow's own client."""

import json
from pathlib import Path

import pytest

from tests.tracking.trials import start
from workbench.errors import StudyError
from workbench.tracking.runs import Tracking

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
import mlflow.artifacts
from mlflow import MlflowClient


def test_a_study_is_one_experiment_with_one_running_parent(
    tracking: Tracking, client: MlflowClient
) -> None:
    run_id = tracking.open_study("one", tags={"rulebook": "small"})
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == "one"
    assert run.info.status == "RUNNING"
    assert run.data.tags["workbench.study"] == "one"
    assert run.data.tags["rulebook"] == "small"


def test_reopening_a_study_continues_its_parent_run(
    tracking: Tracking, client: MlflowClient
) -> None:
    first = tracking.open_study('it\'s "two"', tags={})
    tracking.end_study(first, state="complete", metrics={"best/auc": 0.75}, tags={"best": "7"})
    ended = client.get_run(first)
    assert (ended.info.status, ended.data.metrics) == ("FINISHED", {"best/auc": 0.75})
    assert ended.data.tags["best"] == "7"

    again = tracking.open_study('it\'s "two"', tags={})
    assert again == first
    assert client.get_run(again).info.status == "RUNNING"


def test_a_study_deleted_in_the_user_interface_is_restored(
    tracking: Tracking, client: MlflowClient
) -> None:
    run_id = tracking.open_study("deleted", tags={})
    client.delete_experiment(client.get_run(run_id).info.experiment_id)
    assert tracking.open_study("deleted", tags={}) == run_id
    client.delete_run(run_id)
    assert tracking.open_study("deleted", tags={}) == run_id
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_a_study_is_found_without_being_touched(tracking: Tracking, client: MlflowClient) -> None:
    run_id = tracking.open_study("found", tags={})
    tracking.end_study(run_id, state="complete")
    assert tracking.find_study("found") == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    with pytest.raises(StudyError, match="has no study 'lost'"):
        tracking.find_study("lost")


def test_a_study_whose_artifacts_are_elsewhere_is_refused(
    tracking: Tracking, client: MlflowClient, tmp_path: Path
) -> None:
    client.create_experiment("moved", artifact_location=tmp_path.as_uri())
    with pytest.raises(StudyError, match=r"'moved' keeps its artifacts in .*Move it back"):
        tracking.open_study("moved", tags={})


def test_a_trial_is_a_child_run_with_its_recipe_three_ways(
    tracking: Tracking, client: MlflowClient, parent: str
) -> None:
    recipe = {
        "optimizer": {"kind": "adamw", "lr": 1e-5},
        "views": [{"kind": "mel"}, {"kind": "frames", "num_frames": 4}],
        "betas": [0.9, 0.999],
        "note": "",
        "flip": True,
        "ema": None,
    }
    run_id = tracking.start_trial(
        parent, number=7, uid="abc123", name="vit_tiny", recipe=recipe, tags={"device": "cpu"}
    )
    run = client.get_run(run_id)
    assert run.info.run_name == "007 vit_tiny"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["device"] == "cpu"
    assert run.data.params == {
        "optimizer.kind": "adamw",
        "optimizer.lr": "1e-05",
        "views.0.kind": "mel",
        "views.1.kind": "frames",
        "views.1.num_frames": "4",
        "betas": "[0.9, 0.999]",
        "note": "",
        "flip": "true",
        "ema": "null",
    }
    assert json.loads(run.data.tags["workbench.recipe"]) == recipe
    assert json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/recipe.json")) == recipe


def test_what_is_as_usual_is_no_parameter(
    tracking: Tracking, client: MlflowClient, parent: str
) -> None:
    recipe = {"augment": {"hflip": 0.5, "vflip": 0.0}, "lr": 0.0}
    usual = {"augment.hflip": "0.0", "augment.vflip": "0.0"}
    run_id = tracking.start_trial(
        parent, number=7, uid="abc", name="vit", recipe=recipe, usual=usual, tags={}
    )
    run = client.get_run(run_id)
    assert run.data.params == {"augment.hflip": "0.5", "lr": "0.0"}
    assert json.loads(run.data.tags["workbench.recipe"]) == recipe


def test_a_new_store_has_no_empty_experiment(client: MlflowClient, parent: str) -> None:
    assert "Default" not in {one.name for one in client.search_experiments()}


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("complete", "FINISHED"),
        ("pruned", "FINISHED"),
        ("failed", "FAILED"),
        ("interrupted", "KILLED"),
    ],
)
def test_an_ended_trial_says_how_and_why(
    tracking: Tracking, client: MlflowClient, trial: str, state: str, status: str
) -> None:
    tracking.end_trial(trial, state=state, reason="because\n" + "x" * 9000)  # type: ignore[arg-type]
    run = client.get_run(trial)
    assert run.info.status == status
    assert run.info.end_time is not None
    assert run.data.tags["workbench.state"] == state
    assert run.data.tags["workbench.reason"].startswith("because\nxxx")
    assert len(run.data.tags["workbench.reason"]) == 8000


def test_artifacts_are_copied_into_the_run(
    tracking: Tracking, client: MlflowClient, trial: str, tmp_path: Path
) -> None:
    (tmp_path / "log.txt").write_text("trained")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.svg").write_text("<svg/>")
    tracking.end_trial(
        trial, state="complete", artifacts=[tmp_path / "log.txt", tmp_path / "plots"]
    )
    assert {file.path for file in client.list_artifacts(trial)} == {
        "log.txt",
        "plots",
        "recipe.json",
    }
    assert [file.path for file in client.list_artifacts(trial, "plots")] == ["plots/roc.svg"]
    kept = list((tracking.store.root / "artifacts").rglob("log.txt"))
    assert [file.read_text() for file in kept] == ["trained"]


def test_trials_are_listed_over_more_than_one_page(
    tracking: Tracking, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [start(tracking, parent, number) for number in range(5)]
    tracking.end_trial(ids[1], state="pruned")
    monkeypatch.setattr("workbench.tracking.store._RUNS_PER_PAGE", 2)
    runs = tracking.trial_runs(parent)
    assert [run.run_id for run in sorted(runs, key=lambda run: run.number)] == ids
    by_number = {run.number: run for run in runs}
    # MLflow would mark a killed run as a failure.
    assert (by_number[1].status, by_number[1].state) == ("FINISHED", "pruned")
    assert by_number[1].name == "001 pruned: lite0"
    assert (by_number[4].status, by_number[4].state) == ("RUNNING", "running")
    assert (by_number[4].uid, by_number[4].name) == ("uid4", "004 lite0")


def test_trials_of_another_study_are_not_listed(tracking: Tracking, parent: str) -> None:
    start(tracking, tracking.open_study("another", tags={}))
    assert tracking.trial_runs(parent) == []


def test_a_run_whose_tags_a_person_changed_is_no_trial(
    tracking: Tracking, client: MlflowClient, parent: str
) -> None:
    runs = [start(tracking, parent, number) for number in range(4)]
    client.set_tag(runs[0], "workbench.number", "seven")
    client.set_tag(runs[1], "workbench.kind", "")
    client.delete_tag(runs[2], "workbench.uid")
    assert [run.run_id for run in tracking.trial_runs(parent)] == [runs[3]]
    assert tracking.find_pack(parent, "0" * 12) is None


def test_runs_left_open_are_closed_as_interrupted(
    tracking: Tracking, client: MlflowClient, parent: str
) -> None:
    done, left, left_too = (start(tracking, parent, number) for number in range(3))
    tracking.end_trial(done, state="complete")
    assert tracking.close_open_runs(parent) == 2
    assert [client.get_run(run).info.status for run in (done, left, left_too, parent)] == [
        "FINISHED",
        "KILLED",
        "KILLED",
        "RUNNING",
    ]
    assert client.get_run(left).data.tags["workbench.state"] == "interrupted"
    assert tracking.close_open_runs(parent, and_parent=True) == 1
    assert client.get_run(parent).info.status == "KILLED"
    assert tracking.close_open_runs(parent, and_parent=True) == 0


def test_a_study_whose_experiment_was_deleted_is_not_found_to_be_written(
    tracking: Tracking, client: MlflowClient
) -> None:
    run_id = tracking.open_study("gone", tags={})
    client.delete_experiment(client.get_run(run_id).info.experiment_id)
    with pytest.raises(StudyError, match="has no study 'gone'"):
        tracking.find_study("gone")
