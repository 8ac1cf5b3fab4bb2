"""Decoded views on disk: one memory-mapped file a view, shared by every data set.

A row is keyed by the content of its source. Decoding processes write rows, each its own; the index
line of a row is written after its values, by one process, so that a killed preparation leaves
nothing half-trusted and goes on where it stopped. Row 0 is the view's neutral array: every file
that cannot be decoded points there.
"""

import math
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from workbench.data.lines import LineWriter, appending, read_lines
from workbench.errors import DataError
from workbench.files import locked, write_json
from workbench.media.view import View

NEUTRAL_ROW = 0


@dataclass(frozen=True)
class Outcome:
    """How the decoding of one content ended."""

    row: int
    """Its row in the array; `NEUTRAL_ROW` where there is none of its own."""

    status: str
    """`ok`, or why there is no such view of it or another one (see `source.Status`)."""

    reason: str = ""


class ViewStore:
    """The stored arrays of one view.

    Args:
        cache: Folder of all stores.
        view: The view; another setting is another store.
    """

    def __init__(self, cache: Path, view: View) -> None:
        self.view = view
        self.folder = cache / "views" / f"{view.kind}-{view.uid}"
        self.array_file = self.folder / "array.u8"
        self._index_file = self.folder / "index.jsonl"

    def outcomes(self) -> dict[str, Outcome]:
        """Return what is stored, by content hash."""
        found = {
            content: Outcome(row, status, reason)
            for content, row, status, reason in read_lines(self._index_file)
        }
        # Without its pixels an index says nothing: all is made anew.
        num_rows = 1 + max((outcome.row for outcome in found.values()), default=0)
        there = self.array_file.stat().st_size if self.array_file.exists() else 0
        return found if there >= num_rows * row_bytes(self.view) else {}

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Yield the store's one writer; it waits for another process that is writing."""
        with locked(self.folder / "lock"):
            if not (self.folder / "view.json").exists():
                write_json(self.folder / "view.json", self.view.model_dump(mode="json"))
            outcomes = self.outcomes()
            self.array_file.touch()
            # What a killed writer left behind the last whole line and its values is dropped.
            with (
                appending(self._index_file, anew=not outcomes) as index,
                self.array_file.open("r+b") as array,
            ):
                writer = Writer(array, index, outcomes)
                if not outcomes:
                    array.write(self.view.neutral().tobytes())
                try:
                    yield writer
                finally:  # what is decoded when Ctrl-C comes is kept
                    writer.flush()


class Writer:
    """Gives out rows of a store and keeps its index; made by `ViewStore.writing`."""

    def __init__(self, array: IO[bytes], index: LineWriter, outcomes: dict[str, Outcome]) -> None:
        self._array, self._index = array, index
        self.outcomes = outcomes
        """What is stored by now, by content hash."""
        self._next_row = 1 + max((outcome.row for outcome in outcomes.values()), default=0)
        self._free: list[int] = []

    def reserve(self) -> int:
        """Return a row that nobody else writes."""
        if self._free:
            return self._free.pop()
        self._next_row += 1
        return self._next_row - 1

    def release(self, row: int) -> None:
        """Take back a reserved row that nothing was written to."""
        self._free.append(row)

    def add(self, content: str, outcome: Outcome) -> None:
        """Store how the decoding of `content` ended; the values are in its row already."""
        self.outcomes[content] = outcome
        self._index.add([content, outcome.row, outcome.status, outcome.reason])

    def forget(self, statuses: Collection[str]) -> None:
        """Let every content that ended with one of `statuses` be decoded again."""
        for content in [c for c, o in self.outcomes.items() if o.status in statuses]:
            del self.outcomes[content]

    def flush(self) -> None:
        """Make what was added so far survive a kill: the values first, then their index lines."""
        self._array.flush()
        os.fsync(self._array.fileno())  # of the file, whichever process wrote to it
        self._index.flush()


def open_rows(array_file: Path, view: View) -> npt.NDArray[Any]:
    """Return all rows of a stored view as a read-only memory map, (rows, *view.stored_shape).

    Raises:
        DataError: not even the neutral row is there.
    """
    num_rows = array_file.stat().st_size // row_bytes(view)
    if not num_rows:
        raise DataError(f"{array_file} is cut short. Delete {array_file.parent}; it is remade.")
    return np.memmap(array_file, view.dtype, mode="r", shape=(num_rows, *view.stored_shape))


def row_bytes(view: View) -> int:
    """Return the bytes that the view of one file takes."""
    return math.prod(view.stored_shape) * np.dtype(view.dtype).itemsize


def write_row(array_file: Path, row: int, values: npt.NDArray[Any]) -> None:
    """Write the values of one reserved row, in whatever process."""
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    handle = os.open(array_file, os.O_WRONLY)
    try:
        start = row * len(data)
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], start + written)
    finally:
        os.close(handle)
