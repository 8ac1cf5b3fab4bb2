"""What a person sees while the program runs: lines and progress bars.

Names and reasons come from strangers' files. What would move the cursor, colour the screen, turn
the order of letters or begin another line is written as its number, so that it is seen.
"""

import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TypeVar

from workbench.notebook import in_notebook, track_in_notebook

T = TypeVar("T")

DRAWN_EVERY_S = 0.1
"""A progress bar is drawn no more often."""


def track(items: Iterable[T], label: str, *, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` behind a progress bar: on a terminal, or in the output of a notebook's cell.

    Silent where stderr is neither.
    """
    if in_notebook():
        yield from track_in_notebook(items, label, unit=unit, total=total)
        return
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
    """Print lines for the person at the terminal, above any progress bar, or in the notebook."""
    # Notebooks show stderr in the colours of an error.
    stream = sys.stdout if in_notebook() else sys.stderr
    print(visible_lines(text), file=stream, flush=True)


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


def cut_text(text: str, length: int) -> str:
    """Return the beginning of `text`, of at most `length` letters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _is_seen(letter: str) -> bool:
    # Spaces of other widths are no letters to `isprintable`, and harmless.
    return letter.isprintable() or unicodedata.category(letter) == "Zs"
