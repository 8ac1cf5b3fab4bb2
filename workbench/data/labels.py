"""Label files and prediction templates: which column is which, and what a label says.

What the competitions write is read without a word. What differs is guessed where only one reading
is likely, and every guess is told; anything else is an error with its line and value.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from workbench.data.columns import (
    NAME_COLUMNS,
    OR_NAMED,
    OTHER_NAMES,
    OTHER_SCORES,
    OTHER_TARGETS,
    SCORE_COLUMNS,
    TARGET_COLUMNS,
    Columns,
    and_more,
    both_told,
    cells_of,
    check_names,
    check_rows,
    find_column,
    find_names,
    fold,
    lacks_one_of,
    understood_as,
)
from workbench.data.delimited import Delimited, read_delimited, shown_cell
from workbench.data.metadata import Metadata, metadata_cells, metadata_of
from workbench.data.names import Matches, spelled
from workbench.data.targets import (
    Classes,
    read_targets,
    reader_of,
    require_agreement,
    require_fake_is_one,
)
from workbench.errors import DataError


@dataclass(frozen=True)
class Labels:
    """The labels of one split."""

    table: pd.DataFrame
    """Columns `name` (str), `target` (int8, 1 = fake) and `cell` (the name with the spaces that it
    has in the file), and those of the metadata that the file has; one row a name, in its order."""

    num_repeated: int
    """Rows dropped because an earlier one says the same name and target."""

    understood: str = ""
    """How the file was read, in a line; empty where it is as the competitions write it."""


@dataclass(frozen=True)
class Template:
    """A prediction template: the rows and columns a submission must have, exactly."""

    table: pd.DataFrame
    """Every cell as text, as it stands in the file."""

    name_column: str
    score_column: str
    path: Path
    """The file it was read from."""

    understood: str = field(default="", compare=False)
    """As `Labels.understood`."""

    text: str | None = field(default=None, compare=False)
    """What it says, where the program made it: the data has no such file."""

    @property
    def names(self) -> "pd.Series[str]":
        """The media names, a row each, in the template's order."""
        return self.table[self.name_column]


def read_labels(
    path: Path,
    columns: Columns | None = None,
    classes: Classes | None = None,
    metadata: Metadata | None = None,
) -> Labels:
    """Return the labels that `path` holds: a name and a target a row.

    Args:
        path: A table with commas, semicolons or tabs, with a header or, of two columns, without.
        columns: What its columns are called, if they are called otherwise than usual.
        classes: What its labels are, if they are neither 0 and 1 nor real and fake.
        metadata: What else is kept of its columns, where it has them.

    Raises:
        DataError: the file is absent, empty, without these columns, names a file outside its
            media folder, gives a target that is not known, or gives one name two targets.
    """
    columns, classes = columns or Columns(), classes or Classes()
    table = read_delimited(path)
    header = [cell.strip() for cell in table.rows[0]]
    name_at = find_column(table, columns.name, NAME_COLUMNS, OTHER_NAMES, "name")
    target_at = find_column(table, columns.target, TARGET_COLUMNS, OTHER_TARGETS, "target")
    first, said = 1, list[str]()
    if name_at is None and target_at is None and len(header) == 2:
        name_at, target_at = _without_header(table, classes)
        first = 0
        said.append(
            f"no header, column {name_at + 1} the name and column {target_at + 1} the label"
        )
    if name_at is None:
        raise DataError(lacks_one_of(table, NAME_COLUMNS, "name"))
    if target_at is None:
        raise DataError(
            f"{path} has no column `target`: its header is {table.header()}. A label file begins "
            f"with e.g. `video_name,target`: rename the column{OR_NAMED}"
        )
    check_rows(table)
    used = {fold(header[name_at]), fold(header[target_at])}
    if first and used - {*NAME_COLUMNS, *TARGET_COLUMNS}:
        said.append(both_told(header[name_at], header[target_at]))
    rows, lines = table.rows[first:], table.lines[first:]
    if not rows:
        raise DataError(f"{path} has a header and no rows. It needs a row for each file.")
    cells = cells_of(rows, name_at)
    check_names(cells, lines, path)
    words = cells_of(rows, target_at)
    if first:
        require_fake_is_one(header[target_at], words, classes, path)
        if columns.target is None and not classes.fake:
            require_agreement(table, target_at)
    targets, reading = read_targets(words, classes, cells, lines, path)
    if reading or (said and fold(header[target_at]) not in TARGET_COLUMNS):
        said.append(reading or "1 is fake")
    labels = pd.DataFrame({"name": [c.strip() for c in cells], "target": targets, "cell": cells})
    if first and metadata:
        labels = labels.assign(**metadata_cells(table, metadata))
    kept, num_repeated = without_repeats(labels, "cell", path)
    if torn := torn_repeats(labels, "cell"):
        said.append(torn)
    return Labels(kept, num_repeated, understood_as(table, said))


def read_template(
    path: Path, columns: Columns | None = None, *, may_be_empty: bool = False
) -> Template:
    """Return the prediction template that `path` holds: a name and a score column.

    Args:
        path: A table with commas, semicolons or tabs, with a header.
        columns: What its columns are called, if they are called otherwise than usual.
        may_be_empty: Whether it may have no rows, as of data of which nothing is to be predicted.

    Raises:
        DataError: the file is absent, empty, lacks one of these columns, or names a file outside
            its media folder.
    """
    columns = columns or Columns()
    table = read_delimited(path)
    header = [cell.strip() for cell in table.rows[0]]
    name_at = find_names(table, columns)
    score_at = find_column(table, columns.score, SCORE_COLUMNS, OTHER_SCORES, "score")
    for at, known, what in ((name_at, NAME_COLUMNS, "name"), (score_at, SCORE_COLUMNS, "score")):
        if at is None:
            raise DataError(lacks_one_of(table, known, what))
    assert name_at is not None and score_at is not None
    check_rows(table)
    rows, lines = table.rows[1:], table.lines[1:]
    if not rows and not may_be_empty:
        raise DataError(f"{path} has a header and no rows. It needs a row for each file.")
    check_names(cells_of(rows, name_at), lines, path)
    width = len(header)
    whole = [[*row, *[""] * (width - len(row))][:width] for row in rows]
    said = []
    scores = [cell for cell in header if fold(cell) in (*SCORE_COLUMNS, *OTHER_SCORES)]
    is_usual = {fold(header[name_at]), fold(header[score_at])} <= {*NAME_COLUMNS, *SCORE_COLUMNS}
    if len(scores) > 1 or not is_usual:
        said.append(both_told(header[name_at], header[score_at]))
    return Template(
        pd.DataFrame(whole, columns=header, dtype="str"),
        header[name_at],
        header[score_at],
        path,
        understood_as(table, said),
    )


def without_repeats(labels: pd.DataFrame, key: str, path: Path) -> tuple[pd.DataFrame, int]:
    """Return the rows without those that repeat an earlier `key` and `target`, and their number.

    Raises:
        DataError: a key has both targets.
    """
    repeated = labels.duplicated([key, "target"])
    labels = labels[~repeated].reset_index(drop=True)
    torn = labels.loc[labels[key].duplicated(), key]
    if len(torn):
        raise DataError(
            f"{path} gives {shown_cell(torn.iloc[0])} both targets, 0 and 1{and_more(len(torn))}. "
            "Keep one row for each name."
        )
    return labels, int(repeated.sum())


def named_once(cells: Iterable[str], found: Matches) -> list[str]:
    """Return what each cell names: its file, or the first spelling of a name that has no file."""
    first: dict[str, str] = {}
    return [
        found.files.get(cell) or first.setdefault(spelled(cell), cell.strip()) for cell in cells
    ]


def torn_repeats(labels: pd.DataFrame, key: str) -> str:
    """Return in words that repeated rows say other metadata of a `key` than its first; or empty."""
    told = metadata_of(labels)
    firsts = labels.drop_duplicates(key).set_index(key)[told].loc[labels[key]].to_numpy()
    torn = labels.loc[(labels[told].to_numpy() != firsts).any(axis=1), key].tolist()
    if not torn:
        return ""
    return (
        f"repeated rows say another generator or the like of {shown_cell(torn[0])}"
        f"{and_more(len(torn))}: the first row counts"
    )


def _without_header(table: Delimited, classes: Classes) -> tuple[int, int]:
    """Return where a table of two columns without a header has its names and its labels.

    Raises:
        DataError: its first row has no label, or two.
    """
    labels = [at for at in (0, 1) if reader_of(table.rows[0][at], classes)]
    if len(labels) != 1:
        raise DataError(lacks_one_of(table, NAME_COLUMNS, "name"))
    return 1 - labels[0], labels[0]
