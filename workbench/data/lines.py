"""Append-only files of JSON lines that a kill cannot make believe what is not so."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def read_lines(path: Path) -> Iterator[Any]:
    """Yield the value of each line, up to one that a killed writer left torn; none: no file."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)


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
    """Yield a writer of lines after the last whole one, or of all lines `anew`."""
    path.touch()
    with path.open("r+b") as file:
        file.truncate(0 if anew else path.read_bytes().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        yield LineWriter(file)
