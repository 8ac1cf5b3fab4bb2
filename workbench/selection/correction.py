"""The objective of the best of several trials, corrected for the choice, with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.selection.choosing import (
    BoolArray,
    Choices,
    SliceScores,
    choose_again,
    in_thirds,
    kinds_of_groups,
    metric_in_parts,
    possible,
    slice_weights,
)
from workbench.selection.in_parts import keeping, never_chosen
from workbench.selection.weighted import FAST, metric_of_part, weighted_metric
from workbench.trial.constraints import Bound, ConstraintName
from workbench.trial.delong import auc_influences
from workbench.trial.intervals import (
    Z95,
    auc_interval,
    auc_variance,
    rate_interval,
    rate_variance,
)
from workbench.trial.recipe import MetricName, Objective

Float64Array = npt.NDArray[np.float64]

_BAGS, _SLOW_BAGS = 200, 50
"""Bootstrap samples for a standard error: it is off by a twentieth; of metrics that take long, by a
tenth."""

_FEW = 10
"""Groups of a kind that are drawn together with those of other kinds: of fewer, a bootstrap that
keeps their number tells too small a variance, and of a single one none."""

_EQUAL = 1e-6
"""Values that are no further apart are equal: that of many samples at once is so exact."""


@dataclass(frozen=True)
class Correction:
    """What the chosen of several trials is worth on new data of the same kind."""

    trial: int
    """The place of the chosen trial in `SliceScores.scores`."""

    naive: float
    """Its objective as measured."""

    value: float
    """The same, corrected for the choice."""

    low: float
    high: float
    """The ends of the 95% interval."""

    share: float
    """How often two thirds of the samples choose the same trial, from 0 to 1."""


def correct(
    measured: Sequence[SliceScores],
    objective: Objective,
    *,
    trial: int | None = None,
    constraints: Mapping[ConstraintName, Bound] | None = None,
    divisions: int = 200,
    seed: int = 0,
) -> Correction | None:
    """Return what the best trial, or another, is worth on new data of the same kind.

    A trial that is alone was not chosen, and keeps its value. The interval is that of an AUC or a
    rate of the corrected value, as wide as the measured variance of those trials says that the
    thirds choose (see `trial.intervals`), and wider towards the measured value: by the share of
    their difference by which the trial is chosen again.

    Args:
        measured: The trials on each slice of the objective.
        objective: What they are chosen by.
        trial: The place of a trial in `SliceScores.scores`, chosen as the one of its rank; the best
            by default. It keeps the constraints.
        constraints: Which trials may be chosen. Those on metrics are held to anew in each part: who
            keeps them owes a part of that to the samples, as the best one does of its lead.
        divisions: As for `choose_again`.
        seed: Of all that is drawn.

    Returns:
        Nothing where a class of a slice has a single group, and so cannot be divided; but for the
        AUC of a trial that is alone on one slice, whose interval supposes how scores are spread.
    """
    in_part = in_thirds(measured, divisions, np.random.default_rng(seed))
    with_whole = np.concatenate([in_part, np.ones((len(in_part), 1), bool)], axis=1)
    inside = metric_in_parts(measured, objective, with_whole)
    keeps = keeping(measured, objective, constraints or {}, with_whole)
    if trial is not None:
        keeps[trial, -1] = True  # as it was found when it was scored
    inside, values = inside[..., :-1], inside[..., -1]
    weights = slice_weights(values, objective)
    totals = (weights * values).sum(axis=0)
    sign = 1 if objective.direction == "maximize" else -1
    keep_all = np.flatnonzero(keeps[:, -1])
    trial = int(keep_all[(sign * totals[keep_all]).argmax()]) if trial is None else trial
    # Equal ones share a place: which of them is taken owes nothing to these values.
    place = int((sign * (totals[keep_all] - totals[trial]) > _EQUAL).sum())
    naive, num_trials = float(totals[trial]), len(totals)
    keeps = _with_a_choice(keeps, place)
    has_choice = keeps.any(axis=0)
    in_part, keeps = in_part[:, has_choice], keeps[:, has_choice]
    inside = never_chosen(inside[..., has_choice], objective, keeps)
    is_supposed = num_trials == len(measured) == 1 and objective.metric == "auc"
    if not in_part.shape[1] and not is_supposed:
        return None
    if num_trials == 1:
        choices = Choices(chosen=np.zeros(1, np.int64), values=np.array([naive]))
    else:
        choices = choose_again(measured, objective, in_part, inside, place=place)
    shares, value = choices.shares(num_trials), possible(choices.mean, objective.metric)
    if objective.metric == "auc":
        low, high = interval_of_auc(measured, value, shares, weights, totals)
    else:
        chosen = ChosenRow(trial, naive, weights[:, trial])
        low, high = interval_of_other(measured, objective, value, chosen, seed)
    share = float(shares[trial])
    low, high = _reach(low, high, share * (naive - value), objective)
    return Correction(trial=trial, naive=naive, value=value, low=low, high=high, share=share)


def _with_a_choice(keeps: BoolArray, place: int) -> BoolArray:
    """Return which trials may be chosen in each part, (trials, parts): none where too few may.

    Args:
        keeps: (trials, parts + 1), which keep the constraints there; last on all samples.
        place: That many others come before the one that is chosen.
    """
    on_all, of_parts = keeps[:, -1:], keeps[:, :-1]
    of_parts = of_parts & (of_parts.sum(axis=0) > place)
    # Of one trial, or where no part has a choice, those that keep them on all samples are all.
    return (
        of_parts if len(keeps) > 1 and of_parts.any() else np.repeat(on_all, of_parts.shape[1], 1)
    )


def _reach(low: float, high: float, shift: float, objective: Objective) -> tuple[float, float]:
    """Return the interval with its end on the side of the measured value moved by `shift`.

    Where the trial is truly ahead of the others, being chosen flattered it by less than the
    correction takes off, by as much less as it is chosen again more often.
    """
    if shift < 0:
        return (max(0.0, low + shift), high)
    return low, (high + shift if objective.metric == "log_loss" else min(1.0, high + shift))


@dataclass(frozen=True)
class ChosenRow:
    """A chosen trial, and what its objective is made of."""

    trial: int
    value: float
    weights: Float64Array
    """(slices,) How much each counts in its objective."""


def interval_of_auc(
    measured: Sequence[SliceScores],
    value: float,
    shares: Float64Array,
    weights: Float64Array,
    totals: Float64Array,
) -> tuple[float, float]:
    """Return the interval of a mean of AUCs over slices, or of the worst of them.

    Args:
        measured: The trials on each slice.
        value: What is in the middle.
        shares: (trials,) How often each is chosen.
        weights: (slices, trials) How much each slice counts.
        totals: (trials,) The objective of each.
    """
    chosen = np.flatnonzero(shares)
    kinds = kinds_of_groups(measured)
    moves = group_influences(measured, weights[:, chosen], chosen)
    fakes, reals = np.zeros(len(kinds), bool), np.zeros(len(kinds), bool)
    for one, of_slice in zip(measured, weights[:, chosen], strict=True):
        if of_slice.any():
            fakes[one.groups[one.targets == 1]] = True
            reals[one.groups[one.targets == 0]] = True
    num_fakes, num_reals = int(fakes.sum()), int(reals.sum())
    found = float(influence_variances(moves, kinds) @ shares[chosen])
    supposed = [auc_variance(auc, num_fakes, num_reals) for auc in totals[chosen].tolist()]
    expected = float(np.array(supposed) @ shares[chosen])
    return auc_interval(value, num_fakes, num_reals, found / expected if expected > 0 else None)


def interval_by_groups(
    metric: MetricName,
    targets: npt.ArrayLike,
    scores: Float64Array,
    groups: npt.NDArray[np.int64],
    value: float,
) -> tuple[float, float]:
    """Return the 95% interval of one model's metric, samples of one group kept together.

    Args:
        metric: Which.
        targets: (samples,) of 0 and 1.
        scores: (samples,) in [0, 1].
        groups: (samples,) from 0 on, none left out.
        value: The metric of them all.
    """
    y, rows = np.asarray(targets, np.int64), np.asarray(scores, np.float64)[None]
    measured = [SliceScores(targets=y, scores=rows, groups=groups)]
    if metric == "auc":
        return interval_of_auc(measured, value, np.ones(1), np.ones((1, 1)), np.array([value]))
    chosen = ChosenRow(trial=0, value=value, weights=np.ones(1))
    return interval_of_other(measured, Objective(metric=metric), value, chosen, 0)


def gain_error(
    metric: MetricName,
    targets: npt.ArrayLike,
    scores: Float64Array,
    groups: npt.NDArray[np.int64] | None,
) -> float:
    """Return the standard error of how much a metric of the first of two models is higher.

    By a bootstrap of the groups, the same for both; each sample is a group by default.

    Args:
        metric: Which.
        targets: (samples,) of 0 and 1.
        scores: (2, samples) in [0, 1].
        groups: (samples,) from 0 on, none left out.
    """
    y = np.asarray(targets, np.int64)
    if groups is None:
        groups = np.arange(len(y))
    measured, objective = [SliceScores(y, scores, groups)], Objective(metric=metric)
    first, second = (
        bootstrapped(
            measured,
            objective,
            ChosenRow(trial, math.nan, np.ones(1)),
            kinds_of_groups(measured),
            0,
        )
        for trial in (0, 1)
    )
    return float(np.nanstd(first - second, ddof=1))


def group_influences(
    measured: Sequence[SliceScores],
    weights: Float64Array,
    trials: npt.NDArray[np.int64],
) -> Float64Array:
    """Return how far each group moves the weighted mean AUC of each trial, (trials, groups).

    Args:
        measured: All trials on each slice.
        weights: (slices, trials) How much each slice counts, of those in `trials`.
        trials: The places of those wanted.
    """
    num_groups = len(kinds_of_groups(measured))
    moves = np.zeros((len(trials), num_groups))
    for one, of_slice in zip(measured, weights, strict=True):
        if not of_slice.any():
            continue
        own = of_slice[:, None] * auc_influences(one.targets, one.scores[trials])
        for move, row in zip(moves, own, strict=True):
            move += np.bincount(one.groups, row, num_groups)
    return moves


def influence_variances(moves: Float64Array, kinds: npt.NDArray[np.int64]) -> Float64Array:
    """Return the variance of what `moves`, (rows, groups), are the influences on, (rows,)."""
    sizes = np.bincount(kinds)[kinds]
    factors = np.where(sizes < 2, 1.0, sizes / np.maximum(sizes - 1, 1))
    return np.asarray((moves**2 * factors).sum(axis=1))


def interval_of_other(
    measured: Sequence[SliceScores],
    objective: Objective,
    value: float,
    chosen: ChosenRow,
    seed: int,
) -> tuple[float, float]:
    """Return the interval of another metric, its variance by a bootstrap of the groups."""
    kinds = kinds_of_groups(measured)
    variance = np.nanvar(bootstrapped(measured, objective, chosen, kinds, seed), ddof=1)
    if objective.metric == "log_loss":
        reach = Z95 * math.sqrt(variance)
        return max(0.0, value - reach), value + reach
    supposed = rate_variance(chosen.value, len(kinds))
    return rate_interval(value, len(kinds), float(variance) / supposed if supposed > 0 else None)


def bootstrapped(
    measured: Sequence[SliceScores],
    objective: Objective,
    chosen: ChosenRow,
    kinds: npt.NDArray[np.int64],
    seed: int,
) -> Float64Array:
    """Return the objective of the chosen trial on bootstrap samples of the groups, (bags,).

    A slice that a sample leaves without a class does not count in it; where none is left, the
    objective is NaN.
    """
    rng = np.random.default_rng(seed)
    num_bags = _BAGS if objective.metric in FAST else _SLOW_BAGS
    times = np.zeros((len(kinds), num_bags), np.int64)
    strata = _strata(measured, kinds)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        times[members] = rng.multinomial(size, np.full(size, 1 / size), num_bags).T
    values, counted = np.zeros(num_bags), np.zeros(num_bags)
    for one, weight in zip(measured, chosen.weights, strict=True):
        if not weight:
            continue
        scores, drawn = one.scores[chosen.trial], times[one.groups]
        there = drawn[one.targets == 1].any(axis=0) & drawn[one.targets == 0].any(axis=0)
        drawn = drawn[:, there]
        if objective.metric in FAST:
            found = weighted_metric(objective.metric, one.targets, scores, drawn.astype(np.float64))
        else:
            found = np.array(
                [_repeated(objective, one.targets, scores, count) for count in drawn.T]
            )
        values[there] += weight * found
        counted[there] += weight
    whole = float(chosen.weights.sum())
    return np.divide(values * whole, counted, out=np.full(num_bags, np.nan), where=counted > 0)


def _strata(measured: Sequence[SliceScores], kinds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return what is drawn together, (groups,): a kind, or all of few groups of the same classes.

    Where speakers have fakes of generators of their own, each may be of a kind of its own.
    """
    has = np.zeros((len(kinds), 2), bool)
    for one in measured:
        has[one.groups, one.targets] = True
    classes = 1 + has[:, 0] + 2 * has[:, 1]
    return np.where(np.bincount(kinds)[kinds] < _FEW, -classes, kinds)


def _repeated(
    objective: Objective,
    targets: npt.NDArray[np.int64],
    scores: Float64Array,
    count: npt.NDArray[np.int64],
) -> float:
    y, p = np.repeat(targets, count), np.repeat(scores, count)
    return metric_of_part(objective.metric, y, p, np.ones(len(y), bool))
