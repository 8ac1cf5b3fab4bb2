"""Which trials a part of the samples would choose a pack among, where weights were deleted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.selection.choosing import BoolArray, IntArray, SliceScores, choices
from workbench.selection.in_parts import metrics_in_parts, never_chosen
from workbench.selection.pack_limits import MemberCost
from workbench.trial.recipe import Objective


def left_in_parts(
    measured: Sequence[SliceScores],
    objective: Objective,
    costs: Sequence[MemberCost],
    keeps: BoolArray,
    in_part: BoolArray,
) -> BoolArray:
    """Return which trials would have their weights if a part had told the best, (trials, parts).

    The weights of the worst are deleted, so that those that are left were chosen by these same
    scores. A part has the trials at the places there that theirs have on all samples: as many, or
    packs of the parts would have more to choose from than the pack.
    """
    has_weights = np.array([cost.has_weights for cost in costs])
    trials = np.flatnonzero([cost.is_trial for cost in costs])
    found = np.ones(keeps.shape, bool)
    if has_weights[trials].all():
        return found
    some = [replace(one, scores=one.scores[trials]) for one in measured]
    keep = np.array([[cost.keeps_constraints] for cost in costs])
    whole = np.ones((len(in_part), 1), bool)
    (first,) = _in_order(some, objective, keep[trials], whole).T
    places = np.flatnonzero(has_weights[trials[first]])
    found[trials] = False
    for n, order in enumerate(_in_order(some, objective, keeps[trials], in_part).T):
        found[trials[order[places]], n] = True
    return found


def _in_order(
    trials: Sequence[SliceScores], objective: Objective, keeps: BoolArray, in_part: BoolArray
) -> IntArray:
    """Return the trials of each part, the best first, (trials, parts)."""
    inside = never_chosen(metrics_in_parts(trials, objective, in_part), objective, keeps)
    each = [choices(objective, inside, place=place) for place in range(len(keeps))]
    return np.stack(each)
