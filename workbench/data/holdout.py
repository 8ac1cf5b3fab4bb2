"""The locked holdout: labelled files whose labels one command alone looks at.

It lies in a folder of its own, of which nothing is read before an audit but that it is there; or it
is a share of the labelled files, in whose label file its labels stand, too. Locked means then that
these rows are taken out of the manifest before anything else sees it: they are in no split, so they
are neither decoded, checked, trained on nor scored.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from workbench.console import say
from workbench.data.any_table import read_any_table
from workbench.data.columns import and_more, cells_of, find_names, fold
from workbench.data.delimited import shown_cell
from workbench.data.labels import read_labels
from workbench.data.manifest import Layout, Manifest, check_splits, read_labelled
from workbench.data.media_files import files_among, sizes_in
from workbench.data.metadata import column_of
from workbench.data.names import match
from workbench.data.split_names import SPLIT_COLUMNS, other_split_columns
from workbench.errors import DataError
from workbench.values import Frozen

HOLDOUT = "holdout"
"""The split of its files in a manifest that holds nothing else."""

_LABELS = ("labels.csv", "labels.txt", "label.csv", "label.txt", "test_label.txt")
_MEDIA = ("media", ".", "testset", "test")
"""Folders of media, in the order in which they count where as many of the files are in each."""


class Holdout(Frozen):
    """Labelled files whose labels no search may read."""

    data: str | None = None
    """A folder with a label file and its media; relative to where the commands run, as `--data`.

    It has `labels.csv` (or `label.txt` and the like) with the media beside it or in `media`; or it
    is laid out like a data folder, of which both splits count."""

    share: float | None = Field(None, gt=0, lt=1)
    """Share of the files of `train` and `val` that is held out."""

    by: str | None = None
    """A column such as `speaker`: files with the same value in it are held out together or not at
    all."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.data is None) == (self.share is None):
            raise ValueError("give either `data`, a folder, or `share`, e.g. 0.2")
        if self.by is not None and self.share is None:
            raise ValueError("`by` says which files of a `share` stay together: give `share` too")
        return self

    def folder(self) -> Path | None:
        """Return the folder of the holdout; nothing if it is a share.

        Raises:
            DataError: it is not there.
        """
        if self.data is None:
            return None
        folder = Path(self.data)
        if not folder.is_dir():
            raise DataError(
                f"The folder {folder} of the holdout does not exist. Correct `holdout` in the "
                "experiment."
            )
        return folder


def without_holdout(manifest: Manifest, holdout: Holdout | None) -> Manifest:
    """Return the manifest that everything but an audit sees: without the holdout's rows.

    Raises:
        DataError: the holdout's folder is not there, its column is not, or too few files are left.
    """
    if holdout is None or holdout.folder() is not None:
        return manifest
    held = _is_held(manifest.table, holdout)
    left = manifest.table[~held].reset_index(drop=True)
    if emptied := set(manifest.table["split"]) - set(left["split"]):
        raise DataError(
            f"A holdout of {holdout.share:g} of the labelled files leaves no file of "
            f"{min(emptied)}. Lower `share`."
        )
    try:
        check_splits(left)
    except DataError as error:
        why = str(error).split(" (first path")[0]
        raise DataError(
            f"A holdout of {int(held.sum())} labelled files leaves too few: {why}. Lower `share`, "
            "or deal by a column of more values."
        ) from error
    return replace(manifest, table=left)


def holdout_of(manifest: Manifest, holdout: Holdout) -> Manifest:
    """Return the rows that `without_holdout` leaves out of a manifest, as the split `HOLDOUT`.

    Raises:
        DataError: as `without_holdout`.
    """
    held = _is_held(manifest.table, holdout)
    rows = manifest.table[held].assign(split=HOLDOUT)
    return replace(manifest, table=rows.reset_index(drop=True))


def _require_one_label(held: pd.DataFrame) -> None:
    """Refuse files of a holdout that are the same byte for byte and have both labels.

    One of them is wrong, and which one would say what an audit measures.
    """
    known = held[held["content"] != ""]
    twice = known.groupby("content")["target"].transform("nunique") > 1
    if not twice.any():
        return
    same = known[twice]
    first = same[same["content"] == same["content"].iloc[0]].drop_duplicates("target")
    one, other = (shown_cell(path) for path in first["path"])
    raise DataError(
        f"{one} and {other} of the holdout are the same file, byte for byte, and are labelled both "
        f"real and fake{and_more(same['content'].nunique())}. Correct the labels, or take the "
        "files out."
    )


def read_holdout(folder: Path, layout: Layout, *, cache: Path) -> Manifest:
    """Return the files and labels of a holdout that is a folder, as the split `HOLDOUT`.

    How its tables and names were read is said.

    Args:
        folder: The holdout's.
        layout: Of the data folder: names of label files and media that count here, too, and what
            the columns and classes are called.
        cache: Folder where the hashes of the contents are remembered.

    Raises:
        DataError: label file or media are absent or unusable, or hold one class, or one file with
            both labels.
    """
    places = layout.model_copy(update={"metadata": Layout().metadata})
    has_labels = any((folder / name).exists() for name in _LABELS)
    is_as_data = layout.kind == "class-folders" or (layout.kind == "table" and not has_labels)
    usual = (*layout.train_labels, *layout.val_labels)
    if not is_as_data and not any((folder / name).exists() for name in usual):
        if not has_labels:
            raise DataError(
                f"The holdout {folder} has no label file: looked for "
                f"{', '.join((*_LABELS, *usual))}. Put one there."
            )
        labels = next(name for name in _LABELS if (folder / name).exists())
        own: dict[str, tuple[str, ...]] = {"train_labels": (), "val_labels": (labels,)}
        if layout.kind == "label-files":
            names = read_labels(folder / labels, layout.columns, layout.classes).table["cell"]
            own["val_media"] = (_media_of(folder, list(names), _MEDIA, labels, usual=()),)
        else:
            file = next((name for name in layout.table if (folder / name).exists()), labels)
            own |= {"table": (file,), "media": _media_of_table(folder / file, layout)}
        places = places.model_copy(update=own)
    manifest = read_labelled(folder, places, cache=cache)
    for line in manifest.understood:
        say(f"holdout: {line}")
    _require_one_label(manifest.table)
    return replace(manifest, table=manifest.table.assign(split=HOLDOUT))


def _media_of_table(file: Path, layout: Layout) -> tuple[str, ...]:
    """Return where the media of a holdout of one table are: of the names, the first that is there.

    Names of rows with a split may be in the folder of that; these are where the data have them.
    """
    table = read_any_table(file)
    has_split = {fold(cell) for cell in table.rows[0]} & {
        *SPLIT_COLUMNS,
        *other_split_columns(table),
        fold(layout.columns.split or ""),
    } - {""}
    at = find_names(table, layout.columns)
    if has_split or at is None:
        return (*layout.media, *_MEDIA[:2])
    cells = cells_of(table.rows[1:], at)
    return (_media_of(file.parent, cells, _MEDIA, file.name, usual=layout.media),)


def _media_of(
    folder: Path, names: Sequence[str], places: Sequence[str], where: str, *, usual: Sequence[str]
) -> str:
    """Return the folder in which most of the files are that a table names.

    Args:
        folder: The holdout's.
        names: As the table has them.
        places: Folders that are looked into.
        where: What the names are of, for messages.
        usual: Folders that come before all others if half of the files are in them.

    Raises:
        DataError: a name could be two files, or a media folder is unusable.
    """
    num_found = dict[str, int]()
    for place in dict.fromkeys((*usual, *places)):
        if (folder / place).is_dir():
            there = files_among(sizes_in(folder / place, "the holdout"))
            num_found[place] = len(match(names, there, where=where).files)
            if place in usual and 2 * num_found[place] >= len(set(names)):
                return place
    return max(num_found, key=lambda place: num_found[place])


def _is_held(table: pd.DataFrame, holdout: Holdout) -> npt.NDArray[np.bool_]:
    """Return which rows are held out, (rows,).

    Groups are dealt in the order of a hash of their names, so that on every machine, and with
    files added or removed, nearly the same are. Those of fakes alone, of reals alone and of both
    are dealt apart, so that the holdout has as many of each class as the rest. Copies of one file
    stay together, too, where `by` does not say otherwise.

    Raises:
        DataError: the table has no such column, a class of the holdout would be empty, or the same
            file has both labels there.
    """
    assert holdout.share is not None
    labelled = table[table["target"] >= 0]
    keys = labelled["content"].where(labelled["content"] != "", labelled["path"])
    if holdout.by is not None:
        column = column_of(holdout.by)
        if column not in table:
            raise DataError(
                f"`holdout` is by {holdout.by!r}, which is no known column. Name it by "
                "`groups` under `data`, or correct `by`."
            )
        said = labelled[column].fillna("").astype(str)
        keys = keys.where(said == "", said)
    groups = labelled.assign(key=keys).groupby("key")["target"].agg(["min", "max", "size"])
    groups["place"] = [
        hashlib.sha256(f"holdout {key}".encode()).hexdigest() for key in groups.index
    ]
    taken: set[str] = set()
    for _, kind in groups.groupby(["min", "max"]):
        ordered = kind.sort_values("place")
        # A group is in where more of it than not lies below the share.
        middle = ordered["size"].cumsum() - ordered["size"] / 2
        taken |= set(ordered.index[middle <= holdout.share * ordered["size"].sum()])
    held = table.index.isin(labelled.index[keys.isin(taken)])
    classes = set(table.loc[held & (table["status"] == "ok"), "target"])
    if len(classes) < 2:
        raise DataError(
            f"A holdout of {holdout.share:g} of the labelled files would lack a class: it has "
            f"{int(held.sum())} files. Raise `share`, or deal by a column of more values."
        )
    _require_one_label(table[held])
    return held
