"""Cues: what can be known of a file without looking at or listening to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.prepare import Prepared

Family = Literal["encoding", "length", "loudness", "reading", "name", "order"]

_FACTS: Mapping[str, tuple[str, Family]] = {
    "bit_rate": ("bit rate", "encoding"),
    "video_bit_rate": ("bit rate of the video", "encoding"),
    "audio_bit_rate": ("bit rate of the sound", "encoding"),
    "container": ("container", "encoding"),
    "video_codec": ("video codec", "encoding"),
    "audio_codec": ("audio codec", "encoding"),
    "width": ("width", "encoding"),
    "height": ("height", "encoding"),
    "color_mode": ("colour mode", "encoding"),
    "fps": ("frames a second", "encoding"),
    "sample_rate_hz": ("sampling rate", "encoding"),
    "channels": ("sound channels", "encoding"),
    "jpeg_quantum": ("JPEG quality", "encoding"),
    "duration_s": ("duration", "length"),
    "num_frames": ("number of frames", "length"),
    "loudness_db": ("loudness", "loudness"),
}
# Values that are only a few are taken one by one, others in as many steps of equal size.
_MAX_STEPS = 20
_LEAST_IN_STEP = 15


@dataclass(frozen=True)
class Cue:
    """One cue of a number of files."""

    name: str
    family: Family
    codes: npt.NDArray[np.int64]
    """(files,) the value of each as a number from 0 on: a step of a scale or one of some words."""


def make_cues(prepared: Prepared, facts: pd.DataFrame, rows: pd.DataFrame) -> list[Cue]:
    """Return the cues of `rows`, which are rows of the prepared table; those that vary.

    They are files that are there, of one split, in the order of the label file. Facts go by
    content.
    """
    said = facts.reindex(rows["content"]).reset_index(drop=True)
    columns: list[tuple[str, Family, pd.Series[Any]]] = [
        ("file size", "encoding", rows["size_bytes"].reset_index(drop=True))
    ]
    for column in said.columns:
        label, family = _FACTS.get(str(column), (str(column).replace("_", " "), "encoding"))
        columns.append((label, family, _numbers_or_words(said[column])))
    if {"width", "height"} <= set(said.columns):
        size = _numbers_or_words(said["width"]), _numbers_or_words(said["height"])
        columns.append(("pixels", "encoding", size[0] * size[1]))
        columns.append(("shape of the picture", "encoding", size[0] / size[1]))
    for view in prepared.views:
        status = rows[f"status.{view}"].reset_index(drop=True)
        columns.append((f"whether there is {view}", "reading", status))
    columns += _name_and_order(rows)
    cues = [Cue(name, family, codes(values)) for name, family, values in columns]
    return [cue for cue in cues if cue.codes.max(initial=0) > 0]


def codes(values: "pd.Series[Any]") -> npt.NDArray[np.int64]:
    """Return each value as the number of its step: few values or words one by one, many by rank.

    Steps of many values hold equally many of them. What is not known is a step of its own.
    """
    if values.nunique() <= _MAX_STEPS or not pd.api.types.is_numeric_dtype(values):
        found = pd.factorize(values, sort=False, use_na_sentinel=False)[0]
        return np.asarray(found, np.int64)
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    steps = int(np.clip(len(numbers) // _LEAST_IN_STEP, 2, _MAX_STEPS))
    edges = np.unique(np.nanquantile(numbers, np.arange(1, steps) / steps))
    found = np.searchsorted(edges, numbers, side="right") + 1
    found[np.isnan(numbers)] = 0
    return np.asarray(np.unique(found, return_inverse=True)[1], np.int64)


def _numbers_or_words(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return numbers as such, also where None stands among them."""
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values.fillna("")
    return pd.to_numeric(values, errors="coerce")


def _ranks(names: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the place of each name in their order, from 0; of equals, the earlier row's first."""
    places = np.empty(len(names))
    places[np.argsort(names.to_numpy(dtype=object), kind="stable")] = np.arange(len(names))
    return pd.Series(places)


def _name_and_order(rows: pd.DataFrame) -> "list[tuple[str, Family, pd.Series[Any]]]":
    names = rows["name"].reset_index(drop=True)
    place = pd.Series(np.arange(len(names)))
    paths = names.map(PurePosixPath)
    return [
        ("ending of the name", "name", paths.map(lambda path: path.suffix.lower())),
        ("folder in the name", "name", paths.map(lambda path: str(path.parent))),
        ("length of the name", "name", names.str.len()),
        ("place in the order of names", "order", _ranks(names)),
        ("place in the label file", "order", place),
        ("every other label row", "order", place % 2),
    ]
