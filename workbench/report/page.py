"""One offline HTML page about a study: what one decides from, then its trials and its plots."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from workbench import pages
from workbench.report import figures
from workbench.report.calibration import calibration_section
from workbench.report.cells import text_section
from workbench.report.decision import (
    contenders_section,
    costs_section,
    decision_callout,
    evidence_section,
)
from workbench.report.figures import Plot
from workbench.report.holdout import holdout_section
from workbench.report.mistakes import mistakes_section
from workbench.report.pack import pack_section
from workbench.report.screening import screening_section
from workbench.report.slices import degradation_section, slices_section
from workbench.report.trials import leaders, reasons
from workbench.selection.leaderboard import complete_trials, objective_of, rank
from workbench.selection.statistics import read_scores
from workbench.selection.summary import Summary, summarise
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, importances
from workbench.trial.delong import Z95, auc
from workbench.trial.recipe import Objective
from workbench.trial.result import State

CURVES = len(figures.TRIAL_COLOURS)
"""Trials whose curves are drawn."""

_TOO_FEW = (
    "PED-ANOVA, the method used here, needs at least 10 complete trials whose objectives differ, "
    "and there are {count}."
)


def write_report(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective, path: Path
) -> Summary:
    """Write the page of a study; it holds everything it shows and loads nothing.

    Args:
        folder: The study.
        rows: Its ended trials.
        objective: What it improves.
        path: The page.

    Returns:
        What the page says first.

    Raises:
        DamagedFileError: the stored scores of one of the best trials are gone or damaged.
    """
    complete = rank(complete_trials(rows), objective)
    top = complete[:CURVES]
    scores = {row.number: read_scores(folder, row, objective) for row in top}
    error = None
    if top and objective.has_standard_error(top[0].by_slice):
        best = scores[top[0].number]
        error = auc(best["target"], best["score"]).standard_error
    summary, labelled = summarise(folder, rows, objective)
    sections = [
        contenders_section(summary, objective),
        pack_section(summary),
        holdout_section(folder),
        slices_section(summary, complete, objective),
        degradation_section(summary, top, objective),
        calibration_section(summary),
        costs_section(summary),
        mistakes_section(folder, summary, labelled),
        evidence_section(summary),
        leaders(folder, complete, objective),
        *_sections(folder, rows, objective, top, scores, error),
        screening_section(folder, rows, objective),
        reasons(rows),
    ]
    info = folder.info()
    pages.write_page(
        path,
        title=f"Study {folder.name}",
        about=(
            f"Data {info.fingerprint} · begun {info.created} · seed {info.seed} · objective: "
            f"{objective.metric} on {objective.place}, {objective.direction} · page made "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC of {len(rows)} ended trials"
        ),
        body=[
            decision_callout(folder, summary),
            _cards(rows, objective, top, error),
            *filter(None, sections),
        ],
        style=Path(__file__).with_name("report.css"),
        has_plots=True,
        has_media=True,
    )
    return summary


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
        about_dimensions = text_section("Parameter importances", note)
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
