"""The trials of a study, and what they scored, as pandas data frames."""

from collections.abc import Sequence

import pandas as pd

from workbench.selection.leaderboard import rank
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective

_SAMPLE = ["slice", "name", "target"]
_DRAWN = "drawn."
"""What the columns of searched dimensions begin with."""


def trials_frame(rows: Sequence[TrialRow], objective: Objective) -> pd.DataFrame:
    """Return ended trials as rows, the best first, then the pruned and the failed ones.

    Args:
        rows: The trials.
        objective: What they are ranked by.

    Returns:
        (trials, columns), by trial number; see `workbench.Study.trials`.
    """
    found = pd.DataFrame(
        [_cells(row) for row in rank(rows, objective)],
        index=pd.Index([row.number for row in rank(rows, objective)], name="trial", dtype=int),
    )
    for name in ("params_thop", "params_true", "image_px", "num_epochs"):
        if name in found:
            found[name] = found[name].astype("Int64")
    if "objective" in found:
        found["objective"] = found["objective"].astype(float)
    return found


def scores_frame(folder: StudyFolder, rows: Sequence[TrialRow]) -> pd.DataFrame:
    """Return what the complete trials of a study scored.

    Args:
        folder: The study.
        rows: Its ended trials.

    Returns:
        (samples of all slices, complete trials) float64; see `workbench.Study.scores`.

    Raises:
        DamagedFileError: the stored scores of a trial are gone or damaged.
    """
    columns = {}
    for row in sorted(rows, key=lambda row: row.number):
        if row.state == "complete":
            scores = folder.trial(row.recipe).read_scores().drop_duplicates(_SAMPLE)
            columns[row.number] = scores.set_index(_SAMPLE)["score"]
    if not columns:
        empty = pd.MultiIndex.from_tuples([], names=_SAMPLE)
        return pd.DataFrame(index=empty, columns=pd.Index([], name="trial"), dtype=float)
    found = pd.concat(columns, axis=1, sort=False)
    found.index.names = _SAMPLE
    found.columns.name = "trial"
    return found


def _cells(row: TrialRow) -> dict[str, object]:
    return {
        "state": row.state,
        "objective": row.objective,
        **row.metrics,
        "backbone": row.backbone,
        "views": "+".join(row.views),
        "image_px": row.image_px or None,
        "num_epochs": len(row.epochs),
        "params_thop": row.params_thop,
        "params_true": row.params_true,
        "seconds": row.seconds,
        "ms_per_file": row.ms_per_file,
        **{f"{_DRAWN}{key}": value for key, value in row.drawn.items()},
        "breaks": "; ".join(row.breaks),
        "reason": row.reason,
        "recipe": row.recipe,
    }
