"""What the plots of a study's page are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.pages import AXIS, LAYOUT
from workbench.report.axes import safe
from workbench.selection.leaderboard import shorten
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective
from workbench.trial.result import State

_MAX_POINTS = 1000

GREY = "#c4c8cf"
"""Of what is no trial."""


def add_states(
    figure: Any,
    rows: Sequence[TrialRow],
    values: Sequence[float | None],
    state: State,
    colour: str,
    symbol: str,
    yaxis: str = "y",
) -> None:
    """Add the trials that ended in one way, a mark each."""
    if not rows:
        return
    said = []
    for row in rows:
        value = f"{row.objective:.5f}" if row.objective is not None else state
        reason = f"<br>{safe(shorten(' '.join(row.reason.split()), 110))}" if row.reason else ""
        said.append(f"trial {row.number}: {value}<br>{safe(shorten(row.backbone, 60))}{reason}")
    figure.add_scatter(
        x=[row.number for row in rows],
        y=values,
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 7, "line": {"color": colour}},
        name=state,
        legendgroup=state,
        showlegend=all(trace.legendgroup != state for trace in figure.data),
        hovertext=said,
        hoverinfo="text",
        yaxis=yaxis,
        cliponaxis=False,
    )


def add_curve(figure: Any, x: Any, y: Any, colour: str, name: str, shape: str = "linear") -> None:
    """Add a line, thinned where it has many points."""
    if len(x) > _MAX_POINTS:
        keep = np.unique(np.linspace(0, len(x) - 1, _MAX_POINTS).astype(int))
        x, y = x[keep], y[keep]
    figure.add_scatter(
        x=np.round(x, 6).tolist(),
        y=np.round(y, 6).tolist(),
        mode="lines",
        line={"color": colour, "width": 2, "shape": shape},
        name=name,
        hovertemplate="%{x:.4f}, %{y:.4f}<extra></extra>",
    )


def add_diagonal(figure: Any) -> None:
    """Draw the line from (0, 0) to (1, 1)."""
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )


def show_unit_square(figure: Any, corner: tuple[list[float], list[float]]) -> None:
    """Show the unit square, with a button for the corner in which good models differ."""
    whole = ([-0.01, 1.01], [-0.01, 1.01])
    buttons = [
        {"label": label, "method": "relayout", "args": [{"xaxis.range": x, "yaxis.range": y}]}
        for label, (x, y) in (("whole", whole), ("corner", corner))
    ]
    menu = {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
        "pad": {"t": 0, "b": 0},
        "font": {"size": 11},
    }
    figure.update_layout(
        updatemenus=[menu],
        xaxis_range=whole[0],
        yaxis_range=whole[1],
        legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 11}},
        margin={"t": 44},
        showlegend=True,
    )


def legend_of(row: TrialRow) -> str:
    """Return what a legend calls a trial."""
    return f"trial {row.number}, {safe(shorten(row.backbone, 28))}"


def objective_label(objective: Objective) -> str:
    """Return what an axis of the objective is called."""
    return f"{objective.metric} on {objective.place}"


def new_figure(*, height: int, x: str, y: str) -> Any:
    """Return an empty figure with titled axes."""
    figure = go.Figure()
    lay_out(figure, height=height)
    figure.update_xaxes(AXIS, title=x)
    figure.update_yaxes(AXIS, title=y)
    return figure


def lay_out(figure: Any, *, height: int) -> None:
    """Give a figure the look of the page."""
    figure.update_layout(
        LAYOUT, height=height, autosize=True, margin={"l": 70, "r": 24, "t": 30, "b": 50}
    )
