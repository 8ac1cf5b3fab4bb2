"""The record of a study, read back through MLflow's own client."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench.errors import StudyError
from workbench.tracking import Tracking, flatten, store_uri, ui_command
from workbench.trial.served import FlatModel

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
import mlflow.pyfunc
import mlflow.pytorch
from mlflow import MlflowClient

SHAPES = {"mel": (1, 1, 3, 2, 1), "frames": (1, 2, 2, 2, 3)}  # 6 + 24 values a row


class TwoViews(nn.Module):
    """Logits (0, logit) where logit is `scale` times the mean of one view less the other's."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        gap = inputs["mel"].mean((1, 2, 3, 4)) - inputs["frames"].mean((1, 2, 3, 4))
        return torch.stack([torch.zeros_like(gap), self.scale * gap], dim=1)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(tmp_path_factory.mktemp("my runs #1"))


@pytest.fixture(scope="module")
def client(tracking: Tracking) -> MlflowClient:
    return MlflowClient(tracking.uri)


@pytest.fixture
def parent(tracking: Tracking, request: pytest.FixtureRequest) -> str:
    return tracking.open_study(request.node.name, tags={})


@pytest.fixture
def trial(tracking: Tracking, parent: str) -> str:
    return start(tracking, parent)


def start(tracking: Tracking, parent: str, number: int = 0) -> str:
    return tracking.start_trial(
        parent, number=number, uid=f"uid{number}", name="lite0", recipe={"seed": number}, tags={}
    )


# --- studies -------------------------------------------------------------------------------------


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


# --- trials --------------------------------------------------------------------------------------


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
    monkeypatch.setattr("workbench.tracking.time.time_ns", lambda: tick_ns)
    # The best checkpoint's value: neither the last epoch's nor the greatest.
    for epoch, auc in enumerate([0.5, 0.75, 0.875]):
        tracking.log_epoch(trial, {"val/auc": auc}, epoch)
    tracking.end_trial(trial, state="complete", metrics={"val/auc": 0.625, "params": 3.0})
    assert client.get_run(trial).data.metrics == {"val/auc": 0.625, "params": 3.0}
    # A value of no epoch is drawn as a bar, which MLflow does for step 0 alone.
    assert [point.step for point in client.get_metric_history(trial, "params")] == [0]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("complete", "FINISHED"),
        ("pruned", "KILLED"),
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
    kept = list((tracking.root / "artifacts").rglob("log.txt"))
    assert [file.read_text() for file in kept] == ["trained"]


def test_names_that_mlflow_refuses_are_made_acceptable(
    tracking: Tracking, client: MlflowClient, trial: str
) -> None:
    tracking.log_epoch(trial, {"jpeg (q=50)/tpr@0.01": 0.5}, 0)
    assert client.get_run(trial).data.metrics == {"jpeg _q_50_/tpr_0.01": 0.5}


# --- reading back --------------------------------------------------------------------------------


def test_trials_are_listed_over_more_than_one_page(
    tracking: Tracking, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [start(tracking, parent, number) for number in range(5)]
    tracking.end_trial(ids[1], state="pruned")
    monkeypatch.setattr("workbench.tracking._RUNS_PER_PAGE", 2)
    runs = tracking.trial_runs(parent)
    assert [run.run_id for run in sorted(runs, key=lambda run: run.number)] == ids
    by_number = {run.number: run for run in runs}
    assert (by_number[1].status, by_number[1].state) == ("KILLED", "pruned")
    assert (by_number[4].status, by_number[4].state) == ("RUNNING", "running")
    assert (by_number[4].uid, by_number[4].name) == ("uid4", "004 lite0")


def test_trials_of_another_study_are_not_listed(tracking: Tracking, parent: str) -> None:
    start(tracking, tracking.open_study("another", tags={}))
    assert tracking.trial_runs(parent) == []


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


# --- the registry --------------------------------------------------------------------------------


def rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 30), dtype=np.uint8)


def promote(tracking: Tracking, trial: str, model: nn.Module, name: str) -> str:
    return tracking.register_champion(
        name,
        model=model,
        example=np.zeros((2, 30), np.uint8),
        run_id=trial,
        pip_requirements=["torch"],
        tags={"uid": "abc"},
        description="The best of two.",
    )


@pytest.fixture
def plain_mlflow(tracking: Tracking) -> Iterator[None]:
    """MLflow as another program would use it: only the address of the store is set."""
    mlflow.set_tracking_uri(tracking.uri)
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("plain_mlflow")
def test_a_champion_loads_by_plain_mlflow_and_moves_to_the_next_version(
    tracking: Tracking, client: MlflowClient, trial: str
) -> None:
    first = FlatModel(TwoViews(8.0).train(), SHAPES)
    assert promote(tracking, trial, first, "net") == "1"
    assert first.training  # the model given is left as it is
    assert first.model.scale.requires_grad

    version = client.get_model_version_by_alias("net", "champion")
    assert (version.run_id, version.tags, version.description) == (
        trial,
        {"uid": "abc"},
        "The best of two.",
    )
    for count in (1, 2, 5):  # not only the batch of the example
        batch = rows(count, count)
        expected = first(torch.from_numpy(batch)).detach().numpy()
        assert 0 < expected.min() < expected.max() < 1 or count == 1
        scored = mlflow.pyfunc.load_model("models:/net@champion").predict(batch)
        np.testing.assert_array_equal(scored, expected)
        loaded = mlflow.pytorch.load_model("models:/net@champion")
        np.testing.assert_array_equal(loaded(torch.from_numpy(batch)).numpy(), expected)

    second = FlatModel(TwoViews(-8.0), SHAPES)
    assert promote(tracking, trial, second, "net") == "2"
    assert str(client.get_model_version_by_alias("net", "champion").version) == "2"
    scored = mlflow.pyfunc.load_model("models:/net@champion").predict(rows(0, 3))
    np.testing.assert_array_equal(scored, second(torch.from_numpy(rows(0, 3))).detach().numpy())
    older = mlflow.pyfunc.load_model("models:/net/1").predict(rows(0, 3))
    np.testing.assert_allclose(scored + older, 1, atol=1e-6)  # sigmoid(-x) = 1 - sigmoid(x)


class FrozenPart(nn.Module):
    """Channels last and partly without gradients, as a model for images may well be."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 2)
        self.head = nn.Linear(4, 2)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.set_grad_enabled(False):
            features = self.features(inputs["frames"].flatten(0, 1)).mean((2, 3))
        logits: Tensor = self.head(features.unflatten(0, (-1, 2)).mean(1))
        return logits


@pytest.mark.usefixtures("plain_mlflow")
def test_a_model_with_a_frozen_part_is_registered_without_a_warning(
    tracking: Tracking, trial: str
) -> None:
    model = FlatModel(FrozenPart(), SHAPES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        promote(tracking, trial, model, "frozen")
    scored = mlflow.pyfunc.load_model("models:/frozen@champion").predict(rows(0, 5))
    expected = model(torch.from_numpy(rows(0, 5))).detach().numpy()
    np.testing.assert_allclose(scored, expected, atol=1e-6)
    assert np.ptp(scored) > 1e-3


LOAD_ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "workbench":
            raise ImportError("this package is not installed here")

sys.meta_path.insert(0, Absent())
import mlflow.pyfunc, numpy, torch
torch.cuda.is_available = lambda: True  # as on a machine whose default device is not the CPU
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/elsewhere@champion")
print(model.predict(numpy.full((1, 30), 255, numpy.uint8)).tolist())
"""


def test_a_champion_loads_without_this_package_without_pickle_and_beside_a_gpu(
    tracking: Tracking, trial: str, tmp_path: Path
) -> None:
    promote(tracking, trial, FlatModel(TwoViews(8.0), SHAPES), "elsewhere")
    env = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ELSEWHERE, tracking.uri],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0.5]"  # both views are white, so the logits are equal


def test_an_example_of_one_row_is_refused(tracking: Tracking, trial: str) -> None:
    with pytest.raises(StudyError, match="2 or more rows, and this one has 1"):
        tracking.register_champion(
            "net",
            model=FlatModel(TwoViews(8.0), SHAPES),
            example=np.zeros((1, 30), np.uint8),
            run_id=trial,
            pip_requirements=["torch"],
            tags={},
            description="",
        )


# --- the store -----------------------------------------------------------------------------------


def test_opening_a_new_store_and_reopening_it_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.tracking import Tracking\n"
        "for _ in range(2): Tracking(Path(sys.argv[1]) / 'runs').open_study('s', tags={})"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**env, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == ["runs"]
    # A part left behind, or a database elsewhere, would show here.
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["mlflow.db"]


def test_mlflow_tells_nobody_that_it_runs() -> None:
    code = "import workbench.tracking; from mlflow.telemetry.client import get_telemetry_client"
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "MLFLOW_DISABLE_TELEMETRY")}
    env = {k: v for k, v in env.items() if not k.startswith(("PYTEST", "GITHUB"))}
    subprocess.run(
        [sys.executable, "-c", f"{code}; assert get_telemetry_client() is None"],
        check=True,
        cwd=Path(__file__).parents[1],
        env=env,
    )


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("these are words, not a database\n" * 200)
    with pytest.raises(StudyError, match=r"mlflow\.db cannot be opened: file is not a database"):
        Tracking(tmp_path)


def test_a_store_of_another_mlflow_is_named(tracking: Tracking, tmp_path: Path) -> None:
    shutil.copy(tracking.root / "mlflow.db", tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as copy:
        copy.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    copy.close()
    with pytest.raises(StudyError, match=r"mlflow\.db cannot be opened: .*mlflow db upgrade"):
        Tracking(tmp_path)


@pytest.mark.parametrize("folder", ["50%20", "what?"])
def test_a_folder_that_an_address_cannot_hold_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(StudyError, match="Use a folder without them"):
        Tracking(tmp_path / folder)


def test_the_user_interface_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no tracking store"):
        ui_command(tmp_path)


def test_the_user_interface_serves_this_store(tracking: Tracking) -> None:
    command = ui_command(tracking.root, host="127.0.0.1", port=5001)
    assert command[command.index("--backend-store-uri") + 1] == store_uri(tracking.root)
    assert command[command.index("--port") + 1] == "5001"


def test_leaves_are_named_by_their_path() -> None:
    tree = {"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": "x"}, 2], "g": []}
    assert dict(flatten(tree)) == {"a.b.c": "1", "a.d": "{}", "e.0.f": "x", "e.1": "2", "g": "[]"}
