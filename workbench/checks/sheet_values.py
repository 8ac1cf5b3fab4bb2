"""The sheet of a view without pictures: how real and fake files differ in its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.checks.evidence import Separation, separation
from workbench.checks.sheet_drawing import INK, SOFT, WIDTH_PX, Picture

Values = npt.NDArray[np.float64]

MOST_VALUES = 12
"""Values that are drawn: those that tell the classes apart best."""

_PER_ROW = 4
_PANEL_PX = (WIDTH_PX // _PER_ROW, 216)
_DPI = 100
_MOST_BINS = 32
# With more files of a class their marks run into each other.
_MOST_MARKS = 100
# What lies further out is counted in the outermost bars.
_SHOWN_PERCENT = (0.5, 99.5)


@dataclass(frozen=True)
class Value:
    """One named value of every file."""

    name: str
    by_class: Mapping[str, Values]
    """(files,) of each class."""

    separation: Separation | None
    """Of fakes from reals; None where one of them is absent."""

    @property
    def distance(self) -> float:
        """How far the AUC is from chance."""
        return abs(self.separation.auc - 0.5) if self.separation else 0.0

    def title(self, num_values: int) -> str:
        """Return the name with the AUC, and whether it stands out among `num_values` of them."""
        if not self.separation:
            return self.name
        found = self.separation
        # Either direction counts, so there are twice as many questions.
        upper = Separation(
            auc=0.5 + self.distance,
            num_positive=found.num_positive,
            num_negative=found.num_negative,
        )
        is_telling = upper.is_beyond_chance(2 * num_values)
        return f"{self.name}   AUC {found.auc:.3f}{'' if is_telling else ', within chance'}"


def telling(names: Sequence[str], by_class: Mapping[str, Values]) -> list[Value]:
    """Return the MOST_VALUES that tell real from fake best, the best first.

    Args:
        names: What each value is.
        by_class: (files, values) of each class, `real`, `fake` or `unlabelled`.
    """
    has_both = {"real", "fake"} <= by_class.keys()
    found = []
    for index, name in enumerate(names):
        columns = {kind: values[:, index] for kind, values in by_class.items()}
        found.append(Value(name, columns, _fake_from_real(columns) if has_both else None))
    # Sorting is stable: equals stay in the order of the view.
    return sorted(found, key=lambda value: -value.distance)[:MOST_VALUES]


def _fake_from_real(columns: Mapping[str, Values]) -> Separation | None:
    real, fake = columns["real"], columns["fake"]
    targets = np.repeat([False, True], [len(real), len(fake)])
    return separation(targets, np.concatenate([real, fake]))


def draw_values(values: Sequence[Value], colours: Mapping[str, str], num_values: int) -> Picture:
    """Return small histograms of `values` as one picture, each class in its colour.

    Args:
        values: What is drawn, row by row.
        colours: Of each class.
        num_values: How many values there were to choose from.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(_PER_ROW, len(values))
    rows = -(-len(values) // columns)
    size = (columns * _PANEL_PX[0] / _DPI, rows * _PANEL_PX[1] / _DPI)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08, hspace=0.04)
    figure = Figure(figsize=size, dpi=_DPI, layout=layout, facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, value in zip(panels, values, strict=False):
        _draw(axes, value, colours)
        axes.set_title(
            value.title(num_values), loc="left", fontsize=10, color=INK, parse_math=False
        )
    for axes in panels[len(values) :]:
        axes.set_axis_off()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(axes: Any, value: Value, colours: Mapping[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    edges = _edges(np.concatenate(list(value.by_class.values())))
    shares = {kind: _shares(found, edges) for kind, found in value.by_class.items()}
    top = max(float(share.max()) for share in shares.values())
    for kind, share in shares.items():
        axes.stairs(share, edges, fill=True, color=colours[kind], alpha=0.25)
        axes.stairs(share, edges, color=colours[kind], linewidth=1.6)
    for line, (kind, found) in enumerate(value.by_class.items()):
        if len(found) <= _MOST_MARKS:
            height = np.full(len(found), -(0.05 + 0.08 * line) * top)
            inside = found.clip(edges[0], edges[-1])
            axes.plot(inside, height, "|", color=colours[kind], markersize=5, alpha=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c4c8cf")
    axes.tick_params(colors=SOFT, labelsize=8.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _edges(values: Values) -> Values:
    """Return the edges of the bars, from about the least to about the greatest value."""
    low, high = np.percentile(values, _SHOWN_PERCENT)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        pad = 0.5 * max(1.0, abs(low))
        low, high = low - pad, high + pad
    num_bins = int(np.clip(2 * np.sqrt(len(values)), 8, _MOST_BINS))
    return np.linspace(low, high, num_bins + 1)


def _shares(values: Values, edges: Values) -> Values:
    """Return the share of the values in each bar."""
    return np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / max(1, len(values))
