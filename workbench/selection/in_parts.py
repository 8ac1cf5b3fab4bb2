"""The metric of many trials in many parts of the samples, and which constraints they keep there."""

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.selection.choosing import (
    BoolArray,
    Float64Array,
    SliceScores,
    metric_in_parts,
    slice_weights,
)
from workbench.selection.row_metrics import metric_of_rows
from workbench.selection.weighted import FAST
from workbench.trial.constraints import Bound, ConstraintName
from workbench.trial.recipe import Objective

NOT_OF_SCORES: frozenset[ConstraintName] = frozenset({"params", "ms_per_file"})
"""Constraints that a trial keeps or breaks whatever the samples are."""

_ROUNDING = 1e-6
"""Of the bound: the rate of 3 of 30 files, made of many parts at once, is 0.1 no more exactly."""

_NEVER = 1e9
"""Worse than any metric, and finite: slices without weight are multiplied by 0."""


def metrics_in_parts(
    trials: Sequence[SliceScores], objective: Objective, in_part: BoolArray
) -> Float64Array:
    """Return the metric of every trial on every slice in every part, (slices, trials, parts)."""
    if objective.metric in FAST:
        return metric_in_parts(trials, objective, in_part)
    found = []
    for one in trials:
        kept = in_part[one.groups].T
        of_parts = [
            metric_of_rows(objective.metric, one.targets[k], one.scores[:, k]) for k in kept
        ]
        found.append(np.stack(of_parts, axis=1))
    return np.stack(found)


def keeping(
    measured: Sequence[SliceScores],
    objective: Objective,
    constraints: Mapping[ConstraintName, Bound],
    in_part: BoolArray,
) -> BoolArray:
    """Return which trials keep the constraints on metrics in each part, (trials, parts).

    Args:
        measured: The trials on each slice of the objective.
        objective: Over what the constraints are measured, too.
        constraints: Those on other things than scores are passed over.
        in_part: (groups, parts), which groups each part has.
    """
    keeps = np.ones((len(measured[0].scores), in_part.shape[1]), bool)
    if not keeps.size:
        return keeps
    for name, bound in constraints.items():
        if name not in NOT_OF_SCORES:
            over = objective.model_copy(update={"metric": name})
            values = metrics_in_parts(measured, over, in_part)
            total = (slice_weights(values, over) * values).sum(axis=0)
            keeps &= np.vectorize(bound.excess, otypes=[np.float64])(total) <= _ROUNDING
    return keeps


def never_chosen(inside: Float64Array, objective: Objective, keeps: BoolArray) -> Float64Array:
    """Return (slices, trials, parts) metrics, worse than any where a trial breaks a constraint."""
    sign = 1 if objective.direction == "maximize" else -1
    return np.where(keeps, inside, -sign * _NEVER)
