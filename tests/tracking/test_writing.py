"""What is written to a run, read back through MLflow's own client."""

import json
import math
import time

import pytest

from tests.tracking.trials import start
from workbench.tracking import writing
from workbench.tracking.runs import Tracking
from workbench.tracking.writing import flatten

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
import mlflow.artifacts
from mlflow import MlflowClient


def test_more_parameters_than_one_call_takes_are_all_kept(
    tracking: Tracking, client: MlflowClient, parent: str
) -> None:
    recipe = {"group": {f"p{i}": i for i in range(250)}, "long": "x" * 7000}
    tags = {f"t{i}": str(i) for i in range(130)}
    run_id = tracking.start_trial(parent, number=0, uid="u", name="n", recipe=recipe, tags=tags)
    run = client.get_run(run_id)
    assert len(run.data.params) == 251
    assert run.data.params["group.p249"] == "249"
    assert run.data.params["long"] == "x" * 5999 + "…"
    assert run.data.tags["t129"] == "129"
    # Longer than a tag may be: half a recipe would be worse than none, and the file has it whole.
    assert "workbench.recipe" not in run.data.tags
    assert json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/recipe.json")) == recipe


def test_more_metrics_than_one_call_takes_are_all_kept(
    tracking: Tracking, client: MlflowClient, trial: str
) -> None:
    tracking.log_epoch(trial, {f"m{i}": i / 2 for i in range(1700)}, 0)
    metrics = client.get_run(trial).data.metrics
    assert len(metrics) == 1700
    assert metrics["m1699"] == 849.5


def test_epochs_are_steps(tracking: Tracking, client: MlflowClient, trial: str) -> None:
    for epoch, auc in enumerate([0.5, 0.75, 0.625]):
        tracking.log_epoch(trial, {"val/auc": auc}, epoch)
    history = client.get_metric_history(trial, "val/auc")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 0.75), (2, 0.625)]


def test_quick_epochs_are_written_together_and_none_is_lost(
    tracking: Tracking, client: MlflowClient, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(writing, "monotonic", lambda: now)
    monkeypatch.setattr(writing, "TOGETHER_S", 10.0)
    one, other = start(tracking, parent, 1), start(tracking, parent, 2)

    def seen() -> list[int]:
        return [point.step for point in client.get_metric_history(one, "auc")]

    for epoch, now in ((1, 0.0), (2, 4.0), (3, 9.0)):  # noqa: B007 (the writer's clock)
        tracking.log_epoch(one, {"auc": epoch / 10}, epoch)
    assert seen() == [1]  # the first at once
    tracking.log_epoch(other, {"auc": 0.9}, 1)
    now = 12.0
    tracking.log_epoch(one, {"auc": 0.4}, 4)
    assert seen() == [1, 2, 3, 4]
    now = 13.0
    tracking.log_epoch(one, {"auc": 0.5}, 5)
    tracking.set_state(one, "paused")  # it may wait for long
    assert seen() == [1, 2, 3, 4, 5]
    tracking.log_epoch(one, {"auc": 0.6}, 6)
    tracking.end_trial(one, state="complete", metrics={"auc": 0.4})
    assert seen() == [1, 2, 3, 4, 5, 6, 6]
    assert client.get_run(one).data.metrics["auc"] == 0.4
    assert client.get_run(other).data.metrics["auc"] == 0.9
    times = [point.timestamp for point in client.get_metric_history(one, "auc")]
    assert times == sorted(set(times))


def test_what_is_not_a_number_is_recorded_as_such(
    tracking: Tracking, client: MlflowClient, trial: str
) -> None:
    tracking.log_epoch(trial, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0}, 0)
    metrics = client.get_run(trial).data.metrics
    assert {name for name, value in metrics.items() if math.isnan(value)} == {"a", "b", "c"}
    assert metrics["d"] == 1.0


def test_final_values_win_over_those_of_epochs(
    tracking: Tracking, client: MlflowClient, trial: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even within one tick of the clock, where MLflow would choose the greatest value.
    tick_ns = time.time_ns()
    monkeypatch.setattr("workbench.tracking.writing.time.time_ns", lambda: tick_ns)
    # The best checkpoint's value: neither the last epoch's nor the greatest.
    for epoch, auc in enumerate([0.5, 0.75, 0.875]):
        tracking.log_epoch(trial, {"val/auc": auc}, epoch)
    tracking.end_trial(trial, state="complete", metrics={"val/auc": 0.625, "params": 3.0})
    assert client.get_run(trial).data.metrics == {"val/auc": 0.625, "params": 3.0}
    # A value of no epoch is drawn as a bar, which MLflow does for step 0 alone.
    assert [point.step for point in client.get_metric_history(trial, "params")] == [0]


def test_names_that_mlflow_refuses_are_made_acceptable(
    tracking: Tracking, client: MlflowClient, trial: str
) -> None:
    tracking.log_epoch(trial, {"jpeg (q=50)/tpr@0.01": 0.5}, 0)
    assert client.get_run(trial).data.metrics == {"jpeg _q_50_/tpr_0.01": 0.5}


def test_leaves_are_named_by_their_path() -> None:
    tree = {"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": "x"}, 2], "g": []}
    assert dict(flatten(tree)) == {"a.b.c": "1", "a.d": "{}", "e.0.f": "x", "e.1": "2", "g": "[]"}
