"""What else is done with a study whose trials a database has, and whose runs a server has."""

import threading
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from tests.stores.servers import MlflowServer, Postgres
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.maintenance.cleaning import plan_cleaning
from workbench.maintenance.deletion import delete_study
from workbench.maintenance.listing import list_studies
from workbench.maintenance.study_export import export_study
from workbench.maintenance.study_import import import_study
from workbench.study.records import read_trials
from workbench.study.storage import name_in_storage, open_database
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking
from workbench.workspace import Workspace

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
import mlflow

pytestmark = pytest.mark.slow


def test_a_study_goes_into_servers_moves_and_is_deleted(
    bench: Bench,
    inline: InlineTrials,
    postgres: Postgres,
    mlflow_server: MlflowServer,
    tmp_path: Path,
) -> None:
    # Begun with a journal and a store of its own.
    begun = bench.search(bench.experiment(), 2)
    before = read_trials(begun.folder)
    name = begun.folder.name
    file = bench.workspace.studies / f"{name}.yaml"
    file.write_text(
        f"{file.read_text()}storage: {postgres.address}\ntracking: {mlflow_server.address}\n"
    )
    outcome = bench.search(file, 3)
    folder = outcome.folder
    rows = read_trials(folder)
    assert [row.recipe for row in rows[:2]] == [row.recipe for row in before]
    assert (outcome.num_new, len(rows), len(inline.trained)) == (1, 3, 3)
    place = bench.workspace.tracking_of(mlflow_server.address)
    info, tracking = folder.info(), Tracking(place)
    runs = tracking.trial_runs(tracking.find_study(info.name, info.id))
    assert sorted(run.uid for run in runs) == sorted(row.recipe for row in rows)

    (listed,) = list_studies(bench.workspace)
    assert (listed.complete, listed.problem) == (3, "")
    plan = plan_cleaning(folder, bench.workspace, keep=1)
    assert mlflow_server.address in next(line.kept for line in plan.taken if line.what == "MLflow")

    # To another machine, which reaches neither.
    archive = tmp_path / "study.tar"
    export_study(folder, place, archive)
    elsewhere = Workspace(tmp_path / "elsewhere")
    imported = import_study(archive, elsewhere)
    there = imported.folder.experiment()
    assert (there.storage, there.tracking) == (None, None)
    assert [(row.number, row.recipe, row.objective) for row in read_trials(imported.folder)] == [
        (row.number, row.recipe, row.objective) for row in rows
    ]
    own = Tracking(elsewhere.tracking)
    copies = own.trial_runs(own.find_study(info.name, info.id))
    assert {run.run_id for run in copies} == {row.run_id for row in read_trials(imported.folder)}
    files = {each.path for each in own.store.client.list_artifacts(copies[-1].run_id)}
    assert {"recipe.json", "result.json"} <= files

    called = name_in_storage(folder)
    deleted = delete_study(folder, bench.workspace)
    assert deleted.server == mlflow_server.address
    assert deleted.record.num_runs >= 4
    database = open_database(postgres.address)
    assert called not in optuna.get_all_study_names(storage=database)
    assert not folder.path.exists()


def test_a_champion_waits_for_its_server(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    place = Workspace(tmp_path).tracking_of(mlflow_server.address)
    tracking = Tracking(place)
    parent = tracking.open_study("registered", study_id="1", tags={})
    run_id = tracking.start_trial(
        parent, number=0, uid="abc", name="a trial", recipe={"lr": 0.1}, tags={}
    )
    model, rows = torch.nn.Linear(3, 1), np.ones((2, 3), np.float32)
    registry = ModelRegistry(place)
    mlflow_server.kill()
    restart = threading.Timer(1.0, mlflow_server.start)
    restart.start()
    version = registry.register_champion(
        "registered",
        model=model,
        example=rows,
        run_id=run_id,
        pip_requirements=[f"torch=={torch.__version__}"],
        tags={"workbench.uid": "abc"},
        description="",
    )
    restart.join()
    assert version == "1"
    assert registry.set_champion("registered", "abc", "1") == "1"
    assert registry.set_champion("registered", "another", "1") is None
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_server.address)
    try:
        loaded = mlflow.pyfunc.load_model("models:/registered@champion")
        np.testing.assert_allclose(
            loaded.predict(rows), model(torch.from_numpy(rows)).detach().numpy(), rtol=1e-6
        )
    finally:
        mlflow.set_tracking_uri(before)
