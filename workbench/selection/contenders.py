"""The trials that a promotion is decided between, with what each is worth and what it costs."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from workbench.errors import ConfigError
from workbench.parts.model_spec import TTA
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook, Verdict
from workbench.selection.leaderboard import complete_trials, objective_of, rank
from workbench.selection.operating_points import OperatingPoint, operating_points
from workbench.selection.slice_values import Scores, auc_gap, main_slice
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.delong import Estimate, auc
from workbench.trial.recipe import Objective
from workbench.values import Frozen

_SHOWN: dict[TTA, int] = {"none": 1, "hflip": 2, "six": 6}
"""How often test-time augmentation shows a sample to the model."""

Role = Literal["champion", "best", "finalist", "runner-up"]


class Cost(Frozen):
    """What a model takes."""

    params_thop: int | None
    params_true: int | None
    macs: int | None
    """Multiplications with an addition to score one file, as thop counts them: of all its samples,
    as often as test-time augmentation shows them."""

    ms_per_file: float | None
    """Where the trial measured it."""

    seconds: float
    """Of its training."""


class Contender(Frozen):
    """One trial of those that a promotion is decided between."""

    number: int
    role: Role
    recipe: str
    backbone: str
    views: tuple[str, ...]
    value: float
    """Of the objective."""

    low: float | None
    high: float | None
    """The ends of its 95% interval, as if it had been the only trial; known for an AUC on one
    slice."""

    behind: float | None = None
    """How much worse its objective is than the first contender's; below 0 if it is better."""

    behind_standard_error: float | None = None
    """Paired DeLong."""

    operating_points: tuple[OperatingPoint, ...]
    """On the clean slice; empty where that holds one class."""

    cost: Cost


def first_choice(
    complete: Sequence[TrialRow], objective: Objective, champion: int | None
) -> tuple[TrialRow, Role]:
    """Return the trial that is promoted, or, as long as none is, the best; and which it is.

    Args:
        complete: Trials that can be ranked, one at least.
        objective: What the study improves.
        champion: The number of the promoted trial, if there is one.
    """
    promoted = [row for row in complete if row.number == champion]
    if promoted:
        return promoted[0], "champion"
    return rank(complete, objective)[0], "best"


def rivals(
    complete: Sequence[TrialRow], objective: Objective, first: TrialRow
) -> list[tuple[TrialRow, Role]]:
    """Return the trials that `first` is held against, with what they are; the best other first."""
    others = [row for row in rank(complete, objective) if row.number != first.number]
    return [(row, "runner-up") for row in others[:1]]


def contender(
    folder: StudyFolder,
    objective: Objective,
    scores: Scores,
    row: TrialRow,
    role: Role,
    first: TrialRow,
    verdict: Verdict | None,
) -> Contender:
    """Return what is known of one trial.

    Args:
        folder: The study.
        objective: What it improves.
        scores: The labelled scores of the trial and of `first`.
        row: The trial.
        role: What it is.
        first: The trial that it is held against; may be the same.
        verdict: What the rulebook says of its model, if that could be built.
    """
    own = scores[row.number]
    gap = _gap(objective, scores, first, row) if row.number != first.number else None
    sign = -1 if objective.direction == "minimize" else 1
    behind = sign * (objective_of(first) - objective_of(row))
    part = own[own["slice"] == main_slice(own, objective)]
    own_auc = _auc(objective, own)
    has_both = part["target"].nunique() == 2
    return Contender(
        number=row.number,
        role=role,
        recipe=row.recipe,
        backbone=row.backbone,
        views=row.views,
        value=objective_of(row),
        low=own_auc.low if own_auc else None,
        high=own_auc.high if own_auc else None,
        behind=behind if row.number != first.number else None,
        behind_standard_error=gap.standard_error if gap else None,
        operating_points=operating_points(part["target"], part["score"]) if has_both else (),
        cost=_cost(folder, row, verdict),
    )


def macs_in_words(macs: int | None) -> str:
    """Return a number of MACs as a person says it."""
    if macs is None:
        return "–"
    return f"{macs / 1e9:.2f} G" if macs >= 1e8 else f"{macs / 1e6:.2f} M"


def verdict_of(folder: StudyFolder, row: TrialRow, rulebook: Rulebook) -> Verdict | None:
    """Return what the rulebook says of a trial's model; none where it cannot be built any more."""
    recipe = folder.trial(row.recipe).kept_recipe()
    if recipe is None:
        return None
    spec = recipe.model
    try:
        return judge(
            rulebook, spec.backbone, spec.views, image_px=spec.image_px, weights=spec.weights
        )
    except ConfigError:  # a backbone of another version of timm
        return None


def choose_contenders(
    rows: Sequence[TrialRow], objective: Objective, champion: int | None
) -> list[tuple[TrialRow, Role]]:
    """Return the promoted trial, or the best, and then those that it is held against."""
    complete = complete_trials(rows)
    if not complete:
        return []
    first = first_choice(complete, objective, champion)
    return [first, *rivals(complete, objective, first[0])]


def _gap(objective: Objective, scores: Scores, first: TrialRow, row: TrialRow) -> Estimate | None:
    if not objective.has_standard_error:
        return None
    return auc_gap(scores[first.number], scores[row.number], objective.over[0])


def _auc(objective: Objective, scores: pd.DataFrame) -> Estimate | None:
    if not objective.has_standard_error:
        return None
    part = scores[scores["slice"] == objective.over[0]]
    return auc(part["target"], part["score"])


def _cost(folder: StudyFolder, row: TrialRow, verdict: Verdict | None) -> Cost:
    recipe = folder.trial(row.recipe).kept_recipe()
    macs = None
    if recipe and verdict and verdict.macs is not None:
        macs = verdict.macs * recipe.model.num_segments * _SHOWN[recipe.model.tta]
    return Cost(
        params_thop=row.params_thop,
        params_true=row.params_true,
        macs=macs,
        ms_per_file=row.ms_per_file,
        seconds=row.seconds,
    )
