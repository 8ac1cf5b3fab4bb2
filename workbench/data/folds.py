"""Folds: the labelled files dealt anew into those that are trained on and those that validate.

For data without a good `val`: one that is saturated, or that has the generators and the speakers of
`train`. Every file of `train` and `val` is in one fold; one fold is `val`, and the others `train`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from workbench.data.delimited import shown_cell
from workbench.data.labels import without_repeats
from workbench.data.manifest import Manifest
from workbench.data.metadata import column_of
from workbench.data.out_of_fold import FOLD
from workbench.errors import DataError
from workbench.values import Frozen


class Validation(Frozen):
    """Which of the labelled files are used for validation."""

    kind: Literal["given", "stratified", "group", "cluster", "leave-one-out-by-column"] = "given"
    """`given`: the data's own `val`. `stratified`: folds with the same share of each class.
    `group`: the same, with files of one group together. `cluster`: each fold has fakes whose
    features are alike and a share of the real files, groups together. `leave-one-out-by-column`:
    the files of one value of a column, such as the fakes of one generator."""

    folds: int = Field(5, ge=2, le=100)
    """Number of folds; for `cluster` the most that there may be. `leave-one-out-by-column` has one
    for each value and does not read this."""

    fold: int = Field(1, ge=1)
    """The fold that is `val`, counted from 1."""

    use: int = Field(1, ge=1, le=100)
    """How many folds are `val` in turn, beginning with `fold` and, after the last one, going on
    with the first. A trial is trained once without each of them, and a file's score on `val` is by
    the model that did not see it. The weights of the first training are kept."""

    by: str | None = None
    """The column to divide by: by default the first of `groups` under `data`, and `generator` for
    `leave-one-out-by-column`."""

    @model_validator(mode="after")
    def _has_the_fold(self) -> Self:
        if self.kind == "given" and self.use > 1:
            raise ValueError("the data's own `val` is one fold: name another `kind` to use several")
        if self.kind in ("stratified", "group", "cluster"):
            if self.fold > self.folds:
                raise ValueError(f"`fold` is {self.fold}, and there are only {self.folds} folds")
            if self.use > self.folds:
                raise ValueError(f"`use` is {self.use}, and there are only {self.folds} folds")
        return self

    @property
    def told(self) -> str:
        """Which files validate, in words; how many folds there are only where that is asked for."""
        if self.kind == "given":
            return "the data's own `val`"
        folds = {
            "cluster": f"{self.folds} folds at most",
            "leave-one-out-by-column": f"a fold for each value of `{self.by or 'generator'}`",
        }.get(self.kind, f"{self.folds} folds")
        return f"`{self.kind}`, {folds}, {self.use} of them used"


Mask = npt.NDArray[np.bool_]


def with_fold(
    manifest: Manifest, validation: Validation, clusters: Mapping[str, int] | None = None
) -> Manifest:
    """Return the manifest with its labelled files dealt anew into `train` and `val`.

    Copies of one file stay together. Which files are in a fold depends on their content, or on the
    names of their groups, and not on the order or the number of the others. Where several folds
    are used, the first is `val`, and the column `FOLD` says which file is in which.

    Args:
        manifest: The files.
        validation: Says how they are dealt.
        clusters: The number of the cluster of each fake, from 1 on, by its path. Before they are
            known, files that are to be dealt by them stay where they are.

    Raises:
        DataError: the tables have no such column, a split would lack a class, or a file is labelled
            both real and fake.
    """
    has_val, has_train = ((manifest.table["split"] == name).any() for name in ("val", "train"))
    if validation.kind == "given":
        if not has_val or not has_train:
            raise DataError(
                f"The data has no files of {'train' if has_val else 'val'}. Say which of the "
                "labelled files validate: write `validation: {kind: stratified}` into the "
                "experiment, or `kind: group`."
            )
        return manifest
    if validation.kind == "cluster" and clusters is None:
        own = "these are the data's own splits" if has_val else "until then they are dealt by names"
        said = f"validation: clusters are found when a search begins; {own}"
        if not has_val:
            manifest = with_fold(manifest, Validation(kind="stratified", folds=validation.folds))
        return replace(manifest, understood=(*manifest.understood, said))
    is_labelled = manifest.table["target"] >= 0
    known, _ = without_repeats(manifest.table[is_labelled], "path", manifest.template.path.parent)
    table = pd.concat([known, manifest.table[~is_labelled]])
    labelled = (table["target"] >= 0).to_numpy()
    rows = table[labelled]
    if validation.kind == "leave-one-out-by-column":
        masks, names = _left_out(rows, validation, validation.by or manifest.metadata.generator)
    else:
        masks, names = _dealt(rows, validation, manifest, clusters or {})
    place = np.zeros(len(rows), np.int64)
    for number, mask in enumerate(masks, start=1):  # a real file may be of two values' shares
        place[mask & (place == 0)] = number
    is_val, unseen = place == 1, table[~labelled]
    dealt = rows.assign(split=np.where(is_val, "val", "train"))
    if validation.use > 1:
        dealt, unseen = dealt.assign(**{FOLD: place}), unseen.assign(**{FOLD: 1})
    # Files of two folders, now in one split.
    if dealt.duplicated(["name"] if validation.use > 1 else ["split", "name"]).any():
        dealt = dealt.assign(name=dealt["path"])
    for number, what in enumerate(names, start=1):
        _require_classes(dealt, place == number, what)
    parts = [dealt[~is_val], dealt[is_val], unseen]
    num_val = f"{int((place > 0).sum())} of {len(rows)} labelled files"
    said = f"validation: {names[0]} is val, {num_val}"
    if validation.use > 1:
        said = (
            f"validation: {', '.join(names)} are val in turn, {num_val}; every trial is trained "
            f"{len(names)} times, and keeps the weights that it learns without {names[0]}"
        )
    whole = pd.concat(parts, ignore_index=True)
    return replace(manifest, table=whole, understood=(*manifest.understood, said))


def _require_classes(dealt: pd.DataFrame, is_val: Mask, what: str) -> None:
    """Refuse a fold with which `train` or `val` would lack a class."""
    there = (dealt["status"] == "ok").to_numpy()
    for split, of_split in (("train", ~is_val), ("val", is_val)):
        if dealt.loc[there & of_split, "target"].nunique() < 2:
            raise DataError(
                f"With {what} as val, {split} would lack a class. Choose another `fold`, or fewer "
                "`folds`, by `validation` in the experiment."
            )


def _used(validation: Validation, num_folds: int) -> list[int]:
    """Return the folds that validate, counted from 0, in order."""
    return [(validation.fold - 1 + step) % num_folds for step in range(validation.use)]


def _dealt(
    rows: pd.DataFrame, validation: Validation, manifest: Manifest, clusters: Mapping[str, int]
) -> tuple[list[Mask], list[str]]:
    """Return which rows are in each fold that validates, and what each is in words."""
    num_folds, by = validation.folds, ""
    keys = rows["content"].where(rows["content"] != "", rows["path"])
    column = validation.by or next(iter(manifest.metadata.groups), None)
    if validation.kind == "group" and column is None:
        raise DataError(
            "`validation` keeps the files of a group together, and nothing says what the "
            "groups are. Name a column by `groups` under `data` in the experiment."
        )
    if validation.kind != "stratified" and column is not None:
        said = _cells(rows, column)
        if validation.kind == "group" and (said == "").all():
            raise DataError(
                f"`validation` keeps the files of one `{column}` together, and the tables say it "
                "of no labelled file. Fill the column, or name another one by `by`."
            )
        keys, by = _with_copies_joined(keys.where(said == "", said), rows), f" by {column}"
    if validation.kind == "cluster":
        num_folds, by = max(clusters.values(), default=0), " by clusters"
        if max(validation.fold, validation.use) > num_folds:
            raise DataError(
                f"`validation` uses fold {max(validation.fold, validation.use)}, and the "
                f"fakes form only {num_folds} clusters, one for each fold. Use fewer "
                "folds, or another `kind`."
            )
        folds = _by_cluster(keys, rows, clusters, num_folds)
    else:
        folds = _folds(keys, rows["target"], num_folds)
    used = _used(validation, num_folds)
    return [folds == one for one in used], [f"fold {one + 1} of {num_folds}{by}" for one in used]


def _with_copies_joined(keys: "pd.Series[str]", rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the key of each file, the keys of copies of one file as one: the first of them.

    Of a copy the tables may say no speaker, or another one.
    """
    pairs = pd.DataFrame({"key": keys, "content": rows["content"]}).drop_duplicates()
    pairs = pairs[(pairs["content"] != "") & pairs["content"].duplicated(keep=False)]
    parent: dict[str, str] = {}

    def first_of(key: str) -> str:
        while key in parent:
            key = parent[key]
        return key

    for _, of_one in pairs.groupby("content")["key"]:
        first, *others = sorted({first_of(key) for key in of_one})
        parent |= dict.fromkeys(others, first)
    return keys.map(first_of)


def _by_cluster(
    keys: "pd.Series[str]", rows: pd.DataFrame, clusters: Mapping[str, int], num_folds: int
) -> npt.NDArray[np.int64]:
    """Return the fold of each file, counted from 0, (files,); files of one key are in one.

    It is the cluster that most of the key's fakes are in, of equals the first. Keys without such a
    fake are dealt as everywhere.
    """
    cluster = rows["path"].map(clusters).where(rows["target"] == 1)
    known = pd.DataFrame({"key": keys, "cluster": cluster}).dropna()
    counts = known.groupby(["key", "cluster"]).size()
    most = counts.sort_index().groupby("key").idxmax()
    fold_of = {str(key): int(pair[1]) - 1 for key, pair in most.items()}
    rest = ~keys.isin(fold_of)
    folds = np.array([fold_of.get(key, 0) for key in keys], np.int64)
    if rest.any():
        folds[rest.to_numpy()] = _folds(keys[rest], rows["target"][rest], num_folds)
    return folds


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
) -> tuple[list[Mask], list[str]]:
    """Return which rows are of each value that is left out, and what each is in words.

    Where no real file is of it, as of a generator, its share of the reals that are of none goes
    with it; of one value that is left out alone, of all reals where each is of some value.
    """
    cells, is_fake = _cells(rows, column), (rows["target"] == 1).to_numpy()
    values = sorted(set(cells[is_fake]) - {""})
    if max(validation.fold, validation.use) > len(values):
        raise DataError(
            f"`validation` leaves out value number {max(validation.fold, validation.use)} "
            f"of `{column}`, and the fakes have only {len(values)}. Choose a lower "
            "`fold` or `use`."
        )
    keys = rows["content"].where(rows["content"] != "", rows["path"])
    # Of a speaker who is left out, too, no real file is in the share of another one.
    is_free = ~is_fake & ~keys.isin(keys[cells.isin(values)]).to_numpy()
    if validation.use == 1 and not is_free.any():
        is_free = ~is_fake
    shares = np.full(len(rows), -1, np.int64)
    if is_free.any():
        shares[is_free] = _folds(keys[is_free], rows["target"][is_free], len(values))
    masks, names = [], []
    for number in _used(validation, len(values)):
        is_val = (cells == values[number]).to_numpy()
        if not (is_val & ~is_fake).any() and len(values) > 1:
            is_val = is_val | (shares == number)
        # Of a copy the tables may say no value, or another one.
        masks.append(keys.isin(keys[is_val]).to_numpy())
        names.append(f"{column} {shown_cell(values[number])}")
    return masks, names


def _cells(rows: pd.DataFrame, column: str) -> "pd.Series[str]":
    """Return what a metadata column says of each file.

    Raises:
        DataError: it is not there.
    """
    if column_of(column) not in rows:
        raise DataError(
            f"`validation` divides the files by `{column}`, which is no column of the "
            "data's tables, or is not named by `groups` or `generator` under `data`. "
            "Correct the experiment, or add the column."
        )
    return rows[column_of(column)]
