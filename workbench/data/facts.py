"""What files say of themselves, remembered by content beside the decoded views."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.access import is_locked, locked
from workbench.data.lines import LineWriter, appending, read_lines
from workbench.media.facts import Facts

FACTS_VERSION = 4
"""Raise it whenever the same file gives other facts."""


class FactsStore:
    """The facts of every content that was ever read; lines are appended."""

    def __init__(self, cache: Path) -> None:
        self._file = cache / f"facts-{FACTS_VERSION}.jsonl"

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the facts by content hash."""
        lines = (line for line in read_lines(self._file) if isinstance(line, list))
        return {line[0]: line[1] for line in lines if list(map(type, line)) == [str, dict]}

    def table(self, contents: Iterable[str]) -> pd.DataFrame:
        """Return a row for each of `contents` and a column for each of `Facts`' fields."""
        known, unknown = self.read(), Facts().model_dump()
        rows = {content: known.get(content, unknown) for content in contents}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(Facts.model_fields))

    def is_being_written(self) -> bool:
        """Say whether `writing` would have to wait now."""
        return is_locked(self._file.with_suffix(".lock"))

    @contextmanager
    def writing(self) -> Iterator["FactsWriter"]:
        """Yield the store's one writer; it waits for another process that is writing."""
        with locked(self._file.with_suffix(".lock")), appending(self._file) as lines:
            writer = FactsWriter(lines, set(self.read()))
            try:
                yield writer
            finally:  # what is decoded when Ctrl-C comes is kept
                writer.flush()


class FactsWriter:
    """Appends facts to a store; made by `FactsStore.writing`."""

    def __init__(self, lines: LineWriter, known: set[str]) -> None:
        self._lines = lines
        self.known = known
        """Contents whose facts are stored."""

    def add(self, content: str, facts: Facts) -> None:
        """Store the facts of `content`."""
        self.known.add(content)
        self._lines.add([content, facts.model_dump()])

    def flush(self) -> None:
        """Make what was added so far survive a kill."""
        self._lines.flush()
