"""What a repeated training is held against: bits where they can be equal, else a tolerance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.selection.champion import Champion
from workbench.submission.agreement import disagreements
from workbench.submission.contents import Contents
from workbench.submission.training_record import (
    RECORD,
    REPEATABILITY,
    SeedSpread,
    TrainedModel,
    digest_of_scores,
)
from workbench.tables import text_table
from workbench.trial.environment import Environment
from workbench.trial.metrics import objective_metrics
from workbench.trial.result import Result
from workbench.values import Frozen

USUAL_TOLERANCE = 0.02
"""Of the objective, where no repeats tell how far seeds move it."""

USUAL_SCORES_TOLERANCE = 0.1
"""Of the mean difference of scores, where no repeats tell."""

_ROUNDING = 1e-9
"""Of a metric that is computed of the same scores again."""

MOST_TOLERANCE, MOST_SCORES_TOLERANCE = 0.1, 0.2
"""What repeats may widen the two to: a bundle's own record tells them, and whoever wrote it could
let any model pass."""


_OTHER_TEST = "not compared: the test files here are others"


class Check(Frozen):
    """One line of the outcome."""

    what: str
    ok: bool | None
    """None of what is told and not held against anything."""

    said: str


class Tolerance(Frozen):
    """How far a repeated training may be off where its bits cannot be the same."""

    objective: float
    scores: float
    """Of the mean absolute difference of test scores."""

    source: str
    """Where the two come from, in a few words."""


def check_documents(bundle: Path, contents: Contents) -> Check:
    """Return the line of the records that tell the model, which no training reads: people do.

    Raises:
        BundleError: one of them cannot be read.
    """
    names, faults = disagreements(bundle, contents)
    said = "; ".join(faults) or f"{', '.join(names)}: of the model that {RECORD} trains"
    return Check(what="documents", ok=not faults, said=said)


def tolerance_for(spread: SeedSpread | None, asked: float | None) -> Tolerance:
    """Return the tolerance: that which the repeats of the study give, or a usual one.

    `asked` is the user's own, of the objective.
    """
    if spread is None:
        found = Tolerance(
            objective=USUAL_TOLERANCE,
            scores=USUAL_SCORES_TOLERANCE,
            source="a usual one, since no repeats with other seeds were trained",
        )
    else:
        found = Tolerance(
            objective=min(REPEATABILITY * spread.deviation, MOST_TOLERANCE),
            scores=min(spread.scores, MOST_SCORES_TOLERANCE),
            source=f"by {spread.num_repeats} repeats with other seeds, at most "
            f"{MOST_TOLERANCE} and {MOST_SCORES_TOLERANCE}",
        )
    if asked is None:
        return found
    source = f"the first as asked, the second {found.source}"
    return found.model_copy(update={"objective": asked, "source": source})


def why_not_bits(
    model: TrainedModel, result: Result, here: Environment, code_hash: str
) -> list[str]:
    """Return why a training repeated here need not give a model's bits, in a few words each."""
    told = []
    if (model.device, result.device) != ("cpu", "cpu"):
        told.append(f"{result.device} in place of {model.device or 'an unknown device'}")
        if model.device == result.device:
            told = [f"{model.device}, whose sums have no fixed order"]
    if model.environment is None:
        told.append("nobody noted where it was trained")
    else:
        told += here.differences(model.environment)
    if model.code_hash and model.code_hash != code_hash:
        told.append(f"code {code_hash} in place of {model.code_hash}")
    if (model.micro_batch, model.checkpointed) != (result.micro_batch, result.checkpointed):
        told.append("batches went through the model in other parts")
    return told


def check_model(
    model: TrainedModel,
    result: Result,
    scores: pd.DataFrame,
    *,
    reasons: Sequence[str],
    tolerance: Tolerance,
    has_same_test: bool = True,
) -> list[Check]:
    """Return the lines of one training.

    `scores` are the rows of its scores file. With `reasons` why its bits need not be the same, see
    `why_not_bits`, it may be off by `tolerance`. Where the test files are others than then, whose
    scores are among those that were noted, these say nothing of the training.
    """
    same = {
        "weights": result.weights_sha256 == model.weights_sha256,
        "scores": digest_of_scores(scores, model.recipe.objective) == model.scores_sha256,
    }
    checks = []
    if reasons:
        what = f"{model.title}: conditions"
        checks.append(Check(what=what, ok=None, said=f"not the same: {'; '.join(reasons)}"))
    for what, is_same in same.items():
        if is_same:
            checks.append(Check(what=f"{model.title}: {what}", ok=True, said="the same bits"))
        elif what == "scores" and not has_same_test:
            checks.append(Check(what=f"{model.title}: {what}", ok=None, said=_OTHER_TEST))
        elif reasons:
            said = "other bits, which these conditions allow"
            checks.append(Check(what=f"{model.title}: {what}", ok=None, said=said))
        else:
            said = "other bits, with the same processor, threads, versions and code"
            checks.append(Check(what=f"{model.title}: {what}", ok=False, said=said))
    if model.value is not None and result.objective is not None:
        gap = abs(result.objective - model.value)
        most = tolerance.objective if reasons else 0.0
        how = f"at most {most:.5f}" if reasons else "none allowed"
        said = f"{result.objective:.5f}, was {model.value:.5f}: {gap:.5f} apart, {how}"
        what = f"{model.title}: {model.recipe.objective.metric}"
        checks.append(Check(what=what, ok=gap <= most, said=said))
    return checks


def check_value(
    champion: Champion, scores: pd.DataFrame, is_bits: bool, tolerance: Tolerance
) -> Check:
    """Return the line of what a pack or a soup was worth, whose trainings tell only their own.

    `scores` are the rows of a scores file of it, made again.
    """
    scored = {
        str(name): (rows["target"], rows["score"])
        for name, rows in scores.groupby("slice", sort=False)
    }
    metric, what = champion.objective.metric, f"{champion.title}: {champion.objective.metric}"
    try:
        value = objective_metrics(champion.objective, scored)[metric]
    except (KeyError, ValueError):  # members of another study may have no scores there
        said = f"not compared: no labelled scores of {champion.objective.place} were made again"
        return Check(what=what, ok=None, said=said)
    gap, most = abs(value - champion.value), 0.0 if is_bits else tolerance.objective
    how = "none allowed" if is_bits else f"at most {most:.5f}"
    said = f"{value:.5f}, was {champion.value:.5f}: {gap:.5f} apart, {how}"
    return Check(what=what, ok=gap <= most + _ROUNDING, said=said)


def tolerance_told(tolerance: Tolerance, metric: str) -> Check:
    """Return the line of the tolerance that holds where conditions are others."""
    said = (
        f"{metric} {tolerance.objective:.5f}, test scores {tolerance.scores:.5f} on average: "
        f"{tolerance.source}"
    )
    return Check(what="tolerance", ok=None, said=said)


def check_predictions(
    exported: Mapping[str, float],
    scores: Mapping[str, float] | None,
    *,
    is_bits: bool,
    tolerance: Tolerance,
) -> Check:
    """Return the line of the predictions, which go by the names of the files.

    `scores` are those of the repeated training; None where the test files are others. If they need
    not be the same to the last bit, they may be off by `tolerance`.
    """
    what = "predictions"
    if scores is None:
        return Check(what=what, ok=None, said=_OTHER_TEST)
    names = sorted(exported)
    gaps = np.array([abs(exported[name] - scores.get(name, np.nan)) for name in names])
    if not gaps.any():
        return Check(what=what, ok=True, said=f"the same {len(names)} scores to the last digit")
    mean, most = float(gaps.mean()), float(gaps.max())
    rank = pd.Series([exported[name] for name in names]).corr(
        pd.Series([scores.get(name, np.nan) for name in names]), method="spearman"
    )
    said = f"up to {most:.5f} apart, {mean:.5f} on average, rank correlation {rank:.3f}"
    if is_bits:
        return Check(what=what, ok=False, said=f"{said}; none allowed")
    said += f"; at most {tolerance.scores:.5f} on average"
    return Check(what=what, ok=mean <= tolerance.scores, said=said)


def nothing_compared(checks: Sequence[Check]) -> list[Check]:
    """Return the line that fails a repeated training of which nothing could be compared."""
    if any(check.ok is not None for check in checks):
        return []
    said = (
        "nothing of the exported model could be compared: its bits may be others here, and it has "
        "neither a measured value nor predictions of these test files"
    )
    return [Check(what="comparison", ok=False, said=said)]


def checks_as_table(checks: Sequence[Check]) -> str:
    """Return the lines for a terminal."""
    words = {True: "pass", False: "FAIL", None: "-"}
    return text_table(
        ["what", "result", "how"], [[one.what, words[one.ok], one.said] for one in checks]
    )
