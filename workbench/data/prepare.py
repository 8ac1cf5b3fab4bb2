"""Preparation: every file of a manifest decoded once into every view, in parallel."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.contents import why_unread
from workbench.data.filling import How, Media, decoded
from workbench.data.manifest import Manifest
from workbench.data.metadata import Metadata
from workbench.data.out_of_fold import (
    FOLD,
    num_folds,
    of_one_fold,
    with_all_folds,
    with_val_in_train,
)
from workbench.data.prepared_table import (
    PREPARED_TABLE,
    read_prepared_table,
    write_prepared_table,
)
from workbench.data.rows import UNKNOWN, RowChecks, checksum
from workbench.data.view_store import AGAIN, NEUTRAL_ROW, Outcome, ViewStore, open_rows, store_uid
from workbench.errors import CacheError, ConfigError, DataError
from workbench.files import hash_file, read_json, write_json
from workbench.media.decoders import FILE_LIMIT_S
from workbench.media.view import View
from workbench.media.views import AnyView
from workbench.validation import build

BESIDE = "beside"
"""Folder of the prepared data beside it."""


@dataclass(frozen=True)
class Prepared:
    """A data set ready for trials: its manifest with the row of each file in each view's array."""

    table: pd.DataFrame
    """The manifest's columns, and for each view `row.VIEW`, `status.VIEW`, `reason.VIEW` and
    `sum.VIEW`, the checksum of the row.

    The reason of a file that is `ok` is a note on what is odd about it."""

    views: Mapping[str, View]
    arrays: Mapping[str, Path]
    """The memory-mapped file of each view."""

    fingerprint: str
    """Names labels and media: see `Manifest.fingerprint`."""

    stores: Mapping[str, str] = field(default_factory=dict)
    """Names the store that each array was in, see `ViewStore.uid`: another has other rows."""

    metadata: Metadata = field(default_factory=Metadata)
    """Which columns of the tables say what of a file; those that are there are in `table`."""

    beside: "Mapping[str, Prepared]" = field(default_factory=dict)
    """Other files of which `val` is a slice of this data set too, by its name: degraded copies,
    other labelled folders."""

    def rows(self, split: str) -> pd.DataFrame:
        """Return the rows of one split that a trial looks at.

        Of `train` and of what is measured, those that some view could be made of: nothing can be
        learnt from neutral pictures, and what a model says of them measures nothing. Which they are
        is the same for every trial, whatever views it takes, so that all are ranked on the same
        files. Of `test` all, since a submission needs every row.
        """
        rows = self.table[self.table["split"] == split]
        if split != "test":
            rows = rows[self._is_seen(rows)]
        return rows.reset_index(drop=True)

    @property
    def num_folds(self) -> int:
        """How often a trial is trained: each time without one fold, which it is validated on."""
        return num_folds(self.table)

    def with_all_folds(self) -> "Prepared":
        """Return the data with the files of every fold that validates in `val`, and in `train`."""
        return self if FOLD not in self.table else replace(self, table=with_all_folds(self.table))

    def for_fold(self, fold: int) -> "Prepared":
        """Return the data with the files of one fold, from 1 on, in `val` alone."""
        return (
            self if FOLD not in self.table else replace(self, table=of_one_fold(self.table, fold))
        )

    def with_val_in_train(self) -> "Prepared":
        """Return the data with the files of `val` in `train`, too, and no folds."""
        return replace(self, table=with_val_in_train(self.table))

    def left_out(self) -> pd.DataFrame:
        """Return the labelled rows of which no view could be made; no trial looks at them."""
        rows = self.table[self.table["split"] != "test"]
        return rows[~self._is_seen(rows)]

    def _is_seen(self, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
        seen = [rows[f"row.{name}"].to_numpy() != NEUTRAL_ROW for name in self.views]
        return np.logical_or.reduce(seen)

    def contents(self) -> list[str]:
        """Return the hash of every content that is there, each once."""
        contents = self.table["content"].drop_duplicates()
        return [content for content in contents if content]

    def open_array(self, view: str) -> RowChecks:
        """Return all rows of `view`, (rows, *stored_shape), each checked when it is first read.

        Raises:
            CacheError: the array is gone, cut short, or was made anew since.
        """
        file = self.arrays[view]
        array = open_rows(file, self.views[view])
        self._check_store(view, num_rows=len(array))
        sums = np.full(len(array), UNKNOWN, np.int64)
        if f"sum.{view}" in self.table:
            rows, wanted = self.table[f"row.{view}"], self.table[f"sum.{view}"]
            sums[rows] = wanted
            sums[NEUTRAL_ROW] = checksum(self.views[view].neutral())
            told = (wanted != UNKNOWN) & (rows != NEUTRAL_ROW)
            if ((sums[rows] != wanted) & told).any():
                raise CacheError(
                    f"Two files share a row of the cached {view} arrays {file}. {AGAIN}"
                )
        return RowChecks(array, file, sums)

    def vectors(self, view: str, split: str) -> pd.DataFrame:
        """Return a vector view of one split: a row a file by its name, a column a named value.

        A file without the view has its neutral values.

        Raises:
            DataError: several folds validate, so that each of their files is in both splits.
        """
        if FOLD in self.table and split != "test":
            raise DataError(
                f"{self.num_folds} folds validate in turn, so files of val are in train, too. Ask "
                "for one of them first: `prepared.for_fold(1)`."
            )
        rows = self.rows(split)
        values = self.open_array(view)[rows[f"row.{view}"].to_numpy(), 0]
        index = pd.Index(rows["name"], name="name")
        return pd.DataFrame(values, index, columns=list(self.views[view].names))

    def save(self, folder: Path) -> None:
        """Write `PREPARED_TABLE` and `prepared.json` into `folder`.

        Arrays below the folder's parent are named from `folder` on, so that a copy of all that has
        its own.
        """
        self._save(folder, folder.resolve().parent)

    def _save(self, folder: Path, home: Path) -> None:
        write_prepared_table(self.table, folder / PREPARED_TABLE)
        place = folder.resolve()
        arrays = {
            name: os.path.relpath(file, place) if file.is_relative_to(home) else str(file)
            for name, file in self.arrays.items()
        }
        views = {
            name: {
                "settings": view.model_dump(mode="json"),
                "array": arrays[name],
                "store": self.stores.get(name, ""),
            }
            for name, view in self.views.items()
        }
        for name, other in self.beside.items():
            other._save(folder / BESIDE / name, home)
        about = {
            "fingerprint": self.fingerprint,
            "table_sha256": hash_file(folder / PREPARED_TABLE),
            "views": views,
            "metadata": self.metadata.model_dump(mode="json"),
            "beside": [*self.beside],
        }
        write_json(folder / "prepared.json", about)

    @staticmethod
    def load(folder: Path) -> "Prepared":
        """Return what `save` wrote into `folder`.

        Raises:
            DataError: it was never saved there.
            CacheError: a cached array is gone, cut short, or was made anew since.
        """
        if not (folder / "prepared.json").exists():
            raise DataError(f"{folder} holds no prepared data. Run `workbench search` again.")
        try:
            saved: dict[str, Any] = read_json(folder / "prepared.json")
            each, fingerprint = saved["views"], saved["fingerprint"]
            views: dict[str, View] = {n: build(AnyView, each[n]["settings"], where=n) for n in each}
            arrays = {name: _array(folder, each[name]) for name in each}
            stores = {name: each[name].get("store", "") for name in each}
            metadata: Metadata = build(Metadata, saved.get("metadata", {}), where=str(folder))
            others = _folders_beside(folder, saved)
        except (
            ValueError,
            RecursionError,
            LookupError,
            TypeError,
            AttributeError,
            ConfigError,
        ) as error:
            raise CacheError(f"{folder / 'prepared.json'} is damaged. {AGAIN}") from error
        table = read_prepared_table(folder / PREPARED_TABLE)
        # Earlier versions did not note it.
        if saved.get("table_sha256") not in (None, hash_file(folder / PREPARED_TABLE)):
            raise CacheError(f"{folder / PREPARED_TABLE} belongs to other data. {AGAIN}")
        beside = {name: Prepared.load(other) for name, other in others.items()}
        loaded = Prepared(table, views, arrays, fingerprint, stores, metadata, beside)
        for name, view in views.items():
            loaded._check_store(name, num_rows=len(open_rows(arrays[name], view)))
        return loaded

    def _check_store(self, name: str, *, num_rows: int) -> None:
        """Check that the array of `name` is still that of the store which was prepared.

        Raises:
            CacheError: it is another one, or lacks rows.
        """
        file = self.arrays[name]
        if (uid := self.stores.get(name)) and uid != store_uid(file.parent):
            raise CacheError(
                f"The cached {name} arrays {file} were replaced since, or belong to other "
                f"data. {AGAIN}"
            )
        if len(self.table) and num_rows <= self.table[f"row.{name}"].max():
            raise CacheError(f"The cached {name} arrays {file} are cut short. {AGAIN}")


def stored_arrays(folder: Path) -> list[Path]:
    """Return the arrays that the prepared data in `folder` name, with those beside it.

    Raises:
        DataError: it was never saved there.
        CacheError: what was saved is damaged.
    """
    file = folder / "prepared.json"
    if not file.exists():
        raise DataError(f"{folder} holds no prepared data. Run `workbench search` again.")
    try:
        saved: dict[str, Any] = read_json(file)
        found = [_array(folder, view) for view in saved["views"].values()]
        others = _folders_beside(folder, saved).values()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise CacheError(f"{file} is damaged. {AGAIN}") from error
    return found + [array for other in others for array in stored_arrays(other)]


def _array(folder: Path, view: Mapping[str, Any]) -> Path:
    """Return the array of a view that was saved in `folder`."""
    found = (folder / view["array"]).resolve()
    # Of a folder that was put on another disk since, and linked to, the cache stayed.
    by_name = os.path.abspath(folder / view["array"])  # noqa: PTH100 (no link is followed)
    return found if found.exists() else Path(by_name).resolve()


def _folders_beside(folder: Path, saved: Mapping[str, Any]) -> dict[str, Path]:
    """Return the folders of the data beside those in `folder`, by name.

    Raises:
        ValueError: a name leads elsewhere: the record may be a stranger's.
    """
    names: list[str] = saved.get("beside", [])
    if any("/" in name or name in (".", "..") for name in names):
        raise ValueError("no plain name")
    return {name: folder / BESIDE / name for name in names}


def prepare(
    manifest: Manifest,
    folder: Path,
    views: Mapping[str, View],
    *,
    cache: Path,
    jobs: int,
    limit_s: float = FILE_LIMIT_S,
    retry: bool = False,
    verify: bool = False,
) -> Prepared:
    """Decode what is not cached yet, each file once for all views, and say where the arrays are.

    Args:
        manifest: The files.
        folder: The data folder that the manifest's paths are relative to.
        views: The views by name.
        cache: Folder of the cached arrays.
        jobs: Decoding processes.
        limit_s: Time that one file may take.
        retry: Decode again what was broken, took too long, killed its decoder or failed in a way
            that nobody foresaw the last time.
        verify: Check every row of the cached arrays, even of those that nothing seems to have
            changed.

    Returns:
        The prepared data; a file that could not be decoded has a status, a reason and the view's
        neutral array.

    Raises:
        DataError: the disk is full, or one exception that nobody foresaw ended many files; what
            was decoded is kept.
    """
    stores = {name: ViewStore(cache, view) for name, view in views.items()}
    there = manifest.table["status"] == "ok"
    wanted = manifest.table.loc[there, ["content", "path"]].drop_duplicates("content")
    files = dict(zip(wanted["content"], wanted["path"], strict=True))
    media = Media(folder, files, manifest.stamps, {"": tuple(views)})
    how = How(jobs=jobs, limit_s=limit_s, retry=retry, verify=verify)
    outcomes = decoded(stores, media, how, cache=cache)
    table = manifest.table.copy()
    for name in stores:
        found = [
            outcomes[name][content]
            if status == "ok"
            else Outcome(NEUTRAL_ROW, status, why_unread(status))
            for content, status in zip(table["content"], table["status"], strict=True)
        ]
        enter(table, name, found)
    arrays = {name: store.array_file.resolve() for name, store in stores.items()}
    uids = {name: store.uid for name, store in stores.items()}
    about = manifest.fingerprint, uids, manifest.metadata
    return Prepared(table, dict(views), arrays, *about)


def enter(table: pd.DataFrame, view: str, outcomes: Iterable[Outcome]) -> None:
    """Write into the columns of a view how the decoding of each row's file ended."""
    found = list(outcomes)
    table[f"row.{view}"] = np.array([outcome.row for outcome in found], np.int64)
    table[f"status.{view}"] = [outcome.status for outcome in found]
    table[f"reason.{view}"] = [outcome.reason for outcome in found]
    sums = [UNKNOWN if outcome.sum is None else outcome.sum for outcome in found]
    table[f"sum.{view}"] = np.array(sums, np.int64)
