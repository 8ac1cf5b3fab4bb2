"""Prediction files: a template's rows, columns and cells as they stand, with scores filled in."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.data.delimited import quoted, raw_cells, read_delimited
from workbench.data.names import file_cell as file_cell
from workbench.data.names import leaves_folder
from workbench.errors import DataError


@dataclass(frozen=True)
class PredictionSheet:
    """A prediction template, cell by cell.

    It is read here without pandas, which a bundle need not install and which renames columns of the
    same name. `workbench.data.labels.read_template` is what judges a template.
    """

    header: tuple[str, ...]
    """The cells of this and of the rows are as they stand, with their quotes."""

    rows: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    """The media name of each row, without quotes."""

    score_at: int
    """Column of the scores."""

    separator: str = ","


def read_sheet(path: Path, *, name_column: str, score_column: str) -> PredictionSheet:
    """Return the template that `path` holds; lines without any text are left out.

    Raises:
        DataError: it is absent, not a table, lacks one of the columns, or names a file outside its
            media folder.
    """
    table = read_delimited(path)
    plain = [cell.strip() for cell in table.rows[0]]
    at = {}
    for column in (name_column, score_column):
        # The same template of another phase may differ in the case of its header.
        fits = [n for n, cell in enumerate(plain) if cell == column] or [
            n for n, cell in enumerate(plain) if cell.casefold() == column.casefold()
        ]
        if len(fits) != 1:
            raise DataError(
                f"The template {path} needs one column `{column}`: its header is {table.header()}."
            )
        at[column] = fits[0]
    table.check_widths()
    cells = [raw_cells(record, table.separator) for record in table.records()]
    width = len(plain)
    rows = tuple((*row, *[""] * (width - len(row))) for row in cells[1:])
    names = tuple(
        row[at[name_column]] if at[name_column] < len(row) else "" for row in table.rows[1:]
    )
    for name in dict.fromkeys(names):
        if leaves_folder(name):
            raise DataError(f"The template {path} names {quoted(name)}, no file in a media folder.")
    return PredictionSheet(tuple(cells[0]), rows, names, at[score_column], table.separator)


def fill(sheet: PredictionSheet, scores: Mapping[str, float]) -> str:
    """Return the text of `sheet` with the score of each name, written so that no digit is lost.

    Every other cell stays as it is, to the byte: one that begins with `=` too, since a submission
    has to give back what it was given.

    Raises:
        DataError: a name has no score.
    """
    absent = [name for name in dict.fromkeys(sheet.names) if name not in scores]
    if absent:
        raise DataError(
            f"The template names {quoted(absent[0])}, of which there is no score"
            + (f" (and {len(absent) - 1} more such names)." if len(absent) > 1 else ".")
        )
    lines = [sheet.header]
    for name, row in zip(sheet.names, sheet.rows, strict=True):
        score = repr(float(scores[name]))
        lines.append((*row[: sheet.score_at], score, *row[sheet.score_at + 1 :]))
    return "".join(f"{sheet.separator.join(line)}\n" for line in lines)


def csv_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as comma-separated text, a line each."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
