"""Choosing which trials make the best pack under limits, from their stored scores.

Source:
    Caruana, Niculescu-Mizil, Crew and Ksikes 2004, "Ensemble selection from libraries of models",
    ICML, doi 10.1145/1015330.1015432: forward selection with replacement (section 2), begun with
    the best models (2.2), on several random halves of the models (2.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from workbench.parts.joint import Joint
from workbench.selection.choosing import (
    BoolArray,
    Float64Array,
    IntArray,
    SliceScores,
    slice_weights,
)
from workbench.selection.joining import (
    JointName,
    bounded_logits,
    fit_joint,
    inverse_temperatures,
    joined,
)
from workbench.selection.pack_limits import MemberCost, PackLimits
from workbench.selection.row_metrics import metric_of_rows
from workbench.trial.recipe import Objective

_DIGITS = 9
"""Values that agree to so many are equal, and the smaller model is taken."""


@dataclass(frozen=True)
class ForwardSearch:
    """How a pack is searched for."""

    bags: int = 10
    """Forward selections, each among trials drawn by chance; their picks are counted together."""

    share: float = 0.5
    """Of the trials, those that a bag draws."""

    begin: int = 8
    """So many of the best trials of a bag are picked first, once each."""

    picks: int = 16
    """The most, of a forward selection, repeated ones included."""


@dataclass(frozen=True)
class ChosenPack:
    """The members of a pack, and how they are joined."""

    members: tuple[int, ...]
    """Their places in `SliceScores.scores`, those that were picked most first."""

    joint: Joint

    def scores(self, one: SliceScores) -> Float64Array:
        """Return the pack's scores of the samples of a slice, (samples,)."""
        return joined(self.joint, one.scores[list(self.members)])


def choose_pack(
    measured: Sequence[SliceScores],
    objective: Objective,
    costs: Sequence[MemberCost],
    limits: PackLimits | None = None,
    *,
    joint: JointName = "mean",
    search: ForwardSearch | None = None,
    seed: int = 0,
) -> ChosenPack | None:
    """Return the pack of trials with the best objective that forward selection finds.

    A trial with the same scores as a smaller one is never a member. What comes out does not depend
    on the order of the trials, but where two are equally good and equally large.

    Args:
        measured: The trials on each slice of the objective.
        objective: What the pack is chosen by.
        costs: Of each trial, in the order of `SliceScores.scores`.
        limits: None by default but that of the members.
        joint: How the members are joined.
        search: How it is searched; by default as `plain_search` says.
        seed: Of the bags.

    Returns:
        Nothing where no trial keeps the limits by itself.
    """
    limits = limits or PackLimits()
    search = search or plain_search(limits)
    legal = legal_trials(measured, objective, costs, limits)
    if not len(legal):
        return None
    library = _library(measured, objective, costs, limits, legal, joint)
    picks = _bagged(library, search, np.random.default_rng(seed))
    members = _fitting(library, picks)
    shares = picks[members] / picks[members].sum()
    targets = np.concatenate([one.targets for one in measured])
    places = legal[members]
    scores = np.concatenate([one.scores[places] for one in measured], axis=1)
    fitted = fit_joint(joint, targets, scores, shares)
    return _without_idle(ChosenPack(tuple(places.tolist()), fitted))


def plain_search(limits: PackLimits) -> ForwardSearch:
    """Return the search that is the default: the best trials that fit, counted once each.

    Only where they are fewer than the limit of members does forward selection say how much each
    counts. Few samples tell who is good more surely than who fits whom: on the test files of three
    sets of trainings, by `tests/benchmarks/packs.py`, the calibrated mean of the best eight gained
    at least what forward selection in bags did.
    """
    return ForwardSearch(bags=1, begin=limits.members, picks=limits.members)


def legal_trials(
    measured: Sequence[SliceScores],
    objective: Objective,
    costs: Sequence[MemberCost],
    limits: PackLimits,
) -> IntArray:
    """Return the places of the trials that may be members, the best by themselves first.

    Equally good ones are in the order of their parameters. Of those with the same scores only the
    first is there.
    """
    values = objective_of_rows(measured, objective, [one.scores for one in measured])
    sign = 1 if objective.direction == "maximize" else -1
    params = np.array([cost.params for cost in costs])
    order = np.lexsort((params, -sign * np.round(values, _DIGITS)))
    seen, found = set(), []
    for place in order.tolist():
        cost = costs[place]
        too_slow = limits.ms_per_file is not None and (
            cost.ms_per_file is None or cost.ms_per_file > limits.ms_per_file
        )
        too_large = limits.params is not None and cost.params > limits.params
        content = b"".join(one.scores[place].tobytes() for one in measured)
        if not too_slow and not too_large and content not in seen:
            seen.add(content)
            found.append(place)
    return np.array(found, np.int64)


def objective_of_rows(
    measured: Sequence[SliceScores], objective: Objective, rows: Sequence[Float64Array]
) -> Float64Array:
    """Return the objective of each of several rows of scores, (rows,).

    Args:
        measured: The slices; their own scores are not looked at.
        objective: What is measured.
        rows: For each slice, (rows, samples).
    """
    values = np.stack(
        [
            metric_of_rows(objective.metric, one.targets, of_slice)
            for one, of_slice in zip(measured, rows, strict=True)
        ]
    )
    return np.asarray((slice_weights(values, objective) * values).sum(axis=0))


@dataclass(frozen=True)
class _Library:
    """The trials that may be members, the best first, as the search sees them."""

    targets: tuple[IntArray, ...]
    """Of each slice, (samples,)."""

    rows: tuple[Float64Array, ...]
    """Of each slice, (trials, samples): what is averaged, probabilities or calibrated logits."""

    of_logits: bool
    objective: Objective
    params: Float64Array
    """(trials,)"""

    ms: Float64Array
    limits: PackLimits

    def values(self, sums: Sequence[Float64Array], count: float | Float64Array) -> Float64Array:
        """Return the objective of means, higher is better.

        Args:
            sums: Of each slice, (..., samples): sums of rows.
            count: How many rows each is the sum of.

        Returns:
            (...).
        """
        found = []
        for targets, of_slice in zip(self.targets, sums, strict=True):
            rows = of_slice.reshape(-1, of_slice.shape[-1])
            if self.objective.metric != "auc":
                rows = rows / count
                rows = expit(rows) if self.of_logits else np.clip(rows, 0, 1)
            found.append(metric_of_rows(self.objective.metric, targets, rows))
        values = np.stack(found)
        total = (slice_weights(values, self.objective) * values).sum(axis=0)
        sign = 1 if self.objective.direction == "maximize" else -1
        return np.asarray(sign * np.round(total, _DIGITS)).reshape(sums[0].shape[:-1])

    def allows(self, has: BoolArray) -> BoolArray:
        """Return which trials a pack of `has`, (bags, trials), may pick next, the same shape."""
        params = (has @ self.params)[:, None] + self.params
        ms = (has @ self.ms)[:, None] + self.ms
        fits = np.broadcast_to(has.sum(axis=1)[:, None] < self.limits.members, has.shape)
        if self.limits.params is not None:
            fits = fits & (params <= self.limits.params)
        if self.limits.ms_per_file is not None:
            fits = fits & (ms <= self.limits.ms_per_file + 1e-9)
        return np.asarray(has | fits)


def _library(
    measured: Sequence[SliceScores],
    objective: Objective,
    costs: Sequence[MemberCost],
    limits: PackLimits,
    legal: IntArray,
    joint: JointName,
) -> _Library:
    rows = [one.scores[legal] for one in measured]
    if joint != "mean":
        targets = np.concatenate([one.targets for one in measured])
        rows = [bounded_logits(of_slice) for of_slice in rows]
        sharpness = inverse_temperatures(targets, np.concatenate(rows, axis=1))
        rows = [sharpness[:, None] * of_slice for of_slice in rows]
    its_costs = [costs[place] for place in legal]
    return _Library(
        targets=tuple(one.targets for one in measured),
        rows=tuple(rows),
        of_logits=joint != "mean",
        objective=objective,
        params=np.array([cost.params for cost in its_costs], np.float64),
        ms=np.array([cost.ms_per_file or 0 for cost in its_costs], np.float64),
        limits=limits,
    )


def _bagged(library: _Library, search: ForwardSearch, rng: np.random.Generator) -> IntArray:
    """Return how often each trial was picked in all bags together, (trials,)."""
    num_trials = len(library.params)
    size = num_trials
    if search.bags > 1:
        size = min(num_trials, max(round(search.share * num_trials), search.begin))
    drawn = [np.sort(rng.permutation(num_trials)[:size]) for _ in range(search.bags)]
    return _forward(library, np.array(drawn), search).sum(axis=0)


def _forward(library: _Library, bags: IntArray, search: ForwardSearch) -> IntArray:
    """Return how often forward selection picks each trial in each bag, (bags, trials).

    All bags take a step together. Each ends with its best picks so far, the fewest if equal.

    Args:
        library: The trials.
        bags: (bags, size), the places of those that each may pick, the best first.
        search: Says how many.
    """
    picks = _begun(library, bags, search)
    sums = [picks.astype(np.float64) @ rows for rows in library.rows]
    count = picks.sum(axis=1)
    every = np.arange(len(bags))
    best = picks.copy()
    best_value = library.values(sums, count[:, None])
    for _ in range(search.picks - 1):
        is_open = count < search.picks
        if not is_open.any():
            break
        offered = [s[:, None] + rows[bags] for s, rows in zip(sums, library.rows, strict=True)]
        number = np.repeat(count + 1, bags.shape[1])[:, None]
        values = library.values(offered, number)
        allowed = np.take_along_axis(library.allows(picks > 0), bags, axis=1)
        values[~allowed] = -np.inf
        place = _first_best(values, library.params[bags] * (picks[every[:, None], bags] == 0))
        trial = bags[every, place]
        for of_slice, rows in zip(sums, library.rows, strict=True):
            of_slice[is_open] += rows[trial[is_open]]
        picks[every[is_open], trial[is_open]] += 1
        count = picks.sum(axis=1)
        better = is_open & (values[every, place] > best_value)
        best[better], best_value[better] = picks[better], values[every, place][better]
    return best


def _begun(library: _Library, bags: IntArray, search: ForwardSearch) -> IntArray:
    """Return the picks that a selection begins with, (bags, trials): the best of each bag.

    What a limit forbids beside the better ones is passed over.
    """
    picks = np.zeros((len(bags), len(library.params)), np.int64)
    every = np.arange(len(bags))
    for trial in bags.T:
        fits = library.allows(picks > 0)[every, trial] & (picks.sum(axis=1) < search.begin)
        picks[every[fits], trial[fits]] = 1
    return picks


def _first_best(values: Float64Array, added: Float64Array) -> IntArray:
    """Return the place of the best value in each row; of equal ones, that which adds least."""
    is_best = values == values.max(axis=1, keepdims=True)
    return np.asarray(np.where(is_best, added, np.inf).argmin(axis=1))


def _fitting(library: _Library, picks: IntArray) -> IntArray:
    """Return the members, the most picked first, as far as they fit the limits together."""
    has = np.zeros((1, len(picks)), bool)
    members = []
    for trial in np.argsort(-picks, kind="stable").tolist():
        if picks[trial] and library.allows(has)[0, trial]:
            has[0, trial] = True
            members.append(trial)
    return np.array(members, np.int64)


def _without_idle(pack: ChosenPack) -> ChosenPack:
    """Return a pack without the members that have no weight, which would cost and say nothing."""
    kept = [place for place, weight in enumerate(pack.joint.weights) if weight > 0]
    weights = tuple(pack.joint.weights[place] for place in kept)
    return ChosenPack(
        members=tuple(pack.members[place] for place in kept),
        joint=pack.joint.model_copy(update={"weights": weights}),
    )
