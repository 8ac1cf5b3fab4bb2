"""What files say of themselves, remembered by content beside the decoded views."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from workbench.media.facts import Facts

VERSION = 1
"""Raise it whenever the same file gives other facts."""


class FactsStore:
    """The facts of every content that was ever read; lines are appended.

    Args:
        cache: Folder of all stores.
    """

    def __init__(self, cache: Path) -> None:
        self._file = cache / f"facts-{VERSION}.jsonl"

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the facts by content hash."""
        if not self._file.exists():
            return {}
        found = {}
        with self._file.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # a writer was killed within this line
                    break
                content, facts = json.loads(line)
                found[content] = facts
        return found

    def table(self, contents: Iterable[str]) -> pd.DataFrame:
        """Return a row for each of `contents` and a column for each of `Facts`' fields."""
        known, unknown = self.read(), Facts().model_dump()
        rows = {content: known.get(content, unknown) for content in contents}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(Facts.model_fields))

    @contextmanager
    def writing(self) -> Iterator["FactsWriter"]:
        """Yield the store's one writer; it waits for another process that is writing."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._file.touch()
            known = self.read()
            with self._file.open("r+b") as file:
                file.truncate(self._file.read_bytes().rfind(b"\n") + 1)
                file.seek(0, os.SEEK_END)
                writer = FactsWriter(file, set(known))
                try:
                    yield writer
                finally:
                    writer.flush()


class FactsWriter:
    """Appends facts to a store; made by `FactsStore.writing`."""

    def __init__(self, file: IO[bytes], known: set[str]) -> None:
        self._file = file
        self.known = known
        """Contents whose facts are stored."""
        self._lines: list[bytes] = []

    def add(self, content: str, facts: Facts) -> None:
        """Store the facts of `content`."""
        self.known.add(content)
        line = json.dumps([content, facts.model_dump()])
        self._lines.append(line.encode() + b"\n")

    def flush(self) -> None:
        """Write what was added so far."""
        self._file.write(b"".join(self._lines))
        self._file.flush()
        self._lines.clear()
