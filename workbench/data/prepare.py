"""Preparation: every file of a manifest decoded once into every view, in parallel."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.console import table as table_text
from workbench.console import track, visible
from workbench.data.decoding import FAILED_HERE, FILE_LIMIT_S, Place, Task, decode_all
from workbench.data.facts import FactsStore
from workbench.data.manifest import Manifest
from workbench.data.store import NEUTRAL_ROW, Outcome, ViewStore, open_rows
from workbench.errors import DataError
from workbench.files import finished, read_json, write_json
from workbench.media.view import View
from workbench.media.views import AnyView
from workbench.values import build

# Files between two writings of the index: what a kill can cost.
_FLUSH_FILES = 256


@dataclass(frozen=True)
class Prepared:
    """A data set ready for trials: its manifest with the row of each file in each view's array."""

    table: pd.DataFrame
    """The manifest's columns, and for each view `row.VIEW`, `status.VIEW`, `reason.VIEW`."""

    views: Mapping[str, View]
    arrays: Mapping[str, Path]
    """The memory-mapped file of each view."""

    fingerprint: str
    """Names labels and media: see `Manifest.fingerprint`."""

    def rows(self, split: str) -> pd.DataFrame:
        """Return the rows of one split; of `train`, only those with something to learn from."""
        rows = self.table[self.table["split"] == split]
        if split == "train":
            readable = [rows[f"row.{name}"] != NEUTRAL_ROW for name in self.views]
            rows = rows[np.logical_or.reduce(readable)]
        return rows.reset_index(drop=True)

    def contents(self) -> list[str]:
        """Return the hash of every content that is there, each once."""
        contents = self.table["content"].drop_duplicates()
        return [content for content in contents if content]

    def open_array(self, view: str) -> npt.NDArray[Any]:
        """Return all rows of `view` as a read-only memory map, (rows, *stored_shape)."""
        return open_rows(self.arrays[view], self.views[view])

    def vectors(self, view: str, split: str) -> pd.DataFrame:
        """Return a vector view of one split: a row a file by its name, a column a named value."""
        rows = self.rows(split)
        values = self.open_array(view)[rows[f"row.{view}"].to_numpy(), 0]
        index = pd.Index(rows["name"], name="name")
        return pd.DataFrame(values, index, columns=list(self.views[view].names))

    def save(self, folder: Path) -> None:
        """Write `manifest.parquet` and `prepared.json` into `folder`."""
        with finished(folder / "manifest.parquet") as part:
            self.table.to_parquet(part, index=False)
        views = {
            name: {"settings": view.model_dump(mode="json"), "array": str(self.arrays[name])}
            for name, view in self.views.items()
        }
        write_json(folder / "prepared.json", {"fingerprint": self.fingerprint, "views": views})

    @staticmethod
    def load(folder: Path) -> "Prepared":
        """Return what `save` wrote into `folder`.

        Raises:
            DataError: it was never saved there, or a cached array is gone.
        """
        if not (folder / "prepared.json").exists():
            raise DataError(f"{folder} holds no prepared data. Run `workbench search` again.")
        saved: dict[str, Any] = read_json(folder / "prepared.json")
        views: dict[str, View] = {
            name: build(AnyView, v["settings"], where=name) for name, v in saved["views"].items()
        }
        arrays = {name: Path(v["array"]) for name, v in saved["views"].items()}
        for name, array in arrays.items():
            if not array.exists():
                raise DataError(
                    f"The cached {name} arrays {array} are gone. Run `workbench search` again "
                    "with the same options; it decodes them anew."
                )
        table = pd.read_parquet(folder / "manifest.parquet")
        return Prepared(table, views, arrays, saved["fingerprint"])


def prepare(
    manifest: Manifest,
    folder: Path,
    views: Mapping[str, View],
    *,
    cache: Path,
    jobs: int,
    limit_s: float = FILE_LIMIT_S,
    retry: bool = False,
) -> Prepared:
    """Decode what is not cached yet, each file once for all views, and say where the arrays are.

    Args:
        manifest: The files.
        folder: The data folder that the manifest's paths are relative to.
        views: The views by name.
        cache: Folder of the cached arrays.
        jobs: Decoding processes.
        limit_s: Time that one file may take.
        retry: Decode again what took too long or killed its decoder the last time.

    Returns:
        The prepared data; a file that could not be decoded has a status, a reason and the view's
        neutral array.

    Raises:
        DataError: the disk is full; what was decoded is kept.
    """
    stores = {name: ViewStore(cache, view) for name, view in views.items()}
    facts = FactsStore(cache)
    there = manifest.table["status"] == "ok"
    wanted = manifest.table.loc[there, ["content", "path"]].drop_duplicates("content")
    files = dict(zip(wanted["content"], wanted["path"], strict=True))
    if retry or not _is_all_there(stores, facts, files):
        try:
            _fill(stores, facts, files, folder, jobs=jobs, limit_s=limit_s, retry=retry)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataError(
                f"There is no space left for {cache} ({error.strerror}). Make some and run this "
                "again: what was decoded is kept."
            ) from error
    table = manifest.table.copy()
    for name, store in stores.items():
        outcomes = store.outcomes()
        found = [
            outcomes[content]
            if status == "ok"
            else Outcome(NEUTRAL_ROW, status, f"the file is {status}")
            for content, status in zip(table["content"], table["status"], strict=True)
        ]
        table[f"row.{name}"] = np.array([outcome.row for outcome in found], np.int64)
        table[f"status.{name}"] = [outcome.status for outcome in found]
        table[f"reason.{name}"] = [outcome.reason for outcome in found]
    arrays = {name: store.array_file.resolve() for name, store in stores.items()}
    return Prepared(table, dict(views), arrays, manifest.fingerprint)


def describe(prepared: Prepared) -> list[str]:
    """Return a line for each view and kind of trouble: how many files, and an example."""
    lines = []
    for name in prepared.views:
        bad = prepared.table[prepared.table[f"status.{name}"] != "ok"]
        for status, rows in bad.groupby(f"status.{name}"):
            example = f"{rows['path'].iloc[0]}: {rows[f'reason.{name}'].iloc[0]}"
            lines.append(f"{name}: {len(rows)} files {status}, e.g. {visible(example)}")
    return lines


def as_table(prepared: Prepared) -> str:
    """Return a table for a terminal: of each view, how many files ended how."""
    status = {name: prepared.table[f"status.{name}"] for name in prepared.views}
    seen = sorted(set().union(*status.values()) - {"ok"})
    header = ["view", "array of one file", "files", "ok", *seen]
    rows = []
    for name, view in prepared.views.items():
        counts = status[name].value_counts()
        shape = " x ".join(map(str, view.stored_shape))
        numbers = [len(status[name]), *(counts.get(key, 0) for key in ("ok", *seen))]
        rows.append([name, f"{np.dtype(view.dtype).name} {shape}", *map(str, numbers)])
    return table_text(header, rows)


def require_all(prepared: Prepared) -> None:
    """Raise DataError if any file ended with another status than `ok`."""
    if trouble := describe(prepared):
        raise DataError("\n".join([*trouble, "With --strict every file must be decodable."]))


def _is_all_there(
    stores: Mapping[str, ViewStore], facts: FactsStore, files: Mapping[str, str]
) -> bool:
    """Say whether nothing is to decode, without waiting for one who is writing."""
    if not all(store.array_file.exists() for store in stores.values()):
        return False
    known = [store.outcomes().keys() for store in stores.values()]
    return all(files.keys() <= contents for contents in [*known, facts.read().keys()])


def _fill(
    stores: Mapping[str, ViewStore],
    facts: FactsStore,
    files: Mapping[str, str],
    folder: Path,
    *,
    jobs: int,
    limit_s: float,
    retry: bool,
) -> None:
    """Decode into `stores` and `facts` what they lack of `files`, paths by their content."""
    with ExitStack() as stack:
        # In one order, whoever prepares: two would otherwise wait for each other for ever.
        fact_writer = stack.enter_context(facts.writing())
        in_order = sorted(stores.items(), key=lambda item: str(item[1].folder))
        writers = {name: stack.enter_context(store.writing()) for name, store in in_order}
        for writer in writers.values() if retry else ():
            writer.forget(FAILED_HERE)

        def tasks() -> Iterator[Task]:
            for content, path in files.items():
                lacking = [name for name in writers if content not in writers[name].outcomes]
                if not lacking and content in fact_writer.known:
                    continue
                places = {
                    name: Place(stores[name].view, stores[name].array_file, writers[name].reserve())
                    for name in lacking
                }
                yield Task(content, folder / path, places, content not in fact_writer.known)

        total = sum(
            any(content not in writer.outcomes for writer in writers.values())
            or content not in fact_writer.known
            for content in files
        )
        done = decode_all(tasks(), jobs=min(jobs, max(1, total)), limit_s=limit_s)
        for count, (task, how) in enumerate(track(done, "decode", unit="file", total=total), 1):
            for name, outcome in how.outcomes.items():
                if outcome.row == NEUTRAL_ROW:
                    writers[name].release(task.places[name].row)
                writers[name].add(task.content, outcome)
            if task.content not in fact_writer.known:
                fact_writer.add(task.content, how.facts)
            if count % _FLUSH_FILES == 0:
                for writer in writers.values():
                    writer.flush()
                fact_writer.flush()
