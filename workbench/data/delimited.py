"""Tables of text as people, programs and spreadsheets write them: encoding, separator and cells.

Read here without pandas, which a bundle need not install, which renames columns of the same name,
and which loses how a cell was written.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.console import cut_text, visible
from workbench.errors import DataError, told
from workbench.gate import read_file

SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
"""The rarer in names, the earlier: where two would do, the earlier one counts."""

MAX_TABLE_BYTES = 128 << 20
"""Of a label file or a template: some five million rows."""

MAX_LINE_LETTERS = 8_192
"""A longer line is none of a table of names."""

_SAMPLE = 50
"""Lines that the separator is guessed from."""

_MARKS = (
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
)
_PLAIN = (b"", "utf-8", "UTF-8")


@dataclass(frozen=True)
class Delimited:
    """A table, its header included; lines without any text are left out."""

    path: Path
    encoding: str
    """As people call it: `UTF-8`, `UTF-16`."""

    separator: str
    rows: list[list[str]]
    """The values of the cells of each row, at least one row."""

    lines: list[int]
    """The line of the file that each row begins on, counted from 1."""

    ends: list[int]
    """The line that each row ends on; a later one where a line end is quoted."""

    text: list[str]
    """All lines of the file as they stand, with their ends."""

    mark: bytes
    """The byte order mark that the file begins with; empty if it has none."""

    codec: str
    """What encodes the text after the mark."""

    def records(self) -> list[str]:
        """Return the text of each row as it stands, without its line end."""
        return [record for record, _ in self.records_and_ends()]

    def records_and_ends(self) -> list[tuple[str, str]]:
        """Return the text of each row, and what stands between it and the next one.

        That is its line end, and lines without any text.
        """
        found = []
        for line, end, following in zip(
            self.lines, self.ends, [*self.lines[1:], len(self.text) + 1], strict=True
        ):
            whole = "".join(self.text[line - 1 : end])
            record = whole.rstrip("\r\n")
            found.append((record, whole[len(record) :] + "".join(self.text[end : following - 1])))
        return found

    def check_widths(self) -> None:
        """Raise DataError if a row has more cells with text than the first one has cells."""
        width = len(self.rows[0])
        for row, line in zip(self.rows, self.lines, strict=True):
            if len(row) > width and any(cell.strip() for cell in row[width:]):
                raise DataError(
                    f"{self.path} line {line} has {len(row)} cells, more cells than its header "
                    f"or first row {self.header()}. Put names that hold a separator in quotes."
                )

    def header(self) -> str:
        """Return the first row as a message shows it."""
        return quoted(self.separator.join(cell.strip() for cell in self.rows[0]), most=80)


def read_delimited(path: Path) -> Delimited:
    """Return the table that `path` holds, cells separated by commas, semicolons or tabs.

    Raises:
        DataError: it is absent, empty, in an encoding that is not known, or has quotes that do not
            close.
    """
    text, encoding, mark, codec = _decoded(path, table_bytes(path))
    # The lines with their ends, of which there are three kinds.
    file_lines = list(io.StringIO(text, newline=""))
    for number, line in enumerate(file_lines, 1):
        if len(line) > MAX_LINE_LETTERS:
            raise DataError(
                f"{path} line {number} has {len(line):,} characters, so this is not a "
                "table of file names. It needs a header and a row for each file."
            )
    separator = _separator(file_lines)
    rows, lines, ends = [], [], []
    reader = csv.reader(file_lines, delimiter=separator, strict=True)
    before = 0
    try:
        for row in reader:
            end = reader.line_num
            if "".join(row).strip():
                rows.append(row)
                lines.append(before + 1)
                ends.append(end)
            before = end
    except csv.Error as error:
        raise DataError(
            f"{path} line {before + 1} cannot be split into cells at "
            f"{SEPARATORS[separator]} ({error}). Inside a quoted cell, write a quote twice."
        ) from error
    if not rows:
        raise DataError(f"{path} is empty. It needs a header and a row for each file.")
    return Delimited(path, encoding, separator, rows, lines, ends, file_lines, mark, codec)


def table_bytes(path: Path) -> bytes:
    """Return what the file of a table holds.

    Raises:
        DataError: it is absent, too large, or cannot be read.
    """
    try:
        return read_file(path, limit_bytes=MAX_TABLE_BYTES, kind=DataError)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Name a table that does.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a table. Name a file.") from error
    except OSError as error:
        raise DataError(told(error) or f"{path} cannot be read: {error.strerror}.") from error


def csv_table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as comma-separated text, a line each."""
    return "".join(map(_csv_line, rows))


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    # A cell is quoted for the letters of this end alone, and either would end a row for a reader.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2] + "\n"


def raw_cells(record: str, separator: str) -> list[str]:
    """Return the cells of a row as they stand, with their quotes."""
    if '"' not in record:
        return record.split(separator)
    # A cell with quotes holds what it likes between them; in any other a quote is a letter.
    cell = f'(?:^|{separator})((?:"(?:[^"]|"")*")?[^{separator}]*)'
    return re.findall(cell, record)


def quoted(text: str, *, most: int = 60) -> str:
    """Return strangers' text for a message: in quotes, cut, and without control characters."""
    return f"'{shown_cell(text, most=most)}'"


def shown_cell(text: str, *, most: int = 60) -> str:
    """Return the same without the quotes."""
    return visible(cut_text(text, most))


def _decoded(path: Path, data: bytes) -> tuple[str, str, bytes, str]:
    """Return the text of `data`, what its encoding is called, its mark, and the codec after it."""
    mark, codec, name = next((one for one in _MARKS if data.startswith(one[0])), _PLAIN)
    if not mark:
        # Every second byte of plain words in UTF-16 is 0; in UTF-8 none is.
        sample = data[:400]
        for start, codec_of in ((1, "utf-16-le"), (0, "utf-16-be")):
            if len(sample) > 3 and sample[start::2].count(0) > 0.4 * len(sample) / 2:
                codec, name = codec_of, "UTF-16"
    try:
        return data[len(mark) :].decode(codec), name, mark, codec
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, len(mark) + error.start) + 1
        raise DataError(
            f"{path} line {line} is not {name} text ({error.reason}). Save it as UTF-8."
        ) from error


def _separator(lines: list[str]) -> str:
    """Return the separator that cuts the most rows into as many cells as the first one has."""
    sample = lines[:_SAMPLE]

    def fit(separator: str) -> float:
        try:
            rows = [row for row in csv.reader(sample, delimiter=separator) if "".join(row).strip()]
        except csv.Error:
            return 0.0
        width = len(rows[0]) if rows else 0
        return sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0

    best = max(SEPARATORS, key=fit)
    return best if fit(best) else ","
