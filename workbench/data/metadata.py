"""What the tables say of a file besides its name and its label: who made it, whom it shows.

No model ever sees it. It sorts files into slices and into groups that stay together.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench.data.columns import (
    NAME_COLUMNS,
    Columns,
    and_more,
    cells_of,
    check_names,
    check_rows,
    find_column,
    find_names,
    fold,
    lacks_one_of,
)
from workbench.data.delimited import Delimited, quoted, read_delimited, shown_cell
from workbench.data.named_files import named_apart, rivals_of_numbers
from workbench.data.names import folded, folded_stem, match, spelled
from workbench.errors import DataError
from workbench.tables import counted
from workbench.values import Frozen

SOUND_FAKE, PICTURE_FAKE = "sound_fake", "picture_fake"
"""Columns that say of a fake whether its sound is fake, and its picture; see `fake_parts`."""

ORIGINAL = "original"
"""The group that names the file that a fake was made of, as DFDC's tables do."""

_PREFIX = "meta."
"""Of its columns in the manifest's table, whose own columns may be called the same."""


class Metadata(Frozen):
    """Which columns of the tables say what of a file; the data need not have them."""

    generator: str = "generator"
    """What made a fake."""

    groups: tuple[str, ...] = ()
    """Whom or what several files are of: speakers, identities, sources."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((self.generator, *self.groups)))


def column_of(name: str) -> str:
    """Return what metadata column `name` is called in the manifest's table: text, "" if unknown."""
    return _PREFIX + name


def metadata_of(table: pd.DataFrame) -> list[str]:
    """Return the metadata columns that a table has, as it calls them."""
    return [str(column) for column in table.columns if str(column).startswith(_PREFIX)]


def metadata_cells(table: Delimited, metadata: Metadata) -> dict[str, list[str]]:
    """Return the cells of the metadata columns that a table with a header has, by `column_of`.

    Those that say what of a fake is fake are among them, whatever `metadata` names.

    Raises:
        DataError: it has one of them twice.
    """
    found = {}
    for name in dict.fromkeys((*metadata.columns, SOUND_FAKE, PICTURE_FAKE)):
        at = find_column(table, None, (fold(name),), (), name)
        if at is not None:
            # A speaker whose accents one program composes and another does not is one speaker.
            cells = [unicodedata.normalize("NFC", cell) for cell in cells_of(table.rows[1:], at)]
            found[column_of(name)] = [cell.strip() for cell in cells]
    return found


@dataclass(frozen=True)
class MetadataTable:
    """A table that says more of files."""

    name: str
    """Of its file, for messages."""

    rows: pd.DataFrame
    """`cell`, a file's name as it stands, and columns of the metadata, by `column_of`."""

    cells: Sequence[str] = ()
    """The names of all its rows."""

    rivals: Sequence[tuple[str, Sequence[str]]] = ()
    """Headers and cells of other columns that may have the names; see `rivals_of_numbers`."""

    def join(
        self, labels: pd.DataFrame, files: Collection[str], *, media: str, split: str
    ) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Return the rows of a split with what this says of them, and how names were read.

        What the label file itself says of a file counts first.

        Args:
            labels: Rows with a `file` each.
            files: Those in the split's media folder.
            media: That folder in the data folder; names may begin with it.
            split: For messages.

        Raises:
            DataError: a name could be two files, or two things are said of one file.
        """
        where = f"{self.name}, {split}"
        inner = self.rows["cell"].str.removeprefix(f"{media}/")
        found, lines = dict(zip(inner, inner, strict=True)), tuple[str, ...]()
        # Looked for more loosely, which takes longer, only where files are left, or where two rows
        # may be of one file: the other may say something else of it.
        is_twice = len(set(map(spelled, found))) < len(found)
        if is_twice or not set(labels["file"]) <= found.keys():
            matches = match(inner, files, where=where)
            found, lines = matches.files, matches.said
        of_files = self.rows.drop(columns="cell").assign(file=inner.map(found))
        of_files = of_files.dropna().drop_duplicates()
        _require_one_row_each(of_files, "file", where)
        by_file, joined = of_files.set_index("file"), labels.copy()
        for column in by_file.columns:
            said = by_file[column].to_dict()
            cells = [said.get(file, "") for file in labels["file"]]
            values = pd.Series(cells, labels.index, dtype="str")
            if column in labels:
                own = labels[column]
                torn = labels.loc[(own != "") & (values != "") & (own != values), "file"].tolist()
                if torn:
                    lines += (
                        f"{where}: it says another `{column.removeprefix(_PREFIX)}` of "
                        f"{shown_cell(torn[0])}{and_more(len(torn))} than the labels do, which "
                        "count",
                    )
                values = own.where(own != "", values)
            joined[column] = values
        return joined, lines

    def doubts(self, splits: Iterable[pd.DataFrame]) -> list[str]:
        """Return lines on what it says of no file, or of files of one name in two folders.

        Args:
            splits: The rows of each, joined with this; those of `test`, too, if there are any.
        """
        rows = pd.concat(splits)
        left_over = self._left_over(rows)
        rows, own = rows[rows["target"] >= 0], self.rows.drop(columns="cell")
        names = {folded_stem(cell) for cell in self.rows["cell"]}
        num_paths = rows.groupby("name")["path"].nunique()
        said = self._rivals_told(rows["path"])
        if twice := [n for n in num_paths.index[num_paths > 1] if folded_stem(n) in names]:
            said.append(
                f"{self.name}: a row says something of two files, both called "
                f"{shown_cell(twice[0])}{and_more(len(twice))}; if it means one of them, write its "
                "name with the media folder"
            )
        if (own != "").any(axis=None) and not (rows[list(own)] != "").any(axis=None):
            said.append(
                f"{self.name} says nothing of any labelled file; its names are such as "
                f"{shown_cell(self.rows['cell'].iloc[0].strip())}"
            )
            return said
        return [*said, *left_over]

    def _rivals_told(self, paths: Iterable[str]) -> list[str]:
        """Return a line on a column that names other files of these paths than the numbers do."""
        stems = {folded_stem(path).rpartition("/")[2] for path in paths} if self.rivals else set()
        for header, cells in self.rivals:
            if named_apart(self.cells, cells, stems):
                own, other = quoted(self.cells[0].strip()), quoted(cells[0].strip())
                return [
                    f"{self.name}: numbers name the files, e.g. {own}, and the column "
                    f"{quoted(header)} names others, e.g. {other}; if it is meant, take that of "
                    "the numbers out"
                ]
        return []

    def _left_over(self, rows: pd.DataFrame) -> list[str]:
        """Return a line if rows of this are of no file, while it has none of labelled files.

        It may well say more, or less, than is asked; both at once are names written otherwise.
        """
        # In sets: pandas takes seconds for what takes a tenth of one of 300,000 names.
        known = {*rows["name"], *rows["path"]}
        strays = [spelled(cell) for cell in self.rows["cell"] if cell not in known]
        strays = [cell for cell in strays if cell not in known]
        if not strays:
            return []
        asked = {*self.rows["cell"], *map(spelled, self.rows["cell"])}
        labelled = rows[rows["target"] >= 0]
        pairs = zip(labelled["name"], labelled["path"], strict=True)
        bare = [pair for pair in pairs if asked.isdisjoint(pair)]
        if not bare:
            return []

        def loosest(name: str) -> tuple[str, str]:  # with its ending, and without
            return folded(name), folded_stem(name)

        files = {key for file in known for key in loosest(file)}
        loosely = {folded(cell) for cell in asked}
        strays = [cell for cell in strays if folded(cell) not in files]
        without = [p for n, p in bare if loosely.isdisjoint((*loosest(n), *loosest(p)))]
        if not strays or not without:
            return []
        return [
            f"{self.name}: {counted(len(strays), 'row')} of no file that is labelled or predicted, "
            f"e.g. {quoted(strays[0])}, and {counted(len(without), 'labelled file')} without a "
            f"row, e.g. {quoted(without[0])}; if they are the same, write the names alike"
        ]


def read_metadata(path: Path, metadata: Metadata, columns: Columns) -> MetadataTable | None:
    """Return what the table `path` says of files; nothing if it has none of these columns.

    Raises:
        DataError: it cannot be read, has no column of names, names a file outside its folder, or
            says two things of one name.
    """
    table = read_delimited(path)
    cells = metadata_cells(table, metadata)
    if not cells:
        return None
    name_at = find_names(table, columns)
    if name_at is None:
        raise DataError(lacks_one_of(table, NAME_COLUMNS, "name"))
    check_rows(table)
    names = cells_of(table.rows[1:], name_at)
    check_names(names, table.lines[1:], path)
    rows = pd.DataFrame({"cell": names, **cells}, dtype="str").drop_duplicates(ignore_index=True)
    _require_one_row_each(rows, "cell", path.name)
    return MetadataTable(path.name, rows, names, [*rivals_of_numbers(table, name_at).items()])


def spelled_apart(splits: Iterable[pd.DataFrame]) -> list[str]:
    """Return a line for each column with values that may be one, written in two ways.

    They count as two, so that a speaker called `1` in one table and `1.0` in another is in `train`
    and in `val`. It is not for this program to say that they are one.

    Args:
        splits: The rows of each.
    """
    rows, said = pd.concat(splits), []
    for column in metadata_of(rows):
        alike: dict[str, list[str]] = {}
        for value in sorted(set(rows[column].dropna()) - {""}):
            alike.setdefault(loosely(value), []).append(value)
        if several := [values for values in alike.values() if len(values) > 1]:
            one, other = several[0][:2]
            more = f" (and {len(several) - 1} more such pairs)" if len(several) > 1 else ""
            said.append(
                f"`{column.removeprefix(_PREFIX)}`: {quoted(one)} and {quoted(other)} count as two "
                f"values{more}; if they are one, write them alike"
            )
    return said


def loosely(value: str) -> str:
    """Return a value without what may be a slip: case, spaces, invisible letters, 0s of numbers."""
    text = unicodedata.normalize("NFKC", value).casefold()
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    # A hyphen at the beginning may be the sign of a number.
    text = " ".join(re.split(r"(?<!^)[\s_-]+", text.strip())).strip(" _")
    number = re.fullmatch(r"(-?)0*(\d+)(\.0*)?", text)
    return number[1] + number[2] if number else text


def _require_one_row_each(rows: pd.DataFrame, key: str, where: str) -> None:
    torn = rows.loc[rows[key].duplicated(), key]
    if len(torn):
        raise DataError(
            f"{where} has rows that differ on {shown_cell(torn.iloc[0])}. Keep one row for "
            "each file; where two splits have files of one name, write them with their "
            "media folder."
        )
