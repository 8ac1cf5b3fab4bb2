"""What more trials are expected to bring, against what chance does."""

import numpy as np
import pytest

from workbench.searching.noise import expected_gain, noise_rules
from workbench.trial.delong import Estimate


def test_the_gain_worked_by_hand() -> None:
    # The best third lies 0.3, 0.2 and 0.1 above the fourth: a scale of 0.2.
    objectives = [0.6, 0.9, 0.5, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1]
    gain = expected_gain(objectives, num_drawn=9, to_come=2)
    assert gain == pytest.approx(0.2 * (1 / 10 + 1 / 11))


def test_nothing_is_expected_of_no_more_trials_and_of_equal_ones() -> None:
    objectives = list(np.linspace(0.1, 0.9, 12))
    assert expected_gain(objectives, num_drawn=12, to_come=0) == 0
    assert expected_gain([0.5] * 9, num_drawn=9, to_come=50) == 0


def test_too_few_trials_say_nothing() -> None:
    assert expected_gain([0.5] * 8, num_drawn=30, to_come=5) is None


def test_on_average_it_is_what_more_draws_bring() -> None:
    random = np.random.default_rng(0)
    expected, brought = [], []
    for _ in range(2000):
        draws = 0.7 + 0.05 * random.exponential(size=60)
        gain = expected_gain(list(draws[:30]), num_drawn=30, to_come=30)
        expected.append(gain)
        brought.append(draws.max() - draws[:30].max())
    assert np.mean(np.array(expected)) == pytest.approx(np.mean(brought), rel=0.1)


def test_noise_rules_where_one_standard_error_is_more_than_the_gain() -> None:
    best = Estimate(value=0.8, standard_error=0.03)
    assert noise_rules(0.02, best)
    assert not noise_rules(0.04, best)
    # No error can be measured there: nothing is said.
    assert not noise_rules(0.0, Estimate(value=1.0, standard_error=None))
    assert not noise_rules(0.0, Estimate(value=1.0, standard_error=0.0))
