"""Prediction files: a template's rows, columns and cells as they stand, with scores filled in."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from workbench.errors import DataError
from workbench.gate import require_file
from workbench.values import shown

MAX_TEMPLATE_BYTES = 128 << 20
"""As `workbench.data.labels` reads it."""


@dataclass(frozen=True)
class Sheet:
    """A prediction template, cell by cell.

    It is read here without pandas, which a bundle need not install and which renames columns of the
    same name. `workbench.data.labels.read_template` is what judges a template.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    name_at: int
    """Column of the names."""

    score_at: int

    @property
    def names(self) -> list[str]:
        """The media name of each row."""
        return [row[self.name_at] for row in self.rows]


def read_sheet(path: Path, *, name_column: str, score_column: str) -> Sheet:
    """Return the template that `path` holds; lines without any text are left out.

    Raises:
        DataError: it is absent, not a table in UTF-8, lacks one of the columns, or names a file
            outside its media folder.
    """
    try:
        require_file(path, limit_bytes=MAX_TEMPLATE_BYTES, kind=DataError)
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"The template {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The template {path} is not a table in UTF-8: {error}.") from error
    header, *rows = lines or [[]]
    plain = [cell.strip() for cell in header]
    for column in (name_column, score_column):
        if plain.count(column) != 1:
            raise DataError(
                f"The template {path} needs one column `{column}`: its header is "
                f"{','.join(header)[:80]!r}."
            )
    for row in rows:
        if len(row) > len(header):
            raise DataError(
                f"The template {path} has a row with more cells than its header: {shown(row)}"
            )
    padded = tuple((*row, *[""] * (len(header) - len(row))) for row in rows)
    sheet = Sheet(tuple(header), padded, plain.index(name_column), plain.index(score_column))
    for name in sheet.names:
        inside = PurePosixPath(name.replace("\\", "/"))
        if not name or inside.is_absolute() or ".." in inside.parts:
            raise DataError(f"The template {path} names {shown(name)}, no file in a media folder.")
    return sheet


def fill(sheet: Sheet, scores: Mapping[str, float]) -> str:
    """Return the text of `sheet` with the score of each name, written so that no digit is lost.

    Raises:
        DataError: a name has no score.
    """
    absent = [name for name in dict.fromkeys(sheet.names) if name not in scores]
    if absent:
        raise DataError(
            f"The template names {shown(absent[0])}, of which there is no score"
            + (f" (and {len(absent) - 1} more such names)." if len(absent) > 1 else ".")
        )
    rows = [list(row) for row in sheet.rows]
    for row in rows:
        row[sheet.score_at] = repr(float(scores[row[sheet.name_at]]))
    return table([sheet.header, *rows])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as comma-separated text, a line each."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
