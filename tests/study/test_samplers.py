"""What samplers learn from a study, as the store writes it."""

import warnings
from collections.abc import Mapping

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from workbench.searching.proposals import make_sampler
from workbench.space.experiment import Sampler
from workbench.study.records import FAILED, UID, state_of
from workbench.validation import build

RATE = FloatDistribution(0.0, 1.0)


def study_of(kind: str, *, seed: int) -> optuna.Study:
    asked: Sampler = build(Sampler, {"kind": kind, "startup_trials": 5}, where="test")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = make_sampler(asked, seed)
    return optuna.create_study(direction="maximize", sampler=sampler)


def add(
    study: optuna.Study,
    rate: float,
    *,
    value: float | None = None,
    epochs: Mapping[int, float] | None = None,
    failed: bool = False,
) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
            value=value,
            intermediate_values=dict(epochs or {}),
            user_attrs={UID: f"recipe {rate}"},
            params={"rate": rate},
            distributions={"rate": RATE},
            constraints={FAILED: 1.0} if failed else {"refused": 0.0},
        )
    )


def draws_below(kind: str, *, failed: bool) -> int:
    """Return how many of ten draws are below 0.5, where all complete trials are."""
    below = 0
    for seed in range(10):
        study = study_of(kind, seed=seed)
        for rate in (0.05, 0.15, 0.25, 0.35, 0.45):
            add(study, rate, value=0.7 + rate / 10)
        if failed:
            for rate in (0.55, 0.65, 0.75, 0.85, 0.95):
                add(study, rate, epochs={1: 0.95}, failed=True)  # well at first, then it diverged
        below += study.ask().suggest_float("rate", 0.0, 1.0) < 0.5
    return below


def test_failed_trials_keep_the_sampler_away() -> None:
    # Without the failed ones the best is expected still higher than 0.45.
    assert draws_below("tpe", failed=True) >= 8
    assert draws_below("tpe", failed=False) <= 5


def test_a_failed_trial_is_a_failed_one_whatever_optuna_calls_it() -> None:
    study = study_of("random", seed=0)
    add(study, 0.1, value=0.5)
    add(study, 0.2, epochs={1: 0.4})
    add(study, 0.3, epochs={1: 0.4}, failed=True)
    study.add_trial(create_trial(state=TrialState.FAIL))  # as version 0.1 wrote it
    assert [state_of(trial) for trial in study.trials] == [
        "complete", "pruned", "failed", "failed"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_after_its_startup_a_sampler_goes_where_it_was_best(kind: str) -> None:
    high = 0
    for seed in range(5):
        study = study_of(kind, seed=seed)
        for place in range(10):
            add(study, place / 10, value=place / 10)
        high += study.ask().suggest_float("rate", 0.0, 1.0) > 0.5
    assert high >= 4
