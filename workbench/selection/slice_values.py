"""What trials reach on every labelled slice that they were scored on, from their stored scores."""

from collections.abc import Mapping, Sequence

import pandas as pd

from workbench.study.file_groups import groups_of_files, groups_of_scores
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.delong import Estimate, auc, auc_difference
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective
from workbench.values import Frozen

CLEAN = "val"
"""The slice that degraded copies are copies of."""

ScoresByTrial = Mapping[int, pd.DataFrame]
"""The labelled scores of trials, by their numbers: `slice`, `name`, `score`, `target`, `group`."""


class SliceValues(Frozen):
    """The objective's metric of some trials on each slice."""

    slices: tuple[str, ...]
    """Those of the objective first, then in the order in which they were scored."""

    of_objective: tuple[bool, ...]
    """Whether each of them is one of the objective's."""

    values: dict[int, tuple[float | None, ...]]
    """Of each trial by its number, on each slice; none where it has no scores of both classes."""

    def of(self, number: int) -> dict[str, float]:
        """Return the known values of a trial by slice."""
        found = zip(self.slices, self.values[number], strict=True)
        return {name: value for name, value in found if value is not None}


def read_labelled_scores(folder: StudyFolder, rows: Sequence[TrialRow]) -> dict[int, pd.DataFrame]:
    """Return the scores of each trial on the files whose labels are known.

    Raises:
        DamagedFileError: scores are gone or damaged.
    """
    found, together = {}, groups_of_files(folder)
    for row in rows:
        scores = folder.trial(row.recipe).read_scores()
        known = scores.loc[scores["target"] >= 0, ["slice", "name", "score", "target"]]
        groups = groups_of_scores(folder, known, together)
        found[row.number] = known.assign(group=groups).reset_index(drop=True)
    return found


def main_slice(scores: pd.DataFrame, objective: Objective) -> str:
    """Return the slice that stands for all where one is to be looked at closely.

    `val` if it was scored, for it is clean and has every kind of file; else the objective's first.
    """
    names = scores["slice"].unique().tolist()
    return CLEAN if CLEAN in names else objective.slices_among(names)[0]


def slice_values(scores: ScoresByTrial, objective: Objective) -> SliceValues:
    """Return the objective's metric of each trial on each slice that holds both classes for one."""
    by_trial: dict[int, dict[str, float]] = {}
    order: dict[str, bool] = {}
    for number, table in scores.items():
        by_trial[number] = {}
        for name, part in table.groupby("slice", sort=False):
            if part["target"].nunique() == 2:
                by_trial[number][str(name)] = _value(part, objective)
                order.setdefault(str(name), bool(objective.slices_among([str(name)])))
    slices = sorted(order, key=lambda name: not order[name])  # stable: else as they were scored
    return SliceValues(
        slices=tuple(slices),
        of_objective=tuple(order[name] for name in slices),
        values={
            number: tuple(values.get(name) for name in slices)
            for number, values in by_trial.items()
        },
    )


def auc_gap(first: pd.DataFrame, second: pd.DataFrame, name: str) -> Estimate | None:
    """Return how much higher the AUC of the first trial is than the second's on slice `name`.

    None where the two have no scores of both classes on the same files.
    """
    a, b = (
        table[table["slice"] == name].sort_values("name", kind="stable", ignore_index=True)
        for table in (first, second)
    )
    if a["target"].nunique() < 2 or not a[["name", "target"]].equals(b[["name", "target"]]):
        return None
    return auc_difference(a["target"], a["score"], b["score"], a["group"])


def _value(part: pd.DataFrame, objective: Objective) -> float:
    if objective.metric == "auc":
        return auc(part["target"], part["score"]).value
    return binary_metrics(part["target"], part["score"])[objective.metric]
