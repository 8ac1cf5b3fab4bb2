"""A metric of many rows of scores of the same samples at once."""

import numpy as np
from scipy.stats import rankdata

from workbench.selection.choosing import Float64Array, IntArray
from workbench.trial.recipe import MetricName

_AS_ONE = 1 << 21
"""Scores that are sorted together: 16 MiB of them."""

_RATES: dict[MetricName, float] = {"tpr_at_fpr_1e-2": 1e-2, "tpr_at_fpr_1e-3": 1e-3}


def metric_of_rows(metric: MetricName, targets: IntArray, rows: Float64Array) -> Float64Array:
    """Return a metric of each row of scores; as `binary_metrics` has it.

    Args:
        metric: Which.
        targets: (samples,) of 0 and 1, of both some.
        rows: (rows, samples) in [0, 1]; for an AUC or a TPR at an FPR, any numbers.

    Returns:
        (rows,).
    """
    step = max(1, _AS_ONE // rows.shape[1])
    parts = [rows[begin : begin + step] for begin in range(0, len(rows), step)]
    return np.concatenate([_of_some(metric, targets, part) for part in parts])


def _of_some(metric: MetricName, targets: IntArray, rows: Float64Array) -> Float64Array:
    if metric == "auc":
        return _aucs(targets, rows)
    if metric == "log_loss":
        p = np.clip(rows, 1e-15, 1 - 1e-15)
        return np.asarray(-np.log(np.where(targets == 1, p, 1 - p)).mean(axis=1))
    if metric in _RATES:
        return _tpr_at_fpr(targets, rows, _RATES[metric])
    if metric.startswith("best_f1"):
        return _of_best_f1(metric, targets, rows)
    called = rows >= 0.5
    return _of_calls(metric, targets, (called & (targets == 1)).sum(axis=1), called.sum(axis=1))


def _aucs(targets: IntArray, rows: Float64Array) -> Float64Array:
    """Return the AUC of each row: one sort, the target of a sample in the last bit of its score."""
    num_fakes = int(targets.sum())
    num_reals = len(targets) - num_fakes
    keys = _ordered_keys(rows)
    keys |= targets
    keys.sort(axis=1)
    is_fake = keys & 1
    ranks = is_fake.astype(np.float64) @ np.arange(len(targets), dtype=np.float64)
    found = (ranks - num_fakes * (num_fakes - 1) / 2) / (num_fakes * num_reals)
    # Of equal scores the fake came last; where there are such, they count by their mean rank.
    tied = ((keys[:, 1:] ^ keys[:, :-1]) == 1).any(axis=1)
    if tied.any():
        middle = rankdata(_ordered_keys(rows[tied]), axis=1)[:, targets == 1].sum(axis=1)
        found[tied] = (middle - num_fakes * (num_fakes + 1) / 2) / (num_fakes * num_reals)
    return np.asarray(found)


def _ordered_keys(rows: Float64Array) -> IntArray:
    """Return even integers in the order of the scores; those equal to the last bit are equal."""
    keys = (rows + 0.0).view(np.int64)  # -0.0 becomes 0.0
    keys ^= (keys >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF)
    keys &= ~np.int64(1)
    return keys


def _tpr_at_fpr(targets: IntArray, rows: Float64Array, rate: float) -> Float64Array:
    reals, fakes = rows[:, targets == 0], rows[:, targets == 1]
    allowed = int(rate * reals.shape[1] + 1e-9)
    place = reals.shape[1] - 1 - allowed
    barrier = np.partition(reals, place, axis=1)[:, place, None]
    return np.asarray((fakes > barrier).mean(axis=1))


def _of_best_f1(metric: MetricName, targets: IntArray, rows: Float64Array) -> Float64Array:
    """Return what is counted at the lowest threshold of those with the best F1."""
    order = np.argsort(rows, axis=1, kind="stable")[:, ::-1]
    scores = np.take_along_axis(rows, order, axis=1)
    hits = np.cumsum(targets[order], axis=1)
    calls = np.arange(1, len(targets) + 1)
    f1 = 2 * hits / (calls + targets.sum())
    f1[:, :-1][scores[:, 1:] == scores[:, :-1]] = -1  # equal scores are called together
    place = len(targets) - 1 - f1[:, ::-1].argmax(axis=1)
    every = np.arange(len(rows))
    if metric == "best_f1_threshold":
        return np.asarray(scores[every, place])
    name = metric.removeprefix("best_f1_") if metric != "best_f1" else "f1"
    return _of_calls(name, targets, hits[every, place], calls[place])


def _of_calls(name: str, targets: IntArray, hits: IntArray, calls: IntArray) -> Float64Array:
    """Return a metric of hard calls, by how many are right and how many there are, each (rows,)."""
    num_fakes = int(targets.sum())
    num_reals = len(targets) - num_fakes
    if name == "f1":
        return np.asarray(2 * hits / (calls + num_fakes))
    if name == "precision":
        return np.asarray(hits / np.maximum(calls, 1))
    if name == "fpr":
        return np.asarray((calls - hits) / num_reals)
    if name == "accuracy":
        return np.asarray((num_reals - calls + 2 * hits) / len(targets))
    return np.asarray(hits / num_fakes)
