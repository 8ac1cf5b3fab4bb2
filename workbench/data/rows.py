"""The rows of a stored view as they are read: each held against its checksum at its first use."""

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.errors import CacheError

UNKNOWN = -1
"""In the place of a checksum: the row is taken as it is."""

CHECKED = "checked.json"
"""File beside an array that says how it was when every row was last as it should be."""

Sums = npt.NDArray[np.int64]


def checksum(values: npt.NDArray[Any]) -> int:
    """Return the CRC-32 of the bytes of contiguous `values`."""
    return zlib.crc32(values)  # type: ignore[arg-type]  # an array is a buffer


class _State(NamedTuple):
    """What tells that a file was written to or replaced."""

    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class _Seen(NamedTuple):
    """What this process has read of one array file."""

    sums: Sums
    is_checked: npt.NDArray[np.bool_]
    states: list[_State]
    """The last one is the file's when its rows were read."""


# A worker opens the same arrays for every trial: what it has read once need not be looked at again.
_SEEN: dict[Path, _Seen] = {}


class RowChecks:
    """All rows of a stored view, read-only.

    Args:
        array: The memory map of the file, (rows, ...).
        file: The file.
        sums: (rows,) the checksum of each, or `UNKNOWN`.
    """

    def __init__(self, array: npt.NDArray[Any], file: Path, sums: Sums) -> None:
        self._array, self._file, self._sums = array, file, sums
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype
        self._numbers = np.arange(len(array))
        seen = _SEEN.get(file)
        if seen is None or not np.array_equal(seen.sums, sums):
            seen = _SEEN[file] = _Seen(sums, sums == UNKNOWN, [_state(file)])
        self._seen = seen

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._array)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return what the memory map has at `key`, of rows that are as they were stored.

        Raises:
            CacheError: one of them is not.
        """
        self._check(self._numbers[key[0] if isinstance(key, tuple) else key])
        return self._array[key]

    def _check(self, rows: Any) -> None:
        state = _state(self._file)
        if state != self._seen.states[-1]:
            # Somebody wrote to it: another preparation that adds rows, as a rule.
            self._seen.is_checked[:] = self._sums == UNKNOWN
            self._seen.states[:] = [state]
        for row in np.unique(rows[~self._seen.is_checked[rows]]):
            if checksum(self._array[row]) != self._sums[row]:
                # The next preparation looks at every row.
                with suppress(OSError):
                    self._file.with_name(CHECKED).unlink(missing_ok=True)
                raise CacheError(
                    f"{self._file} was changed: its row {row} is not what was decoded. Run this "
                    "again with the same options; what is damaged is decoded anew."
                )
            self._seen.is_checked[row] = True


def _state(file: Path) -> _State:
    """Return the state of `file`; of one that was removed, whose rows can still be read, none."""
    try:
        found = os.stat(file)  # noqa: PTH116 (asked for with every batch)
    except FileNotFoundError:
        return _State(0, 0, 0, 0)
    return _State(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
