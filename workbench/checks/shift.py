"""Whether two splits can be told apart, by facts of the files and the overall look of the views."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.checks.cues import Family, make_cues
from workbench.checks.evidence import Separation, separation
from workbench.checks.findings import Finding, finding, printable
from workbench.checks.profiles import FloatColumn, Looks, standardized
from workbench.checks.shortcuts import FOLDS, cross_validated_rates
from workbench.data.prepare import Prepared
from workbench.values import Frozen

SHIFT_AUC = 0.75
"""From this AUC on two splits are called shifted, if chance would not do as well."""

# Names and rows are numbered split by split; a shift of theirs means nothing.
_ASKED: tuple[Family, ...] = ("encoding", "length", "loudness", "reading")
_FILES_A_GROUP, _MOST_GROUPS = 8, 256


class SplitShift(Frozen):
    """How well a linear model tells the files of two splits apart."""

    first: str
    second: str
    auc: float
    standard_error: float
    cue: str
    """What alone tells most, a cue or a view."""

    cue_auc: float


def split_shifts(
    prepared: Prepared, facts: pd.DataFrame, rows: pd.DataFrame, looks: Looks
) -> list[SplitShift]:
    """Return the shift between each two splits.

    `rows` are some files of each split that are there. Facts go by content.
    """
    from threadpoolctl import threadpool_limits

    found = []
    for first, second in combinations(rows["split"].unique(), 2):
        chosen = rows["split"].isin([first, second]).to_numpy()
        views = {name: overall[chosen] for name, (overall, _) in looks.items()}
        # Models this small make threads wait for each other, and sum in another order each time.
        with threadpool_limits(1):
            score = _shift(prepared, facts, rows[chosen], views)
        if score:
            overall, cue, alone = score
            found.append(
                SplitShift(
                    first=str(first),
                    second=str(second),
                    auc=overall.auc,
                    standard_error=overall.standard_error,
                    cue=printable(cue),
                    cue_auc=alone.auc,
                )
            )
    return found


def shift_findings(shifts: Sequence[SplitShift]) -> Iterator[Finding]:
    """Yield what is to be said of splits that differ."""
    for shift in shifts:
        best = max(shift.auc, shift.cue_auc)
        if best < SHIFT_AUC or best - 0.5 < 4 * shift.standard_error:
            continue
        pair = (shift.first, shift.second)
        remedy = (
            "A score on val will not carry over to test: augment train towards test, and choose "
            "by val and its degraded copies: `objective: {metric: auc, over: [val, degraded], "
            "aggregate: worst}`."
            if "test" in pair
            else "Find out what makes them differ, and add augmentation that bridges it; a score "
            "on val then measures transfer, not fit."
        )
        yield finding(
            f"shift_{shift.first}_{shift.second}",
            "note" if best < 0.9 else "warning",
            f"The files of {shift.first} and {shift.second} can be told apart: AUC "
            f"{shift.auc:.3f} of a linear model; {shift.cue} alone {shift.cue_auc:.3f}.",
            remedy,
        )


def _shift(
    prepared: Prepared, facts: pd.DataFrame, rows: pd.DataFrame, views: dict[str, FloatColumn]
) -> tuple[Separation, str, Separation] | None:
    targets = (rows["split"] == rows["split"].iloc[-1]).to_numpy(np.int64)
    if np.bincount(targets, minlength=2).min() < 2 * FOLDS:
        return None
    cues = [cue for cue in make_cues(prepared, facts, rows) if cue.family in _ASKED]
    alone = {
        cue.name: separation(targets, cross_validated_rates(cue.codes, targets)) for cue in cues
    }
    # Each value of a cue by its rank; a linear model needs no more of it.
    steps = [np.float32(cue.codes[:, None] / cue.codes.max()) for cue in cues]
    for name, view in views.items():
        alone[f"the look of {name}"] = separation(targets, _ask_in_groups(view, targets))
    everything = np.concatenate([*views.values(), *steps], axis=1)
    overall = separation(targets, _ask_in_groups(everything, targets))
    best, told = max(
        ((name, found) for name, found in alone.items() if found), key=lambda item: item[1].auc
    )
    return (overall, best, told) if overall else None


def _ask_in_groups(values: FloatColumn, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the cross-validated decision of a linear model for each file.

    Files that look alike (clips of one person, of one scene) are in one fold: that a person is in
    one split only is how it should be, and no shift.
    """
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    scaled = standardized(values)[0]
    scores = np.zeros(len(values))
    num_groups = min(
        max(2 * FOLDS, min(_MOST_GROUPS, len(values) // _FILES_A_GROUP)),
        len(np.unique(scaled, axis=0)),
    )
    if num_groups < 2:
        return scores
    groups = KMeans(num_groups, n_init=1, max_iter=50, random_state=0).fit_predict(scaled)
    folds = min(FOLDS, len(np.unique(groups)))
    for learn, ask in GroupKFold(folds).split(scaled, targets, groups):
        if len(np.unique(targets[learn])) < 2:
            continue
        model = LogisticRegression(C=1 / values.shape[1], max_iter=300, class_weight="balanced")
        scores[ask] = model.fit(scaled[learn], targets[learn]).decision_function(scaled[ask])
    return scores
