"""The trials of a study in order: ranked, as JSON, and as a table for a terminal."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from workbench.study.records import TrialRow, place_of
from workbench.tables import USUAL_WIDTH, counted, text_table
from workbench.trial.recipe import Objective
from workbench.trial.result import State

_REASON = 40
"""Letters of a reason in the line of counts: two of them fit."""

_BREAKING = 3
"""Trials that break a constraint of which the table says what."""

_AFTER_COMPLETE: tuple[State, ...] = ("pruned", "failed")


def complete_trials(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the trials that can be ranked: complete, with an objective."""
    return [row for row in rows if row.state == "complete" and row.objective is not None]


def chosen_among(rows: Sequence[TrialRow], row: TrialRow | None) -> list[TrialRow]:
    """Return the complete trials of `rows` that one, or a model of several, was chosen among.

    Those that break a constraint were none to choose from, where this one keeps them.
    """
    is_broken = row is not None and bool(row.breaks)
    return [one for one in complete_trials(rows) if is_broken or not one.breaks]


def among_in_words(rows: Sequence[TrialRow], row: TrialRow) -> str:
    """Return how many complete trials one of them was chosen among, for a person."""
    among = chosen_among(rows, row)
    said = counted(len(among), "complete trial")
    if len(among) < len(complete_trials(rows)):
        said += f" that keep{'s' * (len(among) == 1)} the constraints"
    return said


def breaks_told(row: TrialRow) -> str:
    """Return in a sentence which constraints a model breaks; empty if it keeps all."""
    return broken_told(row.breaks)


def broken_told(breaks: Sequence[str], *, by: str = "It") -> str:
    """Return in a sentence which constraints something breaks; empty if it keeps all."""
    if not breaks:
        return ""
    which = "a constraint" if len(breaks) == 1 else "constraints"
    return f"{by} breaks {which}: {'; '.join(breaks)}."


def num_pruned(rows: Sequence[TrialRow]) -> int:
    """Return how many trials were stopped in their training; those refused had no epoch."""
    return sum(row.state == "pruned" and bool(row.epochs) for row in rows)


def stopped_told(pruned: int, paused: int) -> str:
    """Return in a sentence that trials were held back by the files of the rest; empty if none was.

    Args:
        pruned: So many were stopped, see `num_pruned`.
        paused: So many wait, as where the time was up.
    """
    if not (num := pruned + paused):
        return ""
    which = " or ".join(["stopped early"] * bool(pruned) + ["paused"] * bool(paused))
    return (
        f"{counted(num, 'more trial')} {'was' if num == 1 else 'were'} {which} by values on "
        "the same files, which flatters those that went on; scores of "
        f"{'stopped' if pruned else 'paused'} trials are not kept, so that is not corrected."
    )


def objective_of(row: TrialRow) -> float:
    """Return the objective of a trial that can be ranked."""
    assert row.objective is not None, f"trial {row.number} has no objective"
    return row.objective


def rank(rows: Sequence[TrialRow], objective: Objective) -> list[TrialRow]:
    """Return the trials, best first; then the pruned and the failed ones, by number.

    Equal objectives are ordered by the lower log-loss, then by the lower number. Those that break a
    constraint come after all that keep them. A pruned trial is not ranked by its objective: it
    comes from fewer epochs than that of the others.
    """
    ranked = sorted(complete_trials(rows), key=lambda row: place_of(row, objective))
    numbers = {row.number for row in ranked}
    rest = [row for row in rows if row.number not in numbers]
    order = ("complete", *_AFTER_COMPLETE)
    return ranked + sorted(rest, key=lambda row: (order.index(row.state), row.number))


def as_json(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """Return the trials by number as JSON objects, each metric under its own name.

    Every object has the same keys but for the metrics, which only a trial with an epoch has.
    """
    return [
        {
            "number": row.number,
            "state": row.state,
            "recipe": row.recipe,
            "objective": row.objective,
            **row.metrics,
            "params_thop": row.params_thop,
            "params_true": row.params_true,
            "seconds": row.seconds,
            "ms_per_file": row.ms_per_file,
            "slices": row.by_slice,
            "reason": row.reason,
            "breaks": list(row.breaks),
            "backbone": row.backbone,
            "views": list(row.views),
        }
        for row in sorted(rows, key=lambda row: row.number)
    ]


def as_table(
    rows: Sequence[TrialRow], objective: Objective, top: int = 10, *, width: int = USUAL_WIDTH
) -> str:
    """Return the `top` complete trials as a table, and a line that counts all trials.

    A column that says the same as another, or nothing, is left out; long names are cut, and where
    that does not do, some columns left out, so that a line keeps to `width` columns. `M` is
    millions of parameters, `s` seconds.
    """
    best = rank(complete_trials(rows), objective)[:top]
    count = shorten(count_line(rows), width)
    if not best:
        return f"No trial is complete yet.\n{count}"
    beside, said = beside_objective(best, objective)
    columns: dict[str, list[str]] = {"trial": [str(row.number) for row in best]}
    columns[objective.label] = [f"{row.objective:.4f}" for row in best]
    titles = {"log_loss": "log-loss", "tpr": "TPR", "fpr": "FPR"}
    for metric, values in beside.items():
        columns[titles.get(metric, metric)] = [_fixed(value, 4) for value in values]
    names = {"backbone": [row.backbone for row in best]}
    names["views"] = ["+".join(row.views) for row in best]
    columns |= names
    if len({row.image_px for row in rows}) > 1:
        columns["px"] = [str(row.image_px) for row in best]
    columns["M"] = [millions(row) for row in best]
    columns["s"] = [f"{row.seconds:.0f}" for row in best]

    def spared() -> int:
        rest = [[title, *cells] for title, cells in columns.items() if title not in names]
        return width - sum(2 + max(map(len, cells)) for cells in rest)

    for title in ("f1", "log-loss", "s"):  # what is missed least, where names have no room
        if spared() < 28 and title != objective.label:
            columns.pop(title, None)
    spare = spared()
    columns["views"] = [shorten(name, max(12, spare // 3 - 2)) for name in names["views"]]
    spare -= 2 + max(map(len, ["views", *columns["views"]]))
    columns["backbone"] = [shorten(name, max(12, spare)) for name in names["backbone"]]
    lines = text_table(list(columns), list(zip(*columns.values(), strict=True)))
    note = f"\n{said}" if said else ""
    return "\n".join([f"{lines}{note}\n\n{count}", *_breaking(rows, objective)])


def beside_objective(
    rows: Sequence[TrialRow], objective: Objective
) -> tuple[dict[str, list[float | None]], str]:
    """Return the metrics that stand beside the objective, a value for each trial, and a note.

    Of an objective over several slices they are those on `val`, which the note says: the worst F1
    beside the worst AUC says little. Of one slice, its metric is left out.
    """
    on_val = not objective.is_of_one() and all("val" in row.by_slice for row in rows)
    own = [row.by_slice["val"] if on_val else row.metrics for row in rows]
    names = ("auc", "f1", "log_loss", "tpr", "fpr")
    shown = [name for name in names if on_val or name != objective.metric]
    note = f"auc to FPR: on val alone; {objective.label}: on {objective.place}." if on_val else ""
    return {name: [metrics.get(name) for metrics in own] for name in shown}, note


def _breaking(rows: Sequence[TrialRow], objective: Objective) -> list[str]:
    """Return a line for each of the best trials that break a constraint, and what it breaks."""
    breaking = [row for row in rank(complete_trials(rows), objective) if row.breaks]
    lines = [
        f"Trial {row.number} ({objective.metric} {objective_of(row):.4f}) is promoted by hand "
        f"only: {'; '.join(row.breaks)}."
        for row in breaking[:_BREAKING]
    ]
    more = len(breaking) - len(lines)
    return [*lines, *([f"So are {more} more that break a constraint."] if more > 0 else [])]


def count_line(rows: Sequence[TrialRow]) -> str:
    """Return how many trials ended in which way, with the commonest reasons of failures."""
    states = Counter(row.state for row in rows)
    line = ", ".join(f"{states[state]} {state}" for state in ("complete", *_AFTER_COMPLETE))
    reasons = common_reasons(rows)[:2]
    if reasons:
        line += f" ({'; '.join(f'{n}× {shorten(reason, _REASON)}' for reason, n in reasons)})"
    return line + "."


def common_reasons(rows: Sequence[TrialRow], state: State = "failed") -> list[tuple[str, int]]:
    """Return why trials ended in `state` and how many did for that reason, commonest first.

    Reasons that differ in numbers alone count as one, in the words of the first.
    """
    reasons = [
        " ".join(row.reason.split()).rstrip(".") or "no reason"
        for row in rows
        if row.state == state
    ]
    words: dict[str, str] = {}
    kinds = [re.sub(r"[\d.]*\d", "0", reason) for reason in reasons]
    for kind, reason in zip(kinds, reasons, strict=True):
        words.setdefault(kind, reason)
    return [(words[kind], number) for kind, number in Counter(kinds).most_common()]


def millions(row: TrialRow) -> str:
    """Return the parameters of a trial's model in millions, the larger of the two counts."""
    counts = [count for count in (row.params_thop, row.params_true) if count is not None]
    return f"{max(counts) / 1e6:.1f}" if counts else "-"


def shorten(text: str, length: int) -> str:
    """Return `text` with its middle cut out if it is longer than `length`."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return text[: length - 1 - tail] + "…" + text[len(text) - tail :]


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def better_than(number: int | None, rows: Sequence[TrialRow], objective: Objective) -> str:
    """Return a sentence if a trial is better than the one that a pack is held against.

    Args:
        number: Of that trial; none of another study's.
        rows: The trials of the study.
        objective: What it improves.
    """
    ranked = rank(complete_trials(rows), objective)
    held = next((row for row in ranked if row.number == number), None)
    best = next((row for row in ranked if not row.breaks), None)
    if held is None or best is None or ranked.index(best) >= ranked.index(held):
        return ""
    if objective_of(best) == objective_of(held):
        return ""
    return (
        f"That single trial is trial {held.number}, {objective_of(held):.5f}; trial {best.number} "
        f"has {objective_of(best):.5f}. `workbench pack` chooses anew."
    )
