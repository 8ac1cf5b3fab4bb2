"""What evidence would change a decision: more files, or new data like one of the slices."""

import math
from collections.abc import Sequence

from workbench.selection.contenders import Contender
from workbench.selection.slice_values import ScoresByTrial, SliceValues, auc_gap, main_slice
from workbench.study.records import EXACT_DIGITS
from workbench.trial.delong import Z95
from workbench.trial.recipe import Objective

MOST_NAMED = 2
"""Slices that are named on which another trial is better."""


def times_as_many(gap: float, standard_error: float) -> float:
    """Return by how much the samples must grow until a gap of this size is told from none.

    The standard error falls with the root of their number, so that 1.96 of it come down to the gap
    at (1.96 standard_error / gap)^2 of it.

    Raises:
        ZeroDivisionError: there is no gap, which no number of samples shows.
    """
    return (Z95 * standard_error / gap) ** 2


def what_would_change_it(
    contenders: Sequence[Contender],
    values: SliceValues,
    scores: ScoresByTrial,
    objective: Objective,
) -> tuple[str, ...]:
    """Return, a sentence each, what would speak for another trial than the first contender.

    Args:
        contenders: The promoted trial, or the best, first.
        values: Of the trials on every slice.
        scores: The labelled scores of the same trials.
        objective: What the study improves.
    """
    first = contenders[0]
    own = scores[first.number]
    clean = main_slice(own, objective)
    num_files = int((own["slice"] == clean).sum())
    said = [_more_files(row, first, num_files, clean) for row in contenders[1:2]]
    if len(contenders) > 1 and first.mean is None:
        # What was named by hand may be held against finalists and be none itself.
        which = f"trial {first.number} is no" if contenders[1].mean is not None else "none is a"
        said.append(
            f"Other seeds: of these, {which} finalist that was trained again; `workbench "
            "finalists` would tell what of the lead is the seed's."
        )
    return (*filter(None, said), *_other_data(first, values, scores, objective))


def _more_files(rival: Contender, first: Contender, num_files: int, clean: str) -> str:
    gap, error = rival.behind, rival.behind_standard_error
    if gap is None or error is None or error == 0:
        return ""
    if round(gap, EXACT_DIGITS) == 0:
        return (
            f"More files: trial {rival.number} is level, and no number of files like those of "
            f"{clean} is sure to part the two."
        )
    times = times_as_many(gap, error)
    if times <= 1:
        return (
            f"More files: the {num_files} of {clean} tell trial {rival.number} apart already; "
            "more of the same kind will hardly change the decision."
        )
    needed = math.ceil(times * num_files)
    are_means = rival.mean is not None and first.mean is not None
    also = ", and as many times the seeds," if are_means else ""
    return (
        f"More files: if the gap to trial {rival.number} is the {abs(gap):.5f} that was seen, "
        f"about {_round(needed):,} labelled files like the {num_files} of {clean}{also} would tell "
        f"the two apart ({times:.1f} times as many)."
    )


def _other_data(
    first: Contender, values: SliceValues, scores: ScoresByTrial, objective: Objective
) -> list[str]:
    """Return where another trial is better by more than 1.96 paired standard errors."""
    if objective.metric != "auc":
        return []
    best: dict[str, tuple[float, int, float]] = {}
    for name in values.slices:
        if objective.over == (name,):
            continue
        for number in values.values:
            if number == first.number or name not in values.of(number):
                continue
            gap = auc_gap(scores[number], scores[first.number], name)
            if gap is None or not gap.standard_error:
                continue
            if gap.value > Z95 * gap.standard_error and gap.value > best.get(name, (0.0,))[0]:
                best[name] = gap.value, number, gap.standard_error
    most = sorted(best.items(), key=lambda item: -item[1][0])[:MOST_NAMED]
    return [
        f"Data like {name}: there trial {number} is ahead by {gap:.3f} ± {Z95 * error:.3f} (95%, "
        f"paired DeLong), the widest of the trials compared, which flatters it."
        for name, (gap, number, error) in most
    ]


def _round(number: int) -> int:
    """Return a number to two digits: it is no more sure than that."""
    step = 10 ** max(0, len(str(number)) - 2)
    return math.ceil(number / step) * step
