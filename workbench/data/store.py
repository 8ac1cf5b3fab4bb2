"""Decoded views on disk: one memory-mapped uint8 file a view, shared by every data set.

A row is keyed by the content of its source. Rows are appended; the index line of a row is written
after its pixels, so that a killed preparation leaves nothing half-trusted and goes on where it
stopped. Row 0 is the view's neutral array: every file that cannot be decoded points there.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from workbench.errors import DataError
from workbench.files import write_json
from workbench.media.views import View

NEUTRAL_ROW = 0


@dataclass(frozen=True)
class Outcome:
    """How the decoding of one content ended."""

    row: int
    """Its row in the array; `NEUTRAL_ROW` where it could not be decoded."""

    status: str
    """`ok`, or why there is no picture of it (see `MediaError.status`)."""

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
        self._row_bytes = int(np.prod(view.shape))

    def outcomes(self) -> dict[str, Outcome]:
        """Return what is stored, by content hash."""
        if not self._index_file.exists():
            return {}
        found = {}
        with self._index_file.open("rb") as index:
            for line in index:
                if not line.endswith(b"\n"):  # a writer was killed within this line
                    break
                content, row, status, reason = json.loads(line)
                found[content] = Outcome(row, status, reason)
        # Without its pixels an index says nothing: all is made anew.
        num_rows = 1 + max((outcome.row for outcome in found.values()), default=0)
        there = self.array_file.stat().st_size if self.array_file.exists() else 0
        return found if there >= num_rows * self._row_bytes else {}

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Yield the store's one writer; it waits for another process that is writing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "view.json").exists():
            write_json(self.folder / "view.json", self.view.model_dump(mode="json"))
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            outcomes = self.outcomes()
            self._index_file.touch()
            self.array_file.touch()
            with self._index_file.open("r+b") as index, self.array_file.open("r+b") as array:
                # Drop what a killed writer left behind the last whole line and its pixels.
                index.truncate(_whole_lines(self._index_file) if outcomes else 0)
                index.seek(0, os.SEEK_END)
                writer = Writer(array, index, self._row_bytes, outcomes)
                if not outcomes:
                    array.write(self.view.neutral().tobytes())
                yield writer
                writer.flush()

    def open_array(self) -> npt.NDArray[np.uint8]:
        """Return the whole store as a read-only memory map, (rows, *view.shape) uint8."""
        size = self.array_file.stat().st_size
        if size < self._row_bytes:
            raise DataError(f"{self.array_file} is cut short. Delete {self.folder}; it is remade.")
        shape = (size // self._row_bytes, *self.view.shape)
        return np.memmap(self.array_file, np.uint8, mode="r", shape=shape)


class Writer:
    """Appends rows to a store; made by `ViewStore.writing`."""

    def __init__(
        self, array: IO[bytes], index: IO[bytes], row_bytes: int, outcomes: dict[str, Outcome]
    ) -> None:
        self._array, self._index, self._row_bytes = array, index, row_bytes
        self.outcomes = outcomes
        """What is stored by now, by content hash."""
        self._next_row = 1 + max((outcome.row for outcome in outcomes.values()), default=0)
        self._lines: list[bytes] = []

    def add(self, content: str, pixels: npt.NDArray[np.uint8]) -> None:
        """Store the view of `content`."""
        self._array.seek(self._next_row * self._row_bytes)
        self._array.write(np.ascontiguousarray(pixels).tobytes())
        self._remember(content, Outcome(self._next_row, "ok"))
        self._next_row += 1

    def add_failure(self, content: str, status: str, reason: str) -> None:
        """Store that `content` has no such view, and why."""
        self._remember(content, Outcome(NEUTRAL_ROW, status, reason))

    def flush(self) -> None:
        """Make what was added so far survive a kill: the pixels first, then their index lines."""
        self._array.flush()
        os.fsync(self._array.fileno())
        self._index.write(b"".join(self._lines))
        self._index.flush()
        os.fsync(self._index.fileno())
        self._lines.clear()

    def _remember(self, content: str, outcome: Outcome) -> None:
        self.outcomes[content] = outcome
        line = json.dumps([content, outcome.row, outcome.status, outcome.reason])
        self._lines.append(line.encode() + b"\n")


def _whole_lines(path: Path) -> int:
    """Return the number of bytes up to the last line end of `path`."""
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
