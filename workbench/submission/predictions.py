"""Prediction files: a template's rows, columns and cells as they stand, with scores filled in."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.data.delimited import csv_table as csv_table
from workbench.data.delimited import quoted, raw_cells, read_delimited
from workbench.data.names import file_cell as file_cell
from workbench.data.names import leaves_folder
from workbench.errors import DataError

_SCORE = re.compile(r"[-+.0-9a-z]*")

_MANY_LETTERS = 10
"""A model's score is longer as it is written here; hardly ever one that a person wrote."""


@dataclass(frozen=True)
class PredictionSheet:
    """A prediction template: its text, cut where the scores stand.

    It is read here without pandas, which a bundle need not install and which renames columns of the
    same name. `workbench.data.labels.read_template` is what judges a template.
    """

    head: str
    """All before the first row: the header, with its line end."""

    rows: tuple[tuple[str, str], ...]
    """Of each row the text before its score and after it, with its line end."""

    names: tuple[str, ...]
    """The media name of each row, without quotes."""

    scores: tuple[str, ...]
    """What stands in the score cell of each row."""

    mark: bytes
    """The byte order mark; empty if there is none."""

    codec: str
    """What encodes the text."""


def read_sheet(path: Path, *, name_column: str, score_column: str) -> PredictionSheet:
    """Return the template that `path` holds.

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
    (header, gap), *records = table.records_and_ends()
    before = "".join(table.text[: table.lines[0] - 1])
    cut = [
        _cut(record, table.separator, at=at[score_column], width=len(plain))
        for record, _ in records
    ]
    rows = tuple(
        (left, right + end) for (left, _, right), (_, end) in zip(cut, records, strict=True)
    )
    names = tuple(
        row[at[name_column]] if at[name_column] < len(row) else "" for row in table.rows[1:]
    )
    for name in dict.fromkeys(names):
        if leaves_folder(name):
            raise DataError(f"The template {path} names {quoted(name)}, no file in a media folder.")
    scores = tuple(score for _, score, _ in cut)
    return PredictionSheet(before + header + gap, rows, names, scores, table.mark, table.codec)


def named_sheet(columns: tuple[str, str], files: Sequence[Path]) -> PredictionSheet:
    """Return a sheet with a row for each of `files`, of which there is no template.

    A template names files within one folder. Where that does not tell two files apart, their paths
    do.
    """
    times = Counter(path.name for path in set(files))
    names = tuple(file_cell(path.name if times[path.name] == 1 else str(path)) for path in files)
    rows = tuple((csv_table([[name, ""]])[:-1], "\n") for name in names)
    return PredictionSheet(csv_table([columns]), rows, names, ("",) * len(rows), b"", "utf-8")


def fill(sheet: PredictionSheet, scores: Mapping[str, float]) -> bytes:
    """Return the bytes of `sheet` with the score of each name, written so that no digit is lost.

    Every other byte stays as it is, encoding, byte order mark and line ends among them; a cell that
    begins with `=` too, since a submission has to give back what it was given.

    Raises:
        DataError: a name has no score.
    """
    absent = [name for name in dict.fromkeys(sheet.names) if name not in scores]
    if absent:
        raise DataError(
            f"The template names {quoted(absent[0])}, of which there is no score"
            + (f" (and {len(absent) - 1} more such names)." if len(absent) > 1 else ".")
        )
    text = [sheet.head]
    for name, (left, right) in zip(sheet.names, sheet.rows, strict=True):
        text += [left, repr(float(scores[name])), right]
    return sheet.mark + "".join(text).encode(sheet.codec)


def is_filled(sheet: PredictionSheet, data: bytes) -> bool:
    """Say whether `data` is what `fill` writes into `sheet`, be it with other scores."""
    if not data.startswith(sheet.mark):
        return False
    try:
        text = data[len(sheet.mark) :].decode(sheet.codec)
    except UnicodeDecodeError:
        return False
    at, scores = len(sheet.head), []
    if not text.startswith(sheet.head):
        return False
    for left, right in sheet.rows:
        found = _SCORE.match(text, at + len(left))
        if not text.startswith(left, at) or not found or not text.startswith(right, found.end()):
            return False
        scores.append(found.group())
        at = found.end() + len(right)
    return at == len(text) and are_written(scores)


def are_written(scores: Sequence[str]) -> bool:
    """Say whether cells are scores as a model's are written here, at least one with many digits.

    Those of a table of labels, of a sample of a submission and of what a person wrote are not.
    """
    try:
        values = [float(score) for score in scores]
    except ValueError:
        return False
    return all(
        0 <= value <= 1 and repr(value) == score
        for value, score in zip(values, scores, strict=True)
    ) and (not scores or any(len(score) > _MANY_LETTERS for score in scores))


def _cut(record: str, separator: str, *, at: int, width: int) -> tuple[str, str, str]:
    """Return the text of a row before its cell number `at`, in it, and after it.

    A row that ends before that cell gets all cells of the header, `width` of them.
    """
    cells = raw_cells(record, separator)
    if len(cells) <= at:
        cells += [""] * (width - len(cells))
    left = "".join(cell + separator for cell in cells[:at])
    return left, cells[at], "".join(separator + cell for cell in cells[at + 1 :])
