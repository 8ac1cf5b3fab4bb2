"""The calibration of the chosen trial, for a study's page."""

from collections.abc import Sequence
from typing import Any

from workbench import pages
from workbench.pages import LEGEND
from workbench.report.figure_parts import add_diagonal, new_figure
from workbench.report.figures import TRIAL_COLOURS
from workbench.selection.calibration import ReliabilityBin
from workbench.selection.summary import Summary


def calibration_section(summary: Summary) -> str:
    """Return the reliability diagram before and after a temperature; none of too few samples."""
    found = summary.calibration
    if found is None:
        return ""
    figure = new_figure(height=420, x="mean score of a bin", y="share of fakes in it")
    add_diagonal(figure)
    _add(figure, found.bins, "as they are", TRIAL_COLOURS[0], "circle")
    _add(figure, found.bins_after, "with the temperature", TRIAL_COLOURS[1], "diamond-open")
    square = {"range": [-0.02, 1.02], "constrain": "domain"}
    figure.update_xaxes(square)
    figure.update_yaxes(square)
    figure.update_layout(legend=LEGEND, showlegend=True)
    sure = "is too sure" if found.temperature > 1 else "is not sure enough"
    divides = "divides the exported scores so"
    if promoted := "pack" * summary.is_pack_promoted or "soup" * summary.is_soup_promoted:
        divides = f"divides the scores of the promoted {promoted} by a temperature of its own"
    note = (
        f"Of {summary.contenders[0].title} on {summary.clean_slice}, {found.num_samples} "
        f"files: expected calibration error {found.ece:.3f}, log-loss {found.log_loss:.4f}. By the "
        f"temperature {found.temperature:.2f} the model {sure}; with a temperature fitted out of "
        f"fold ({found.num_folds} folds) they are {found.ece_after:.3f} and "
        f"{found.log_loss_after:.4f}. The AUC stays. `workbench export --calibrated` "
        f"{divides}."
    )
    drawn = pages.plot("calibration", figure, has_buttons=True)
    return pages.section("Calibration", drawn, note=note, is_half=True)


def _add(figure: Any, bins: Sequence[ReliabilityBin], name: str, colour: str, symbol: str) -> None:
    figure.add_scatter(
        x=[part.score for part in bins],
        y=[part.share for part in bins],
        error_y={
            "type": "data",
            "array": [part.high - part.share for part in bins],
            "arrayminus": [part.share - part.low for part in bins],
            "color": colour,
            "thickness": 1,
            "width": 3,
        },
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 8, "symbol": symbol},
        customdata=[part.count for part in bins],
        hovertemplate="score %{x:.3f}, %{y:.3f} fake, %{customdata} files<extra></extra>",
        name=name,
    )
