"""PostgreSQL and the MLflow server killed in mid-study: it waits, says so, and loses nothing."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.stores.servers import MlflowServer, Postgres
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE
from workbench.searching.start import SearchOutcome
from workbench.study.records import read_trials
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Recipe

pytestmark = pytest.mark.slow

AWAY_S = 2.0
NUM_EPOCHS = SPACE["num_epochs"]


class Killer:
    """Kills a server when a trial reports its last epoch, and begins it again a little later."""

    def __init__(self, at_trial: int, kill: Callable[[], None], start: Callable[[], None]) -> None:
        self._at, self._kill, self._start = at_trial, kill, start
        self._seen: list[str] = []
        self.restart: threading.Timer | None = None

    def curve(self, recipe: Recipe, number: int) -> float:
        if recipe.uid not in self._seen:
            self._seen.append(recipe.uid)
        if self.restart is None and len(self._seen) == self._at and number == NUM_EPOCHS:
            self._kill()
            self.restart = threading.Timer(AWAY_S, self._start)
            self.restart.start()
        return 0.5 + 0.01 * len(self._seen)


def study_of(
    bench: Bench, killers: list[Killer], inline: InlineTrials, num_trials: int, **keys: Any
) -> SearchOutcome:
    def curve(recipe: Recipe, number: int) -> float:
        values = [killer.curve(recipe, number) for killer in killers]
        return values[0]

    inline.reset(curve)
    outcome = bench.search(bench.experiment(**keys), num_trials)
    for killer in killers:
        assert killer.restart is not None, "nothing was killed"
        killer.restart.join()
    return outcome


def test_a_study_outlives_both(
    bench: Bench,
    inline: InlineTrials,
    postgres: Postgres,
    mlflow_server: MlflowServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    killers = [
        Killer(2, postgres.kill, postgres.start),
        Killer(4, mlflow_server.kill, mlflow_server.start),
    ]
    stores = {"storage": postgres.address, "tracking": mlflow_server.address}
    outcome = study_of(bench, killers, inline, 6, **stores)

    said = capfd.readouterr().err
    assert f"The database {postgres.address} does not answer" in said
    assert f"The MLflow server at {mlflow_server.address} does not answer" in said
    assert said.count("answers again") == 2
    rows = read_trials(outcome.folder)
    assert [row.number for row in rows] == [0, 1, 2, 3, 4, 5]
    assert {row.state for row in rows} == {"complete"}
    assert len({row.recipe for row in rows}) == len(inline.trained) == 6

    info = outcome.folder.info()
    tracking = Tracking(bench.workspace.tracking_of(mlflow_server.address))
    parent = tracking.find_study(info.name, info.id)
    runs = tracking.trial_runs(parent)
    assert [(run.number, run.uid) for run in runs] == [(row.number, row.recipe) for row in rows]
    assert [run.run_id for run in runs] == [row.run_id for row in rows]
    assert {run.status for run in runs} == {"FINISHED"}
    for run, row in zip(runs, rows, strict=True):
        assert tracking.logged_epochs(run.run_id) == {epoch.epoch for epoch in row.epochs}
        files = {file.path for file in tracking.store.client.list_artifacts(run.run_id)}
        assert {"recipe.json", "result.json"} <= files
    assert not outcome.folder.journal.exists()
    assert not (bench.workspace.tracking / "mlflow.db").exists()
    for place in (outcome.folder.path, bench.workspace.tracking):
        for file in (file for file in place.rglob("*") if file.is_file()):
            assert postgres.PASSWORD.encode() not in file.read_bytes(), file
    assert postgres.PASSWORD not in said

    more = bench.search(bench.workspace.root / info.experiment, 7)
    assert (more.num_new, len(read_trials(more.folder))) == (1, 7)
