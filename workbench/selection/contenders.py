"""The trials that a promotion is decided between, with what each is worth and what it costs."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from workbench.errors import ConfigError
from workbench.parts.model_spec import TTA
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook, Verdict
from workbench.selection.estimate import Expected
from workbench.selection.finalists import Finalist, Finalists, MeanLead
from workbench.selection.leaderboard import complete_trials, objective_of, rank
from workbench.selection.operating_points import OperatingPoint, operating_points
from workbench.selection.slice_values import ScoresByTrial, auc_gap, main_slice
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.delong import Estimate, auc
from workbench.trial.recipe import Objective
from workbench.values import Frozen
from workbench.workspace import Workspace

MOST_FINALISTS = 5
"""That are shown beside the promoted trial."""

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

    expected: Expected | None = None
    """What the trial is worth on new data, corrected for the choice, if that is known; never of a
    repeat, which was not chosen among the trials."""

    mean: float | None = None
    """Of the objective over the repeats with other seeds, where it was trained again."""

    num_seeds: int = 0
    is_repeat: bool = False
    """Whether this is a repeat of the trial, with another seed."""

    @property
    def title(self) -> str:
        """What a person calls it: `trial 5`, or `the repeat of trial 5`."""
        return f"{'the repeat of ' * self.is_repeat}trial {self.number}"

    behind: float | None = None
    """How much worse its objective is than the first contender's, or its mean where both have one;
    below 0 if it is better."""

    behind_standard_error: float | None = None
    """Paired DeLong, and of means also what seeds move."""

    operating_points: tuple[OperatingPoint, ...]
    """On the clean slice; empty where that holds one class."""

    cost: Cost


class Chosen(Frozen):
    """A trial that a promotion is decided between, before it is looked at."""

    row: TrialRow
    """Of a finalist, the repeat that would be promoted."""

    role: Role
    finalist: Finalist | None = None
    lead: MeanLead | None = None
    """That of the first finalist over this one, where it is known."""


def choose_contenders(
    rows: Sequence[TrialRow],
    objective: Objective,
    champion: TrialRow | None,
    finalists: Finalists | None,
) -> list[Chosen]:
    """Return the promoted trial, or that which would be, and then those that it is held against.

    Args:
        rows: The ended trials of a study.
        objective: What it improves.
        champion: The promoted trial, or the repeat of it that was promoted, if there is one.
        finalists: Those that were trained again, if any were.
    """
    ranked = rank(complete_trials(rows), objective)
    if not ranked:
        return []
    again = {one.row.number: one for one in finalists.ranked} if finalists else {}
    number = champion.number if champion and champion.state == "complete" else None
    if number not in {row.number for row in ranked}:
        best = finalists.best if finalists else None
        number, champion = (best.row if best else ranked[0]).number, None
    others = [one for one in again if one != number]
    rest = [row.number for row in ranked if row.number not in {number, *others}]
    chosen: list[tuple[int, Role]] = [(number, "champion" if champion else "best")]
    chosen += [(other, "finalist") for other in others[:MOST_FINALISTS]]
    chosen += [(other, "runner-up") for other in rest[: 0 if others else 1]]
    by_number = {row.number: row for row in ranked}
    is_whole = finalists is not None and finalists.best is not None
    return [
        Chosen(
            row=_promotable(by_number[one], objective, again.get(one), champion, is_whole),
            role=role,
            finalist=again.get(one),
            lead=_lead_over(finalists, number, one),
        )
        for one, role in chosen
    ]


def _lead_over(finalists: Finalists | None, first: int, other: int) -> MeanLead | None:
    if finalists is None or finalists.best is None or finalists.best.row.number != first:
        return None
    return finalists.lead if finalists.lead and finalists.lead.number == other else None


def _promotable(
    row: TrialRow,
    objective: Objective,
    finalist: Finalist | None,
    champion: TrialRow | None,
    is_whole: bool,
) -> TrialRow:
    """Return the trial, or the repeat of it that is or would be promoted.

    Before all repeats have ended (`is_whole`) none of them would be.
    """
    if champion and champion.number == row.number:
        return champion
    if finalist is None or finalist.mean is None:
        return row
    return finalist.nearest_mean(objective) if is_whole else row


def contender(
    folder: StudyFolder,
    objective: Objective,
    scores: ScoresByTrial,
    chosen: Chosen,
    first: Chosen,
    *,
    verdict: Verdict | None,
    expected: Expected | None,
) -> Contender:
    """Return what is known of one trial.

    Args:
        folder: The study.
        objective: What it improves.
        scores: The labelled scores of the trial and of `first`.
        chosen: The trial.
        first: The trial that it is held against; may be the same.
        verdict: What the rulebook says of its model, if that could be built.
        expected: What the trial itself is worth on new data, if that is known.
    """
    row, finalist = chosen.row, chosen.finalist
    own = scores[row.number]
    behind, error = _behind(objective, scores, first, chosen)
    part = own[own["slice"] == main_slice(own, objective)]
    own_auc = _auc(objective, own)
    has_both = part["target"].nunique() == 2
    is_repeat = folder.repeat(row.recipe).path.is_dir()
    return Contender(
        number=row.number,
        role=chosen.role,
        recipe=row.recipe,
        backbone=row.backbone,
        views=row.views,
        value=objective_of(row),
        low=own_auc.low if own_auc else None,
        high=own_auc.high if own_auc else None,
        expected=None if is_repeat else expected,
        is_repeat=is_repeat,
        mean=finalist.mean if finalist else None,
        num_seeds=len(finalist.values) if finalist else 0,
        behind=behind,
        behind_standard_error=error,
        operating_points=operating_points(part["target"], part["score"], part["group"])
        if has_both
        else (),
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
            rulebook,
            spec.backbone,
            spec.views,
            image_px=spec.image_px,
            weights=spec.weights,
            head=spec.head,
            reading=spec.reading,
            counted=Workspace(folder.path.parents[1]).cache,
        )
    except ConfigError:  # a backbone of another version of timm
        return None


def _behind(
    objective: Objective, scores: ScoresByTrial, first: Chosen, other: Chosen
) -> tuple[float | None, float | None]:
    """Return how far a trial is behind the first, and the standard error of that."""
    if first.row.number == other.row.number:
        return None, None
    sign = -1 if objective.direction == "minimize" else 1
    means = [one.finalist.mean if one.finalist else None for one in (first, other)]
    paired = None
    if objective.has_standard_error(scores[first.row.number]["slice"].unique()):
        both = scores[first.row.number], scores[other.row.number]
        paired = auc_gap(*both, objective.over[0])
    error = paired.standard_error if paired else None
    if means[0] is None or means[1] is None:
        return sign * (objective_of(first.row) - objective_of(other.row)), error
    lead_error = other.lead.standard_error if other.lead else None
    return sign * (means[0] - means[1]), lead_error


def _auc(objective: Objective, scores: pd.DataFrame) -> Estimate | None:
    if not objective.has_standard_error(scores["slice"].unique()):
        return None
    part = scores[scores["slice"] == objective.over[0]]
    return auc(part["target"], part["score"], part["group"])


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
