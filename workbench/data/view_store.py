"""Decoded views on disk: one memory-mapped file a view, shared by every data set.

A row is keyed by the content of its source. Decoding processes write rows, each its own; the index
line of a row is written after its values, by one process, so that a killed preparation leaves
nothing half-trusted and goes on where it stopped. Row 0 is the view's neutral array: every file
that cannot be decoded points there.

The index holds a checksum of each row. All rows are held against theirs when the array is not as
its last writer left it, and each again when a process first reads it (`rows.RowChecks`). Stores of
a version that knew no checksums get them from what is there, by the first preparation.
"""

import math
import os
import uuid
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from workbench.access import is_locked, locked
from workbench.console import track, visible
from workbench.data.lines import LineWriter, appending, read_lines
from workbench.data.rows import CHECKED, checksum
from workbench.errors import CacheError
from workbench.files import read_json, write_json
from workbench.media.view import View

NEUTRAL_ROW = 0

AGAIN = "Run `workbench search` again with the same options; it decodes them anew."

_DAMAGED = "damaged"
"""In the index: what was stored of this content is no longer believed."""


@dataclass(frozen=True)
class Outcome:
    """How the decoding of one content ended."""

    row: int
    """Its row in the array; `NEUTRAL_ROW` where there is none of its own."""

    status: str
    """`ok`, or why there is no such view of it or another one (see `source.Status`)."""

    reason: str = ""
    sum: int | None = None
    """Checksum of its row; None for `NEUTRAL_ROW` and where an older version wrote it."""


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
        self._view_file = self.folder / "view.json"

    @property
    def uid(self) -> str:
        """Names this store; another made in its place has another. Empty for an older version's."""
        return store_uid(self.folder)

    def note_libraries(self, libraries: str) -> str:
        """Note what rows are made with from now on; say so if others were made with another.

        Of what an older version stored nothing is known, or not of every library: one that no note
        names is noted without a word. It is called while `writing`.

        Args:
            libraries: Names, each with its version: "av 17.0.0, cv2 4.12.0".
        """
        file = self.folder / "store.json"
        said = _said(file)
        before = said.get("made_with")
        before = [str(one) for one in before] if isinstance(before, list) else []
        if libraries in before:
            return ""
        write_json(file, {**said, "made_with": [*before, libraries]})
        now, noted = _versions(libraries), [_versions(one) for one in before]
        others = {name: {known[name] for known in noted if name in known} for name in now}
        new = {name for name, known in others.items() if known and now[name] not in known}
        if not new:
            return ""
        unlike = [one for one, known in zip(before, noted, strict=True) if new & known.keys()]
        return (
            f"{self.folder}: what is there was made with {visible(', or with '.join(unlike))}, and "
            f"what is added now is made with {libraries}, by which the same file may give other "
            "values. Delete the folder and run this again to have all made alike."
        )

    def outcomes(self) -> dict[str, Outcome]:
        """Return what is stored, by content hash.

        Raises:
            CacheError: the folder holds the arrays of another view: somebody moved them.
        """
        self._check_view()
        found = {}
        for line in read_lines(self._index_file):
            if not _is_outcome(line):
                continue
            content, row, status, reason, *sums = line
            found[content] = Outcome(row, status, reason, *sums)
            if status == _DAMAGED:
                del found[content]
        for content in _contradicted(found):
            del found[content]
        # Without its pixels an index says nothing: all is made anew.
        num_rows = 1 + max((outcome.row for outcome in found.values()), default=0)
        there = self.array_file.stat().st_size if self.array_file.exists() else 0
        return found if there >= num_rows * row_bytes(self.view) else {}

    def is_to_check(self) -> bool:
        """Say whether the rows may have changed since they were checked, and can be checked now.

        Who may not write here, or would have to wait for one who is writing, reads them as they
        are: every row that is read is checked once more.
        """
        if self._is_checked() and self.uid:
            return False
        return os.access(self.folder, os.W_OK) and not is_locked(self.folder / "lock")

    @contextmanager
    def writing(self, *, thorough: bool = False) -> Iterator["StoreWriter"]:
        """Yield the store's one writer; it waits for another process that is writing.

        Args:
            thorough: Check every row even if nothing says that the array was changed.

        Raises:
            CacheError: the array is a link to somewhere else.
        """
        with locked(self.folder / "lock"):
            if self.array_file.is_symlink():
                raise CacheError(
                    f"{self.array_file} is a link, and nothing is written through one. Delete "
                    f"{self.folder}: it is made anew."
                )
            if not self._view_file.exists():
                write_json(self._view_file, self.view.model_dump(mode="json"))
            outcomes = self.outcomes()
            if not outcomes or not self.uid:
                write_json(self.folder / "store.json", {"uid": uuid.uuid4().hex})
            self.array_file.touch()
            # What a killed writer left behind the last whole line and its values is dropped.
            with (
                appending(self._index_file, anew=not outcomes) as index,
                self.array_file.open("r+b") as array,
            ):
                writer = StoreWriter(array, index, outcomes)
                if not outcomes:
                    array.write(self.view.neutral().tobytes())
                elif thorough or not self._is_checked():
                    writer.check(open_rows(self.array_file, self.view), self.view)
                try:
                    yield writer
                finally:  # what is decoded when Ctrl-C comes is kept
                    writer.flush()
                    write_json(self.folder / CHECKED, _stamp(self.array_file))

    def _check_view(self) -> None:
        said, named = _said(self._view_file), self.view.identity()
        own = self.view.model_dump(mode="json")
        # Places of files are in no name of a view, and may have changed since.
        plain = [key for key in said.keys() & named.keys() if named[key] == own.get(key)]
        if any(said[key] != named[key] for key in plain):
            raise CacheError(
                f"{self.folder} holds arrays of another view than its name says. Put them back "
                "where they were, or delete the folder: it is made anew."
            )

    def _is_checked(self) -> bool:
        return _said(self.folder / CHECKED) == _stamp(self.array_file)


def _versions(libraries: str) -> dict[str, str]:
    """Return the version of each library of a note, by its name."""
    return {
        name: number for name, _, number in (one.partition(" ") for one in libraries.split(", "))
    }


def _is_outcome(line: Any) -> bool:
    """Say whether a line of an index is one that `Writer.add` writes."""
    kinds = (str, int, str, str, int)
    return (
        isinstance(line, list)
        and len(line) in (4, 5)
        and all(isinstance(value, kind) for value, kind in zip(line, kinds, strict=False))
        and line[1] >= 0
    )


def _contradicted(found: Mapping[str, Outcome]) -> list[str]:
    """Return the contents whose lines cannot be as they were written: a row has one content."""
    owners = Counter(outcome.row for outcome in found.values())
    return [
        content
        for content, outcome in found.items()
        if (outcome.row != NEUTRAL_ROW and owners[outcome.row] > 1)
        or (outcome.row == NEUTRAL_ROW and outcome.sum is not None)
    ]


def _stamp(array_file: Path) -> dict[str, int]:
    found = array_file.stat()
    return {"size_bytes": found.st_size, "mtime_ns": found.st_mtime_ns}


class StoreWriter:
    """Gives out rows of a store and keeps its index; made by `ViewStore.writing`."""

    def __init__(self, array: IO[bytes], index: LineWriter, outcomes: dict[str, Outcome]) -> None:
        self._array, self._index = array, index
        self.outcomes = outcomes
        """What is stored by now, by content hash."""
        self.num_damaged = 0
        """Rows that were not as they had been stored; their contents are no longer known."""

        self._next_row = 1 + max((outcome.row for outcome in outcomes.values()), default=0)
        self._free: list[int] = []
        self._damaged: dict[str, int] = {}

    def reserve(self, content: str = "") -> int:
        """Return a row that nobody else writes; for a content that was damaged, its own."""
        if content in self._damaged:
            return self._damaged.pop(content)
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
        line = [content, outcome.row, outcome.status, outcome.reason, outcome.sum]
        self._index.add(line[: 5 if outcome.sum is not None else 4])

    def ended(self, statuses: Collection[str]) -> list[str]:
        """Return the contents that ended with one of `statuses`."""
        return [content for content, outcome in self.outcomes.items() if outcome.status in statuses]

    def forget(self, content: str, *, lasting: bool) -> None:
        """Let a content be decoded again: by this writer, or by whichever asks for it if lasting.

        It is to be one without a row of its own.
        """
        if self.outcomes.pop(content, None) and lasting:
            self._index.add([content, NEUTRAL_ROW, _DAMAGED, ""])

    def check(self, rows: npt.NDArray[Any], view: View) -> None:
        """Hold every row against its checksum; give one to those that have none yet.

        What is damaged is forgotten, so that it is decoded again, into the same row: studies that
        were prepared before name it.
        """
        neutral = view.neutral()
        if not np.array_equal(rows[NEUTRAL_ROW], neutral):
            self._array.seek(0)
            self._array.write(neutral.tobytes())
        own = [(c, o) for c, o in self.outcomes.items() if o.row != NEUTRAL_ROW]
        for content, outcome in track(own, f"check {view.kind}", unit="file", total=len(own)):
            found = checksum(rows[outcome.row])
            if outcome.sum is None:
                self.add(content, replace(outcome, sum=found))
            elif found != outcome.sum:
                self.num_damaged += 1
                self._damaged[content] = outcome.row
                self.add(content, Outcome(NEUTRAL_ROW, _DAMAGED))
                del self.outcomes[content]
        self.flush()

    def flush(self) -> None:
        """Make what was added so far survive a kill: the values first, then their index lines."""
        self._array.flush()
        os.fsync(self._array.fileno())  # of the file, whichever process wrote to it
        self._index.flush()


def store_uid(folder: Path) -> str:
    """Return the `uid` of the store in `folder`."""
    said = _said(folder / "store.json")
    return str(said.get("uid", ""))


def _said(file: Path) -> dict[str, Any]:
    """Return what a JSON file of the store says; nothing if it is absent or damaged."""
    try:
        said = read_json(file)
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def open_rows(array_file: Path, view: View) -> npt.NDArray[Any]:
    """Return all rows of a stored view as a read-only memory map, (rows, *view.stored_shape).

    Raises:
        CacheError: not even the neutral row is there.
    """
    try:
        num_rows = array_file.stat().st_size // row_bytes(view)
    except FileNotFoundError as error:
        raise CacheError(f"The cached {view.kind} arrays {array_file} are gone. {AGAIN}") from error
    if not num_rows:
        raise CacheError(f"{array_file} is cut short. Delete {array_file.parent}; it is remade.")
    return np.memmap(array_file, view.dtype, mode="r", shape=(num_rows, *view.stored_shape))


def row_bytes(view: View) -> int:
    """Return the bytes that the view of one file takes."""
    return math.prod(view.stored_shape) * np.dtype(view.dtype).itemsize


def write_row(array_file: Path, row: int, values: npt.NDArray[Any]) -> int:
    """Write the values of one reserved row, in whatever process; return their checksum."""
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    handle = os.open(array_file, os.O_WRONLY)
    try:
        start = row * len(data)
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], start + written)
    finally:
        os.close(handle)
    return zlib.crc32(data)
