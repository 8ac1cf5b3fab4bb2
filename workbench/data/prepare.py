"""Preparation: every file of a manifest decoded once into every view, in parallel."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.console import say, track
from workbench.data.contents import Stamp, why_unread
from workbench.data.decoding import FAILED_HERE, Place, Task, decode_all
from workbench.data.facts import FactsStore
from workbench.data.manifest import Manifest
from workbench.data.metadata import Metadata
from workbench.data.prepared_table import (
    PREPARED_TABLE,
    read_prepared_table,
    write_prepared_table,
)
from workbench.data.rows import UNKNOWN, RowChecks, checksum
from workbench.data.unexpected import Unexpected
from workbench.data.view_store import AGAIN, NEUTRAL_ROW, Outcome, ViewStore, open_rows, store_uid
from workbench.errors import CacheError, ConfigError, DataError
from workbench.files import hash_file, read_json, write_json
from workbench.media.decoders import FILE_LIMIT_S
from workbench.media.view import View
from workbench.media.views import AnyView
from workbench.validation import build

# Files between two writings of the index: what a kill can cost.
_FLUSH_FILES = 256


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
            if ((sums[rows] != wanted) & (wanted != UNKNOWN)).any():
                raise CacheError(
                    f"Two files share a row of the cached {view} arrays {file}. {AGAIN}"
                )
        return RowChecks(array, file, sums)

    def vectors(self, view: str, split: str) -> pd.DataFrame:
        """Return a vector view of one split: a row a file by its name, a column a named value."""
        rows = self.rows(split)
        values = self.open_array(view)[rows[f"row.{view}"].to_numpy(), 0]
        index = pd.Index(rows["name"], name="name")
        return pd.DataFrame(values, index, columns=list(self.views[view].names))

    def save(self, folder: Path) -> None:
        """Write `PREPARED_TABLE` and `prepared.json` into `folder`.

        Arrays below the folder's parent are named from `folder` on, so that a copy of all that has
        its own.
        """
        here = folder.resolve()
        write_prepared_table(self.table, folder / PREPARED_TABLE)
        views = {
            name: {
                "settings": view.model_dump(mode="json"),
                "array": _named_from(here, self.arrays[name]),
                "store": self.stores.get(name, ""),
            }
            for name, view in self.views.items()
        }
        about = {
            "fingerprint": self.fingerprint,
            "table_sha256": hash_file(folder / PREPARED_TABLE),
            "views": views,
            "metadata": self.metadata.model_dump(mode="json"),
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
            arrays = {name: (folder / each[name]["array"]).resolve() for name in each}
            stores = {name: each[name].get("store", "") for name in each}
            metadata: Metadata = build(Metadata, saved.get("metadata", {}), where=str(folder))
        except (ValueError, LookupError, TypeError, AttributeError, ConfigError) as error:
            raise CacheError(f"{folder / 'prepared.json'} is damaged. {AGAIN}") from error
        table = read_prepared_table(folder / PREPARED_TABLE)
        # Earlier versions did not note it.
        if saved.get("table_sha256") not in (None, hash_file(folder / PREPARED_TABLE)):
            raise CacheError(f"{folder / PREPARED_TABLE} is of other data. {AGAIN}")
        loaded = Prepared(table, views, arrays, fingerprint, stores, metadata)
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
                f"The cached {name} arrays {file} were made anew since, or are those of other "
                f"data. {AGAIN}"
            )
        if len(self.table) and num_rows <= self.table[f"row.{name}"].max():
            raise CacheError(f"The cached {name} arrays {file} are cut short. {AGAIN}")


def _named_from(folder: Path, file: Path) -> str:
    is_near = file.is_relative_to(folder.parent)
    return os.path.relpath(file, folder) if is_near else str(file)


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
        retry: Decode again what took too long, killed its decoder or failed in a way that nobody
            foresaw the last time.
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
    facts = FactsStore(cache)
    there = manifest.table["status"] == "ok"
    wanted = manifest.table.loc[there, ["content", "path"]].drop_duplicates("content")
    files = dict(zip(wanted["content"], wanted["path"], strict=True))
    passing: dict[str, dict[str, Outcome]] = {}
    unexpected = Unexpected(cache, {n: store.folder.name for n, store in stores.items()}, files)
    asked = retry or verify
    if asked or not _is_all_there(stores, facts, files, unexpected) or _is_to_check(stores, facts):
        how = _How(jobs=jobs, limit_s=limit_s, retry=retry, verify=verify)
        try:
            passing = _fill(stores, facts, files, folder, manifest.stamps, unexpected, how)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataError(
                f"There is no space left for {cache} ({error.strerror}). Make some and run this "
                "again: what was decoded is kept."
            ) from error
    table = manifest.table.copy()
    for name, store in stores.items():
        outcomes = store.outcomes() | passing.get(name, {})
        found = [
            outcomes[content]
            if status == "ok"
            else Outcome(NEUTRAL_ROW, status, why_unread(status))
            for content, status in zip(table["content"], table["status"], strict=True)
        ]
        table[f"row.{name}"] = np.array([outcome.row for outcome in found], np.int64)
        table[f"status.{name}"] = [outcome.status for outcome in found]
        table[f"reason.{name}"] = [outcome.reason for outcome in found]
        sums = [UNKNOWN if outcome.sum is None else outcome.sum for outcome in found]
        table[f"sum.{name}"] = np.array(sums, np.int64)
    arrays = {name: store.array_file.resolve() for name, store in stores.items()}
    uids = {name: store.uid for name, store in stores.items()}
    about = manifest.fingerprint, uids, manifest.metadata
    return Prepared(table, dict(views), arrays, *about)


def _is_all_there(
    stores: Mapping[str, ViewStore],
    facts: FactsStore,
    files: Mapping[str, str],
    unexpected: Unexpected,
) -> bool:
    """Say whether nothing is to decode, without waiting for one who is writing."""
    if not all(store.array_file.exists() for store in stores.values()):
        return False
    known = [store.outcomes().keys() - unexpected.stale(name) for name, store in stores.items()]
    return all(files.keys() <= contents for contents in [*known, facts.read().keys()])


def _is_to_check(stores: Mapping[str, ViewStore], facts: FactsStore) -> bool:
    """Say whether cached rows are to be checked, which waits for nobody who is writing."""
    return any(store.is_to_check() for store in stores.values()) and not facts.is_being_written()


@dataclass(frozen=True)
class _How:
    """How to fill the stores; see `prepare`."""

    jobs: int
    limit_s: float
    retry: bool
    verify: bool


def _fill(
    stores: Mapping[str, ViewStore],
    facts: FactsStore,
    files: Mapping[str, str],
    folder: Path,
    stamps: Mapping[str, Stamp],
    unexpected: Unexpected,
    how: _How,
) -> dict[str, dict[str, Outcome]]:
    """Decode into `stores` and `facts` what they lack of `files`, paths by their content.

    Returns:
        By view and content, outcomes that say nothing of the content and are not kept.
    """
    passing: dict[str, dict[str, Outcome]] = {name: {} for name in stores}
    with ExitStack() as stack:
        # In one order, whoever prepares: two would otherwise wait for each other for ever.
        fact_writer = stack.enter_context(facts.writing())
        in_order = sorted(stores.items(), key=lambda item: str(item[1].folder))
        writers = {
            name: stack.enter_context(store.writing(thorough=how.verify))
            for name, store in in_order
        }
        for name, writer in writers.items():
            if writer.num_damaged:
                say(
                    f"{stores[name].array_file}: {writer.num_damaged} cached rows were changed "
                    "on disk. What is needed of them is decoded anew."
                )
            if how.retry:
                writer.forget(FAILED_HERE)
        fact_writer.known -= unexpected.forget(writers, retry=how.retry)

        def tasks() -> Iterator[Task]:
            for content, path in files.items():
                lacking = [name for name in writers if content not in writers[name].outcomes]
                if not lacking and content in fact_writer.known:
                    continue
                places = {
                    name: Place(
                        stores[name].view, stores[name].array_file, writers[name].reserve(content)
                    )
                    for name in lacking
                }
                loudness = content not in fact_writer.known
                yield Task(content, folder / path, places, loudness, stamps.get(path))

        total = sum(
            any(content not in writer.outcomes for writer in writers.values())
            or content not in fact_writer.known
            for content in files
        )
        jobs = min(how.jobs, max(1, total))
        done = stack.enter_context(closing(decode_all(tasks(), jobs=jobs, limit_s=how.limit_s)))
        for count, (task, ended) in enumerate(track(done, "decode", unit="file", total=total), 1):
            unexpected.take(task, ended)
            for name, outcome in ended.outcomes.items():
                if outcome.row == NEUTRAL_ROW:
                    writers[name].release(task.places[name].row)
                if not ended.is_kept:
                    passing[name][task.content] = outcome
                elif name not in ended.unexpected:
                    writers[name].add(task.content, outcome)
            if ended.is_kept and task.content not in fact_writer.known:
                fact_writer.add(task.content, ended.facts)
            if count % _FLUSH_FILES == 0:
                for writer in writers.values():
                    writer.flush()
                fact_writer.flush()
        unexpected.keep(writers)
    return passing
