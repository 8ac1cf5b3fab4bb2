"""Finalists: the best trials, each trained again with new seeds, and which of them is the best.

A trial that is picked as the best of many owes a part of its value to its seed. The repeats were
picked by nobody, so their mean holds none of that luck. It is theirs alone: the trial itself does
not count. The champion is the finalist with the best mean, and what is promoted of it is the repeat
nearest that mean: the trial itself was picked for its luck, and so would the best repeat be.
"""

import math
import statistics
from collections.abc import Sequence
from contextlib import suppress

from workbench.errors import DamagedFileError, StudyError
from workbench.selection.leaderboard import better_than, complete_trials, objective_of, rank
from workbench.study.file_groups import groups_of_scores
from workbench.study.folder import StudyFolder
from workbench.study.packs import FinalistHeld
from workbench.study.records import TrialRow
from workbench.study.repeats import read_plan, read_repeats, row_of_repeat
from workbench.study.scored import read_scores, with_scores
from workbench.trial.delong import Estimate, mean_auc_difference
from workbench.trial.recipe import Objective
from workbench.values import Frozen


class Finalist(Frozen):
    """A trial that is trained again."""

    row: TrialRow
    """As it was when it was picked."""

    repeats: tuple[TrialRow, ...]
    """The same with what each repeat reached, of those that ended."""

    num_seeds: int
    """Repeats that were asked for."""

    @property
    def values(self) -> list[float]:
        """The objective of each complete repeat."""
        return [objective_of(row) for row in complete_trials(self.repeats)]

    @property
    def num_missing(self) -> int:
        """How many repeats have not ended."""
        return self.num_seeds - len(self.repeats)

    @property
    def is_whole(self) -> bool:
        """Whether all repeats are complete."""
        return len(self.values) == self.num_seeds

    @property
    def breaks(self) -> bool:
        """Whether no complete repeat keeps the constraints, so that none may be promoted."""
        complete = complete_trials(self.repeats)
        return bool(complete) and all(row.breaks for row in complete)

    @property
    def mean(self) -> float | None:
        """Of the values; none before there is one."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the values; none of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def nearest_mean(self, objective: Objective) -> TrialRow:
        """Return the complete repeat whose objective is nearest the mean; of equals the worse.

        One that breaks a constraint only where all of them do.

        Raises:
            ValueError: no repeat is complete.
        """
        if self.mean is None:
            raise ValueError(f"no repeat of trial {self.row.number} is complete")
        mean, sign = self.mean, -1 if objective.direction == "minimize" else 1

        def distance(row: TrialRow) -> tuple[bool, float, float]:
            # Halfway between two, rounding would decide.
            apart = round(abs(objective_of(row) - mean), 12)
            return bool(row.breaks), apart, sign * objective_of(row)

        return min(complete_trials(self.repeats), key=distance)


class MeanLead(Frozen):
    """How far the best finalist is ahead of the next, by the means over their repeats."""

    number: int
    """Of the next."""

    mean: float
    """Of the next."""

    margin: float
    """How much better the best is, whichever way is better."""

    standard_error: float | None
    """Of the margin: what other samples change (paired DeLong of the mean AUCs) and what other
    seeds do; known for an AUC on one slice."""


class Finalists(Frozen):
    """The finalists of a study, best first."""

    objective: Objective
    ranked: tuple[Finalist, ...]
    """By the mean; those of which a repeat failed or is missing come last, and after them those of
    which no repeat keeps the constraints."""

    lead: MeanLead | None = None

    @property
    def num_missing(self) -> int:
        """How many repeats have not ended."""
        return sum(one.num_missing for one in self.ranked)

    @property
    def best(self) -> Finalist | None:
        """The finalist with the best mean; none before all repeats ended, or if none completed."""
        if self.num_missing or not self.ranked or self.ranked[0].mean is None:
            return None
        return self.ranked[0]

    @property
    def seed_deviation(self) -> float | None:
        """What seeds move: the standard deviation over the repeats of a recipe, pooled over all.

        None where no finalist has two complete repeats.
        """
        degrees = sum(max(0, len(one.values) - 1) for one in self.ranked)
        if not degrees:
            return None
        squares = [(len(one.values) - 1) * (one.deviation or 0) ** 2 for one in self.ranked]
        return math.sqrt(math.fsum(squares) / degrees)

    @property
    def mean_deviation(self) -> float | None:
        """What trials differ by: the standard deviation of the finalists' means."""
        means = [one.mean for one in self.ranked if one.mean is not None]
        return statistics.stdev(means) if len(means) > 1 else None

    @property
    def luck(self) -> float | None:
        """How much better they were when they were picked than their repeats are, on average."""
        sign = -1 if self.objective.direction == "minimize" else 1
        gaps = [
            sign * (objective_of(one.row) - one.mean) for one in self.ranked if one.mean is not None
        ]
        return statistics.fmean(gaps) if gaps else None


def choose_finalists(rows: Sequence[TrialRow], objective: Objective, top: int) -> list[TrialRow]:
    """Return the best `top` complete trials that keep the constraints by the ranking, best first.

    Raises:
        StudyError: there is none.
    """
    complete = [row for row in complete_trials(rows) if not row.breaks]
    if not complete:
        why = "keeps the constraints" if complete_trials(rows) else "is complete"
        raise StudyError(f"No trial {why}, so none can be trained again. Search on.")
    return rank(complete, objective)[:top]


def read_finalists(folder: StudyFolder, rows: Sequence[TrialRow]) -> Finalists | None:
    """Return the finalists as they stand; nothing where none were ever asked for.

    Args:
        folder: The study.
        rows: Its ended trials, alike measured.

    Raises:
        StudyError: repeats were scored on other samples than one another.
        DamagedFileError: what was asked for, or what a repeat is, cannot be read.
    """
    plan = read_plan(folder)
    if plan is None:
        return None
    experiment = folder.experiment()
    objective = folder.objective()
    begun = {(repeat.of, repeat.place): repeat for repeat in read_repeats(folder)}
    found = []
    for row in complete_trials(rows):
        if row.number not in plan.numbers:
            continue
        ended = [
            with_scores(folder, again, objective, experiment.constraints)
            for repeat in begun.values()
            if repeat.of == row.recipe
            and 1 <= repeat.place <= plan.num_seeds
            and (again := row_of_repeat(folder, row, repeat))
        ]
        found.append(Finalist(row=row, repeats=tuple(ended), num_seeds=plan.num_seeds))
    sign = -1 if objective.direction == "maximize" else 1

    def place(one: Finalist) -> tuple[bool, bool, bool, float, int]:
        mean = math.inf if one.mean is None else sign * one.mean
        return one.mean is None, one.breaks, not one.is_whole, mean, one.row.number

    finalists = Finalists(objective=objective, ranked=tuple(sorted(found, key=place)))
    return finalists.model_copy(update={"lead": _lead(folder, finalists)})


def _lead(folder: StudyFolder, finalists: Finalists) -> MeanLead | None:
    if finalists.best is None:
        return None
    # One that may not be promoted is ahead of none and behind none.
    alike = [one for one in finalists.ranked if one.breaks == finalists.best.breaks]
    known = [one for one in alike if one.mean is not None]
    if len(known) < 2:
        return None
    best, other = known[:2]
    assert best.mean is not None and other.mean is not None
    sign = -1 if finalists.objective.direction == "minimize" else 1
    error = None
    seeds = finalists.seed_deviation
    if finalists.objective.has_standard_error(best.row.by_slice) and seeds is not None:
        of_samples = _difference(folder, best, other, finalists.objective).standard_error
        if of_samples is not None:
            share = 1 / len(best.values) + 1 / len(other.values)
            error = math.sqrt(of_samples**2 + seeds**2 * share)
    return MeanLead(
        number=other.row.number,
        mean=other.mean,
        margin=sign * (best.mean - other.mean),
        standard_error=error,
    )


def _difference(
    folder: StudyFolder, first: Finalist, second: Finalist, objective: Objective
) -> Estimate:
    """Return how much higher the mean AUC of the repeats of `first` is."""
    tables = [
        [
            read_scores(folder, row, objective).sort_values("name", ignore_index=True)
            for row in complete_trials(one.repeats)
        ]
        for one in (first, second)
    ]
    first_table = tables[0][0]
    names = first_table[["name", "target"]]
    if not all(table[["name", "target"]].equals(names) for some in tables for table in some):
        raise StudyError(
            f"The repeats of trials {first.row.number} and {second.row.number} were scored on "
            "different samples, so they cannot be compared. Search into a new study."
        )
    a, b = ([table["score"] for table in some] for some in tables)
    groups = groups_of_scores(folder, first_table)
    return mean_auc_difference(names["target"], a, b, groups)


def better_by_now(
    folder: StudyFolder,
    held: FinalistHeld | None,
    best_single: int | None,
    rows: Sequence[TrialRow],
    objective: Objective,
) -> str:
    """Return a sentence if what a pack was held against is no longer the best; empty if it is.

    Args:
        folder: The study.
        held: The finalist that the pack was held against when it was made.
        best_single: Without one, the trial.
        rows: The study's ended trials, alike measured.
        objective: What the study improves.
    """
    if held is None:
        return better_than(best_single, rows, objective)
    standing = None
    with suppress(StudyError, DamagedFileError):  # who asks for the finalists is told
        standing = read_finalists(folder, rows)
    best = standing.best if standing else None
    if best is None or best.mean is None or best.breaks:
        return ""
    now = held.model_copy(
        update={"number": best.row.number, "mean": best.mean, "num_seeds": len(best.values)}
    )
    if now.told == held.told:
        return ""
    return f"By now the best finalist is {now.told}. `workbench pack` chooses anew."
