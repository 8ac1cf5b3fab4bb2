"""The plots of the data check's page."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.checks.shortcuts import SHORTCUT_AUC, CueScore
from workbench.checks.splits import Distribution
from workbench.pages import AXIS, LAYOUT, LEGEND

_REAL, _FAKE, _UNLABELLED = "#0072b2", "#d55e00", "#5f6b7a"
_DASHES = {"train": "solid", "val": "dash", "test": "dot"}
_GREY = "#c4c8cf"
_MAX_CUES = 30


def cue_bars(scores: Sequence[CueScore]) -> Any:
    """Return the AUC of each cue within train as bars, val's as marks, the limit as a line."""
    some = list(scores[:_MAX_CUES])[::-1]
    # Plotly reads some HTML in its texts.
    names = [escape(score.cue, quote=False) for score in some]
    figure = go.Figure()
    figure.add_bar(
        x=[score.auc - 0.5 for score in some],
        base=0.5,
        y=names,
        orientation="h",
        name="train",
        marker_color=["#b3261e" if score.is_shortcut else _GREY for score in some],
        error_x={
            "type": "data",
            "array": [1.96 * score.standard_error for score in some],
            "color": "#5f6b7a",
            "thickness": 1,
            "width": 3,
        },
        customdata=[score.auc for score in some],
        hovertemplate="%{y}: %{customdata:.3f} in train<extra></extra>",
    )
    in_val = [score for score in some if score.val_auc is not None]
    figure.add_scatter(
        x=[score.val_auc for score in in_val],
        y=[escape(score.cue, quote=False) for score in in_val],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 8, "color": "#1c2430"},
        name="val",
        hovertemplate="%{y}: %{x:.3f} in val<extra></extra>",
    )
    figure.add_vline(x=SHORTCUT_AUC, line={"color": "#b3261e", "width": 1.5, "dash": "dash"})
    _dress(figure, height=90 + 22 * len(some), x="AUC, 0.5 is chance", y="")
    lowest = min(value for score in some for value in (score.auc, score.val_auc or 1))
    figure.update_xaxes(range=[min(0.45, lowest - 0.05), 1.005])
    figure.update_yaxes(automargin=True, type="category")
    return figure


def spread_plot(distribution: Distribution) -> Any:
    """Return the share of files up to each size or length, a line for each split and class."""
    figure = go.Figure()
    for label, counts in distribution.counts.items():
        split, _, kind = label.partition(" ")
        name = escape(label, quote=False)
        shares = np.r_[0, np.cumsum(counts)] / max(1, sum(counts))
        figure.add_scatter(
            x=list(distribution.edges),
            y=np.round(shares, 6).tolist(),
            mode="lines",
            line={
                "width": 1.8,
                "color": {"real": _REAL, "fake": _FAKE}.get(kind, _UNLABELLED),
                "dash": _DASHES.get(split, "solid"),
            },
            name=name,
            hovertemplate=f"%{{y:.1%}} up to %{{x:.4g}} {distribution.unit}<extra>{name}</extra>",
        )
    x = f"{distribution.quantity}, {distribution.unit}"
    _dress(figure, height=300, x=x, y="share of files up to it")
    low, high = distribution.edges[0], distribution.edges[-1]
    if high > 10 * low:
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{t:,g}" for t in ticks])
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure


def _dress(figure: Any, *, height: int, x: str, y: str) -> None:
    figure.update_layout(
        LAYOUT,
        height=height,
        margin={"l": 60, "r": 20, "t": 34, "b": 48},
        legend=LEGEND,
        xaxis_title=x,
        yaxis_title=y,
        dragmode=False,
    )
    figure.update_xaxes(AXIS)
    figure.update_yaxes(AXIS)
