"""Output in a notebook: text that is replaced while a cell runs, as a terminal redraws a line.

IPython is no dependency: where a notebook runs, it has been loaded.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from html import escape
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")

SHOWN_EVERY_S = 0.5
"""What is replaced is replaced no more often: each change is a message to the notebook."""


def in_notebook() -> bool:
    """Return whether this process runs the cells of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_shell() if get_shell else None
    # IPython at a terminal has no kernel: there the terminal's own ways do.
    return hasattr(shell, "kernel")


def preformatted(text: str) -> str:
    """Return plain text as HTML that keeps its lines and columns."""
    # Without the wrapping that notebooks give to such text: columns stay below each other.
    return f"<pre style='white-space: pre; overflow-x: auto'>{escape(text)}</pre>"


class ReplacedText:
    """Text in the output of the running cell, of which only the last is seen."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Put `text` in the place of what was shown before."""
        shown = {"text/plain": text, "text/html": preformatted(text) if text else ""}
        if self._handle is None:
            display = import_module("IPython.display").display
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def clear(self) -> None:
        """Take away what is shown."""
        if self._handle is not None:
            self.show("")


class ShownAsText:
    """A value that a notebook shows as the lines that `str` gives."""

    def _repr_html_(self) -> str:
        return preformatted(str(self))


def track_in_notebook(
    items: Iterable[T], label: str, *, unit: str, total: int | None
) -> Iterator[T]:
    """Yield `items` below a line that says how many there were; it goes with the last."""
    line, shown = ReplacedText(), 0.0
    try:
        for done, item in enumerate(items):
            if time.monotonic() - shown >= SHOWN_EVERY_S:
                line.show(f"{label}: {done}{'' if total is None else f' of {total}'} {unit}s")
                shown = time.monotonic()
            yield item
    finally:
        line.clear()
