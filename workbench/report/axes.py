"""Positions, ticks and short names of the axes that a search's dimensions are drawn on."""

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from workbench.selection.leaderboard import shorten

ABSENT = "(absent)"
"""Stands for a dimension that a trial did not have."""


def axis(values: Sequence[Any]) -> dict[str, Any]:
    """Return positions and ticks of one axis, as Plotly's parallel coordinates take them.

    Numbers keep their order, on a logarithmic axis where they span a factor of 20 or more; anything
    else is a category. `ABSENT` is a value that a trial does not have.
    """
    present = [value for value in values if value != ABSENT]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return _number_axis(values, present)
    categories = sorted({str(value) for value in values})
    texts = distinct([shorten(name, 16) for name in categories])
    place = {name: index for index, name in enumerate(categories)}
    return {
        "values": [place[str(value)] for value in values],
        "tickvals": list(range(len(categories))),
        "ticktext": texts,
        "range": [-0.3, len(categories) - 0.7],
    }


def axis_names(keys: Sequence[str]) -> dict[str, str]:
    """Return a short, distinct name of each dotted key: as few of its last words as tell it."""
    # A dot between brackets is part of a label such as `sgd(momentum=0.9)`.
    words = {key: re.split(r"\.(?![^()]*\))", key) for key in keys}
    names = {key: words[key][-1] for key in keys}
    for length in range(2, max((len(w) for w in words.values()), default=0) + 1):
        repeated = Counter(names.values())
        names = {
            key: ".".join(words[key][-length:]) if repeated[name] > 1 else name
            for key, name in names.items()
        }
    short = [shorten(name, 14) for name in names.values()]
    if len(set(short)) < len(short):
        short = [f"{index} {shorten(name, 12)}" for index, name in enumerate(names.values(), 1)]
    return dict(zip(names, short, strict=True))


def _number_axis(values: Sequence[Any], present: Sequence[float]) -> dict[str, Any]:
    low, high = float(min(present)), float(max(present))
    is_log = low > 0 and high / low >= 20
    scale = np.log10 if is_log else np.asarray
    start, end = float(scale(low)), float(scale(high))
    distinct = sorted(set(present))
    gap = (end - start) / 12
    places = [float(scale(value)) for value in distinct]
    if len(distinct) > 8 or any(b - a < gap for a, b in pairwise(places)):
        places = np.linspace(start, end, 5).tolist()
        distinct = [10**place if is_log else place for place in places]
    decimals = 0 if end == start else int(np.clip(2 - np.floor(np.log10(end - start)), 0, 8))
    ticks = [f"{v:.2g}" if is_log else f"{round(v, decimals):.10g}" for v in distinct]
    reach = [start, end] if end > start else [start - 0.5, end + 0.5]
    if len(present) < len(values):
        absent = reach[0] - 0.12 * (reach[1] - reach[0])
        places, ticks, reach = [absent, *places], [ABSENT, *ticks], [absent, reach[1]]
    return {
        "values": [reach[0] if value == ABSENT else float(scale(value)) for value in values],
        "tickvals": places,
        "ticktext": ticks,
        "range": reach,
    }


def distinct(texts: Sequence[str]) -> list[str]:
    """Return the texts, numbered if two are alike."""
    if len(set(texts)) < len(texts):
        texts = [f"{text} ({index})" for index, text in enumerate(texts, 1)]
    return list(texts)


def safe(text: str) -> str:
    """Return `text` so that Plotly shows it as it is."""
    # Plotly reads tags such as <a href=...> in its texts, and names come from strangers.
    return escape(text, quote=False)
