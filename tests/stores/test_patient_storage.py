"""A study in a real PostgreSQL whose connection is cut at every instant: all is entered, once."""

from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage

from tests.stores.cutting import CuttingProxy
from tests.stores.servers import Postgres
from workbench import patience
from workbench.searching.patient_storage import PatientStorage
from workbench.study.records import HIDDEN
from workbench.study.storage import DatabaseLock, HeldElsewhereError, open_database

pytestmark = pytest.mark.slow


def entries(storage: BaseStorage, name: str) -> None:
    """Enter two trials, one asked for and one drawn, as a search does."""
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    study.enqueue_trial({"x": 0.25}, user_attrs={"given": "yes"})
    for place in range(2):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr("recipe", f"uid {place}")
        trial.report(0.1, 1)
        trial.set_constraint("params_over_limit", 0.0)
        study.tell(trial, 0.5 + place)


def shown(storage: BaseStorage, name: str) -> list[tuple[Any, ...]]:
    """Return the trials of a study as another process reads them; none that is hidden."""
    study = optuna.load_study(study_name=name, storage=storage)
    return [
        (
            trial.state.name,
            trial.value,
            trial.params,
            trial.user_attrs,
            trial.intermediate_values,
            trial.constraints,
        )
        for trial in study.get_trials()
        if HIDDEN not in trial.user_attrs
    ]


def opened(address: str, name: str) -> PatientStorage:
    inner = open_database(address)
    lock = DatabaseLock(inner, name)
    lock.ensure()
    return PatientStorage(inner, lock, address)


def test_all_is_entered_once_wherever_the_connection_is_cut(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.001)
    # Optuna pauses before it repeats what it got no answer to.
    monkeypatch.setattr("optuna.storages._rdb.storage.time.sleep", lambda seconds: None)
    entries(open_database(postgres.address), "never cut")
    whole = shown(open_database(postgres.address), "never cut")
    assert [each[:2] for each in whole] == [("COMPLETE", 0.5), ("COMPLETE", 1.5)]
    assert whole[0][2] == {"x": 0.25}
    with CuttingProxy(postgres.port, b"COMMIT") as proxy:
        through = f"postgresql://127.0.0.1:{proxy.port}/optuna"
        open_database(through)
        num_commits = proxy.count(lambda: entries(opened(through, "counted"), "counted"))
        assert num_commits > 15
        for cut in range(1, num_commits, 2):
            keeps_request = cut % 3 > 0
            name = f"cut {cut}"
            storage = opened(through, name)
            proxy.cut_at(cut, keeps_request=keeps_request)
            entries(storage, name)
            assert proxy.has_cut, name
            storage.lock.release()
            assert shown(open_database(postgres.address), name) == whole, name


def test_one_process_holds_a_study(postgres: Postgres) -> None:
    inner = open_database(postgres.address)
    first, second = DatabaseLock(inner, "a study"), DatabaseLock(inner, "a study")
    first.ensure()
    with pytest.raises(HeldElsewhereError):
        second.ensure()
    DatabaseLock(inner, "another").ensure()
    first.release()
    second.ensure()
    second.release()


def test_secrets_are_in_no_url(postgres: Postgres) -> None:
    url = str(open_database(postgres.address).engine.url)
    assert postgres.PASSWORD not in url and postgres.USER not in url
