"""Metrics of one trial on many parts of the same samples at once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import MetricName

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FAST: frozenset[MetricName] = frozenset(
    {"auc", "log_loss", "f1", "precision", "recall", "tpr", "fpr", "accuracy"}
)
"""What is computed of all parts together; the others of each part by itself."""

_BLOCK = 32
"""Rows that are summed together."""

_UP_TO = np.tril(np.ones((_BLOCK, _BLOCK)))

_OF_BEST_F1: dict[MetricName, MetricName] = {
    "best_f1": "f1",
    "best_f1_accuracy": "accuracy",
    "best_f1_precision": "precision",
    "best_f1_recall": "recall",
    "best_f1_fpr": "fpr",
}


def weighted_metric(
    metric: MetricName, targets: IntArray, scores: Float64Array, weights: npt.NDArray[Any]
) -> Float64Array:
    """Return a metric of the samples as often as each weight says.

    Args:
        metric: One of `FAST`.
        targets: (samples,) of 0 and 1.
        scores: (samples,) in [0, 1].
        weights: (samples, parts), how often each sample is in each part; of both classes some.

    Returns:
        (parts,).
    """
    if metric == "auc":
        return weighted_auc(targets, scores, weights)
    if metric == "log_loss":
        p = np.clip(scores, 1e-15, 1 - 1e-15)
        losses = -np.where(targets == 1, np.log(p), np.log1p(-p))
        return np.asarray(losses @ weights / weights.sum(axis=0))
    return _at_half(metric, targets, scores >= 0.5, weights)


def weighted_auc(
    targets: IntArray, scores: Float64Array, weights: npt.NDArray[Any]
) -> Float64Array:
    """Return the AUC of samples that count as often as each weight says; see `weighted_metric`.

    A pair counts with the product of its weights, and one of equal scores one half of that.
    """
    fakes, reals = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    # Sorted ones are looked up faster.
    fakes, reals = fakes[np.argsort(scores[fakes])], reals[np.argsort(scores[reals])]
    below = _running_sum(weights.take(reals, axis=0))
    of_fakes = weights.take(fakes, axis=0)
    lower = np.searchsorted(scores[reals], scores[fakes], side="left")
    upper = np.searchsorted(scores[reals], scores[fakes], side="right")
    won = np.einsum("ij,ij->j", below.take(lower, axis=0), of_fakes)
    if not np.array_equal(lower, upper):
        won = (won + np.einsum("ij,ij->j", below.take(upper, axis=0), of_fakes)) / 2
    return np.asarray(won / (of_fakes.sum(axis=0) * below[-1]), np.float64)


def _running_sum(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the sums of the first 0, 1, ... all rows; NumPy's `cumsum` takes twice the time."""
    num_rows, width = rows.shape
    blocks = -(-num_rows // _BLOCK)
    padded = np.zeros((blocks * _BLOCK, width), rows.dtype)
    padded[:num_rows] = rows
    within = _UP_TO.astype(rows.dtype) @ padded.reshape(blocks, _BLOCK, width)
    within[1:] += np.cumsum(within[:-1, -1], axis=0)[:, None]
    sums = np.zeros((num_rows + 1, width), rows.dtype)
    sums[1:] = within.reshape(-1, width)[:num_rows]
    return sums


def _at_half(
    metric: MetricName, targets: IntArray, called: npt.NDArray[np.bool_], weights: npt.NDArray[Any]
) -> Float64Array:
    fakes = weights[targets == 1].sum(axis=0)
    reals = weights[targets == 0].sum(axis=0)
    tp = weights[called & (targets == 1)].sum(axis=0)
    fp = weights[called & (targets == 0)].sum(axis=0)
    if metric == "f1":
        return np.asarray(2 * tp / (fakes + tp + fp))
    if metric == "precision":
        return np.asarray(np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp + fp > 0))
    if metric in ("recall", "tpr"):
        return np.asarray(tp / fakes)
    if metric == "fpr":
        return np.asarray(fp / reals)
    return np.asarray((tp + reals - fp) / (fakes + reals))


def metric_of_part(
    metric: MetricName, targets: IntArray, scores: Float64Array, part: npt.NDArray[np.bool_]
) -> float:
    """Return any metric of the samples of one part alone."""
    return binary_metrics(targets[part], scores[part])[metric]


def metric_elsewhere(
    metric: MetricName, targets: IntArray, scores: Float64Array, part: npt.NDArray[np.bool_]
) -> float:
    """Return any metric on the samples that are not in `part`, its threshold chosen in `part`."""
    y, p = targets[~part], scores[~part]
    if metric not in _OF_BEST_F1:
        return binary_metrics(y, p)[metric]
    threshold = binary_metrics(targets[part], scores[part])["best_f1_threshold"]
    called = (p >= threshold).astype(np.float64)
    return binary_metrics(y, called)[_OF_BEST_F1[metric]]
