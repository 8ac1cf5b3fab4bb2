"""How many of the files that a model is measured on have none of the views that it reads.

All trials of a study are ranked on the same files: those of which some view of the experiment could
be made. A model that reads only what a file lacks scores a neutral array in its place, a grey
picture or silence, and that score counts as any other. So it is told.
"""

import pandas as pd

from workbench.errors import DamagedFileError
from workbench.study.folder import StudyFolder
from workbench.tables import counted
from workbench.trial.recipe import Objective

_MOST_SLICES = 3
"""Slices that are named."""


def unseen_of(folder: StudyFolder, uid: str, objective: Objective) -> str:
    """Return `unseen_told` of a trial, a repeat, a pack or a soup of a study.

    Empty where its scores are gone or damaged: others say that.
    """
    try:
        return unseen_told(folder.model(uid).read_scores(), objective)
    except DamagedFileError:
        return ""


def unseen_told(scores: pd.DataFrame, objective: Objective) -> str:
    """Return in a sentence on how many files a model was measured of which it saw nothing.

    Args:
        scores: Rows of its scores file.
        objective: What it is measured by. Slices are told each by itself: two of them may hold the
            same files, or others of the same names.

    Returns:
        Empty if it saw something of each, or if an older version did not note it.
    """
    if "neutral" not in scores:
        return ""
    said, num_unseen = [], 0
    names = objective.slices_among(scores["slice"].unique().tolist())
    for name in names:
        rows = scores[scores["slice"] == name]
        lost = rows[rows["neutral"].to_numpy(bool)]
        if lost.empty:
            continue
        num_unseen += len(lost)
        classes = [(int((lost["target"] == 1).sum()), "fake")]
        classes.append((len(lost) - classes[0][0], "real"))
        told = ", ".join(f"{number} {kind}" for number, kind in classes if number)
        said.append(f"{len(lost)} of {counted(len(rows), 'file')} of {name} ({told})")
    if not said:
        return ""
    shown, more = said[:_MOST_SLICES], len(said) - _MOST_SLICES
    shown += [f"files of {counted(more, 'more slice')}"] if more > 0 else []
    *first, last = shown
    listed = f"{', '.join(first)} and {last}" if first else last
    verb, them = ("has", "it") if num_unseen == 1 else ("have", "them")
    return (
        f"{listed} {verb} none of the views that it reads: it scored neutral arrays of {them}, "
        "and these scores count like any other."
    )
