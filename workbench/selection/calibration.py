"""Calibration: whether a score of 0.8 is fake eight times in ten, and a temperature that mends it.

Source:
    Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks",
    arXiv:1706.04599: temperature scaling (section 4.2) and the expected calibration error
    (equation 3), here of the probability of a fake in `NUM_BINS` bins of equal width.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import logit
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from workbench.parts.temperature import tempered
from workbench.selection.joining import inverse_temperatures
from workbench.trial.intervals import rate_interval
from workbench.values import Frozen

NUM_BINS = 10
NUM_FOLDS = 5

_NEAR = 1e-15
"""As far from 0 and 1 as a log-loss takes a score to be at least."""

Float64Array = npt.NDArray[np.float64]


class ReliabilityBin(Frozen):
    """The samples whose scores lie in one bin."""

    score: float
    """Their mean score."""

    share: float
    """The share of fakes among them."""

    low: float
    """Wilson's interval of that share, 95%, each group of files counted once."""

    high: float
    count: int


class Calibration(Frozen):
    """How well scores are calibrated, as they are and divided by a temperature."""

    temperature: float
    """Fitted on all samples: above 1 the model is too sure, below 1 not sure enough."""

    log_loss: float
    """In nats."""

    log_loss_after: float
    """Out of fold: the temperature of each sample comes from the others."""

    ece: float
    """Expected calibration error."""

    ece_after: float
    """Out of fold."""

    num_samples: int
    num_folds: int
    bins: tuple[ReliabilityBin, ...]
    bins_after: tuple[ReliabilityBin, ...]
    """Out of fold."""


def calibrate(
    targets: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> Calibration | None:
    """Return how calibrated the scores in [0, 1] of (samples,) targets are; 1 is fake.

    None with fewer than two samples of a class, of which no folds can be made. The folds are
    stratified, and the same each time. `groups` are as for `reliability`.
    """
    y, p = np.asarray(targets, np.int64), np.asarray(scores, np.float64)
    num_folds = min(NUM_FOLDS, int(y.sum()), int(len(y) - y.sum()))
    if num_folds < 2:
        return None
    after = np.empty_like(p)
    for train, held_out in StratifiedKFold(num_folds, shuffle=True, random_state=0).split(p, y):
        after[held_out] = tempered(p[held_out], fit_temperature(y[train], p[train]))
    return Calibration(
        temperature=fit_temperature(y, p),
        log_loss=_log_loss(y, p),
        log_loss_after=_log_loss(y, after),
        ece=expected_calibration_error(y, p),
        ece_after=expected_calibration_error(y, after),
        num_samples=len(y),
        num_folds=num_folds,
        bins=reliability(y, p, groups),
        bins_after=reliability(y, after, groups),
    )


def fit_temperature(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the temperature by which the log-loss of (samples,) scores is least."""
    logits = logit(np.asarray(scores, np.float64).clip(_NEAR, 1 - _NEAR))
    (sharpness,) = inverse_temperatures(np.asarray(targets, np.int64), logits[None])
    return round(1 / float(sharpness), 4)


def expected_calibration_error(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the mean distance of score and share of fakes over the bins, by their samples."""
    bins = reliability(targets, scores)
    total = sum(part.count for part in bins)
    return math.fsum(part.count * abs(part.share - part.score) for part in bins) / total


def reliability(
    targets: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> tuple[ReliabilityBin, ...]:
    """Return the bins that hold samples, by rising score.

    Samples of one of the (samples,) `groups` say together what one would: no interval is narrower
    than that of as many samples as the bin has groups. By default each is one of its own.
    """
    y, p = np.asarray(targets, np.int64), np.asarray(scores, np.float64)
    place = np.minimum((p * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    of_group = np.arange(len(y)) if groups is None else np.asarray(groups)
    found = []
    for number in np.unique(place):
        inside = place == number
        fakes, count = int(y[inside].sum()), int(inside.sum())
        low, high = rate_interval(fakes / count, len(np.unique(of_group[inside])), None)
        found.append(
            ReliabilityBin(
                score=float(p[inside].mean()), share=fakes / count, low=low, high=high, count=count
            )
        )
    return tuple(found)


def _log_loss(targets: npt.NDArray[np.int64], scores: Float64Array) -> float:
    return float(log_loss(targets, scores.clip(_NEAR, 1 - _NEAR)))
