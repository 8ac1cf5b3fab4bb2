"""What a trial that was chosen as the best of many is worth on new data of the same kind."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from workbench.errors import StudyError
from workbench.selection.choosing import SliceScores, in_thirds
from workbench.selection.correction import Correction, correct
from workbench.selection.in_parts import NOT_OF_SCORES
from workbench.selection.leaderboard import complete_trials, num_pruned, rank, stopped_told
from workbench.selection.pack_costs import packed_from
from workbench.selection.weighted import FAST, metric_elsewhere
from workbench.study.file_groups import groups_of_files, key_of
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, count_paused, place_of
from workbench.study.scored import read_scores
from workbench.study.slice_folders import slice_folders
from workbench.trial.constraints import Bound, ConstraintName
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import MetricName, Objective
from workbench.values import Frozen

_SAMPLE = ["slice", "name", "target"]

_METHOD = (
    "Chosen anew on two thirds of the files, scored on the other third, for many divisions into "
    "thirds (after BBC-CV, Tsamardinos et al. 2018)"
)
_MOST_SAMPLES = 400_000
"""Samples times divisions: so that a hundred trials take seconds."""


class Expected(Frozen):
    """The objective of a chosen trial, corrected for having been chosen, with its interval."""

    number: int
    """Of the trial."""

    metric: MetricName
    place: str
    """What the objective is measured on, for a person."""

    naive: float
    """The objective as it was measured: flattered where the best was taken of several trials."""

    expected: float | None
    """On new data of the same kind; absent where the samples are too few to tell."""

    low: float | None
    high: float | None
    """The ends of the 95% interval of the true value."""

    num_trials: int
    """Complete trials that keep the constraints, which it was chosen among."""

    num_breaking: int = 0
    """Complete trials besides that break a constraint on a metric, which they might keep on other
    files; 0 also where an older version did not note it."""

    num_groups: int
    """Groups of files that were kept together; as many as files where none belong together."""

    num_stopped: int = 0
    """Trials besides that were stopped or paused by the same files; 0 also where an older version
    did not note it."""

    num_epochs: int = 1
    """The most epochs of a complete trial, of which the best was taken; 1 also where an older
    version did not note it."""

    rank: int = 1
    """Its place among them by the objective; it is corrected for having been chosen from there."""

    chosen_share: float | None
    """How often it is chosen again, from 0 to 1, by two thirds of the files."""

    method: str
    """How the numbers were made, in one sentence."""

    of_slices: dict[str, float]
    """The metric on each slice that its scores are stored of: what another kind may bring."""

    caveats: tuple[str, ...] = ()
    """Sentences: what of it still flatters."""

    best_f1: float | None = None
    """Of the chosen trial, by a threshold from two thirds of the files and counted on the other."""

    @property
    def interval(self) -> str:
        """Return the interval and what it allows for, in brackets; empty where none is known."""
        if self.low is None or self.high is None:
            return ""
        only = "the only complete trial" if self.num_stopped else "the only trial"
        how = only if self.num_stopped else f"{only}, so not flattered by a choice"
        if self.num_breaking:
            how = f"the only one of {self.num_breaking + 1} that keeps the constraints"
        elif self.num_epochs > 1:
            how = f"the best of {self.num_epochs} epochs of {only}, which flatters it"
        if self.num_trials > 1:
            how = f"the best of {self.num_trials}"
        if self.rank > 1:
            how = f"number {self.rank} of {self.num_trials}"
        return f"({self.low:.2f} to {self.high:.2f}, 95%: {how})"

    @property
    def choice(self) -> str:
        """Return what the value is corrected for; empty where nothing was chosen."""
        if self.num_trials > 1:
            keep = " that keep the constraints" if self.num_breaking else ""
            return f"the choice among {self.num_trials} trials{keep}"
        if self.num_breaking:
            num = self.num_trials + self.num_breaking
            return f"being the only one of {num} trials that keeps the constraints"
        return ""

    @property
    def sentence(self) -> str:
        """Return the estimate for a person, in one sentence."""
        said = f"{self.metric} {self.naive:.4f} on {self.place}"
        if self.expected is None:
            return f"{said}; too few files of a class to tell what new data would bring."
        return f"{said}; expected on new data of this kind {self.expected:.3f} {self.interval}."

    @property
    def spread_sentence(self) -> str:
        """Return what data of another kind may bring, as the slices tell; empty with one slice."""
        if len(self.of_slices) < 2:
            return ""
        by_value = sorted(self.of_slices, key=self.of_slices.__getitem__)
        low, high = by_value[0], by_value[-1]
        return (
            f"Data of another kind may differ by more: over {len(by_value)} slices its "
            f"{self.metric} goes from {self.of_slices[low]:.3f} ({low}) to "
            f"{self.of_slices[high]:.3f} ({high})."
        )

    @property
    def lines(self) -> list[str]:
        """Return all of it for a terminal: this kind of data, another kind, what else flatters."""
        said = [self.sentence, self.spread_sentence]
        if self.best_f1 is not None:
            said.append(
                f"Its F1 is {self.best_f1:.3f} where its threshold is chosen on other files than "
                "it is counted on."
            )
        return [line for line in (*said, *self.caveats) if line]


def expect(
    folder: StudyFolder,
    rows: Sequence[TrialRow],
    objective: Objective,
    *,
    number: int | None = None,
    groups: Mapping[str, str] | None = None,
) -> Expected:
    """Return what the best trial, or trial `number`, is worth on new data of the same kind.

    Args:
        folder: The study, for the stored scores.
        rows: Its ended trials, alike measured; those that are not complete are left out.
        objective: What the trials are ranked by.
        number: A complete trial; the best if none is named.
        groups: The group of a file by its name: a group is never divided. A file that is not in it
            is a group of its own. By default those of the study, see `file_groups`.

    Raises:
        StudyError: no trial is complete.
        DamagedFileError: scores are gone or damaged.
    """
    ranked = rank(complete_trials(rows), objective)
    if not ranked:
        raise StudyError("No trial is complete, so nothing is to be expected of one.")
    row = ranked[0] if number is None else next(r for r in ranked if r.number == number)
    # On other files, others would keep the constraints on metrics; none of those on other things.
    constraints = {} if row.breaks else folder.experiment().constraints
    ranked = packed_from(ranked, constraints)
    in_order = sorted(ranked, key=lambda one: one.number)
    tables = {one.number: _in_order(read_scores(folder, one, objective)) for one in in_order}
    wanted = tables[row.number][_SAMPLE]
    complete = [one for one in in_order if tables[one.number][_SAMPLE].equals(wanted)]
    left_out = len(in_order) - len(complete)
    together = groups_of_files(folder) if groups is None else groups
    of_complete = [tables[one.number] for one in complete]
    measured = measured_on(of_complete, together, slice_folders(folder))
    trial = complete.index(row)
    pruned, paused = num_pruned(rows), count_paused(folder)

    def by_value(one: TrialRow) -> tuple[float, ...]:
        return place_of(one, objective)[1:]  # one that breaks a constraint may be the best

    among = [one for one in complete if row.breaks or not one.breaks]
    found = correct(
        measured,
        objective,
        trial=trial,
        constraints=constraints,
        divisions=_divisions(measured, objective, constraints),
    )
    return Expected(
        number=row.number,
        metric=objective.metric,
        place=objective.place,
        naive=_naive(row, found),
        expected=found.value if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        num_trials=len(among),
        num_breaking=len(complete) - len(among),
        num_stopped=pruned + paused,
        num_epochs=_most_epochs(complete),
        rank=1 + sorted(among, key=by_value).index(row),
        num_groups=len(np.unique(np.concatenate([one.groups for one in measured]))),
        chosen_share=found.share if found else None,
        method=_METHOD,
        of_slices=_on_all_slices(folder, row, objective.metric),
        caveats=_caveats(stopped_told(pruned, paused), complete, left_out, objective),
        best_f1=_best_f1(measured, trial) if len(measured) == 1 else None,
    )


def _in_order(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.sort_values(["slice", "name"], kind="stable", ignore_index=True)


def measured_on(
    tables: Sequence[pd.DataFrame], groups: Mapping[str, str], folders: Collection[str] = ()
) -> list[SliceScores]:
    """Return the scores of trials on each slice, of tables with the same samples in one order.

    Args:
        tables: Of each trial: `slice`, `name`, `target` and `score`.
        groups: The group of a file by `key_of`.
        folders: Slices with files of their own, which may be called as others of `val` are.
    """
    first = tables[0]

    def group_of(part: str, name: str) -> tuple[str, str]:
        # A file may be called as a group is.
        key = key_of(part, name, folders)
        return ("group", groups[key]) if key in groups else ("file", key)

    of_file = [group_of(*key) for key in zip(first["slice"], first["name"], strict=True)]
    number = pd.factorize(pd.Series(of_file, dtype=object))[0].astype(np.int64)
    values = np.stack([table["score"].to_numpy(np.float64) for table in tables])
    measured = []
    for _, part in first.groupby("slice", sort=False):
        at = part.index.to_numpy()
        targets = part["target"].to_numpy(np.int64)
        measured.append(SliceScores(targets=targets, scores=values[:, at], groups=number[at]))
    return measured


def _naive(row: TrialRow, found: Correction | None) -> float:
    assert row.objective is not None, f"trial {row.number} has no objective"
    return found.naive if found else row.objective


def _divisions(
    measured: Sequence[SliceScores],
    objective: Objective,
    constraints: Mapping[ConstraintName, Bound],
) -> int:
    if objective.metric not in FAST:
        return 5
    if any(name not in FAST for name in constraints.keys() - NOT_OF_SCORES):
        return 20
    samples = sum(len(one.targets) for one in measured)
    return min(200, max(20, _MOST_SAMPLES // samples))


def _on_all_slices(folder: StudyFolder, row: TrialRow, metric: MetricName) -> dict[str, float]:
    """Return a trial's metric on each slice of two classes that its scores are kept of."""
    scores = folder.trial(row.recipe).read_scores()
    return {
        str(name): binary_metrics(part["target"], part["score"])[metric]
        for name, part in scores.groupby("slice", sort=False)
        if part["target"].nunique() == 2
    }


def _caveats(
    stopped: str, complete: Sequence[TrialRow], left_out: int, objective: Objective
) -> tuple[str, ...]:
    said = []
    if left_out:
        said.append(f"Trials that were scored on other files are left out of this: {left_out}.")
    if stopped:
        said.append(stopped)
    if (epochs := _most_epochs(complete)) > 1:
        said.append(
            f"The best of up to {epochs} epochs of each trial was chosen on the same files, which "
            "flatters it, the more the less it learned; scores of other epochs are not kept, so "
            "that is not corrected."
        )
    if objective.metric.startswith("tpr_at_fpr"):
        said.append(
            f"A third of the files is few for {objective.metric}: it comes in coarse steps."
        )
    return tuple(said)


def _most_epochs(complete: Sequence[TrialRow]) -> int:
    """Return of how many epochs the best was taken, where a trial had the most."""
    each = (Counter(epoch.fold for epoch in row.epochs).values() for row in complete)
    return max((most for counts in each for most in counts), default=1)


def _best_f1(measured: Sequence[SliceScores], trial: int) -> float | None:
    """Return a trial's F1 on files that had no say in its threshold."""
    (one,) = measured
    in_part = in_thirds(measured, 5, np.random.default_rng(0))[one.groups]
    if not in_part.shape[1]:
        return None
    scores = one.scores[trial]
    return float(
        np.mean([metric_elsewhere("best_f1", one.targets, scores, part) for part in in_part.T])
    )
