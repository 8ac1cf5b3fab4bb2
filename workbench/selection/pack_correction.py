"""What a chosen pack is worth on new data, beside the best single trial; which of the two to take.

The whole choice, of the members, their weights and how they are joined, is made anew on two thirds
of the groups, and what it chose is scored on the other third; see `choosing`. The best single trial
is chosen and scored by the same divisions, so that the two can be compared pair by pair.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.selection.choosing import (
    BoolArray,
    Float64Array,
    IntArray,
    SliceScores,
    choices,
    choose_again,
    in_halves,
    in_thirds,
    kinds_of_groups,
    possible,
    shift_of_parts,
    slice_weights,
)
from workbench.selection.correction import (
    ChosenRow,
    bootstrapped,
    group_influences,
    influence_variances,
    interval_of_auc,
    interval_of_other,
)
from workbench.selection.in_parts import keeping, metrics_in_parts, never_chosen
from workbench.selection.joining import JointName
from workbench.selection.left_in_parts import left_in_parts
from workbench.selection.pack_choice import ChosenPack, ForwardSearch, choose_pack, legal_trials
from workbench.selection.pack_limits import MemberCost, PackLimits
from workbench.selection.row_metrics import metric_of_rows
from workbench.selection.weighted import metric_elsewhere
from workbench.trial.constraints import Bound, ConstraintName
from workbench.trial.intervals import Z95
from workbench.trial.recipe import MetricName, Objective

_LEAST_ROUNDING = 0.0005
"""Half of the last digit that estimates are shown with."""

_FEWEST, _MOST = 12, 60
"""Divisions into thirds."""

_HALVINGS = 25
"""Divisions into halves."""

_PAIRS = 20
"""Packs and single trials of the parts, the commonest, whose differences are drawn."""

_AS_MANY = 1_500_000
"""Trials times samples times divisions: so that a hundred trials take seconds."""


@dataclass(frozen=True)
class ExpectedValue:
    """An objective as measured, and on new data of the same kind."""

    naive: float
    """As measured, on the samples that it was chosen by."""

    value: float
    """Corrected for the choice."""

    low: float
    high: float
    """The ends of the 95% interval of the true value."""


@dataclass(frozen=True)
class PackCorrection:
    """A chosen pack beside the best single trial."""

    metric: MetricName
    pack: ChosenPack
    of_pack: ExpectedValue
    pack_params: int
    trial: int
    """The place of the best single trial in `SliceScores.scores`."""

    of_trial: ExpectedValue
    trial_params: int
    gain: float
    """How much better the pack's corrected value is; above 0 for better, of any metric."""

    gain_low: float
    gain_high: float
    """The ends of its 95% interval."""

    rounding: float
    """How far apart two corrected values must at least be: one standard error of the gain by how
    the samples were divided, and no less than half of the last digit shown."""

    @property
    def is_pack_promoted(self) -> bool:
        """Whether the pack is to be taken: it is expected to be better, or as good and smaller."""
        if len(self.pack.members) < 2:
            return False
        if abs(self.gain) <= self.rounding:
            return self.pack_params < self.trial_params
        return self.gain > 0

    @property
    def sentence(self) -> str:
        """Return the decision and its reason, for a person."""
        num = len(self.pack.members)
        names = [f"pack of {num} models" if num > 1 else "pack of one model", "best single trial"]
        taken, other = names if self.is_pack_promoted else names[::-1]
        within = f"(gain of the pack {self.gain_low:+.3f} to {self.gain_high:+.3f}, 95%)"
        if abs(self.gain) <= self.rounding:
            reason = f"as good as the {other} and is no larger"
        else:
            reason = f"better than the {other} by {abs(self.gain):.3f}"
        return f"The {taken} is expected to be {reason} {within}."


def correct_pack(
    measured: Sequence[SliceScores],
    objective: Objective,
    costs: Sequence[MemberCost],
    limits: PackLimits | None = None,
    *,
    joint: JointName = "mean",
    search: ForwardSearch | None = None,
    constraints: Mapping[ConstraintName, Bound] | None = None,
    divisions: int | None = None,
    seed: int = 0,
) -> PackCorrection | None:
    """Return the best pack and the best single trial, each with what it is worth on new data.

    The interval of a value is made as `correction.correct` makes it, of the packs or trials that
    the thirds choose. That of the gain allows for three things: what chance does to the difference
    of a pack and a trial on the samples; that the single trial taken in the end is one of several
    that other samples would have chosen, truly better or worse than their mean, which is what the
    thirds tell of; and how the samples were divided.

    Args:
        measured: The trials on each slice of the objective.
        objective: What is chosen by.
        costs: Of each trial, in the order of `SliceScores.scores`. Those without weights, and
            those that break a constraint, are in no pack that is taken, but in the choices that say
            what such a choice is worth.
        limits: As for `choose_pack`; the single trial keeps them, too.
        joint: As for `choose_pack`.
        search: As for `choose_pack`.
        constraints: Which trials may be chosen. Those on metrics are held to anew in each part: who
            keeps one is told by the same samples as who is the best.
        divisions: Into thirds: three choices each. By default 12 to 60, the more the fewer the
            trials and samples are.
        seed: Of all that is drawn.

    Returns:
        Nothing where no trial keeps limits and constraints, or a class of a slice has a single
        group, which cannot be divided.
    """
    limits = limits or PackLimits()
    if divisions is None:
        work = sum(one.scores.size for one in measured)
        divisions = min(_MOST, max(_FEWEST, _AS_MANY // work))
    in_part = in_thirds(measured, divisions, np.random.default_rng(seed))
    legal = legal_trials(measured, objective, costs, limits)
    legal = legal[[costs[place].is_trial for place in legal]]
    in_part, keeps = _with_a_choice(measured, objective, legal, constraints or {}, in_part)

    def choose(among: Sequence[SliceScores], places: Sequence[int], seed: int) -> ChosenPack | None:
        some = [replace(one, scores=one.scores[places]) for one in among]
        its_costs = [costs[place] for place in places]
        pack = choose_pack(
            some, objective, its_costs, limits, joint=joint, search=search, seed=seed
        )
        return pack and replace(pack, members=tuple(places[member] for member in pack.members))

    places = [p for p, cost in enumerate(costs) if cost.has_weights and cost.keeps_constraints]
    pack = choose(measured, places, seed)
    left = keeps & left_in_parts(measured, objective, costs, keeps, in_part)
    again = []
    for n, part in enumerate(in_part.T):
        samples = [_inside(one, part) for one in measured]
        found = None
        for among in (left, keeps):  # in each of the parts a trial keeps limits and constraints
            places = np.flatnonzero(among[:, n]).tolist()
            found = found or (choose(samples, places, seed + n + 1) if places else None)
        assert found is not None
        again.append(found)
    if pack is None or not again:
        return None
    # Of the packs of the parts, each has about what that of all samples has.
    shifts = [shift_of_parts(one, objective.metric, pack.scores(one), in_part) for one in measured]
    values = [
        _outside(measured, objective, one, part, shifts)
        for one, part in zip(again, in_part.T, strict=True)
    ]
    trials = [replace(one, scores=one.scores[legal]) for one in measured]
    first = next((n for n, place in enumerate(legal) if costs[place].keeps_constraints), None)
    if first is None:  # soups alone keep them
        return None
    inside = never_chosen(metrics_in_parts(trials, objective, in_part), objective, keeps[legal])
    alone = choose_again(trials, objective, in_part, inside)
    rows = _Rows(measured, objective, legal, packs=(pack, *again))
    place = len(legal)
    chosen = place + 1 + np.arange(len(again))
    sign = 1 if objective.direction == "maximize" else -1
    gains = sign * (np.array(values) - alone.values)
    gain = float(gains.mean())
    by_division = _chance_of_division(gains, divisions)
    variances = (
        rows.variance_of_difference((place, chosen), (first, alone.chosen), seed),
        float(rows.totals[_choices_of_chance(trials, objective, seed, constraints)].var()),
        by_division**2,
    )
    reach = Z95 * math.sqrt(sum(variances))
    return PackCorrection(
        metric=objective.metric,
        pack=pack,
        of_pack=rows.expected(float(np.mean(values)), place, chosen, seed),
        pack_params=sum(costs[member].params for member in pack.members),
        trial=int(legal[first]),
        of_trial=rows.expected(alone.mean, first, alone.chosen, seed),
        trial_params=costs[legal[first]].params,
        gain=gain,
        gain_low=gain - reach,
        gain_high=gain + reach,
        rounding=max(_LEAST_ROUNDING, by_division),
    )


def _inside(one: SliceScores, in_part: BoolArray) -> SliceScores:
    """Return the samples of the groups in a part."""
    kept = in_part[one.groups]
    return SliceScores(one.targets[kept], one.scores[:, kept], one.groups[kept])


def _with_a_choice(
    measured: Sequence[SliceScores],
    objective: Objective,
    legal: IntArray,
    constraints: Mapping[ConstraintName, Bound],
    in_part: BoolArray,
) -> tuple[BoolArray, BoolArray]:
    """Return the parts in which a legal trial keeps the constraints, and which trials do there.

    Where none does nothing would be chosen, so that such a part says nothing of what was.
    """
    keeps = keeping(measured, objective, constraints, in_part)
    has_some = keeps[legal].any(axis=0)
    return in_part[:, has_some], keeps[:, has_some]


def _choices_of_chance(
    trials: Sequence[SliceScores],
    objective: Objective,
    seed: int,
    constraints: Mapping[ConstraintName, Bound] | None = None,
) -> IntArray:
    """Return the trials that other samples of this kind might have chosen, each as often.

    They are chosen by halves: what a half of the samples differs from all of them by has the
    variance of what all of them differ from the truth by, as Shao and Wu 1989, "A general theory
    for jackknife variance estimation", Annals of Statistics 17, 1176-1197, have it of a jackknife
    that leaves out so many. By thirds, choices would vary too little.
    """
    in_part = in_halves(trials, _HALVINGS, np.random.default_rng([seed, 1]))
    every = np.arange(len(trials[0].scores))
    in_part, keeps = _with_a_choice(trials, objective, every, constraints or {}, in_part)
    if not in_part.shape[1]:
        return np.zeros(1, np.int64)
    inside = never_chosen(metrics_in_parts(trials, objective, in_part), objective, keeps)
    return choices(objective, inside)


def _outside(
    measured: Sequence[SliceScores],
    objective: Objective,
    pack: ChosenPack,
    in_part: BoolArray,
    shifts: Sequence[float],
) -> float:
    """Return the objective of a pack on the groups that had no say in it.

    Those that had say how much each slice counts. `shifts` of the slices are taken off.
    """
    inside, outside = [], []
    for one in measured:
        kept, scores = in_part[one.groups], pack.scores(one)
        inside.append(metric_of_rows(objective.metric, one.targets[kept], scores[None, kept])[0])
        if objective.metric.startswith("best_f1"):  # its threshold has a say in the part, too
            outside.append(metric_elsewhere(objective.metric, one.targets, scores, kept))
        else:
            rest = metric_of_rows(objective.metric, one.targets[~kept], scores[None, ~kept])
            outside.append(float(rest[0]))
    return float(slice_weights(np.array(inside), objective) @ (np.array(outside) - shifts))


def _chance_of_division(gains: Float64Array, divisions: int) -> float:
    """Return the standard error of the mean of (parts,) gains by how samples were divided."""
    # The thirds of one division say together what all samples say.
    whole = gains.reshape(3, divisions).mean(axis=0) if gains.size == 3 * divisions else gains
    return float(whole.std(ddof=1) / math.sqrt(len(whole))) if len(whole) > 1 else 0.0


class _Rows:
    """The legal trials, the chosen pack, and the packs that each part chose, on all samples."""

    def __init__(
        self,
        measured: Sequence[SliceScores],
        objective: Objective,
        legal: IntArray,
        packs: Sequence[ChosenPack],
    ) -> None:
        self.objective = objective
        self.measured = [
            replace(one, scores=np.vstack([one.scores[legal], *(p.scores(one) for p in packs)]))
            for one in measured
        ]
        self.kinds = kinds_of_groups(measured)
        values = np.stack(
            [metric_of_rows(objective.metric, one.targets, one.scores) for one in self.measured]
        )
        self.weights = slice_weights(values, objective)
        """(slices, rows) How much each slice counts."""
        self.totals = (self.weights * values).sum(axis=0)
        """(rows,) The objective."""

    def expected(self, value: float, row: int, chosen: IntArray, seed: int) -> ExpectedValue:
        """Return a corrected value, with its interval, of what was chosen in the end and in parts.

        Args:
            value: The corrected one.
            row: What was chosen on all samples.
            chosen: (parts,) The row that each part chose.
            seed: Of the bootstrap.
        """
        value = possible(value, self.objective.metric)
        if self.objective.metric == "auc":
            shares = np.bincount(chosen, minlength=len(self.totals)) / len(chosen)
            low, high = interval_of_auc(self.measured, value, shares, self.weights, self.totals)
        else:
            low, high = interval_of_other(
                self.measured, self.objective, value, self._chosen(row), seed
            )
        return ExpectedValue(naive=float(self.totals[row]), value=value, low=low, high=high)

    def variance_of_difference(
        self, first: tuple[int, IntArray], second: tuple[int, IntArray], seed: int
    ) -> float:
        """Return the variance of a difference of two, each given as `expected` takes it."""
        if self.objective.metric == "auc":
            moves = [
                group_influences(self.measured, self.weights[:, chosen], chosen)
                for _, chosen in (first, second)
            ]
            return float(influence_variances(moves[0] - moves[1], self.kinds).mean())
        found = self._variance_between(first[0], second[0], seed)
        if found == 0:  # calls that are alike say nothing of how far those of the parts differ
            pairs, times = np.unique([first[1], second[1]], axis=1, return_counts=True)
            most = np.argsort(-times, kind="stable")[:_PAIRS]
            each = [self._variance_between(pairs[0, at], pairs[1, at], seed) for at in most]
            found = float(np.average(each, weights=times[most]))
        return found

    def _variance_between(self, row: int, other: int, seed: int) -> float:
        first, second = (
            bootstrapped(self.measured, self.objective, self._chosen(one), self.kinds, seed)
            for one in (row, other)
        )
        return float(np.nanvar(first - second, ddof=1))

    def _chosen(self, row: int) -> ChosenRow:
        return ChosenRow(row, float(self.totals[row]), self.weights[:, row])
