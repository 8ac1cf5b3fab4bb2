"""Tables of a study's page: heads and cells, every text of a stranger escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from workbench import pages
from workbench.selection.leaderboard import shorten


def number_cell(value: float | None, form: str) -> str:
    """Return a cell with a number, which its column is sorted by; a dash where there is none."""
    if value is None:
        return "<td class='number'>–</td>"
    return f"<td class='number' data-value='{value:.17g}'>{value:{form}}</td>"


def said_cell(text: str, value: float | None = None) -> str:
    """Return a cell with a number as it is said, e.g. with its interval."""
    at = "" if value is None else f" data-value='{value:.17g}'"
    return f"<td class='number'{at}>{escape(text)}</td>"


def interval_cell(value: float, low: float | None, high: float | None, digits: int) -> str:
    """Return a cell with a number and, where it has one, its interval."""
    spread = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return said_cell(f"{value:.{digits}f}{spread}", value)


def word_cell(text: str) -> str:
    """Return a cell with a name, its middle cut out where it is long."""
    return f"<td title='{escape(text)}'>{escape(shorten(text, 32))}</td>"


def prose_cell(text: str) -> str:
    """Return a cell with sentences."""
    return f"<td class='prose'>{escape(text)}</td>"


def table(
    header: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    words: Sequence[str] = (),
    is_sortable: bool = True,
) -> str:
    """Return a table, which scrolls sideways where it is too wide.

    Args:
        header: Of each column, plain text.
        lines: Cells, HTML, of each row.
        words: The columns that hold words; the others hold numbers.
        is_sortable: Whether a click on a head sorts.
    """
    head = "".join(
        f"<th{'' if name in words else ' class=number'}>{escape(name)}</th>" for name in header
    )
    rows = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    kind = " class='sortable'" if is_sortable else ""
    return (
        f"<div class='wide'><table{kind}><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def text_section(title: str, text: str) -> str:
    """Return a section of one paragraph, both plain text."""
    return pages.section(title, f"<p>{escape(text)}</p>")
