"""The ended trials of a study, each held against the scores that it left."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import get_args

import pandas as pd

from workbench.errors import DamagedFileError, StudyError
from workbench.study.folder import StudyFolder
from workbench.study.records import (
    UID,
    TrialRow,
    is_row,
    read_study,
    read_trials,
    state_of,
)
from workbench.tables import counted
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import MetricName, Objective
from workbench.trial.result import TrialFolder

_PLAIN: tuple[MetricName, ...] = (
    "accuracy",
    "auc",
    "f1",
    "fpr",
    "log_loss",
    "precision",
    "recall",
    "tpr",
)
"""Metrics that all versions computed alike."""


def read_scores(folder: StudyFolder, row: TrialRow, objective: Objective) -> pd.DataFrame:
    """Return a trial's scores on the objective's slices: `slice`, `name`, `score`, `target`.

    Raises:
        StudyError: they hold nothing of these slices.
        DamagedFileError: they are gone or damaged.
    """
    file = folder.trial(row.recipe).scores
    scores = folder.trial(row.recipe).read_scores()
    names = objective.slices_among(scores["slice"].unique())
    if not names:
        raise StudyError(
            f"Trial {row.number} has no scores on the slice {objective.over[0]!r} ({file}). "
            "Search into a new study."
        )
    measured = scores[scores["slice"].isin(names)]
    return measured[["slice", "name", "score", "target"]].reset_index(drop=True)


def read_scored_trials(folder: StudyFolder) -> list[TrialRow]:
    """Return the ended trials of a study, by number; see `records.read_trials`.

    A complete one whose scores are gone or damaged, or do not give its objective, is a failed one,
    with that reason: the others can be ranked and promoted without it.

    Raises:
        StudyError: the study has no journal yet, or a damaged one.
    """
    rows = read_trials(folder)
    experiment = folder.experiment()
    objective, constraints = experiment.objective, experiment.constraints
    return [with_scores(folder, row, objective, constraints) for row in rows]


def set_aside(folder: StudyFolder, rows: Sequence[TrialRow]) -> list[str]:
    """Return a line for each complete trial that cannot be ranked; `rows` as they were read."""
    ended = filter(is_row, read_study(folder).get_trials(deepcopy=False))
    complete = {trial.number for trial in ended if state_of(trial) == "complete"}
    lost = [row for row in rows if row.state == "failed" and row.number in complete]
    return [f"Trial {row.number} is left out: {row.reason}" for row in lost]


def unrecorded(folder: StudyFolder) -> str:
    """Return a sentence if complete trials have folders and no record; else nothing.

    So it is of a journal that lost its end, which looks whole. While a search goes on, a trial may
    have ended and not be recorded yet.
    """
    if folder.is_held():
        return ""
    known = {trial.user_attrs.get(UID) for trial in read_study(folder).get_trials(deepcopy=False)}
    files = [TrialFolder(file.parent) for file in folder.path.glob("trials/*/result.json")]
    results = [one.kept_result() for one in files if one.path.name not in known]
    num_lost = sum(one is not None and one.state == "complete" for one in results)
    if not num_lost or folder.is_held():  # by now
        return ""
    return (
        f"Left out of {folder.name}: {counted(num_lost, 'complete trial')} in "
        f"{folder.path / 'trials'} that the study's journal does not know, as if its end were "
        "lost. Run `workbench search` as before: it takes them up again."
    )


def with_scores(
    folder: StudyFolder, row: TrialRow, objective: Objective, constraints: Collection[str]
) -> TrialRow:
    """Return a trial; a complete one whose scores are no good is a failed one, with the reason.

    They are to give its objective, its plain metrics, also on each of the objective's slices, and
    those that `constraints` limit.
    """
    if row.state != "complete":
        return row
    file = folder.trial(row.recipe).scores
    try:
        scores = read_scores(folder, row, objective)
    except StudyError as error:
        return row.model_copy(update={"state": "failed", "reason": str(error)})
    except DamagedFileError:
        reason = f"{file.name} is {'damaged' if file.exists() else 'gone'} ({file})."
        return row.model_copy(update={"state": "failed", "reason": reason})
    if row.objective is None:
        return row
    limits = [name for name in constraints if name in get_args(MetricName)]
    told: list[tuple[str, float]] = [(objective.metric, row.objective)]
    told += [(name, row.metrics[name]) for name in _PLAIN if name in row.metrics]
    told += [(name, row.metrics.get(name, math.nan)) for name in limits]
    wrong = _not_given(scores, objective, told, row.by_slice)
    if wrong is None:
        return row
    # One of the two was changed; which, nothing tells.
    reason = f"{file.name} does not give the {wrong} of its result.json ({file})."
    return row.model_copy(update={"state": "failed", "reason": reason})


def is_refuted(
    folder: StudyFolder, row: TrialRow, objective: Objective, constraints: Collection[str] = ()
) -> bool:
    """Return whether the scores that a trial left do not give what its result says.

    Of one that left none nothing is said.
    """
    if not folder.trial(row.recipe).scores.exists():
        return False
    return with_scores(folder, row, objective, constraints).state != row.state


def without_scores(folder: StudyFolder, rows: Sequence[TrialRow]) -> frozenset[str]:
    """Return the recipes of complete trials whose scores are gone, so that they cannot be ranked.

    Of a study none of whose trials has any, nothing tells which.
    """
    complete = {row.recipe for row in rows if row.state == "complete"}
    lost = frozenset(uid for uid in complete if not folder.trial(uid).scores.exists())
    return frozenset() if len(lost) == len(complete) else lost


def gives(scores: pd.DataFrame, objective: Objective, value: float) -> bool:
    """Return whether stored scores give this value of the objective."""
    return _not_given(scores, objective, [(objective.metric, value)]) is None


def _not_given(
    scores: pd.DataFrame,
    objective: Objective,
    values: Sequence[tuple[str, float]],
    by_slice: Mapping[str, Mapping[str, float]] | None = None,
) -> str | None:
    """Return the first metric of which stored scores do not give this value, if there is one.

    Args:
        scores: On the objective's slices, and others.
        objective: What is measured.
        values: Metrics over these slices.
        by_slice: Metrics on each slice; what is told of others is not looked at.
    """
    scored = {
        str(name): (part["target"], part["score"])
        for name, part in scores.groupby("slice", sort=False)
    }
    try:
        names = objective.slices_among(scored)
        measured = {name: binary_metrics(*scored[name]) for name in names}
        whole = objective.aggregated(measured)
    except (ValueError, KeyError):  # no scores of two classes, or none of a slice
        return objective.metric
    asked = [("", {str(name): value for name, value in whole.items()}, values)]
    for name, metrics in (by_slice or {}).items():
        if name in measured:
            found = {str(metric): value for metric, value in measured[name].items()}
            of_slice = [(str(metric), metrics[metric]) for metric in _PLAIN if metric in metrics]
            asked.append((f" on {name}", found, of_slice))
    for where, found, told in asked:
        for name, value in told:
            if not math.isclose(found.get(name, math.nan), value, rel_tol=1e-4, abs_tol=1e-6):
                return f"{name}{where}"
    return None
