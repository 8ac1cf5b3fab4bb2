"""What finalists came to, for a person and for a program."""

import math
from typing import Any

from workbench.selection.finalists import Finalists
from workbench.selection.leaderboard import complete_trials, objective_of
from workbench.study.records import TrialRow
from workbench.tables import counted, text_table
from workbench.trial.delong import Z95


def say_lead(finalists: Finalists) -> str:
    """Return how far the best finalist is ahead, in a sentence."""
    lead, metric = finalists.lead, finalists.objective.metric
    if lead is None:
        return (
            "No other finalist has a complete repeat within the constraints, so nothing tells how "
            "good a lead is."
        )
    # One that comes last since a repeat failed may have the better mean.
    way = "ahead of" if lead.margin >= 0 else "behind"
    said = f"Its mean is {way} that of trial {lead.number} by {abs(lead.margin):.5f} in {metric}"
    if lead.standard_error is None:
        known = "as it is of an AUC on one slice, with two repeats or more of a finalist"
        return f"{said}; no standard error of that is known, {known}."
    said += f" ± {Z95 * lead.standard_error:.5f} (95%, other samples and other seeds)"
    if abs(lead.margin) <= Z95 * lead.standard_error:
        said += ", which chance alone could make: the two cannot be told apart"
    return f"{said}."


def trained_again_told(metric: str, mean: float, num_seeds: int) -> str:
    """Return in a sentence what the repeats of a trial have that is or would be promoted itself."""
    return (
        f"Trained again {counted(num_seeds, 'time')} with new seeds, it has a mean {metric} of "
        f"{mean:.5f}, which nobody picked."
    )


def reason(finalists: Finalists) -> str:
    """Return why the best finalist is the champion, in a sentence.

    Raises:
        ValueError: there is none.
    """
    best, metric = finalists.best, finalists.objective.metric
    if best is None:
        raise ValueError("no finalist is the best yet")
    often = (
        "once with a new seed"
        if len(best.values) == 1
        else (f"{len(best.values)} times with new seeds")
    )
    kept = [one for one in finalists.ranked if not one.breaks]
    among = counted(len(kept), "finalist")
    if len(kept) < len(finalists.ranked):
        among += " with a repeat within the constraints"
    num_part = sum(not one.is_whole for one in kept)
    if num_part and best.is_whole:
        among += f", {num_part} of them last since repeats failed"
    return (
        f"Trained again {often}, trial {best.row.number} has the "
        f"best mean {metric} of {among}, {best.mean:.5f} on "
        f"{finalists.objective.place}; it had {objective_of(best.row):.5f} when it was picked. "
        "Promoted is the repeat nearest the mean."
    )


def failed_repeats(finalists: Finalists) -> list[str]:
    """Return a line for each repeat that failed, or whose files are damaged: it costs the place.

    Not where the best one lacks a repeat itself.
    """
    costs = ", so that this finalist comes last" if finalists.ranked[0].is_whole else ""
    return [
        f"A repeat of trial {row.number} failed{costs}: {row.reason}"
        for one in finalists.ranked
        for row in one.repeats
        if row.state == "failed"
    ]


def sentences(finalists: Finalists) -> list[str]:
    """Return what the repeats tell, for a person: what seeds move beside what trials differ by."""
    metric, found = finalists.objective.metric, []
    seeds, means = finalists.seed_deviation, finalists.mean_deviation
    num = max((len(one.values) for one in finalists.ranked), default=0)
    if seeds is not None:
        said = f"Seeds move {metric} by {seeds:.5f} (standard deviation over repeats, pooled)"
        if means is not None:
            said += (
                f"; the means of the {len(finalists.ranked)} finalists differ by {means:.5f} "
                "(standard deviation), of which seeds alone would make "
                f"{seeds / math.sqrt(num):.5f}"
            )
        found.append(f"{said}.")
    if finalists.luck is not None:
        luck = round(finalists.luck, 5)
        which = f"{abs(luck):.5f} {'better' if luck > 0 else 'worse'} on average than"
        owed = "that is what picking owes to the seed"
        if not luck:
            which, owed = "as good on average as", "picking owes nothing to the seed"
        found.append(f"When they were picked they were {which} their repeats are: {owed}.")
    repeats = [row for one in finalists.ranked for row in complete_trials(one.repeats)]
    if broken := [row for row in repeats if row.breaks]:
        verb, are = ("breaks", "it is") if len(broken) == 1 else ("break", "they are")
        found.append(
            f"{len(broken)} of {counted(len(repeats), 'repeat')} {verb} a constraint (one of trial "
            f"{broken[0].number}: {broken[0].breaks[0]}): {are} not promoted, but counted in the "
            "means."
        )
    if finalists.num_missing:
        found.append(
            f"{finalists.num_missing} repeats are still to be trained; `workbench finalists` goes "
            "on, and until then the best model is promoted without them."
        )
    return found


def finalists_as_table(finalists: Finalists) -> str:
    """Return the finalists as a table, best first, with what the repeats tell below it."""
    header = ["trial", f"mean {finalists.objective.metric}", "deviation", "repeats"]
    lines = [
        [
            str(one.row.number),
            _fixed(one.mean),
            _fixed(one.deviation),
            " ".join(_repeat(row) for row in one.repeats) or "-",
            f"{objective_of(one.row):.4f}",
            one.row.backbone,
        ]
        for one in finalists.ranked
    ]
    table = text_table([*header, "when picked", "backbone"], lines)
    return "\n".join([table, "", *sentences(finalists)])


def finalists_as_json(finalists: Finalists) -> dict[str, Any]:
    """Return the finalists as JSON objects, best first."""
    lead = finalists.lead
    return {
        "metric": finalists.objective.metric,
        "seed_deviation": finalists.seed_deviation,
        "mean_deviation": finalists.mean_deviation,
        "luck": finalists.luck,
        "missing": finalists.num_missing,
        "lead": lead.model_dump() if lead else None,
        "finalists": [
            {
                "number": one.row.number,
                "recipe": one.row.recipe,
                "backbone": one.row.backbone,
                "picked": one.row.objective,
                "mean": one.mean,
                "deviation": one.deviation,
                "repeats": [
                    {
                        "recipe": row.recipe,
                        "state": row.state,
                        "objective": row.objective,
                        "reason": row.reason,
                    }
                    for row in one.repeats
                ],
            }
            for one in finalists.ranked
        ],
    }


def _repeat(row: TrialRow) -> str:
    return f"{objective_of(row):.4f}" if row.state == "complete" else row.state


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
