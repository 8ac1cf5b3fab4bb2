"""What a person sees while the program runs: lines, tables and progress bars.

Names and reasons come from strangers' files. What would move the cursor, colour the screen, turn
the order of letters or begin another line is written as its number, so that it is seen.
"""

import io
import json
import shutil
import sys
import time
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import TextIO, TypeVar

T = TypeVar("T")

DRAWN_EVERY_S = 0.1
"""A progress bar is drawn no more often."""

USUAL_WIDTH = 100
"""Columns of what is printed where no terminal says its own."""


def width() -> int:
    """Return the columns of the terminal, within what reads well."""
    return min(140, max(80, shutil.get_terminal_size((USUAL_WIDTH, 24)).columns))


def track(items: Iterable[T], label: str, *, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` behind a progress bar on stderr; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}s", markup=False),
        TimeRemainingColumn(),
    )
    # Without the thread that would draw it: processes may be started meanwhile.
    with Progress(
        *columns,
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task, drawn = progress.add_task(label, total=total), 0.0
        for item in items:
            yield item
            progress.advance(task)
            if time.monotonic() - drawn >= DRAWN_EVERY_S:
                progress.refresh()
                drawn = time.monotonic()


def say(text: str) -> None:
    """Print lines for the person at the terminal, above any progress bar."""
    print(visible_lines(text), file=sys.stderr, flush=True)


def visible(text: str) -> str:
    r"""Return `text`, one name or reason, with every letter that cannot be seen escaped.

    As in JSON, an escape character is `\u001b` and a line's end `\n`; so what stands within a JSON
    text means the same afterwards.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_seen(letter) else json.dumps(letter)[1:-1] for letter in text)


def visible_lines(text: str) -> str:
    """Return `text` so that it can be printed: each of its lines `visible`, its tabs kept."""
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


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


def _is_seen(letter: str) -> bool:
    # Spaces of other widths are no letters to `isprintable`, and harmless.
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a plain text table; numbers are aligned right, words left."""
    rows = [[visible(cell) for cell in row] for row in rows]
    columns = [[name, *cells] for name, cells in zip(header, zip(*rows, strict=True), strict=False)]
    if not rows:
        columns = [[name] for name in header]
    lines = []
    widths = [max(map(len, column)) for column in columns]
    right = [
        bool(column[1:]) and all(_is_number(cell) for cell in column[1:]) for column in columns
    ]
    for cells in zip(*columns, strict=True):
        padded = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(cells, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell[0].isdigit() or (cell[0] in "+-." and cell[1:2].isdigit())


def duration(seconds: float) -> str:
    """Return a time span as a person says it: `8.3 s`, `2 min 05 s`, `3 h 20 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
