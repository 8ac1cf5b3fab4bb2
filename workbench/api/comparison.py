"""The trials of a study compared, as a page, as text, as a notebook shows it, and as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.api.frames import trials_frame
from workbench.console import visible_lines
from workbench.report.page import study_plots, write_report
from workbench.selection import leaderboard
from workbench.selection.alias_told import other_alias
from workbench.selection.champion import cut_off_promotion
from workbench.selection.finalists import read_finalists
from workbench.selection.finalists_told import finalists_as_table
from workbench.selection.pack_summary import PackSummary, describe_pack
from workbench.selection.summary import Summary, describe_summary, summarise
from workbench.study.alike import measured_alike
from workbench.study.disk import kept_weights
from workbench.study.folder import StudyFolder
from workbench.study.looks import describe_looks, read_looks
from workbench.study.records import TrialRow, count_running
from workbench.study.scored import read_scored_trials, unrecorded
from workbench.study.since_begun import told_since_begun
from workbench.tables import USUAL_WIDTH
from workbench.trial.recipe import Objective

SHOWN = 10
"""Trials in a table."""

_COLUMNS = ("auc", "f1", "log_loss", "backbone", "views", "image_px", "seconds")


@dataclass(frozen=True)
class Comparison:
    """The trials of a study, ranked, and what they come to, as `Study.compare` found them.

    It holds what was true then: a study that goes on is compared anew. A notebook shows the
    decision and the best trials; `print` gives the text of `workbench compare`.

    Example:
        >>> compared = wb.Study.open("demo").compare()
        >>> compared.decision[0]
        'Trial 3 (resnet18 on image) is promoted: it has the best auc on val of 20 complete trials.'
        >>> compared.figures["history"].write_html("history.html")
    """

    folder: StudyFolder
    rows: tuple[TrialRow, ...]
    """The ended trials, by number."""

    objective: Objective
    summary: Summary
    """What the study comes to, as values."""

    page: Path | None
    """The HTML page that was written; it loads nothing from elsewhere."""

    note: str
    """Sentences if some trials are not ranked (scored on other files, or not recorded), or if a
    promotion was cut off, or if MLflow's alias leads to another model than the champion."""

    @property
    def decision(self) -> tuple[str, ...]:
        """What is promoted, what to expect of it, what it costs; empty before any is complete."""
        return self.summary.decision

    @property
    def trials(self) -> pd.DataFrame:
        """The ended trials, the best first; see `Study.trials`."""
        return trials_frame(self.rows, self.objective)

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The plots of the page as Plotly figures, by name, as far as the trials are enough for.

        `history`, `importances`, `parallel`, `curves`, `roc`, `pr`. A figure is shown as the last
        line of a cell, and kept by `write_html` or `write_json`.

        Raises:
            DamagedFileError: the stored scores of one of the best trials are gone or damaged.
        """
        plots = study_plots(self.folder, self.rows, self.objective)
        return {plot.name: plot.figure for plot in plots}

    def text(self, *, top: int = SHOWN, width: int = USUAL_WIDTH) -> str:
        """Return what `workbench compare` prints of the study.

        Args:
            top: Trials in the table.
            width: Columns that the table may take.
        """
        folder, rows = self.folder, self.rows
        parts = [leaderboard.as_table(rows, self.objective, top=top, width=width)]
        if finalists := finalists_text(folder, rows):
            parts.append(f"Finalists:\n{finalists}")
        if self.summary.pack:
            parts.append(f"Pack of trials:\n{self._pack_text(self.summary.pack)}")
        if looks := read_looks(folder):
            parts.append(describe_looks(looks))
        if running := count_running(folder):
            parts.append(
                f"{running} in flight, paused or cut off; `workbench search` goes on with them."
            )
        parts.append(kept_weights(folder, leaderboard.rank(rows, self.objective)).strip())
        parts.append(describe_summary(self.summary))
        return "\n\n".join(filter(None, parts))

    def _pack_text(self, pack: PackSummary) -> str:
        if not (self.summary.is_pack_promoted and pack.estimate):
            return describe_pack(pack)
        # What to expect of one that is promoted is said by the decision.
        return describe_pack(pack, pack.gain_in_words)

    def as_json(self) -> dict[str, Any]:
        """Return what `workbench compare --json` prints: `decision` and `trials`, of plain values.

        It can be written by `json.dump`.
        """
        return {
            "decision": self.summary.model_dump(mode="json"),
            "trials": leaderboard.as_json(self.rows),
        }

    def __str__(self) -> str:
        return visible_lines(self.text())

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{escape(line)}</li>" for line in self.decision)
        page = f"Page: <code>{escape(str(self.page))}</code>. " if self.page else ""
        return (
            f"<h4>Study {escape(self.folder.name)}</h4><ul>{said}</ul>"
            f"{trials_table(self.rows, self.objective)}"
            f"<p>{page}Plots: <code>figures</code> of this value.</p>"
        )


def compare_trials(folder: StudyFolder, *, page: bool) -> Comparison:
    """Return the comparison of a study's trials; see `Study.compare`."""
    rows, note = measured_alike(folder, read_scored_trials(folder))
    objective = folder.objective()
    if page:
        summary = write_report(folder, rows, objective, folder.report)
    else:
        summary, _ = summarise(folder, rows, objective)
    written = folder.report if page else None
    promoted = cut_off_promotion(folder), other_alias(folder)
    told = note, unrecorded(folder), *promoted, told_since_begun(folder)
    said = " ".join(filter(None, told))
    return Comparison(folder, tuple(rows), objective, summary, written, said)


def finalists_text(folder: StudyFolder, rows: Sequence[TrialRow]) -> str:
    """Return the finalists as a table; empty where none were asked for."""
    standing = read_finalists(folder, rows)
    return finalists_as_table(standing) if standing else ""


def trials_table(rows: Sequence[TrialRow], objective: Objective) -> str:
    """Return the best complete trials as an HTML table, and how many ended in which way."""
    count = f"<p>{escape(leaderboard.count_line(rows))}</p>"
    complete = leaderboard.complete_trials(rows)
    if not complete:
        return f"<p>No trial is complete yet.</p>{count}"
    frame = trials_frame(complete, objective).head(SHOWN)
    kept = [name for name in _COLUMNS if name in frame and name != objective.metric]
    shown = frame[["objective", *kept]].rename(columns={"objective": objective.label})
    # Names and reasons are strangers' texts: pandas escapes them.
    drawn = shown.to_html(border=0, float_format=lambda value: f"{value:.4f}", index_names=True)
    return f"{drawn}{count}"
