"""A few numbers of each file that a linear model can read: of its views, and of its facts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.checks.thumbnails import Small, grey, is_picture, slots
from workbench.console import track
from workbench.data.prepare import Prepared
from workbench.data.view_store import NEUTRAL_ROW
from workbench.media.view import View

FloatColumn = npt.NDArray[np.float32]

Looks = Mapping[str, tuple[FloatColumn, FloatColumn]]
"""What `view_profile` returns, by view."""

MOST_PROFILED = 2_000
"""Files of each split that are measured, taken at random."""

BANDS = 32
"""Rows that a picture is shrunk to for the mean and the spread of each."""

_GRID = 12
_PICTURES = 2


def sample_files(files: pd.DataFrame) -> pd.DataFrame:
    """Return at most MOST_FILES rows of each split, drawn by a fixed seed, in their order."""
    parts = []
    for _, rows in files.groupby("split", sort=False):
        chosen = np.random.default_rng(0).permutation(len(rows))[:MOST_PROFILED]
        parts.append(rows.iloc[np.sort(chosen)])
    return pd.concat(parts)


def view_profile(
    prepared: Prepared, name: str, rows: pd.DataFrame
) -> tuple[FloatColumn, FloatColumn]:
    """Return (files, values) twice: how each file's view looks over all, and the view made small.

    The first is colour, contrast, sharpness, and the mean and spread of each band of rows; of a
    vector, its values. The second is what is where; of a vector, nothing.
    """
    view = prepared.views[name]
    array: Any = prepared.open_array(name)
    places = rows[f"row.{name}"].to_numpy()
    if not is_picture(view):
        flat = np.asarray(array[places], np.float32).reshape(len(places), -1)
        return np.nan_to_num(flat), np.empty((len(places), 0), np.float32)
    overall, small = [], []
    for place in track(places.tolist(), f"measure {name}", unit="file", total=len(places)):
        one, other = _profile(array[place], view)
        overall.append(one)
        small.append(other)
        if place == NEUTRAL_ROW:
            overall[-1], small[-1] = np.zeros_like(one), np.zeros_like(other)
    return np.stack(overall), np.stack(small)


def _profile(stored: Small, view: View) -> tuple[FloatColumn, FloatColumn]:
    """Return the means over a file's pictures of (2 + 2 + channels + 2 BANDS,) and (_GRID²,)."""
    from workbench.opencv import cv2

    pictures = stored.reshape(-1, *view.shape[1:])
    overall, small = [], []
    for place in slots(view, _PICTURES):
        plain = grey(pictures[place])
        levels = plain.astype(np.float32)
        bands = cv2.resize(levels, (levels.shape[1], BANDS), interpolation=cv2.INTER_AREA)
        across, down = np.diff(levels, axis=1), np.diff(levels, axis=0)
        overall.append(
            np.r_[
                pictures[place].reshape(-1, view.shape[-1]).mean(axis=0),
                levels.mean(),
                levels.std(),
                np.log1p([np.square(across).mean(), np.square(down).mean()]),
                bands.mean(axis=1),
                bands.std(axis=1),
            ]
        )
        small.append(cv2.resize(levels, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel())
    return np.mean(overall, axis=0, dtype=np.float32), np.mean(small, axis=0, dtype=np.float32)


def standardized(learn: FloatColumn, *others: FloatColumn) -> list[FloatColumn]:
    """Return all arrays (files, values) with the mean and spread that `learn` has taken out."""
    mean, spread = learn.mean(axis=0), learn.std(axis=0)
    # A value that does not vary is left at zero where it was learnt.
    scale = np.where(spread > 1e-6, spread, 1)
    return [np.clip((part - mean) / scale, -8, 8) for part in (learn, *others)]
