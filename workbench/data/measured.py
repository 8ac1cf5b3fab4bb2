"""What was measured once on this machine, kept for whoever asks about the same again."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.access import locked
from workbench.data.lines import appending, read_lines
from workbench.errors import DiskFullError
from workbench.files import no_space


class Measured:
    """Measurements of one kind, by what they depend on.

    Args:
        cache: The folder that keeps them, in one file; None keeps nothing.
        name: The kind's.
    """

    def __init__(self, cache: Path | None, name: str) -> None:
        self._file = None if cache is None else cache / f"measured-{name}.jsonl"

    def get(self, about: Mapping[str, Any]) -> Any:
        """Return what was kept of `about` last; None if nothing was, or it was changed since."""
        value = None
        if self._file is not None:
            key = _key(about)
            for line in read_lines(self._file):
                if isinstance(line, dict) and line.get("key") == key:
                    is_kept = line.get("sum") == _sum(key, line.get("value"))
                    value = line.get("value") if is_kept else None
        return value

    def keep(self, about: Mapping[str, Any], value: Any) -> None:
        """Keep `value`, made of what JSON has.

        Raises:
            DiskFullError: there is no space left for it.
        """
        if self._file is None:
            return
        key = _key(about)
        line = {"key": key, "about": about, "value": value, "sum": _sum(key, value)}
        try:
            with locked(self._file.with_suffix(".lock")), appending(self._file) as lines:
                lines.add(line)
                lines.flush()
        except OSError as error:
            if no_space(self._file.parent):
                raise DiskFullError(
                    f"The disk is full: {self._file} was not written. Make space; run this again."
                ) from error
            raise


def _key(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _sum(key: str, value: Any) -> int:
    """Return the checksum of a line: a changed digit of a count would decide whether it is legal.

    Lines of an older version have none, and what they tell is measured again.
    """
    return zlib.crc32(json.dumps([key, value]).encode())
