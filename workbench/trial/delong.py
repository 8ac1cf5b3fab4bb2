"""How sure an AUC is, and the difference of two AUCs on the same samples.

Source:
    DeLong, DeLong and Clarke-Pearson 1988, "Comparing the Areas under Two or More Correlated
    Receiver Operating Characteristic Curves: A Nonparametric Approach", Biometrics 44, 837-845.
    By midranks, in O(n log n): Sun and Xu 2014, "Fast Implementation of DeLong's Algorithm for
    Comparing the Areas Under Correlated Receiver Operating Characteristic Curves", IEEE Signal
    Processing Letters 21, 1389-1393.
    Groups of samples that belong together: Obuchowski 1997, "Nonparametric Analysis of Clustered
    ROC Curve Data", Biometrics 53, 567-578.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from workbench.trial.intervals import Z95, auc_interval, auc_variance
from workbench.values import Frozen

__all__ = ["Z95", "Estimate", "auc", "auc_difference", "auc_influences"]

Float64Array = npt.NDArray[np.float64]


class Estimate(Frozen):
    """A value and how far chance may have moved it."""

    value: float
    standard_error: float | None
    """Absent with fewer than two samples, or groups of them, of a class."""

    low: float | None = None
    high: float | None = None
    """The ends of the 95% interval of an AUC; absent of a difference."""

    @property
    def confidence(self) -> float | None:
        """How sure, from 0 to 1, it is that the true value is above 0: one-sided, normal.

        Absent where there is no spread to measure it by.
        """
        if not self.standard_error:
            return None
        return 0.5 * math.erfc(-self.value / self.standard_error / math.sqrt(2))


def auc(
    targets: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> Estimate:
    """Return the AUC of `scores` against `targets` (1 is fake), each (samples,).

    `groups`, (samples,), say which samples move together; each is one by default.

    A pair of a fake and a real sample with equal scores counts one half. Where the AUC is 0 or 1
    the standard error is 0, which means that the samples cannot show it, not that there is none;
    the interval has a width all the same.

    Raises:
        ValueError: the two differ in length, or a class is absent.
    """
    of_fakes, of_reals = _components(targets, scores)
    value, error = float(of_fakes.mean()), _error(targets, of_fakes, of_reals, groups)
    num_fakes, num_reals = len(of_fakes), len(of_reals)
    if groups is not None:
        y, of_group = np.asarray(targets), np.asarray(groups)
        num_fakes, num_reals = (len(set(of_group[y == target].tolist())) for target in (1, 0))
    supposed = auc_variance(value, num_fakes, num_reals)
    ratio = error**2 / supposed if error and supposed else None
    low, high = auc_interval(value, num_fakes, num_reals, ratio)
    return Estimate(value=value, standard_error=error, low=low, high=high)


def auc_difference(
    targets: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
) -> Estimate:
    """Return how much higher the AUC of `first` is than that of `second`, on the same samples.

    Samples that are hard for both move both AUCs alike, so the difference is surer than two
    separate standard errors would say.

    Args:
        targets: (samples,) of 0 and 1.
        first: (samples,) scores.
        second: (samples,) scores of the same samples, in the same order.
        groups: (samples,) the group of each, whose samples move together; each is one by default.
            Without two groups of a class there is no standard error.

    Raises:
        ValueError: they differ in length, or a class is absent.
    """
    return mean_auc_difference(targets, [first], [second], groups)


def auc_influences(targets: npt.ArrayLike, scores: npt.ArrayLike) -> Float64Array:
    """Return how far each sample moves the AUC of each of several trials from its mean.

    The squares of a trial's row, summed over samples or over groups of them, are the variance of
    its AUC, but for a factor of n / (n - 1) for each class.

    Args:
        targets: (samples,) of 0 and 1.
        scores: (trials, samples).

    Returns:
        (trials, samples); a row sums to 0 over each class.
    """
    y, rows = np.asarray(targets), np.asarray(scores, np.float64)
    moves = np.empty(rows.shape)
    for row, move in zip(rows, moves, strict=True):
        fakes, reals = row[y == 1], row[y == 0]
        of_fakes, of_reals = _share_below(reals, fakes), 1 - _share_below(fakes, reals)
        move[y == 1] = (of_fakes - of_fakes.mean()) / len(of_fakes)
        move[y == 0] = (of_reals - of_reals.mean()) / len(of_reals)
    return moves


def _share_below(others: Float64Array, values: Float64Array) -> Float64Array:
    """Return which share of `others` lies below each value; an equal one counts one half."""
    in_order = np.sort(others)
    found = np.searchsorted(in_order, values, "left") + np.searchsorted(in_order, values, "right")
    return np.asarray(found / (2 * len(others)))


def mean_auc_difference(
    targets: npt.ArrayLike,
    first: Sequence[npt.ArrayLike],
    second: Sequence[npt.ArrayLike],
    groups: npt.ArrayLike | None = None,
) -> Estimate:
    """Return how much higher the mean AUC of several rows of scores is than that of others.

    Args:
        targets: (samples,) of 0 and 1.
        first: Rows of (samples,) scores, such as of one recipe trained with several seeds.
        second: Other rows, of the same samples in the same order.
        groups: See `auc_difference`.

    Raises:
        ValueError: they differ in length, a class is absent, or there are no rows.
    """
    if not len(first) or not len(second):
        raise ValueError(f"rows of scores are needed: {len(first)} and {len(second)} are given")
    a, b = ([_components(targets, scores) for scores in rows] for rows in (first, second))
    # The mean of AUCs is the mean of their components, sample by sample.
    of_fakes, of_reals = (
        np.mean([one[part] for one in a], axis=0) - np.mean([one[part] for one in b], axis=0)
        for part in (0, 1)
    )
    error = _error(targets, of_fakes, of_reals, groups)
    return Estimate(value=float(of_fakes.mean()), standard_error=error)


def _components(targets: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return the share of real samples below each fake one, and of fake ones above each real one.

    The mean of either is the AUC.
    """
    y, s = np.asarray(targets), np.asarray(scores, np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"targets {y.shape} and scores {s.shape} must be two equal rows")
    fakes, reals = s[y == 1], s[y == 0]
    if not len(fakes) or not len(reals):
        raise ValueError(f"both classes are needed: {len(fakes)} of {len(y)} targets are 1")
    ranks = rankdata(np.concatenate([fakes, reals]))
    of_fakes = (ranks[: len(fakes)] - rankdata(fakes)) / len(reals)
    of_reals = 1 - (ranks[len(fakes) :] - rankdata(reals)) / len(fakes)
    return of_fakes, of_reals


def _error(
    targets: npt.ArrayLike,
    of_fakes: Float64Array,
    of_reals: Float64Array,
    groups: npt.ArrayLike | None,
) -> float | None:
    if groups is not None:
        names, of_group = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) < len(of_group):
            return _error_by_groups(np.asarray(targets), of_fakes, of_reals, of_group)
    return _standard_error(of_fakes, of_reals)


def _standard_error(of_fakes: Float64Array, of_reals: Float64Array) -> float | None:
    if min(len(of_fakes), len(of_reals)) < 2:
        return None
    variance = of_fakes.var(ddof=1) / len(of_fakes) + of_reals.var(ddof=1) / len(of_reals)
    return math.sqrt(variance)


def _error_by_groups(
    targets: npt.NDArray[np.generic],
    of_fakes: Float64Array,
    of_reals: Float64Array,
    of_group: npt.NDArray[np.int64],
) -> float | None:
    """Return the standard error where samples of one group move together (Obuchowski 1997).

    Groups of fakes, of reals and of both are counted apart, so that groups of one sample each give
    `_standard_error`.
    """
    is_fake = targets == 1
    moves = np.empty(len(targets))
    moves[is_fake] = (of_fakes - of_fakes.mean()) / len(of_fakes)
    moves[~is_fake] = (of_reals - of_reals.mean()) / len(of_reals)
    has_fake, has_real = (np.bincount(of_group, which) > 0 for which in (is_fake, ~is_fake))
    if min(has_fake.sum(), has_real.sum()) < 2:
        return None
    kinds = has_fake + 2 * has_real
    sizes = np.bincount(kinds)[kinds]
    factors = sizes / np.maximum(sizes - 1, 1)
    return math.sqrt(float((np.bincount(of_group, moves) ** 2 * factors).sum()))
