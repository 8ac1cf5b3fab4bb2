"""The statistics of an audit: what a model has on the holdout, and whether that is a gain.

Source: Blum and Hardt 2015, "The Ladder: A Reliable Leaderboard for Machine Learning Competitions",
arXiv:1502.04585, algorithm 2 (the step is the standard error of the paired difference).
"""

import numpy as np
import numpy.typing as npt

from workbench.scoring.stored_slices import Scores
from workbench.selection.correction import gain_error, interval_by_groups
from workbench.trial.delong import Estimate, auc, auc_difference
from workbench.trial.intervals import rate_interval
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import LOWER_IS_BETTER, MetricName

_RESAMPLES = 200
"""Bootstrap samples for the metrics that have no formula."""

Groups = npt.NDArray[np.int64] | None


def is_gain(
    metric: MetricName, targets: npt.ArrayLike, new: Scores, stood: Scores, groups: Groups = None
) -> bool:
    """Return whether `new` scores beat those that stood by over one paired standard error.

    Args:
        metric: What they are held against each other by.
        targets: (samples,) of 0 and 1.
        new: (samples,)
        stood: (samples,) of the same samples.
        groups: (samples,) the group of each, from 0 on; each is one by default.
    """
    if metric == "auc":
        gap = auc_difference(targets, new, stood, groups)
    else:
        whole = [binary_metrics(targets, scores)[metric] for scores in (new, stood)]
        error = gain_error(metric, targets, np.stack([new, stood]), groups)
        gap = Estimate(value=whole[0] - whole[1], standard_error=error)
    gain = -gap.value if metric in LOWER_IS_BETTER else gap.value
    return gap.standard_error is not None and gain > max(gap.standard_error, 0.0)


def estimate(metric: MetricName, targets: npt.ArrayLike, scores: Scores) -> Estimate:
    """Return a metric with its standard error: DeLong of an AUC, else by the bootstrap."""
    if metric == "auc":
        return auc(targets, scores)
    values = _values(metric, targets, scores)
    value = binary_metrics(targets, scores)[metric]
    return Estimate(value=value, standard_error=float(np.std(values, ddof=1)))


def interval(
    metric: MetricName,
    targets: npt.ArrayLike,
    scores: Scores,
    found: Estimate,
    groups: Groups = None,
) -> tuple[float | None, float | None]:
    """Return the ends of the 95% interval of a metric; none of too few samples.

    Samples of one group, (samples,) from 0 on, stay together. Of a rate it is the bootstrap's, and
    where that is narrower Wilson's: a bootstrap of a rate of 0 or 1 has no width.
    """
    if groups is not None and len(set(groups.tolist())) < len(groups):
        return interval_by_groups(metric, targets, scores, groups, found.value)
    if metric == "auc":
        return found.low, found.high
    low, high = map(float, np.quantile(_values(metric, targets, scores), [0.025, 0.975]))
    if metric in ("log_loss", "best_f1_threshold"):
        return low, high
    y = np.asarray(targets)
    target = 0 if metric in ("fpr", "best_f1_fpr") else 1
    num = len(y) if metric.endswith("accuracy") else int((y == target).sum())
    wilson = rate_interval(found.value, num, None)
    return min(low, wilson[0]), max(high, wilson[1])


def _values(metric: MetricName, targets: npt.ArrayLike, scores: Scores) -> Scores:
    """Return a metric of scores on bootstrap samples, the classes kept apart."""
    y, rng = np.asarray(targets), np.random.default_rng(0)
    classes = [np.flatnonzero(y == target) for target in (0, 1)]
    values = np.empty(_RESAMPLES)
    for sample in range(_RESAMPLES):
        drawn = np.concatenate([rng.choice(some, len(some)) for some in classes])
        values[sample] = binary_metrics(y[drawn], scores[drawn])[metric]
    return values
