"""One offline HTML page about a study: its trials, its plots, its champion."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from workbench import pages
from workbench.errors import DamagedFileError
from workbench.parts.per_view import label_of
from workbench.screening.screening import Screening, rank_correlation, read_screening, summary
from workbench.selection import figures
from workbench.selection.figures import Plot
from workbench.selection.leaderboard import (
    common_reasons,
    complete_trials,
    millions,
    objective_of,
    rank,
    shorten,
)
from workbench.selection.promotion import lead_of, read_champion
from workbench.selection.statistics import read_scores, trial_auc_difference
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, importances
from workbench.trial.delong import Z95, Estimate, auc
from workbench.trial.recipe import Objective
from workbench.trial.result import State

TABLE_ROWS = 25
CURVES = len(figures.TRIAL_COLOURS)
"""Trials whose curves are drawn."""

_TOO_FEW = (
    "PED-ANOVA, the method used here, needs at least 10 complete trials whose objectives differ, "
    "and there are {count}."
)


def write_report(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective, path: Path
) -> None:
    """Write the page of a study; it holds everything it shows and loads nothing.

    Args:
        folder: The study.
        rows: Its ended trials.
        objective: What it improves.
        path: The page.

    Raises:
        DamagedFileError: the stored scores of one of the best trials are gone or damaged.
    """
    complete = rank(complete_trials(rows), objective)
    top = complete[:CURVES]
    scores = {row.number: read_scores(folder, row, objective) for row in top}
    error = None
    if top and objective.has_standard_error:
        best = scores[top[0].number]
        error = auc(best["target"], best["score"]).standard_error
    sections = [
        _leaders(folder, complete, objective),
        *_sections(folder, rows, objective, top, scores, error),
        _screening(folder, rows, objective),
        _reasons(rows),
    ]
    info = folder.info()
    pages.write_page(
        path,
        title=f"Study {folder.name}",
        about=(
            f"Data {info.fingerprint} · begun {info.created} · seed {info.seed} · objective: "
            f"{objective.metric} on {objective.place}, {objective.direction}"
        ),
        body=[_cards(rows, objective, top, error), _champion(folder), *sections],
        has_plots=True,
    )


def _sections(
    folder: StudyFolder,
    rows: Sequence[TrialRow],
    objective: Objective,
    top: Sequence[TrialRow],
    scores: Mapping[int, pd.DataFrame],
    error: float | None,
) -> list[str]:
    """Return the plots that this study's trials are enough for."""
    if not rows:
        return []
    shares = importances(folder)
    if shares:
        about_dimensions = _section(figures.importance_bars(shares))
    else:
        note = _TOO_FEW.format(count=len(complete_trials(rows)))
        about_dimensions = _text_section("Parameter importances", note)
    found = [
        figures.parallel(rows, objective, shares),
        figures.learning_curves(rows, objective, top),
        figures.roc(scores, top) if top else None,
        figures.precision_recall(scores, top) if top else None,
    ]
    return [
        _section(figures.history(rows, objective, error)),
        about_dimensions,
        *(_section(plot) for plot in found if plot is not None),
    ]


def _section(plot: Plot) -> str:
    drawn = pages.plot(plot.name, plot.figure, least_width_px=plot.least_width_px, has_buttons=True)
    return pages.section(plot.title, drawn, note=plot.note, is_half=plot.is_half)


def _text_section(title: str, text: str) -> str:
    return pages.section(title, f"<p>{escape(text)}</p>")


def _cards(
    rows: Sequence[TrialRow],
    objective: Objective,
    top: Sequence[TrialRow],
    error: float | None,
) -> str:
    states: tuple[State, ...] = ("complete", "pruned", "failed")
    cards: list[tuple[str, str, str]] = [
        (state, str(sum(row.state == state for row in rows)), "") for state in states
    ]
    if top:
        spread = f"± {Z95 * error:.5f} (95%, DeLong), " if error else ""
        value = f"{objective_of(top[0]):.5f}"
        cards.append((f"best {objective.metric}", value, f"{spread}trial {top[0].number}"))
    hours = sum(row.seconds for row in rows) / 3600
    cards.append(("time in trials", f"{hours:.2f} h", ""))
    return pages.cards(cards)


def _champion(folder: StudyFolder) -> str:
    if not folder.champion.exists():
        return ""
    try:
        champion = read_champion(folder)
    except DamagedFileError as error:
        return pages.callout("warning", "Champion", f"<p>{escape(str(error))}</p>")
    lines = (
        f"Trial {champion.number}, registered as {champion.model_name} version "
        f"{champion.model_version} by {champion.who} on {champion.when[:10]}.",
        champion.why,
        f"When it was promoted: {champion.sentence}",
    )
    said = "<br>".join(escape(line) for line in lines)
    return pages.callout("good", "Champion", f"<p>{said}</p>")


def _leaders(folder: StudyFolder, complete: Sequence[TrialRow], objective: Objective) -> str:
    """Return the table of the complete trials, given best first."""
    if not complete:
        text = "No trial is complete yet, so there is nothing to rank."
        return _text_section("Best trials", text)
    best, shown = complete[0], complete[:TABLE_ROWS]
    behind = {}
    if objective.has_standard_error:
        behind = {
            row.number: trial_auc_difference(folder, best, row, objective) for row in shown[1:]
        }
    said = lead_of(folder, complete, objective, best).sentence
    note = f"Trial {best.number} is the best. {said}"
    alike = [number for number, gap in behind.items() if _is_alike(gap)]
    if alike:
        note += (
            f" The samples of {objective.place} cannot tell {len(alike)} of the next "
            f"{len(behind)} from it (marked ≈)."
        )
    if len(complete) > TABLE_ROWS:
        note += f" The best {TABLE_ROWS} of {len(complete)} complete trials are listed."
    metrics = [name for name in ("auc", "log_loss", "f1", "tpr", "fpr") if name != objective.metric]
    header = ["rank", "trial", objective.metric, *(["behind the best"] if behind else [])]
    header += [*metrics, "backbone", "views", "params M", "seconds"]
    lines = []
    for place, row in enumerate(shown, 1):
        cells = [_number(place, "d"), _number(row.number, "d"), _number(row.objective, ".5f")]
        if behind:
            cells.append(_gap(behind.get(row.number)))
        cells += [_number(row.metrics.get(name), ".4f") for name in metrics]
        cells += [_word(row.backbone), _word("+".join(row.views))]
        size = millions(row)
        cells.append(_number(None if size == "-" else float(size), ".2f"))
        cells.append(_number(row.seconds, ".0f"))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    words = ("backbone", "views")
    head = "".join(
        f"<th{'' if name in words else ' class=number'}>{escape(name)}</th>" for name in header
    )
    table = (
        f"<div class='wide'><table class='sortable'><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )
    return pages.section("Best trials", table, note=note)


def _screening(folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective) -> str:
    """Return what the screening said, what it cost, and whether training bore it out."""
    try:
        screening = read_screening(folder.path)
    except DamagedFileError as error:
        return _text_section("Screening", str(error))
    if screening is None:
        return ""
    sign = 1 if objective.direction == "maximize" else -1
    finals: dict[str, float] = {}
    for row in complete_trials(rows):
        value = sign * objective_of(row)
        # A backbone of one view is judged by what was trained with it there, whatever beside it.
        names = [row.backbone, *(label_of({view: one}) for view, one in row.backbone_of.items())]
        for name in names:
            finals[name] = max(value, finals.get(name, value))
    lines = []
    unjudged = any(one.reason for one in screening.candidates)
    for one in screening.candidates:
        cells = [_word(one.backbone), _word("+".join(one.views)), _number(one.auc, ".4f")]
        cells += [_number(one.standard_error, ".4f"), _number(one.val_auc, ".4f")]
        final = finals.get(screening.name_of(one))
        cells += [_number(None if final is None else sign * final, ".4f")]
        cells += [_number(one.seconds if one.auc is not None else None, ".1f")]
        kept = "yes" if screening.goes_on(one) else "no"
        cells.append(f"<td>{kept}</td>")
        if unjudged:
            cells.append(f"<td class='prose'>{escape(shorten(one.reason, 200))}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    numbers = ("probe AUC", "error", "of val", f"best {objective.metric} trained", "seconds")
    head = "".join(
        f"<th{' class=number' if name in numbers else ''}>{escape(name)}</th>"
        for name in ("backbone", "views", *numbers, "goes on", *["not judged because"] * unjudged)
    )
    table = (
        f"<div class='wide'><table class='sortable'><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )
    note = f"{summary(screening)} {_screening_cost(screening, rows)}"
    for view, part in screening.by_view().items():
        note += f" {view}: " if view else " "
        note += _borne_out(part, finals)
    return pages.section("Screening", table, note=note)


def _screening_cost(screening: Screening, rows: Sequence[TrialRow]) -> str:
    of_trials = sum(row.seconds for row in rows)
    if not of_trials:
        return "No trial has ended yet to compare its cost with."
    return f"That is {screening.seconds / of_trials:.1%} of the time in trials so far."


def _borne_out(screening: Screening, finals: Mapping[str, float]) -> str:
    """Return how the probe's order agrees with that of the trained backbones, in a sentence."""
    both = [name for name in screening.best if name in finals]
    found = rank_correlation(screening, finals)
    if len(both) < 3:
        return (
            f"{len(both)} of the {len(screening.best)} judged backbones have a complete trial, and "
            "a rank correlation with the final objective needs three: whether the probe was right "
            "cannot be said."
        )
    if found is None:
        return "All of the backbones came out equal, so there is no rank correlation."
    left_out = len(screening.best) - len(both)
    missing = f" Not counted: {left_out} judged, but never trained." if left_out else ""
    return (
        f"Spearman's rank correlation of the probe with the best trained objective is {found:.2f} "
        f"over {len(both)} backbones.{missing}"
    )


def _is_alike(gap: Estimate) -> bool:
    return gap.standard_error is not None and gap.value <= Z95 * gap.standard_error


def _gap(gap: Estimate | None) -> str:
    if gap is None:
        return "<td class='number' data-value='0'></td>"
    spread = f" ± {Z95 * gap.standard_error:.5f}" if gap.standard_error is not None else ""
    text = f"{'≈ ' if _is_alike(gap) else ''}{gap.value:.5f}{spread}"
    return f"<td class='number' data-value='{gap.value:.17g}'>{text}</td>"


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "<td class='number'>–</td>"
    return f"<td class='number' data-value='{value:.17g}'>{value:{form}}</td>"


def _word(text: str) -> str:
    return f"<td title='{escape(text)}'>{escape(shorten(text, 32))}</td>"


def _reasons(rows: Sequence[TrialRow]) -> str:
    lines = [
        f"<tr><td class='number'>{count}</td><td>{state}</td>"
        f"<td class='prose'>{escape(shorten(reason, 300))}</td></tr>"
        for state in ("failed", "pruned")
        for reason, count in common_reasons(rows, state)[:15]
    ]
    if not lines:
        return ""
    table = (
        "<table><thead><tr><th class='number'>trials</th><th>state</th><th>reason</th></tr></thead>"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table>"
    )
    return pages.section("Why trials ended early", table)
