"""How many fakes a model finds while it calls few real files fake, and how sure that number is."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from workbench.selection.choosing import SliceScores, kinds_of_groups
from workbench.trial.intervals import rate_interval
from workbench.values import Frozen

FPRS = (1e-2, 1e-3)
"""The false positive rates at which the competitions break ties."""

NUM_RESAMPLES = 1000

_MOST_DRAWN = 1 << 22
"""Samples that are drawn at once: bounds the memory."""


class OperatingPoint(Frozen):
    """The true positive rate at a limit on the false positive rate."""

    fpr: float
    """The limit."""

    tpr: float
    """The highest that a threshold reaches within it, on these samples."""

    low: float
    """95%: see `operating_point`."""

    high: float
    num_false_alarms: int
    """Real files that may be called fake within the limit."""

    num_reals: int
    num_fakes: int


def operating_point(
    targets: npt.ArrayLike,
    scores: npt.ArrayLike,
    fpr: float,
    groups: npt.ArrayLike | None = None,
) -> OperatingPoint:
    """Return the TPR at FPR `fpr` of (samples,) scores against targets, 1 being fake.

    Its interval is the bootstrap's (both classes drawn again, the threshold found anew each time;
    percentiles of `NUM_RESAMPLES`, the same each time), and where that is narrower Wilson's at the
    threshold found: a bootstrap of a TPR of 0 or 1 has no width. Where the limit allows few false
    alarms the highest real scores alone decide, and of those not drawn neither knows anything.
    Samples of one of the (samples,) `groups` are drawn together.

    Raises:
        ValueError: a class is absent.
    """
    y, s = np.asarray(targets), np.asarray(scores, np.float64)
    fakes, reals = s[y == 1], s[y == 0]
    if not len(fakes) or not len(reals):
        raise ValueError(f"both classes are needed: {len(fakes)} of {len(y)} targets are 1")
    allowed = min(math.floor(fpr * len(reals) + 1e-9), len(reals) - 1)
    found = int((fakes > np.sort(reals)[::-1][allowed]).sum())
    num_apart = len(fakes)
    if groups is None or len(np.unique(np.asarray(groups))) == len(y):
        drawn = _resampled(fakes, reals, allowed)
    else:
        _, of_group = np.unique(np.asarray(groups), return_inverse=True)
        num_apart = len(set(of_group[y == 1].tolist()))
        drawn = _resampled_by_groups(y, s, of_group, fpr)
    low, high = rate_interval(found / len(fakes), num_apart, None)
    return OperatingPoint(
        fpr=fpr,
        tpr=found / len(fakes),
        low=min(low, float(np.quantile(drawn, 0.025))),
        high=max(high, float(np.quantile(drawn, 0.975))),
        num_false_alarms=allowed,
        num_reals=len(reals),
        num_fakes=len(fakes),
    )


def operating_points(
    targets: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> tuple[OperatingPoint, ...]:
    """Return the operating point at each of `FPRS`."""
    return tuple(operating_point(targets, scores, fpr, groups) for fpr in FPRS)


def rates_in_words(slice_name: str, points: Sequence[OperatingPoint]) -> str:
    """Return the operating points of a model on a slice, and what they hang on; empty for none."""
    if not points:
        return ""
    found = ", ".join(
        f"{point.tpr:.3f} ({point.low:.3f} to {point.high:.3f}) at FPR {point.fpr:g}"
        for point in points
    )
    return f"TPR on {slice_name} {found}. {who_decides(points)}"


def who_decides(points: Sequence[OperatingPoint]) -> str:
    """Return in a sentence how many real files the operating points of a model hang on."""
    reals = points[0].num_reals
    each = [
        f"FPR {point.fpr:g} "
        + (f"allows {point.num_false_alarms} of them" if point.num_false_alarms else "allows none")
        for point in points
    ]
    said = f"{reals} real files decide it: {', '.join(each)} to be called fake"
    if not points[-1].num_false_alarms:
        said += ", so that one real file with a high score moves it"
    return said + "."


def _resampled(
    fakes: npt.NDArray[np.float64], reals: npt.NDArray[np.float64], allowed: int
) -> npt.NDArray[np.float64]:
    """Return the TPR of each resample."""
    rng = np.random.default_rng(0)
    found = []
    at_once = max(1, _MOST_DRAWN // max(len(fakes), len(reals)))
    for start in range(0, NUM_RESAMPLES, at_once):
        shape = min(at_once, NUM_RESAMPLES - start)
        some = rng.choice(reals, (shape, len(reals)))
        at = len(reals) - 1 - allowed
        limits = np.partition(some, at, axis=1)[:, at]
        found.append((rng.choice(fakes, (shape, len(fakes))) > limits[:, None]).mean(axis=1))
    return np.concatenate(found)


def _resampled_by_groups(
    targets: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    of_group: npt.NDArray[np.int64],
    fpr: float,
) -> npt.NDArray[np.float64]:
    """Return the TPR of each resample of the groups, those of the same classes kept apart."""
    rng = np.random.default_rng(0)
    kinds = kinds_of_groups([SliceScores(targets, scores[None], of_group)])
    members = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    fakes = np.flatnonzero(targets == 1)
    reals = np.flatnonzero(targets == 0)
    reals = reals[np.argsort(-scores[reals], kind="stable")]
    found = []
    for _ in range(NUM_RESAMPLES):
        times = np.empty(len(kinds), np.int64)
        for some in members:
            times[some] = rng.multinomial(len(some), np.full(len(some), 1 / len(some)))
        of_fakes, above = times[of_group[fakes]], np.cumsum(times[of_group[reals]])
        num_fakes, num_reals = int(of_fakes.sum()), int(above[-1])
        allowed = min(math.floor(fpr * num_reals + 1e-9), num_reals - 1)
        limit = scores[reals[np.searchsorted(above, allowed, "right")]]
        found.append(float(of_fakes[scores[fakes] > limit].sum()) / num_fakes)
    return np.array(found)
