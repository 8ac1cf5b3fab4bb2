"""What a sampler is shown of a long study."""

from pathlib import Path
from typing import Literal

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from pydantic import ValidationError

from workbench.searching import short_memory
from workbench.searching.short_memory import Journal, ShortMemory, forgotten
from workbench.space.experiment import Sampler
from workbench.study.folder import StudyFolder
from workbench.study.storage import journal_file

RATE = FloatDistribution(0.0, 1.0)
_BEST, _LATEST = short_memory.BEST, short_memory.LATEST


class InMemory(ShortMemory, InMemoryStorage):
    pass


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_memory, "BEST", 2)
    monkeypatch.setattr(short_memory, "LATEST", 3)


def made(
    value: float | None = None, epochs: dict[int, float] | None = None, excess: float = 0.0
) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        intermediate_values=epochs or {},
        params={"rate": 0.5},
        distributions={"rate": RATE},
        constraints={"failed": excess},
    )


def study_of(
    *trials: optuna.trial.FrozenTrial, direction: Literal["minimize", "maximize"] = "maximize"
) -> optuna.Study:
    study = optuna.create_study(storage=InMemory(), direction=direction)
    study.add_trials(trials)
    return study


def kept(study: optuna.Study) -> list[int]:
    trials = study.get_trials(deepcopy=False)
    gone = forgotten(trials, study.direction)
    return [trial.number for trial in trials if trial.number not in gone]


def test_a_short_study_is_shown_whole() -> None:
    assert kept(study_of(*(made(0.1 * n) for n in range(5)))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("direction", "best"), [("maximize", [1, 3]), ("minimize", [0, 2])])
def test_the_best_and_the_latest_are_shown(
    direction: Literal["minimize", "maximize"], best: list[int]
) -> None:
    values = [0.1, 0.9, 0.2, 0.8, 0.5, 0.6, 0.7, 0.3]
    assert kept(study_of(*map(made, values), direction=direction)) == [*best, 5, 6, 7]


def test_trials_are_ranked_as_tpe_does() -> None:
    latest = [made(0.5)] * 3
    longer, better = made(epochs={3: 0.1}), made(epochs={2: 0.9})
    broken, nothing = made(0.99, excess=1.0), made(epochs={3: float("nan")})
    study = study_of(broken, better, nothing, made(0.01), longer, *latest)
    assert kept(study) == [3, 4, 5, 6, 7]


def test_what_runs_and_what_waits_is_always_shown() -> None:
    study = study_of(made(0.1))
    study.ask()
    study.enqueue_trial({"rate": 0.25})
    study.add_trials([made(0.5)] * 6)
    assert kept(study) == [1, 2, 3, 4, 6, 7, 8]
    assert study.ask().number == 2


def test_nothing_is_left_out_but_while_a_sampler_reads() -> None:
    study = study_of(*[made(0.5)] * 8)
    storage = study._storage
    assert isinstance(storage, ShortMemory)
    with pytest.raises(KeyError), storage.shown_to_sampler(study):
        shown = study.get_trials()
        raise KeyError
    assert [trial.number for trial in shown] == [0, 1, 5, 6, 7]
    assert len(study.get_trials()) == 8


def test_a_trial_drawn_from_a_short_memory_has_the_next_number(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    folder.path.mkdir()
    storage = Journal(journal_file(folder))
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
    study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler)
    study.add_trials([made(0.5)] * 9)
    with storage.shown_to_sampler(study):
        trial = study.ask()
        trial.suggest_float("rate", 0.0, 1.0)
    study.tell(trial, 0.7)
    assert [each.number for each in study.get_trials()] == list(range(10))
    assert study.best_trial.number == 9


def test_no_sampler_waits_for_more_trials_than_it_is_shown() -> None:
    most = _BEST + _LATEST
    assert Sampler(startup_trials=most).startup_trials == most
    with pytest.raises(ValidationError, match="less than or equal"):
        Sampler(startup_trials=most + 1)
