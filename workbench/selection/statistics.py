"""How sure the AUCs of a study's trials are, from the scores that they left; see `trial.delong`."""

from collections.abc import Mapping

from workbench.errors import StudyError
from workbench.study.file_groups import groups_of_scores
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.study.scored import read_scores
from workbench.trial.delong import Estimate, auc, auc_difference
from workbench.trial.recipe import Objective


def trial_auc(folder: StudyFolder, row: TrialRow, objective: Objective) -> Estimate:
    """Return the AUC of a trial on the objective's one slice.

    Files of one group, see `file_groups`, count together in its interval.

    Raises:
        DamagedFileError: its scores are gone or damaged.
    """
    scores = read_scores(folder, row, objective)
    return auc(scores["target"], scores["score"], groups_of_scores(folder, scores))


def trial_auc_difference(
    folder: StudyFolder,
    first: TrialRow,
    second: TrialRow,
    objective: Objective,
    groups: Mapping[str, str] | None = None,
) -> Estimate:
    """Return how much higher the AUC of trial `first` is than that of `second`.

    Files of one group, see `file_groups`, count together in the standard error; `groups` are those
    of `groups_of_files`, where they were read before.

    Raises:
        StudyError: the two were scored on different samples.
        DamagedFileError: scores are gone or damaged.
    """
    a, b = (
        read_scores(folder, row, objective).sort_values("name", kind="stable", ignore_index=True)
        for row in (first, second)
    )
    if not a[["name", "target"]].equals(b[["name", "target"]]):
        raise StudyError(
            f"Trials {first.number} and {second.number} were scored on different samples of the "
            f"slice {objective.place!r}, so they cannot be compared. Search into a new study."
        )
    together = groups_of_scores(folder, a, groups)
    return auc_difference(a["target"], a["score"], b["score"], together)
