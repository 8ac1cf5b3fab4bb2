"""One offline HTML page about a study: what one decides from, then its trials and its plots."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workbench import pages
from workbench.errors import DamagedFileError
from workbench.report import figures
from workbench.report.calibration import calibration_section
from workbench.report.cells import interval_cell, number_cell, table, text_section, word_cell
from workbench.report.decision import (
    contenders_section,
    costs_section,
    decision_callout,
    evidence_section,
)
from workbench.report.figures import Plot
from workbench.report.mistakes import mistakes_section
from workbench.report.pack import pack_section
from workbench.report.screening import screening_section
from workbench.report.slices import degradation_section, slices_section
from workbench.report.trials import leaders, reasons
from workbench.selection.leaderboard import complete_trials, objective_of, rank
from workbench.selection.slice_values import main_slice
from workbench.selection.statistics import trial_auc
from workbench.selection.summary import Summary, summarise
from workbench.study.folder import StudyFolder
from workbench.study.importances import importances
from workbench.study.looks import read_looks
from workbench.study.records import TrialRow
from workbench.study.scored import read_scores
from workbench.tables import counted
from workbench.trial.delong import Estimate
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

    `rows` are its ended trials.

    Returns:
        What the page says first.

    Raises:
        DamagedFileError: the stored scores of one of the best trials are gone or damaged.
    """
    complete = rank(complete_trials(rows), objective)
    best = _best_trials(folder, rows, objective)
    summary, labelled = summarise(folder, rows, objective)
    sections = [
        contenders_section(summary, objective),
        pack_section(summary),
        holdout_section(folder),
        slices_section(summary, complete, objective),
        degradation_section(summary, best.rows, objective),
        calibration_section(summary),
        costs_section(summary),
        mistakes_section(folder, summary, labelled),
        evidence_section(summary),
        leaders(folder, complete, objective),
        *_plotted(rows, _plots(folder, rows, objective, best)),
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
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC of {counted(len(rows), 'ended trial')}"
        ),
        body=[
            decision_callout(folder, summary),
            _cards(rows, objective, best),
            *filter(None, sections),
        ],
        style=Path(__file__).with_name("report.css"),
        has_plots=True,
        has_media=True,
    )
    return summary


def study_plots(folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective) -> list[Plot]:
    """Return the plots of a study's page, those that its trials are enough for.

    Raises:
        DamagedFileError: the stored scores of one of the best trials are gone or damaged.
    """
    return _plots(folder, rows, objective, _best_trials(folder, rows, objective))


class _Best(NamedTuple):
    """The trials whose curves are drawn, best first."""

    rows: Sequence[TrialRow]
    place: str
    """The slice that their curves are of."""

    scores: Mapping[int, pd.DataFrame]
    """On it, by trial."""

    sureness: Estimate | None
    """Of the first one's objective, where it is an AUC."""


def _best_trials(folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective) -> _Best:
    top = rank(complete_trials(rows), objective)[:CURVES]
    tables = {row.number: read_scores(folder, row, objective) for row in top}
    place = main_slice(next(iter(tables.values())), objective) if tables else ""
    scores = {number: table[table["slice"] == place] for number, table in tables.items()}
    sureness = None
    if top and objective.has_standard_error(top[0].by_slice):
        sureness = trial_auc(folder, top[0], objective)
    return _Best(top, place, scores, sureness)


def _plots(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective, best: _Best
) -> list[Plot]:
    if not rows:
        return []
    mattered = importances(folder)
    shares = {name: found.share for name, found in mattered.items()}
    found = [
        figures.history(rows, objective, best.sureness),
        figures.importance_bars(mattered) if mattered else None,
        figures.parallel(rows, objective, shares),
        figures.learning_curves(rows, objective, best.rows),
        figures.roc(best.scores, best.rows, best.place) if best.rows else None,
        figures.precision_recall(best.scores, best.rows, best.place) if best.rows else None,
    ]
    return [plot for plot in found if plot is not None]


def _plotted(rows: Sequence[TrialRow], plots: Sequence[Plot]) -> list[str]:
    """Return the sections of the plots, with why there are no importances in their place."""
    found = [_section(plot) for plot in plots]
    if plots and all(plot.name != "importances" for plot in plots):
        note = _TOO_FEW.format(count=len(complete_trials(rows)))
        found.insert(1, text_section("Parameter importances", note))
    return found


def _section(plot: Plot) -> str:
    drawn = pages.plot(plot.name, plot.figure, least_width_px=plot.least_width_px, has_buttons=True)
    return pages.section(plot.title, drawn, note=plot.note, is_half=plot.is_half)


def _cards(
    rows: Sequence[TrialRow],
    objective: Objective,
    best: _Best,
) -> str:
    states: tuple[State, ...] = ("complete", "pruned", "failed")
    cards: list[tuple[str, str, str]] = [
        (state, str(sum(row.state == state for row in rows)), "") for state in states
    ]
    if best.rows:
        first = best.rows[0]
        spread, found = "", best.sureness
        if found and found.low is not None and found.high is not None:
            spread = f"{found.low:.5f} to {found.high:.5f} (95%), "
        value = f"{objective_of(first):.5f}"
        cards.append((f"best {objective.metric}", value, f"{spread}trial {first.number}"))
    hours = sum(row.seconds for row in rows) / 3600
    cards.append(("time in trials", f"{hours:.2f} h", ""))
    return pages.cards(cards)


def holdout_section(folder: StudyFolder) -> str:
    """Return every look at the locked holdout, oldest first; nothing where there was none."""
    try:
        looks = read_looks(folder)
    except DamagedFileError as error:
        return text_section("Locked holdout", str(error))
    if not looks:
        return ""
    header = ("look", "when", "who", "asked", "metric", "files", "told", "of")
    lines = [
        [
            number_cell(number, "d"),
            word_cell(look.when),
            word_cell(look.who),
            word_cell(look.title),
            word_cell(look.metric),
            number_cell(look.num_files, "d"),
            interval_cell(look.value, look.low, look.high, 4),
            word_cell(look.of_title),
        ]
        for number, look in enumerate(looks, 1)
    ]
    note = (
        f"{len(looks)} {'look' if len(looks) == 1 else 'looks'}, each logged before its value was "
        "shown. A later look tells a trial's own value only where it is better than what stood by "
        "more than the paired standard error (the Ladder, Blum and Hardt 2015); else what stood is "
        "told again."
    )
    drawn = table(header, lines, words=("when", "who", "asked", "metric", "of"), is_sortable=False)
    return pages.section("Locked holdout", drawn, note=note)
