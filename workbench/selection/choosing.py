"""Choosing the best of several trials again and again, on a part of the samples each time.

The best of many trials owes a part of its lead to the samples it was chosen on. So the choice is
made anew on two thirds of the samples, and what it chose is scored on the third that had no say in
it; the mean over many such divisions is what the choice is worth.

Source:
    Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation", Machine Learning 107, 1895-1922,
    doi 10.1007/s10994-018-5714-4. There, the choice is made on a bootstrap sample and scored out of
    it. Choosing on two thirds without repetition is nearer to choosing on all of them: by
    `tests/benchmarks/selection` it errs less, on either side, where one trial is ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.selection.weighted import (
    FAST,
    metric_elsewhere,
    metric_of_part,
    weighted_metric,
)
from workbench.trial.recipe import MetricName, Objective

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SliceScores:
    """The scores of several trials on the same samples of one slice."""

    targets: IntArray
    """(samples,) of 0 and 1."""

    scores: Float64Array
    """(trials, samples) in [0, 1]."""

    groups: IntArray
    """(samples,) The group of each; samples of one file or of one group, on whichever slices, have
    the same number. From 0 on, none left out."""


@dataclass(frozen=True)
class Choices:
    """What was chosen on each part of the samples, and what it is worth on the others."""

    chosen: IntArray
    """(parts,) The place of the chosen trial in `SliceScores.scores`."""

    values: Float64Array
    """(parts,) Its objective on the samples that had no say in the choice."""

    @property
    def mean(self) -> float:
        """The objective that the choice is worth."""
        return float(self.values.mean())

    def shares(self, num_trials: int) -> Float64Array:
        """Return how often each trial was chosen, (trials,), as shares that sum to 1."""
        return np.bincount(self.chosen, minlength=num_trials) / len(self.chosen)


def choose_again(
    measured: Sequence[SliceScores],
    objective: Objective,
    in_part: BoolArray,
    inside: Float64Array,
    *,
    place: int = 0,
) -> Choices:
    """Choose by each part of the samples, and score what was chosen on the others.

    Of an objective over the worst slice, or the worst quarter of slices, the choosing part also
    says which those are. What parts of the samples differ from all of them by is taken off, see
    `shift_of_parts`.

    Args:
        measured: The trials on each slice of the objective.
        objective: What they are chosen by.
        in_part: (groups, parts), which groups choose; see `in_thirds`.
        inside: (slices, trials, parts), the metric in each part; see `metric_in_parts`.
        place: Choose not the best, 0, but the one in this place.
    """
    chosen, weights = choices(objective, inside, place=place), slice_weights(inside, objective)
    every = np.arange(len(chosen))
    outside = np.stack([_outside(one, objective, in_part, chosen) for one in measured])
    return Choices(chosen=chosen, values=(weights[:, chosen, every] * outside).sum(axis=0))


def choices(objective: Objective, inside: Float64Array, *, place: int = 0) -> IntArray:
    """Return the trial that each part chooses, (parts,); as for `choose_again`."""
    sign = 1 if objective.direction == "maximize" else -1
    total = sign * (slice_weights(inside, objective) * inside).sum(axis=0)
    # Equal ones in the order of the trials.
    chosen = np.argsort(-total, axis=0, kind="stable")[place] if place else total.argmax(axis=0)
    return np.asarray(chosen)


def in_thirds(
    measured: Sequence[SliceScores], divisions: int, rng: np.random.Generator
) -> BoolArray:
    """Return which groups choose, (groups, parts): all but a third, each third in turn.

    Groups of the same classes on the same slices are divided evenly. What leaves a class of a slice
    out of either side is left out, so that there may be fewer parts than 3 x divisions, or none.
    """
    return _all_but_one_piece(measured, 3, divisions, rng)


def in_halves(
    measured: Sequence[SliceScores], divisions: int, rng: np.random.Generator
) -> BoolArray:
    """Return which groups choose, (groups, parts): each half in turn; else as `in_thirds`."""
    return _all_but_one_piece(measured, 2, divisions, rng)


def _all_but_one_piece(
    measured: Sequence[SliceScores], pieces: int, divisions: int, rng: np.random.Generator
) -> BoolArray:
    kinds = kinds_of_groups(measured)
    piece = np.empty((divisions, len(kinds)), np.int64)
    for kind in range(kinds.max() + 1):
        members = np.flatnonzero(kinds == kind)
        even = np.arange(len(members)) + rng.integers(pieces, size=(divisions, 1))
        piece[:, members] = rng.permuted(even % pieces, axis=1)
    in_part = np.concatenate([left_out != piece.T for left_out in range(pieces)], axis=1)
    return in_part[:, _is_usable(measured, in_part)]


def metric_in_parts(
    measured: Sequence[SliceScores], objective: Objective, in_part: BoolArray
) -> Float64Array:
    """Return the metric of every trial on every slice in every part, (slices, trials, parts)."""
    return np.stack([_inside(one, objective, in_part[one.groups]) for one in measured])


def slice_weights(values: Float64Array, objective: Objective) -> Float64Array:
    """Return how much each slice counts in the objective, given the metric's values on them.

    Args:
        values: (slices, ...).
        objective: Says how many of the worst count.

    Returns:
        (slices, ...); sums to 1 over the slices.
    """
    num_slices = len(values)
    counting = {"mean": num_slices, "worst": 1}.get(objective.aggregate, -(-num_slices // 4))
    sign = 1 if objective.direction == "maximize" else -1
    worst_first = np.argsort(np.argsort(sign * values, axis=0, kind="stable"), axis=0)
    return np.asarray((worst_first < counting) / counting)


def kinds_of_groups(measured: Sequence[SliceScores]) -> IntArray:
    """Return a number for each group, equal for those of the same classes on the same slices."""
    num_groups = 1 + max(int(one.groups.max()) for one in measured)
    has = np.zeros((num_groups, 2 * len(measured)), bool)
    for place, one in enumerate(measured):
        has[one.groups, 2 * place + one.targets] = True
    return np.asarray(np.unique(has, axis=0, return_inverse=True)[1].reshape(-1), np.int64)


def _is_usable(measured: Sequence[SliceScores], in_part: BoolArray) -> BoolArray:
    """Return which parts have both classes of every slice on both sides, (parts,)."""
    usable = np.ones(in_part.shape[1], bool)
    for one in measured:
        for target in (0, 1):
            there = np.zeros(len(in_part), bool)
            there[one.groups[one.targets == target]] = True
            inside = in_part[there].sum(axis=0)
            usable &= (inside > 0) & (inside < there.sum())
    return usable


def _inside(one: SliceScores, objective: Objective, part: BoolArray) -> Float64Array:
    """Return the metric of every trial in every part, (trials, parts)."""
    metric = objective.metric
    if metric in FAST:
        weights = part.astype(np.float32)
        return np.stack([weighted_metric(metric, one.targets, s, weights) for s in one.scores])
    return np.array(
        [[metric_of_part(metric, one.targets, s, p) for p in part.T] for s in one.scores]
    )


def possible(value: float, metric: MetricName) -> float:
    """Return the nearest value that a metric can have: less `shift_of_parts`, it may be beyond."""
    return max(0.0, value if metric == "log_loss" else min(value, 1.0))


def shift_of_parts(
    one: SliceScores, metric: MetricName, scores: Float64Array, in_part: BoolArray
) -> float:
    """Return how much higher a metric is beyond the parts, on average, than on all samples.

    For scores that no part chose that owes nothing to a choice: of a third of the groups, three
    times as many pairs of a fake and a real file are within one group, where they are told apart
    more easily.

    Args:
        one: The slice; its own scores are not looked at.
        metric: Which; nothing is told of one whose threshold is chosen by the part.
        scores: (samples,) of one model.
        in_part: (groups, parts), which groups choose.
    """
    if metric.startswith("best_f1"):
        return 0.0
    whole = np.ones((len(scores), 1), bool)
    beyond = np.concatenate([~in_part[one.groups], whole], axis=1)
    if metric in FAST:
        values = weighted_metric(metric, one.targets, scores, beyond.astype(np.float64))
    else:
        values = np.array([metric_of_part(metric, one.targets, scores, p) for p in beyond.T])
    return float(values[:-1].mean() - values[-1])


def _outside(
    one: SliceScores, objective: Objective, in_part: BoolArray, chosen: IntArray
) -> Float64Array:
    """Return the metric of the trial chosen by each part on the samples beyond it, (parts,)."""
    metric, part = objective.metric, in_part[one.groups]
    values = np.empty(len(chosen))
    for trial in np.unique(chosen):
        places = np.flatnonzero(chosen == trial)
        scores, its_parts = one.scores[trial], part[:, places]
        if metric in FAST:
            weights = (~its_parts).astype(np.float64)
            values[places] = weighted_metric(metric, one.targets, scores, weights)
        else:
            values[places] = [metric_elsewhere(metric, one.targets, scores, p) for p in its_parts.T]
        values[places] -= shift_of_parts(one, metric, scores, in_part)
    return values
