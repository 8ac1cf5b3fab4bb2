"""Append-only files of JSON lines that a kill cannot make believe what is not so."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def read_lines(path: Path) -> Iterator[Any]:
    """Yield the value of each line, up to one that is torn or damaged; none: no file.

    What comes after such a line is made anew, as after a kill.
    """
    for value, _ in _sound_lines(path):
        yield value


def _sound_lines(path: Path) -> Iterator[tuple[Any, int]]:
    """Yield the value of each line that can be read, and the bytes up to its end."""
    if not path.exists():
        return
    num_bytes = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):  # no JSON, nested too deep, or not even text
                return
            if not line.endswith(b"\n"):
                return
            num_bytes += len(line)
            yield value, num_bytes


class LineWriter:
    """Appends lines to a file; made by `appending`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._waiting: list[bytes] = []

    def add(self, value: Any) -> None:
        """Append a line when `flush` is called."""
        self._waiting.append(json.dumps(value).encode() + b"\n")

    def flush(self) -> None:
        """Make what was added so far survive a kill."""
        self._file.write(b"".join(self._waiting))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._waiting.clear()


@contextmanager
def appending(path: Path, *, anew: bool = False) -> Iterator[LineWriter]:
    """Yield a writer of lines after the last one that `read_lines` reads, or of all `anew`."""
    path.touch()
    with path.open("r+b") as file:
        ends = (end for _, end in _sound_lines(path))
        file.truncate(0 if anew else max(ends, default=0))
        file.seek(0, os.SEEK_END)
        yield LineWriter(file)
