"""The plots of a study's page, each a Plotly figure of stored numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from sklearn.metrics import precision_recall_curve, roc_curve

from workbench.pages import LEGEND
from workbench.report.axes import ABSENT, axis, axis_names, distinct, safe
from workbench.report.figure_parts import (
    GREY,
    add_curve,
    add_diagonal,
    add_states,
    lay_out,
    legend_of,
    new_figure,
    objective_label,
    show_unit_square,
)
from workbench.selection.leaderboard import complete_trials, objective_of, rank, shorten
from workbench.study.importances import SHUFFLES, Importance
from workbench.study.records import TrialRow, place_of
from workbench.trial.delong import Estimate, auc
from workbench.trial.recipe import Objective
from workbench.trial.result import State

TRIAL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Of the best trials, in every plot; the colours of Okabe and Ito, which colour-blind people tell
apart."""

MAX_DIMENSIONS = 9
"""Axes of the parallel coordinates beside the objective: with more, labels run into each other."""

_MAX_BARS = 15
_MAX_LINES = 100
_STATES: dict[State, tuple[str, str]] = {
    "complete": ("#0072b2", "circle"),
    "pruned": ("#e69f00", "diamond-open"),
    "failed": ("#b3261e", "x-thin-open"),
}


@dataclass(frozen=True)
class Plot:
    """One figure of the page and what is to be known about it."""

    name: str
    """Its id in the page."""

    title: str
    figure: Any
    note: str = ""
    """Plain text below the title."""

    is_half: bool = False
    """Whether it takes half the width of the page."""

    least_width_px: int = 0
    """Where the page is narrower, the plot scrolls sideways."""


def history(rows: Sequence[TrialRow], objective: Objective, sureness: Estimate | None) -> Plot:
    """Return the objective by trial number, with that of the best so far, as `rank` has it.

    `sureness` is that of the best trial's objective, where it is an AUC.
    """
    figure = new_figure(height=380, x="trial", y=objective_label(objective))
    complete = sorted(complete_trials(rows), key=lambda row: row.number)

    # Those that break a constraint come after all that keep them, so the line may fall back once.
    def better(best: TrialRow, other: TrialRow) -> TrialRow:
        return min(best, other, key=lambda one: place_of(one, objective))

    running = [objective_of(row) for row in accumulate(complete, better)]
    if complete:
        last = max(row.number for row in rows)
        numbers = [row.number for row in complete]
        line = {"color": "#5f6b7a", "width": 1.5, "shape": "hv"}
        figure.add_scatter(
            x=[*numbers, last],
            y=[*running, running[-1]],
            mode="lines",
            line=line,
            name="best so far",
            hoverinfo="skip",
        )
    for state, (colour, symbol) in _STATES.items():
        some = [row for row in rows if row.state == state and row.objective is not None]
        add_states(figure, some, [row.objective for row in some], state, colour, symbol)
        lost = [row for row in rows if row.state == state and row.objective is None]
        # What ended without an objective stands on the lower edge, whatever the range of the rest.
        add_states(figure, lost, [0.02] * len(lost), state, colour, symbol, yaxis="y2")
    if complete and sureness and sureness.low is not None and sureness.high is not None:
        best = rank(complete, objective)[0]
        bar = {
            "type": "data",
            "array": [sureness.high - sureness.value],
            "arrayminus": [sureness.value - sureness.low],
            "color": "#0072b2",
            "width": 5,
        }
        figure.add_scatter(
            x=[best.number],
            y=[best.objective],
            mode="markers",
            error_y=bar,
            marker={"color": "#0072b2", "size": 11, "line": {"color": "white", "width": 1.5}},
            name="best, 95%",
            hoverinfo="skip",
        )
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        legend=LEGEND,
    )
    figure.update_xaxes(dtick=1 if len(rows) <= 12 else None, tickformat="d")
    notes = []
    if any(row.state == "pruned" for row in rows):
        notes.append("Pruned trials show their best epoch before they were stopped.")
        if any(epoch.fold > 1 for row in rows for epoch in row.epochs):
            notes.append(
                "It is one of a single fold: the others' values are of all folds together."
            )
    if any(row.objective is None for row in rows):
        notes.append("Trials without any objective stand on the lower edge.")
    if any(row.breaks for row in complete) and not all(row.breaks for row in complete):
        notes.append("The best are of the trials that keep the constraints, once there is one.")
    return Plot("history", "Optimisation history", figure, " ".join(notes))


def importance_bars(importances: Mapping[str, Importance]) -> Plot:
    """Return the importances of the searched dimensions, the largest on top."""
    some = list(importances.items())[:_MAX_BARS][::-1]
    figure = new_figure(height=110 + 24 * len(some), x="share of the importance", y="")
    names = [safe(text) for text in distinct([shorten(key, 44) for key, _ in some])]
    figure.add_bar(
        x=[found.share for _, found in some],
        y=names,
        orientation="h",
        marker_color=["#0072b2" if found.is_told else "#b8c4d0" for _, found in some],
        text=[f"{found.share:.2f}" for _, found in some],
        textposition="outside",
        cliponaxis=False,
        hovertext=[safe(key) for key, _ in some],
        hovertemplate="%{hovertext}: %{x:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=[found.chance for _, found in some],
        y=names,
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 14, "color": "#1c2430"},
        hovertemplate="by chance up to %{x:.3f}<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        xaxis_rangemode="tozero",
        yaxis={"automargin": True, "type": "category"},
    )
    note = (
        "Method: PED-ANOVA (Watanabe et al. 2023). It is local: it asks which dimensions set the "
        "best tenth of the complete trials apart, not which move the objective everywhere. Shares "
        "sum to 1 even where nothing mattered: the mark is the largest share that the dimension "
        f"had in {SHUFFLES} shufflings of the objective among the trials, and a grey bar, which "
        "does not pass it, says nothing."
    )
    if len(importances) > _MAX_BARS:
        note += f" The largest {_MAX_BARS} of {len(importances)} are shown."
    return Plot("importances", "Parameter importances", figure, note)


def parallel(
    rows: Sequence[TrialRow], objective: Objective, shares: Mapping[str, float]
) -> Plot | None:
    """Return the complete trials as lines over the searched dimensions; none if nothing varied."""
    ranked = rank(complete_trials(rows), objective)
    complete = ranked[:_MAX_LINES][::-1]  # the best drawn last, on top
    keys = {key for row in complete for key in row.drawn}
    varied = [key for key in keys if len({repr(row.drawn.get(key)) for row in complete}) > 1]
    if len(complete) < 2 or not varied:
        return None
    keys_shown = sorted(varied, key=lambda key: (-shares.get(key, 0.0), key))[:MAX_DIMENSIONS]
    names = axis_names(keys_shown)
    dimensions = [
        {"label": safe(names[key]), **axis([row.drawn.get(key, ABSENT) for row in complete])}
        for key in keys_shown
    ]
    values = [objective_of(row) for row in complete]
    dimensions.append({"label": f"<b>{objective.metric}</b>", **axis(values)})
    # A few bad trials would take up the whole scale and leave the good ones one colour.
    low, high = np.quantile(values, [0.25, 1] if objective.direction == "maximize" else [0, 0.75])
    figure = go.Figure()
    figure.add_parcoords(
        dimensions=dimensions,
        line={
            "color": values,
            "colorscale": "Viridis",
            "reversescale": objective.direction == "maximize",
            "cmin": float(low),
            "cmax": float(high) if high > low else float(low) + 1e-9,
        },
        labelfont={"size": 11, "color": "#1c2430"},
        tickfont={"size": 11, "color": "#1c2430"},
        labelside="top",
    )
    lay_out(figure, height=460)
    figure.update_layout(margin={"l": 90, "r": 70, "t": 60, "b": 30})
    note = "One line a complete trial, the darkest the best. Drag along an axis to select."
    if any(row.breaks for row in complete):
        note += " Trials that break a constraint are drawn and coloured like the rest."
    if len(ranked) > len(complete):
        note += f" The best {len(complete)} of {len(ranked)} complete trials are drawn."
    if len(varied) > MAX_DIMENSIONS:
        note += f" The {MAX_DIMENSIONS} most important of {len(varied)} dimensions are shown."
    cut = [f"{names[key]} is {key}" for key in keys_shown if names[key] != key]
    if cut:
        note += f" {'; '.join(cut)}."
    if any(key not in row.drawn for key in keys_shown for row in complete):
        note += f" {ABSENT} stands for a dimension that a trial did not have."
    width_px = 105 * len(dimensions)
    return Plot("parallel", "Searched dimensions", figure, note, least_width_px=width_px)


def learning_curves(
    rows: Sequence[TrialRow], objective: Objective, top: Sequence[TrialRow]
) -> Plot | None:
    """Return the objective of each epoch; none if no epoch ended."""
    trained = [row for row in rows if row.epochs]
    if not trained:
        return None
    figure = new_figure(height=380, x="epoch", y=objective_label(objective))
    best = {row.number for row in top}
    others = [row for row in trained if row.number not in best]
    if others:
        figure.add_scatter(
            # One trace, broken between trials: a study has hundreds.
            x=[at for row in others for at, _ in [*_fold_by_fold(row), (None, None)]],
            y=[value for row in others for _, value in [*_fold_by_fold(row), (None, None)]],
            text=[
                f"trial {row.number}" for row in others for _ in range(len(_fold_by_fold(row)) + 1)
            ],
            mode="lines+markers",
            line={"color": GREY, "width": 1},
            marker={"size": 4},
            hovertemplate="%{text}, epoch %{x}: %{y:.5f}<extra></extra>",
            name="other trials",
        )
    for row, colour in zip(top, TRIAL_COLOURS, strict=False):
        drawn = _fold_by_fold(row)
        figure.add_scatter(
            x=[at for at, _ in drawn],
            y=[value for _, value in drawn],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 6},
            hovertemplate=f"trial {row.number}, epoch %{{x}}: %{{y:.5f}}<extra></extra>",
            name=legend_of(row),
        )
    longest = max(len(row.epochs) for row in trained)
    figure.update_xaxes(dtick=1 if longest <= 15 else None, tickformat="d")
    values = [epoch.objective for row in trained for epoch in row.epochs]
    if min(values) == max(values):
        figure.update_yaxes(range=[values[0] - 0.05, values[0] + 0.05])
    note = "The best trials are coloured."
    if any(epoch.fold > 1 for row in trained for epoch in row.epochs):
        note += " A trial is trained anew for each fold, where its line is broken."
    return Plot("curves", "Learning curves", figure, note)


def _fold_by_fold(row: TrialRow) -> list[tuple[int | None, float | None]]:
    """Return a trial's epochs and their objectives, broken where another model is trained."""
    found: list[tuple[int | None, float | None]] = []
    for before, epoch in zip((None, *row.epochs), row.epochs, strict=False):
        if before and before.fold != epoch.fold:
            found.append((None, None))
        found.append((epoch.epoch, epoch.objective))
    return found


def roc(scores: Mapping[int, pd.DataFrame], top: Sequence[TrialRow], place: str) -> Plot:
    """Return the ROC curves of the best trials.

    Args:
        scores: Of each, by its number, on one slice: several may hold the same file.
        top: The trials.
        place: The slice.
    """
    figure = new_figure(height=480, x="false positive rate", y="true positive rate")
    add_diagonal(figure)
    for row, colour in zip(top, TRIAL_COLOURS, strict=False):
        table = scores[row.number]
        fpr, tpr, _ = roc_curve(table["target"], table["score"])
        name = f"{legend_of(row)}, AUC {auc(table['target'], table['score']).value:.5f}"
        add_curve(figure, fpr, tpr, colour, name)
    show_unit_square(figure, corner=([-0.005, 0.1], [0.9, 1.005]))
    return Plot("roc", "ROC curves", figure, f"On {place}.", is_half=True)


def precision_recall(
    scores: Mapping[int, pd.DataFrame], top: Sequence[TrialRow], place: str
) -> Plot:
    """Return the precision-recall curves of the best trials; see `roc`."""
    figure = new_figure(height=480, x="recall", y="precision")
    for row, colour in zip(top, TRIAL_COLOURS, strict=False):
        table = scores[row.number]
        precision, recall, _ = precision_recall_curve(
            table["target"], table["score"], drop_intermediate=True
        )
        add_curve(figure, recall, precision, colour, legend_of(row), shape="hv")
    show_unit_square(figure, corner=([0.9, 1.005], [0.9, 1.005]))
    return Plot("pr", "Precision-recall curves", figure, f"On {place}.", is_half=True)
