"""What commands print, with every letter of it to be seen."""

import io
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import TextIO

from workbench.console import visible_lines


@contextmanager
def printing_visibly() -> Iterator[None]:
    """Let what the body prints to stdout, text alone, be `visible_lines`."""
    with redirect_stdout(_Visibly(sys.stdout)):
        yield


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a bug as Python does, but `visible_lines`: its message may hold a stranger's name."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(visible_lines("".join(lines)))


class _Visibly(io.TextIOBase):
    """Text on its way to another stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self._stream.write(visible_lines(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
