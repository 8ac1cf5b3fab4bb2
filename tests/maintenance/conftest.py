"""Studies of trials that train nothing, each in a workspace of its test alone."""

import shutil
from pathlib import Path

import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import write_data, write_experiment
from workbench.api.data_check import decoded_data
from workbench.files import write_text
from workbench.selection.champion import Champion
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Objective, Recipe
from workbench.workspace import Workspace

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
from mlflow.entities import LoggedModelOutput, LoggedModelStatus


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an empty store, which takes seconds to make, and decoded data. Copy it."""
    root = tmp_path_factory.mktemp("template")
    Tracking(root / "mlruns").store.close()
    write_data(root / "data")
    experiment = write_experiment(tmp_path_factory.mktemp("asked"))
    decoded_data(experiment, root / "data", Workspace(root))
    return root


@pytest.fixture
def trials() -> InlineTrials:
    """Trials that train nothing; the lower the learning rate, the better."""
    made = InlineTrials()
    made.reset(by_rate)
    return made


@pytest.fixture
def bench(template: Path, tmp_path: Path, trials: InlineTrials) -> Bench:
    """A workspace of one test."""
    root = tmp_path / "here"
    shutil.copytree(template, root)
    return Bench(Workspace(root), root / "data", trials.make_runner)


def by_rate(recipe: Recipe, number: int) -> float:
    return 0.5 + number / 10 - recipe.training.optimizer.lr


def with_weights(folder: StudyFolder) -> set[int]:
    """Return the trials that have weights."""
    return {row.number for row in read_trials(folder) if folder.trial(row.recipe).weights.exists()}


def ranked(folder: StudyFolder) -> list[TrialRow]:
    """Return the complete trials, best first."""
    rows = [row for row in read_trials(folder) if row.state == "complete"]
    return sorted(rows, key=lambda row: -(row.objective or 0))


def register(bench: Bench, folder: StudyFolder, row: TrialRow) -> str:
    """Register a model of two files for a trial, as a promotion does; return the version."""
    registry = ModelRegistry(bench.workspace.tracking)
    client, run_id = registry._client, str(row.run_id)
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment, name=folder.name, source_run_id=run_id)
    model = bench.workspace.root / f"model-{row.number}"
    (model / "data").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}")
    (model / "data" / "model.pt2").write_bytes(bytes(5000))
    client.log_model_artifacts(logged.model_id, str(model))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    registry._ensure_registered(folder.name)
    tags = {"workbench.uid": row.recipe}
    where = logged.artifact_location
    made = client.create_model_version(
        folder.name, where, run_id, tags=tags, model_id=logged.model_id
    )
    version = registry.set_champion(folder.name, row.recipe, folder.info().id)
    assert version == str(made.version)
    return version


def write_champion(folder: StudyFolder, row: TrialRow, version: str) -> None:
    """Write that a trial is the champion."""
    champion = Champion(
        study=folder.name,
        number=row.number,
        recipe=row.recipe,
        objective=Objective(),
        value=row.objective or 0.0,
        standard_error=None,
        chosen_by="by hand",
        who="a test",
        when="2026-01-01T00:00:00+00:00",
        why="It was named.",
        sentence="It is the only one.",
        model_name=folder.name,
        model_version=version,
        params_thop=1,
        params_true=1,
    )
    write_text(folder.champion, champion.model_dump_json(indent=2) + "\n")
