import math

import numpy as np
import pytest
from scipy.stats import norm

from workbench.trial.delong import auc
from workbench.trial.intervals import Z95, auc_interval, auc_variance, rate_interval


def test_without_a_measured_variance_a_rate_has_wilsons_interval() -> None:
    # All of ten: from 10 / (10 + z^2) on. Half of ten: 0.5 give or take 0.2635.
    low, high = rate_interval(1.0, 10, None)
    assert low == pytest.approx(10 / (10 + Z95**2))
    assert high == 1.0
    low, high = rate_interval(0.5, 10, None)
    assert low == pytest.approx(0.2366, abs=1e-4)
    assert high == pytest.approx(0.7634, abs=1e-4)


def test_the_ends_lie_so_many_of_their_own_standard_errors_away() -> None:
    low, high = auc_interval(0.8, 20, 30)
    for end in (low, high):
        assert abs(0.8 - end) == pytest.approx(Z95 * math.sqrt(auc_variance(end, 20, 30)))


def test_the_variance_at_half_is_that_of_mann_whitney() -> None:
    # 1/4 (1 + N* (1/3 + 1/3)) / mn with N* = (m + n) / 2 - 1 is (m + n + 1) / (12 mn).
    assert auc_variance(0.5, 7, 9) == pytest.approx(17 / (12 * 63))


@pytest.mark.parametrize("num", [1, 3, 75])
def test_a_perfect_auc_is_not_certain(num: int) -> None:
    found = auc([1] * num + [0] * num, [0.9] * num + [0.1] * num)
    assert found.low is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 1 - 0.5 / num
    assert auc([1, 0] * num, [0.1, 0.9] * num).low == 0.0


def test_a_larger_measured_variance_widens_it_the_more_the_more_samples_there_are() -> None:
    def width(num: int, ratio: float | None) -> float:
        low, high = auc_interval(0.8, num, num, ratio)
        return high - low

    assert width(5, None) < width(5, 4.0) < 2 * width(5, None)
    assert width(1000, 4.0) == pytest.approx(2 * width(1000, None), rel=0.01)
    assert width(1000, 1.0) == pytest.approx(width(1000, None))


@pytest.mark.parametrize(
    ("num_fakes", "num_reals", "true"),
    [(3, 3, 0.8), (3, 100, 0.8), (6, 6, 0.95), (10, 1000, 0.98), (75, 75, 0.78)],
)
def test_few_files_do_not_make_it_too_narrow(num_fakes: int, num_reals: int, true: float) -> None:
    """So many standard errors to each side held the true AUC in 0.66, 0.74, 0.57, 0.68, 0.935."""
    rng = np.random.default_rng(0)
    targets = np.repeat([1, 0], [num_fakes, num_reals])
    apart = math.sqrt(2) * float(norm.ppf(true))
    held = 0
    for _ in range(400):
        found = auc(targets, rng.standard_normal(len(targets)) + apart * targets)
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        held += found.low <= true <= found.high
    assert held / 400 > 0.92
