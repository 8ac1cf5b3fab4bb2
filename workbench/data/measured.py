"""What was measured once on this machine, kept for whoever asks about the same again."""

import hashlib
import json
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
        """Return what was kept of `about` last; None if nothing was."""
        value = None
        if self._file is not None:
            key = _key(about)
            for line in read_lines(self._file):
                if isinstance(line, dict) and line.get("key") == key:
                    value = line.get("value")
        return value

    def keep(self, about: Mapping[str, Any], value: Any) -> None:
        """Keep `value`, made of what JSON has.

        Raises:
            DiskFullError: there is no space left for it.
        """
        if self._file is None:
            return
        line = {"key": _key(about), "about": about, "value": value}
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
