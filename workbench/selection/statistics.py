"""How sure the AUCs of a study's trials are, from the scores that they left; see `trial.delong`."""

import pandas as pd

from workbench.errors import StudyError
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.delong import Estimate, auc, auc_difference
from workbench.trial.recipe import Objective


def read_slice(folder: StudyFolder, row: TrialRow, objective: Objective) -> pd.DataFrame:
    """Return the stored scores of a trial on the objective's slice: `name`, `score`, `target`.

    Raises:
        StudyError: they are gone, or hold nothing of the slice.
    """
    file = folder.trial(row.recipe).scores
    if not file.exists():
        raise StudyError(
            f"The scores of trial {row.number} are gone ({file}). Put the file back, or search "
            "into a new study."
        )
    scores = folder.trial(row.recipe).read_scores()
    of_slice = scores[scores["slice"] == objective.slice]
    if of_slice.empty:
        raise StudyError(
            f"Trial {row.number} has no scores on the slice {objective.slice!r} ({file}). "
            "Search into a new study."
        )
    return of_slice[["name", "score", "target"]].reset_index(drop=True)


def trial_auc(folder: StudyFolder, row: TrialRow, objective: Objective) -> Estimate:
    """Return the AUC of a trial on the objective's slice.

    Raises:
        StudyError: its scores are gone.
    """
    scores = read_slice(folder, row, objective)
    return auc(scores["target"], scores["score"])


def trial_auc_difference(
    folder: StudyFolder, first: TrialRow, second: TrialRow, objective: Objective
) -> Estimate:
    """Return how much higher the AUC of trial `first` is than that of `second`.

    Raises:
        StudyError: scores are gone, or the two were scored on different samples.
    """
    a = read_slice(folder, first, objective).sort_values("name", kind="stable", ignore_index=True)
    b = read_slice(folder, second, objective).sort_values("name", kind="stable", ignore_index=True)
    if not a[["name", "target"]].equals(b[["name", "target"]]):
        raise StudyError(
            f"Trials {first.number} and {second.number} were scored on different samples of the "
            f"slice {objective.slice!r}, so they cannot be compared. Search into a new study."
        )
    return auc_difference(a["target"], a["score"], b["score"])
