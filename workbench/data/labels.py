"""Label files and prediction templates of a competition, read strictly."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from workbench.console import visible
from workbench.errors import DataError
from workbench.gate import require_file
from workbench.values import shown

NAME_COLUMNS = ("video_name", "img_name", "image_name", "audio_name", "file_name")
SCORE_COLUMNS = ("y_pred", "score")

MAX_TABLE_BYTES = 128 << 20
"""Of a label file or a template: some five million rows."""

MAX_LINE_LETTERS = 8_192
"""A longer line is none of a table of names, and pandas takes minutes for 100,000 columns."""


@dataclass(frozen=True)
class Labels:
    """The labels of one split."""

    table: pd.DataFrame
    """Columns `name` (str) and `target` (int8, 1 = fake), one row a name, in the file's order."""

    num_repeated: int
    """Rows dropped because an earlier one says the same name and target."""


@dataclass(frozen=True)
class Template:
    """A prediction template: the rows and columns a submission must have, exactly."""

    table: pd.DataFrame
    """Every cell as text, as it stands in the file."""

    name_column: str
    score_column: str
    path: Path
    """The file it was read from."""

    @property
    def names(self) -> "pd.Series[str]":
        """The media names, a row each, in the template's order."""
        return self.table[self.name_column]


def read_labels(path: Path) -> Labels:
    """Return the labels that `path` holds: a header, commas, a name and a target of 0 or 1 a row.

    Raises:
        DataError: the file is absent, empty, without these columns, names a file outside its
            media folder, gives a target other than 0 or 1, or gives one name two targets.
    """
    table = _read_csv(path)
    name_column = _one_of(NAME_COLUMNS, table, path)
    if "target" not in table.columns:
        raise DataError(
            f"{path} has no column `target`: its header is {_header(table)}. "
            "A label file begins with e.g. `video_name,target`."
        )
    names, targets = table[name_column].str.strip(), table["target"].str.strip()
    _check_names(names, path)
    wrong = ~targets.isin(["0", "1"])
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{path} line {_line(path, row)}: the target of {visible(names[row])} is "
            f"{shown(targets[row])}"
            f"{_and_more(int(wrong.sum()))}. A target is 0 (real) or 1 (fake)."
        )
    labels = pd.DataFrame({"name": names, "target": (targets == "1").astype("int8")})
    repeated = labels.duplicated()
    labels = labels[~repeated].reset_index(drop=True)
    torn = labels.loc[labels["name"].duplicated(), "name"]
    if len(torn):
        raise DataError(
            f"{path} gives {visible(torn.iloc[0])} both targets, 0 and 1{_and_more(len(torn))}. "
            "Keep one row for each name."
        )
    return Labels(labels, int(repeated.sum()))


def read_template(path: Path) -> Template:
    """Return the prediction template that `path` holds: a name and a score column.

    Raises:
        DataError: the file is absent, empty, lacks one of these columns, or names a file outside
            its media folder.
    """
    table = _read_csv(path)
    name_column = _one_of(NAME_COLUMNS, table, path)
    score_column = _one_of(SCORE_COLUMNS, table, path)
    _check_names(table[name_column], path)
    return Template(table, name_column, score_column, path)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        require_file(path, limit_bytes=MAX_TABLE_BYTES, kind=DataError)
        _require_short_lines(path)
        # utf-8-sig drops the mark that spreadsheet programs put first; text keeps names like 007.
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=True
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Check the data folder and its layout.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a label file.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}. Save it as UTF-8.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty. It needs a header and a row for each file.") from error
    except pd.errors.ParserError as error:
        raise DataError(f"{path} is not a comma-separated table: {str(error).strip()}.") from error
    table.columns = table.columns.str.strip()
    if not isinstance(table.index, pd.RangeIndex):
        raise DataError(f"{path}: its rows have more cells than its header {_header(table)}.")
    if table.empty:
        raise DataError(f"{path} has a header and no rows. It needs a row for each file.")
    return table


def _require_short_lines(path: Path) -> None:
    with path.open(encoding="latin-1") as lines:  # whatever the encoding, it has these line ends
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE_LETTERS:
                raise DataError(
                    f"{path} line {number} has {len(line):,} letters, so it is no table of names. "
                    "It needs a header and a row for each file."
                )


def _one_of(columns: tuple[str, ...], table: pd.DataFrame, path: Path) -> str:
    found = [name for name in columns if name in table.columns]
    if len(found) != 1:
        raise DataError(
            f"{path} needs one column of {', '.join(columns)}: its header is {_header(table)}."
        )
    return found[0]


def _check_names(names: "pd.Series[str]", path: Path) -> None:
    suspects = names[(names == "") | names.str.contains(r"\.\.|^/|\\|:|\x00|//", regex=True)]
    for row, name in suspects.items():
        if leaves_folder(name):
            what = (
                f"the name {shown(name)} leaves the media folder" if name else "a name is missing"
            )
            raise DataError(
                f"{path} line {_line(path, int(str(row)))}: {what}. Name files in that folder."
            )


def leaves_folder(name: str) -> bool:
    """Say whether the relative `name` is empty or can name a file outside its folder."""
    path = PurePosixPath(name)
    windows_drive = len(name) > 1 and name[1] == ":"
    return (
        not name
        or path.is_absolute()
        or ".." in path.parts
        or windows_drive
        or "\\" in name
        or "\x00" in name
    )


def _line(path: Path, row: int) -> int:
    """Return the line that holds row `row` of the table; blank lines hold none."""
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [number for number, line in enumerate(lines, 1) if line.strip()][row + 1]


def _header(table: pd.DataFrame) -> str:
    text = ",".join(map(str, table.columns))
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _and_more(count: int) -> str:
    return f" (and {count - 1} more such rows)" if count > 1 else ""
