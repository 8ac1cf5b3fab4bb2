"""Folds: the labelled files dealt anew into those that are trained on and those that validate.

For data without a good `val`: one that is saturated, or that has the generators and the speakers of
`train`. Every file of `train` and `val` is in one fold; one fold is `val`, and the others `train`.
"""

import hashlib
from dataclasses import replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from workbench.data.delimited import shown_cell
from workbench.data.manifest import Manifest
from workbench.data.metadata import column_of
from workbench.errors import DataError
from workbench.values import Frozen


class Validation(Frozen):
    """Which labelled files validate."""

    kind: Literal["given", "stratified", "group", "leave-one-out-by-column"] = "given"
    """Those of the data's own `val`; as many of each class in every fold; the same, with files of
    one group together; or the files of one value of a column, such as a generator's fakes."""

    folds: int = Field(5, ge=2, le=100)
    """How many there are; by a column, as many as it has values."""

    fold: int = Field(1, ge=1)
    """The one that is `val`, counted from 1."""

    by: str | None = None
    """The column: by default the first of `groups` under `data`; to leave one out, `generator`."""

    @model_validator(mode="after")
    def _has_the_fold(self) -> Self:
        if self.kind in ("stratified", "group") and self.fold > self.folds:
            raise ValueError(f"there is no fold {self.fold} of {self.folds}")
        return self


def with_fold(manifest: Manifest, validation: Validation) -> Manifest:
    """Return the manifest with its labelled files dealt anew into `train` and `val`.

    Copies of one file stay together. Which files are in a fold depends on their content, or on the
    names of their groups, and not on the order or the number of the others.

    Raises:
        DataError: the tables have no such column, or a split would lack a class.
    """
    if validation.kind == "given":
        return manifest
    table = manifest.table.drop_duplicates(["path", "target"])
    table = pd.concat([table[table["target"] >= 0], manifest.table[manifest.table["target"] < 0]])
    labelled = (table["target"] >= 0).to_numpy()
    rows = table[labelled]
    if validation.kind == "leave-one-out-by-column":
        is_val, what = _left_out(rows, validation, validation.by or manifest.metadata.generator)
    else:
        is_val, what = _one_fold(rows, validation, manifest)
    dealt = rows.assign(split=np.where(is_val, "val", "train"))
    if dealt.duplicated(["split", "name"]).any():  # files of two folders, now in one split
        dealt = dealt.assign(name=dealt["path"])
    for split, of_split in dealt[dealt["status"] == "ok"].groupby("split"):
        if of_split["target"].nunique() < 2:
            raise DataError(
                f"With {what} as val, {split} would lack a class. Choose another `fold`, or fewer "
                "`folds`, by `validation` in the experiment."
            )
    parts = [dealt[~is_val], dealt[is_val], table[~labelled]]
    said = f"validation: {what} is val, {int(is_val.sum())} of {len(rows)} labelled files"
    whole = pd.concat(parts, ignore_index=True)
    return replace(manifest, table=whole, understood=(*manifest.understood, said))


def _one_fold(
    rows: pd.DataFrame, validation: Validation, manifest: Manifest
) -> tuple[npt.NDArray[np.bool_], str]:
    """Return which rows are in the fold, and what it is in words."""
    keys = rows["content"].where(rows["content"] != "", rows["path"])
    what = f"fold {validation.fold} of {validation.folds}"
    if validation.kind == "group":
        column = validation.by or next(iter(manifest.metadata.groups), None)
        if column is None:
            raise DataError(
                "`validation` deals by groups, and nothing says what they are. Name a column by "
                "`groups` under `data` in the experiment."
            )
        said = _cells(rows, column)
        keys, what = keys.where(said == "", said), f"{what} by {column}"
    folds = _folds(keys, rows["target"], validation.folds)
    return folds == validation.fold - 1, what


def _folds(
    keys: "pd.Series[str]", targets: "pd.Series[int]", num_folds: int
) -> npt.NDArray[np.int64]:
    """Return the fold of each file, counted from 0, (files,); files of one key are in one.

    Keys of fakes alone, of reals alone and of both are dealt apart, in the order of a hash.
    """
    groups = pd.DataFrame({"key": keys, "target": targets}).groupby("key")["target"]
    kinds = groups.agg(["min", "max", "size"])
    kinds["place"] = [hashlib.sha256(f"fold {key}".encode()).hexdigest() for key in kinds.index]
    fold_of: dict[str, int] = {}
    for _, kind in kinds.groupby(["min", "max"]):
        ordered = kind.sort_values("place")
        # Where the middle of a group lies, among as many files for each fold.
        middle = ordered["size"].cumsum() - ordered["size"] / 2
        numbers = (middle * num_folds // ordered["size"].sum()).astype(int)
        fold_of |= dict(zip(map(str, ordered.index), numbers, strict=True))
    return np.array([fold_of[key] for key in keys], np.int64)


def _left_out(
    rows: pd.DataFrame, validation: Validation, column: str
) -> tuple[npt.NDArray[np.bool_], str]:
    """Return which rows are of the value that is left out, and what it is in words.

    Where no real file is of it, as of a generator, its share of the reals goes with it.
    """
    cells, is_fake = _cells(rows, column), (rows["target"] == 1).to_numpy()
    values = sorted(set(cells[is_fake]) - {""})
    if validation.fold > len(values):
        raise DataError(
            f"`validation` leaves out value {validation.fold} of `{column}`, and the fakes have "
            f"{len(values)}. Choose a `fold` from 1 on, up to that."
        )
    value = values[validation.fold - 1]
    is_val = (cells == value).to_numpy()
    if not (is_val & ~is_fake).any() and len(values) > 1:
        keys = rows["content"].where(rows["content"] != "", rows["path"])
        share = _folds(keys, rows["target"], len(values)) == validation.fold - 1
        is_val = is_val | (~is_fake & share)
    return is_val, f"{column} {shown_cell(value)}"


def _cells(rows: pd.DataFrame, column: str) -> "pd.Series[str]":
    """Return what a metadata column says of each file.

    Raises:
        DataError: it is not there.
    """
    if column_of(column) not in rows:
        raise DataError(
            f"`validation` deals by `{column}`, which no table of the data has, or which `groups` "
            "and `generator` under `data` do not name. Correct the experiment, or add the column."
        )
    return rows[column_of(column)]
