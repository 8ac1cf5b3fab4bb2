"""Plain text tables and their cells."""

import shutil
from collections.abc import Sequence

from workbench.console import visible

USUAL_WIDTH = 100
"""Columns of what is printed where no terminal says its own."""


def width() -> int:
    """Return the columns of the terminal, within what reads well."""
    return min(140, max(80, shutil.get_terminal_size((USUAL_WIDTH, 24)).columns))


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


def size(size_bytes: float) -> str:
    """Return an amount of data as a person says it, in powers of a thousand: `640 B`, `1.2 GB`."""
    amount, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if round(amount, 1) < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return e.g. `1 file`, `1,200 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cut(text: str, width: int) -> str:
    """Return the beginning of `text`, of at most `width` letters, the last one an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"
