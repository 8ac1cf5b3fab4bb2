"""Whether the validation set is too easy to tell good models from better ones."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.checks.evidence import separation
from workbench.checks.findings import Finding, finding
from workbench.checks.profiles import FloatColumn, Looks, standardized
from workbench.data.view_store import NEUTRAL_ROW
from workbench.values import Frozen

CEILING_AUC = 0.98
"""A validation set on which a linear model reaches this AUC is called saturated."""


class ProbeScore(Frozen):
    """What a linear model of a few numbers a file, fit on train, reaches on val."""

    what: str
    """The view, or the views, that it saw."""

    auc: float
    standard_error: float
    num_files: int


def probe_shortcuts(rows: pd.DataFrame, looks: Looks) -> list[ProbeScore]:
    """Return the score of a linear probe of each view, and of all together, the best first.

    As in a trial, files of which no view could be made are left out. `rows` are files of train and
    val that are there.
    """
    seen = np.logical_or.reduce([rows[f"row.{name}"].to_numpy() != NEUTRAL_ROW for name in looks])
    train, val = (seen & (rows["split"] == split).to_numpy() for split in ("train", "val"))
    targets = rows["target"].to_numpy(np.int64)
    if min(np.bincount(targets[part], minlength=2).min() for part in (train, val)) < 2:
        return []
    blocks = {name: np.concatenate(look, axis=1) for name, look in looks.items()}
    if len(blocks) > 1:
        blocks[" + ".join(blocks)] = np.concatenate(list(blocks.values()), axis=1)
    scores = []
    for what, values in blocks.items():
        found = separation(targets[val], _scores(values[train], targets[train], values[val]))
        if found:
            score = ProbeScore(
                what=what,
                auc=found.auc,
                standard_error=found.standard_error,
                num_files=found.num_positive + found.num_negative,
            )
            scores.append(score)
    return sorted(scores, key=lambda score: -score.auc)


def saturation_findings(scores: Sequence[ProbeScore], harder: str) -> Iterator[Finding]:
    """Yield what is to be said where the best probe is at the ceiling.

    The best score comes first; `harder` are the keys by which val is made harder, in words.
    """
    if scores and scores[0].auc >= CEILING_AUC:
        best = scores[0]
        yield finding(
            "saturated_validation",
            "warning",
            f"A linear model of a few numbers of {best.what} already reaches an AUC of "
            f"{best.auc:.4f} on val ({best.num_files:,} files): a hundred trained models will "
            "differ there by chance alone.",
            f"Choose by a harder slice, not by the AUC on val as it is: {harder}.",
        )


def _scores(
    learn: FloatColumn, targets: npt.NDArray[np.int64], ask: FloatColumn
) -> npt.NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    learn, ask = standardized(learn, ask)
    # The more values a file has, the more they are held back.
    model = LogisticRegression(C=1 / max(1, learn.shape[1]), max_iter=300)
    # The models are small: threads would wait for each other, and sum in another order each time.
    with threadpool_limits(1):
        return np.asarray(model.fit(learn, targets).decision_function(ask), np.float64)
