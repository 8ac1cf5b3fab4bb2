"""Preparation: every file of a manifest decoded once into every view, in parallel."""

import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.console import track
from workbench.data.manifest import Manifest
from workbench.data.store import NEUTRAL_ROW, Outcome, ViewStore
from workbench.errors import DataError, MediaError
from workbench.files import finished, read_json, write_json
from workbench.media.views import AnyView, View
from workbench.processes import be_a_child, interrupts_held
from workbench.values import build

FILES_A_TASK = 4
"""Files that a decoding process takes at once: enough to hide the cost of handing them over."""


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
            readable = [rows[f"status.{name}"] == "ok" for name in self.views]
            rows = rows[np.logical_or.reduce(readable)]
        return rows.reset_index(drop=True)

    def open_array(self, view: str) -> npt.NDArray[np.uint8]:
        """Return all rows of `view` as a read-only memory map, (rows, *shape) uint8."""
        shape = self.views[view].shape
        rows = self.arrays[view].stat().st_size // int(np.prod(shape))
        return np.memmap(self.arrays[view], np.uint8, mode="r", shape=(rows, *shape))

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
    manifest: Manifest, folder: Path, views: Mapping[str, View], *, cache: Path, jobs: int
) -> Prepared:
    """Decode what is not cached yet, and return where each file's arrays are.

    Args:
        manifest: The files.
        folder: The data folder that the manifest's paths are relative to.
        views: The views by name.
        cache: Folder of the cached arrays.
        jobs: Decoding processes.

    Returns:
        The prepared data; a file that could not be decoded has a status, a reason and the view's
        neutral array.
    """
    table = manifest.table.copy()
    arrays = {}
    for name, view in views.items():
        store = ViewStore(cache, view)
        outcomes = _fill(store, table, folder, label=name, jobs=jobs)
        arrays[name] = store.array_file.resolve()
        nowhere = {
            status: Outcome(NEUTRAL_ROW, status, f"the file is {status}")
            for status in ("missing", "empty")
        }
        found = [
            outcomes[content] if status == "ok" else nowhere[status]
            for content, status in zip(table["content"], table["status"], strict=True)
        ]
        table[f"row.{name}"] = np.array([outcome.row for outcome in found], np.int64)
        table[f"status.{name}"] = [outcome.status for outcome in found]
        table[f"reason.{name}"] = [outcome.reason for outcome in found]
    return Prepared(table, dict(views), arrays, manifest.fingerprint)


def describe(prepared: Prepared) -> list[str]:
    """Return a line for each view and kind of trouble: how many files, and an example."""
    lines = []
    for name in prepared.views:
        bad = prepared.table[prepared.table[f"status.{name}"] != "ok"]
        for status, rows in bad.groupby(f"status.{name}"):
            example = f"{rows['path'].iloc[0]}: {rows[f'reason.{name}'].iloc[0]}"
            lines.append(f"{name}: {len(rows)} files {status}, e.g. {example}")
    return lines


def _fill(
    store: ViewStore, table: pd.DataFrame, folder: Path, *, label: str, jobs: int
) -> dict[str, Outcome]:
    """Decode into `store` what it lacks, and return all its outcomes."""
    wanted = table.loc[table["status"] == "ok", ["content", "path"]].drop_duplicates("content")
    known = store.outcomes()
    if wanted["content"].isin(known.keys()).all() and store.array_file.exists():
        return known
    with store.writing() as writer:
        missing = wanted[~wanted["content"].isin(writer.outcomes.keys())]
        files = [(c, folder / p) for c, p in zip(missing["content"], missing["path"], strict=True)]
        done = _decode_all(store.view, files, jobs=jobs)
        for count, (content, result) in enumerate(
            track(done, label, unit="file", total=len(files))
        ):
            if isinstance(result, MediaError):
                writer.add_failure(content, result.status, str(result))
            else:
                writer.add(content, result)
            if count % 256 == 255:
                writer.flush()
        return writer.outcomes


Decoded = tuple[str, "npt.NDArray[np.uint8] | MediaError"]


def _decode_all(view: View, files: list[tuple[str, Path]], *, jobs: int) -> Iterator[Decoded]:
    """Yield the decoded files as they come; a file that kills its process is one failed file."""
    if jobs <= 1 or len(files) <= FILES_A_TASK:
        jobs = 1
    tasks = iter([files[i : i + FILES_A_TASK] for i in range(0, len(files), FILES_A_TASK)])
    suspects: list[tuple[str, Path]] = []
    while True:
        with _pool(jobs) as pool:
            pending: dict[Future[list[Decoded]], list[tuple[str, Path]]] = {}
            broken = False
            while not broken:
                # Twice as many tasks as processes: none waits, and memory stays bounded.
                for task in islice(tasks, 2 * jobs - len(pending)):
                    try:
                        with interrupts_held():  # submitting starts the processes
                            pending[pool.submit(_decode_some, view, task)] = task
                    except BrokenProcessPool:  # a process died since the last look
                        suspects += task
                        broken = True
                if not pending:
                    break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    task = pending.pop(future)
                    try:
                        yield from future.result()
                    except BrokenProcessPool:
                        suspects += task
                        broken = True
            for task in pending.values():
                suspects += task
        if not broken:
            break
    for suspect in suspects:
        yield _decode_alone(view, suspect)


def _decode_alone(view: View, file: tuple[str, Path]) -> Decoded:
    """Decode one file in a process of its own: its death is that file's outcome."""
    with _pool(1) as pool:
        try:
            return pool.submit(_decode_some, view, [file]).result()[0]
        except BrokenProcessPool:
            return file[0], MediaError("the decoder died on this file", status="crashed")


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned, not forked: decoders start threads, and a forked copy of those can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=be_a_child)


def _decode_some(view: View, files: list[tuple[str, Path]]) -> list[Decoded]:
    decoded: list[Decoded] = []
    for content, path in files:
        try:
            decoded.append((content, view.decode(path)))
        except MediaError as error:
            decoded.append((content, error))
    return decoded
