"""Which dimensions mattered, and how seldom one of pure noise is said to."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from workbench.study.importances import Importance, importances_of

DRAWN = {
    **{f"rate{number}": FloatDistribution(0, 1) for number in range(3)},
    "view": CategoricalDistribution(["frames", "mel", "cqt"]),
    "flip": CategoricalDistribution([True, False]),
}


def made(num: int, seed: int, *, gain: float = 0.0, num_values: int | None = None) -> optuna.Study:
    """A study in which `gain` times the first rate, and noise, make the objective."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize")
    for number in range(num):
        params: dict[str, Any] = {f"rate{at}": float(rng.random()) for at in range(3)}
        params |= {"view": ["frames", "mel", "cqt"][rng.integers(3)], "flip": rng.random() < 0.5}
        value = rng.normal() + gain * params["rate0"]
        if num_values is not None:
            value = float(number % num_values)
        study.add_trial(create_trial(params=params, distributions=DRAWN, value=value))
    return study


def test_of_noise_hardly_a_dimension_passes_what_chance_gives_it() -> None:
    told, first = 0, []
    for seed in range(6):
        found = importances_of(made(30, seed))
        told += sum(one.is_told for one in found.values())
        first.append(max(one.share for one in found.values()))
    assert np.mean(first) > 0.4  # shares sum to 1, whatever mattered
    assert told <= 0.2 * 6 * len(DRAWN)


def test_what_sets_the_best_apart_passes_it() -> None:
    study = made(60, 3, gain=20.0)
    found = importances_of(study)
    assert next(iter(found)) == "rate0"
    assert found["rate0"].is_told
    assert sum(one.share for one in found.values()) == pytest.approx(1)
    assert importances_of(study) == found


def test_too_few_or_equal_trials_tell_nothing() -> None:
    assert importances_of(made(9, 0)) == {}
    assert importances_of(made(20, 0, num_values=1)) == {}
    study = made(10, 0)
    study.add_trial(create_trial(state=TrialState.FAIL))
    assert len(importances_of(study)) == len(DRAWN)
    assert not Importance(share=0.5, chance=0.5).is_told
