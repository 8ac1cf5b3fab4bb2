"""Small pictures of every file, made of its stored views: what copies are looked for in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.console import track
from workbench.data.prepare import Prepared
from workbench.data.view_store import NEUTRAL_ROW
from workbench.media.declared import PICTURED
from workbench.media.view import View

PICTURE_PX = (32, 32)
SOUND_PX = (32, 64)
"""(height, width) of the small pictures: frequency bands and moments of a sound."""

MOST_FRAMES = 4
"""Pictures that are taken of a file in one view, evenly among those it has."""

Medium = Literal["picture", "face", "sound"]

# Of what moves between two frames, noise and coding are a large part: copies differ in it.
_OF_MOTION = ("frame-diff",)

Small = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Thumbnails:
    """The small pictures of one view."""

    medium: Medium
    pictures: Small
    """(files, slots, height, width) grey."""

    is_there: npt.NDArray[np.bool_]
    """(files,): whether the view could be made of the file at all."""


def unique_contents(files: pd.DataFrame) -> pd.DataFrame:
    """Return the first of the rows `files` for each content, in their order, indexed from 0."""
    return files.drop_duplicates("content").reset_index(drop=True)


def thumbnails(
    prepared: Prepared, files: pd.DataFrame, *, most: int = MOST_FRAMES
) -> Mapping[str, Thumbnails]:
    """Return the small pictures of `files` (rows of the prepared table) by view.

    Views without pictures, and those of motion alone, are left out; so are faces where there are
    whole pictures, since a detector frames the face of a copy a little differently.
    """
    media = {
        name: medium_of(view)
        for name, view in prepared.views.items()
        if is_picture(view) and view.kind not in _OF_MOTION
    }
    return {
        name: _small(prepared, name, medium, files, most)
        for name, medium in media.items()
        if medium != "face" or "picture" not in media.values()
    }


def medium_of(view: View) -> Medium:
    """Return what the pictures of a view show."""
    if view.modality == "spectrogram":
        return "sound"
    return "face" if view.kind == "faces" else "picture"


def is_picture(view: View) -> bool:
    """Say whether the view holds pictures rather than a vector of values."""
    return view.modality in PICTURED


def grey(picture: Small) -> Small:
    """Return (height, width) of a picture (height, width, 1 or 3)."""
    from workbench.opencv import cv2

    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.shape[-1] == 3 else picture[..., 0]


def slots(view: View, most: int) -> npt.NDArray[np.int64]:
    """Return which of the view's pictures are taken, of all segments' frames in a row."""
    count = view.stored_shape[0] * view.stored_shape[1]
    taken = min(most, count)
    return (2 * np.arange(taken) + 1) * count // (2 * taken)


def _small(
    prepared: Prepared, name: str, medium: Medium, files: pd.DataFrame, most: int
) -> Thumbnails:
    from workbench.opencv import cv2

    view = prepared.views[name]
    height, width = SOUND_PX if medium == "sound" else PICTURE_PX
    array: Any = prepared.open_array(name)
    chosen = slots(view, most)
    rows = files[f"row.{name}"].to_numpy()
    small = np.zeros((len(files), len(chosen), height, width), np.uint8)
    # In the order of the file on disk.
    order = np.argsort(rows, kind="stable")
    for index in track(order.tolist(), f"look at {name}", unit="file", total=len(order)):
        if rows[index] != NEUTRAL_ROW:
            pictures = array[rows[index]].reshape(-1, *view.shape[1:])
            for slot, place in enumerate(chosen):
                cv2.resize(
                    grey(pictures[place]),
                    (width, height),
                    dst=small[index, slot],
                    interpolation=cv2.INTER_AREA,
                )
    return Thumbnails(medium, small, rows != NEUTRAL_ROW)
