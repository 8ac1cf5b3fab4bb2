"""What a trial of several folds is worth within each of them, beside its value of all together."""

from collections.abc import Sequence

import pandas as pd

from workbench.data.out_of_fold import FOLD
from workbench.data.prepared_table import read_own_table
from workbench.errors import CacheError
from workbench.selection.slice_values import CLEAN
from workbench.study.folder import StudyFolder
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective

_APART = 0.01
"""A difference of AUCs that is told."""


def within_folds(folder: StudyFolder, scores: pd.DataFrame) -> list[float]:
    """Return the AUC on `val` within each fold that has both classes, in the order of the folds.

    Args:
        folder: The study; where one fold validates, or its table is lost, nothing is returned.
        scores: Of a trial: `slice`, `name`, `score`, `target`.
    """
    try:
        table = read_own_table(folder.path)
    except CacheError:  # which is said elsewhere
        return []
    if FOLD not in table:
        return []
    own = scores[scores["slice"] == CLEAN]
    of_file = table[table["split"] == CLEAN].drop_duplicates("name").set_index("name")[FOLD]
    parts = [part for _, part in own.groupby(own["name"].map(of_file))]
    return [
        auc(part["target"], part["score"]).value for part in parts if part["target"].nunique() == 2
    ]


def folds_apart(
    folder: StudyFolder, which: str, scores: pd.DataFrame, objective: Objective
) -> Sequence[str]:
    """Return a sentence where a trial's AUC is lower because its models score at other levels.

    Source: Forman and Scholz 2010, "Apples-to-apples in cross-validation studies", SIGKDD
    Explorations 12(1), doi 10.1145/1882471.1882479, section 2.1: the AUC of all folds' scores
    together is below the mean within them where the folds' models are calibrated unlike.

    Args:
        folder: The study.
        which: Trial, for a person.
        scores: As for `within_folds`.
        objective: What the study improves.
    """
    if objective.metric != "auc" or len(found := within_folds(folder, scores)) < 2:
        return ()
    own = scores[scores["slice"] == CLEAN]
    whole = auc(own["target"], own["score"]).value
    mean = sum(found) / len(found)
    if mean - whole < _APART:
        return ()
    return (
        f"Folds: within them {which} has auc {min(found):.3f} to {max(found):.3f} on "
        f"{CLEAN}, mean {mean:.3f}; of all their files together {whole:.3f}. The models of the "
        "folds score at different levels, which lowers an AUC of all together, and which the one "
        "exported model does not have. A pack whose members' levels cancel out can seem better by "
        "that alone.",
    )
