"""A table of files in whichever format: text, Parquet, or a spreadsheet's.

All of them become what text is, rows of cells, so that names and labels of each are read alike.
"""

import io
import re
import string
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.data.columns import fold
from workbench.data.delimited import (
    MAX_LINE_LETTERS,
    Delimited,
    quoted,
    read_delimited,
    shown_cell,
    table_bytes,
)
from workbench.data.split_names import SPLIT_COLUMNS
from workbench.errors import DataError
from workbench.tables import counted

TEXT, PARQUET, SHEET = (".csv", ".tsv", ".txt"), (".parquet", ".pq"), (".xlsx",)
TABLE_ENDINGS = (*TEXT, *PARQUET, *SHEET)

MAX_ROWS = 5_000_000
MAX_CELLS = 50_000_000
_BATCH_ROWS = 65_536
_MAX_SHEET_BYTES = 1 << 30
"""Of a spreadsheet, its parts unpacked."""

_SHEET = re.compile(rb"<(?:\w+:)?worksheet[\s>]")
_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")
_HIDDEN = re.compile(
    rb"<(?:\w+:)?row\s(?=[^<>]{0,200}\bhidden=[\"'](?:1|true)[\"'])"
    rb"[^<>]{0,200}?\br=[\"'](\d{1,7})[\"'][^<>]{0,200}>"
)
_MERGED = re.compile(
    rb"<(?:\w+:)?mergeCell\s[^<>]*?ref=[\"']([A-Z]{1,3}[1-9]\d{0,6}:[A-Z]{1,3}[1-9]\d{0,6})[\"']"
)
# A formula whose result is an empty text (`t="str"`) has a value: that text. Attributes are short:
# without a bound a stranger could let the search take hours.
_NO_VALUE = re.compile(
    rb"<(?:\w+:)?c\s(?![^<>]{0,200}\bt=[\"']str)"
    rb"[^<>]{0,200}?r=[\"']([A-Z]{1,3}[1-9]\d{0,6})[\"'][^<>]{0,200}>\s{0,99}"
    rb"<(?:\w+:)?f(?:\s[^<>]{0,200})?(?:/>|>[^<]*</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</|</(?:\w+:)?c>)"
)
_LETTERS = string.ascii_uppercase
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError),
    *(TypeError, AttributeError),  # openpyxl met a part that is not as its rules are
    RuntimeError,  # a part is encrypted, or packed in a way that is not known
)
_PIECE, _MERGED_BYTES, _FORMULA_BYTES = 1 << 20, 200, 40_000


@dataclass(frozen=True)
class Spreadsheet(Delimited):
    """A table of a spreadsheet or of a Parquet file."""

    told: str = ""
    """Which merged cells were read as one value for each of their rows, that hidden rows were read,
    or which columns were not, in words; or empty."""


def read_any_table(path: Path) -> Delimited:
    """Return the table that `path` holds, in the format that its name ends with.

    Raises:
        DataError: it is absent, empty, too large, damaged, or of a format that is not read here.
    """
    ending = path.suffix.lower()
    if ending not in (*PARQUET, *SHEET):
        return read_delimited(path)
    data = table_bytes(path)
    rows, told = _of_parquet(path, data) if ending in PARQUET else _of_sheet(path, data)
    kept = [(row, line) for line, row in enumerate(rows, 1) if "".join(row).strip()]
    if len(kept) < 2:
        raise DataError(f"{path} has no rows. It needs a header and a row for each file.")
    lines = [line for _, line in kept]
    cells = [row for row, _ in kept]
    return Spreadsheet(
        path, "UTF-8", ",", cells, lines, lines, [], mark=b"", codec="utf-8", told=told
    )


def _of_parquet(path: Path, data: bytes) -> tuple[list[list[str]], str]:
    """Return the header and the rows of the columns that hold a plain value, and the others' names.

    Columns of bytes, lists and structures, such as media within the table, are left out.
    """
    try:
        # Text stays a number of a list of words: a few words may fill billions of letters.
        file = pq.ParquetFile(pa.BufferReader(data))
        plain = [field.name for field in file.schema_arrow if _is_plain(field.type)]
        _require_read_splits(path, file.schema_arrow)
        words = [f.name for f in file.schema_arrow if f.name in plain and _is_text(f.type)]
        _require_sane(path, file.metadata.num_rows, len(plain))
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=words)
        rows = [plain]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=plain):
            cells = [_cells(path, column) for column in batch.columns]
            names = batch.schema.names
            by_name = dict(zip(names, cells, strict=True))
            rows += map(list, zip(*(by_name[name] for name in plain), strict=True))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        said = shown_cell(" ".join(str(error).split()), most=200)
        raise DataError(
            f"{path} cannot be read as Parquet ({said}). Write it anew, or save it as CSV."
        ) from error
    others = [shown_cell(name) for name in file.schema_arrow.names if name not in plain]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return rows, f"without {others[0]}{more}: no plain values" if others else ""


def _is_text(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    is_long = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(pa.types.is_string(kind) or is_long)


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a column of this type is one of words, numbers, truth values or times."""
    kind = _value_type(kind)
    # A column that is lost might be that of splits: whatever may say something is kept.
    return bool(_is_text(kind) or pa.types.is_null(kind) or _is_number(kind))


def _is_number(kind: pa.DataType) -> bool:
    is_one = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(is_one or pa.types.is_boolean(kind) or pa.types.is_temporal(kind))


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _cells(path: Path, column: pa.Array) -> list[str]:
    if isinstance(column, pa.DictionaryArray) and _is_text(column.type):
        words = [_checked(path, word) for word in column.dictionary]
        return ["" if at is None else words[at] for at in column.indices.to_pylist()]
    if _is_text(column.type):
        return [_checked(path, word) for word in column]
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    """Return a value as text: nothing of none, of a number that is none, or of a cell's error."""
    return "" if value is None or value != value else str(value)


def _checked(path: Path, word: pa.Scalar) -> str:
    """Return the text of a cell.

    Raises:
        DataError: it is longer than a name can be.
    """
    if not word.is_valid:
        return ""
    if word.as_buffer().size > 4 * MAX_LINE_LETTERS:
        raise DataError(
            f"{path} has a cell of over {MAX_LINE_LETTERS:,} characters, longer than any file "
            "name or label. Check that it is the right table."
        )
    return str(word.as_py())


def _require_read_splits(path: Path, schema: pa.Schema) -> None:
    """Refuse a column of splits that cannot be read: without it all files would be of `train`."""
    for field in schema:
        if fold(field.name) in SPLIT_COLUMNS and not _is_plain(field.type):
            raise DataError(
                f"{path}: the column {quoted(field.name)} holds {field.type}, not text. Write it "
                "as text, or give it another name if it says no splits."
            )


def _require_sane(path: Path, num_rows: int, num_columns: int) -> None:
    if num_rows > MAX_ROWS or num_rows * num_columns > MAX_CELLS:
        raise DataError(
            f"{path} has {num_rows:,} rows of {num_columns} columns, more than a table of files "
            f"can need ({MAX_ROWS:,} rows, {MAX_CELLS:,} cells). Keep the columns that are used."
        )


def _sheets(parts: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Yield the name of each sheet of a spreadsheet, wherever it lies, and its beginning."""
    for name in parts.namelist():
        if name.lower().endswith(".xml"):
            with parts.open(name) as part:
                beginning = part.read(_PIECE)
            if _SHEET.search(beginning):
                yield name, beginning


def _places(parts: zipfile.ZipFile, kind: re.Pattern[bytes], most_bytes: int) -> Iterator[str]:
    """Yield the places, such as `B2`, that a pattern finds on the sheets of a spreadsheet."""
    for name, _ in _sheets(parts):
        with parts.open(name) as sheet:
            left = b""
            while piece := sheet.read(_PIECE):
                found, end = left + piece, 0
                for one in kind.finditer(found):
                    end = one.end()
                    yield one[1].decode()
                left = found[max(end, len(found) - most_bytes) :]


def _fill(path: Path, rows: list[list[str]], merged: Sequence[str]) -> str:
    """Write the value of cells that are merged over several rows into each; say which they are.

    A file has it in the first of them alone.

    Raises:
        DataError: they span several columns, too, so that nothing says which has the value.
    """
    filled, left = [], len(rows) * len(rows[0]) if rows else 0
    for place in merged:
        corners = [(_column(cell), int(cell.lstrip(_LETTERS))) for cell in place.split(":")]
        (column, first), (last_column, last) = corners
        last = min(last, len(rows))
        left -= max(0, last - first)
        if left < 0:
            raise DataError(f"{path} is damaged: its merged cells overlap. Save it as CSV.")
        below = [row for row in rows[first:last] if any(cell.strip() for cell in row)]
        if not below or column > len(rows[0]):
            continue
        if last_column > column or any(row[column - 1] for row in below):
            raise DataError(
                f"{path}: the cells {place} are merged, and they are of several columns, or not "
                "the first alone has a value: nothing says what each holds. Unmerge them, and "
                "fill in each cell."
            )
        filled.append(place)
        for row in below:
            row[column - 1] = rows[first - 1][column - 1]
    more = f" and {len(filled) - 1} more" if len(filled) > 1 else ""
    return f"merged cells read as one value for each row ({filled[0]}{more})" if filled else ""


def _column(cell: str) -> int:
    """Return the number of the column of a cell: 1 of `A7`, 27 of `AA7`."""
    number = 0
    for letter in cell.rstrip(string.digits):
        number = 26 * number + _LETTERS.index(letter) + 1
    return number


def _of_sheet(path: Path, data: bytes) -> tuple[list[list[str]], str]:
    """Return the rows of the only sheet of a spreadsheet, and what is told of them."""
    remedy = "Save it as CSV."
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            if sum(part.file_size for part in parts.infolist()) > _MAX_SHEET_BYTES:
                raise DataError(
                    f"{path} unpacks to over 1 GiB, more than a table of files can need. {remedy}"
                )
            if not (filled := [_ROW.search(beginning) for _, beginning in _sheets(parts)]):
                raise DataError(f"{path} has no sheet of cells. {remedy}")
            if (number := sum(map(bool, filled))) > 1:
                raise DataError(
                    f"{path} has {number} sheets with rows, and only one can be read. Keep "
                    "one sheet, or save the right one as CSV."
                )
            merged = sorted(set(_places(parts, _MERGED, _MERGED_BYTES)))
            hidden = set(_places(parts, _HIDDEN, _FORMULA_BYTES))
            if place := next(_places(parts, _NO_VALUE, _FORMULA_BYTES), None):
                raise DataError(
                    f"{path}: the formula in {place} was never computed, so the file holds no "
                    "value of it. Open the file in a spreadsheet program and save it there."
                )
        frame = pd.read_excel(
            io.BytesIO(data), header=None, dtype=object, keep_default_na=False, engine="openpyxl"
        )
    except ImportError as error:
        raise DataError(
            f"{path} is a spreadsheet, and the package openpyxl that reads it is missing. "
            "Install it by `pip install openpyxl`, or save the table as CSV."
        ) from error
    except _DAMAGED as error:
        said = shown_cell(" ".join(str(error).split()), most=200)
        raise DataError(f"{path} cannot be read as a spreadsheet ({said}). {remedy}") from error
    _require_sane(path, len(frame), len(frame.columns))
    rows = [[_text(cell) for cell in row] for row in frame.to_numpy().tolist()]
    num_hidden = sum(int(row) <= len(rows) and any(rows[int(row) - 1]) for row in hidden)
    more = f"{counted(num_hidden, 'hidden row')} read like the others" if num_hidden else ""
    return rows, ", ".join(filter(None, [_fill(path, rows, merged), more]))
