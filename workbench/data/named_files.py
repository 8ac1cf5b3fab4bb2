"""Which column of a table names the files, and in which folder these are."""

import math
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from workbench.data.columns import (
    INDEX,
    NAME_COLUMNS,
    OTHER_NAMES,
    cells_of,
    fold,
    has_numbers,
    may_name_files,
    names_files,
    names_others,
)
from workbench.data.delimited import Delimited, quoted
from workbench.data.guessed_columns import header_of, plain_name, require_column, values_in
from workbench.data.media_kinds import kind_by_ending
from workbench.data.names import folded, folded_stem
from workbench.data.split_names import splits_in
from workbench.errors import DataError
from workbench.values import Frozen

LEAST_FOUND = 0.5
"""Share of a table's names that are files, from which on it is one of those files."""

_LEAST_VALUES = 0.3
"""Values of a column for each row, from which on they may be names: several rows may have one."""

_MOST_ROWS = 0.9
"""Share of rows with a name, from which on a column may name the files of the rows."""

_SAMPLED = 60
_MOST_ROOTS = 300


class NamesFound(Frozen):
    """Where a table has the names of files."""

    column: str
    media: str
    """The folder that they are relative to, within the data folder."""

    found: float
    """The share of them that is there, of a sample."""

    rival: str | None = None
    """Another column that names other files, and might be meant as well."""


@dataclass(frozen=True)
class _Column:
    """A column whose cells are names of files."""

    names: NamesFound
    cells: list[str]
    stems: Collection[str]
    """Of all files, which are their names without endings."""

    @property
    def is_usual(self) -> bool:
        """Whether its header says that it has names of files."""
        return names_files(self.names.column, may_be_number=self.is_of_numbers)

    @property
    def may_head_names(self) -> bool:
        """Whether its header has words for names, which may head numbers of rows, too."""
        return names_files(self.names.column, may_be_number=False)

    @property
    def is_index(self) -> bool:
        return fold(self.names.column) in INDEX

    @property
    def is_of_others(self) -> bool:
        """Whether it names something else of a file by its header, as its speaker or its mask."""
        return names_others(self.names.column)

    @cached_property
    def is_of_numbers(self) -> bool:
        """Whether its names are plain numbers, which files may have by chance."""
        return has_numbers(self.cells)

    @cached_property
    def is_varied(self) -> bool:
        """Whether it has more than a few names for its rows, of which next to none has none."""
        names = [cell.strip() for cell in self.cells if cell.strip()]
        num = len(self.cells)
        return len({*names}) >= _LEAST_VALUES * num and len(names) >= _MOST_ROWS * num

    @property
    def prefix(self) -> str:
        return "" if self.names.media == "." else f"{self.names.media}/"

    def may_be_meant(self, taken: "_Column") -> bool:
        """Whether it may name the files all the same, few of which are there as it calls them.

        `taken` has plain numbers. This has none, under a header with a word for names, or has names
        of media that are there in other folders or with other endings; or it has numbers, some of
        other files. In some row it calls another file than `taken` does.
        """
        if self.is_of_numbers:
            return self.is_usual and self.is_varied and _differ(taken, self)
        names = [PurePosixPath(plain_name(cell)) for cell in self.cells]
        stems = [file.rpartition("/")[2] for file in taken.files]
        others = {n.stem for n, stem in zip(names, stems, strict=True) if stem and n.stem != stem}
        num_media = sum(kind_by_ending(name.name) is not None for name in names)
        here = {stem.rpartition("/")[2] for stem in self.stems}
        if 2 * num_media >= len(names) and not here.isdisjoint(others):
            return True
        sounds = may_name_files(self.names.column) and self.is_varied
        return sounds and not _has_measures(self.cells) and bool(others)

    @cached_property
    def length(self) -> int:
        """Letters of its names: those with folders and endings have the most."""
        return sum(len(plain_name(cell)) for cell in self.cells)

    @cached_property
    def files(self) -> list[str]:
        """The file that each row names, without its ending; nothing where none is there."""
        paths = [self.prefix + plain_name(cell) for cell in self.cells]
        bare = [path if path in self.stems else path.rpartition(".")[0] for path in paths]
        return [path if path in self.stems else "" for path in bare]


def names_in(
    table: Delimited, files: Collection[str], named: str | None, prefer: Sequence[str] = ()
) -> NamesFound | None:
    """Return which column of a table names files, and relative to which folder; None if none does.

    `named` is the column that a person names, if one does. Folders of `prefer` are looked into
    first. For which of several columns is meant, see `_meant`.
    """
    header = header_of(table)
    roots = list(dict.fromkeys((*prefer, *_roots(files))))
    usual = [at for at, cell in enumerate(header) if _is_usual(cell)]
    places = range(len(header)) if named is None else [require_column(table, named)]
    stems = {name.rpartition(".")[0] for name in files}
    columns = [_column(table, at, files, stems, roots, prefer) for at in places]
    share = max(column.names.found for column in columns)
    if found := [column for column in columns if column.names.found >= LEAST_FOUND]:
        # Folders of test often have files that are called as those of others are.
        apart = [c for c in found if c.names.media in prefer or not _is_of_test(c.names.media)]
        meant = _meant(apart or found)
        if named is None and meant.is_of_numbers and not _is_usual(meant.names.column):
            # Another column may name other files, of which most or all are elsewhere.
            others = (column for column in columns if column not in found)
            meant = _against(meant, next((c for c in others if c.may_be_meant(meant)), None))
        return meant.names
    if named is not None or usual:
        # Most of the files may be elsewhere: the names are as they are called.
        at = usual[0] if named is None else places[0]
        return NamesFound(column=header[at], media=".", found=share)
    return None


def rivals_of_numbers(table: Delimited, at: int) -> dict[str, list[str]]:
    """Return columns that may name the files of a table's rows, where that at `at` has numbers.

    Plain numbers may be names, or join two tables, or count the rows. Numbers of another column are
    names where its header says so and each is of one row: those of videos are of all their crops.

    Returns:
        The cells of each, by its header; nothing where the column at `at` has names.
    """
    rows = table.rows[1:]
    found = {}
    for other, header in enumerate(header_of(table) if has_numbers(cells_of(rows, at)) else ()):
        cells = cells_of(rows, other)
        names = [PurePosixPath(plain_name(cell)).name for cell in cells if cell.strip()]
        if has_numbers(cells):
            sounds = names_files(header, may_be_number=True)
            may_name = sounds and len({*names}) == len(names)
        elif 2 * sum(kind_by_ending(name) is not None for name in names) >= len(names):
            may_name = True
        else:
            sounds = names_files(header, may_be_number=True) or may_name_files(header)
            may_name = sounds and not _has_measures(cells)
        is_of_all = len(names) >= _MOST_ROWS * len(cells)  # not of the fakes alone
        if other != at and may_name and is_of_all and not names_others(header):
            found[header] = cells
    return found


def named_apart(numbers: Sequence[str], cells: Sequence[str], stems: Set[str]) -> bool:
    """Return whether cells name files otherwise than plain numbers do: half of rows or of files.

    Args:
        numbers: Of the rows.
        cells: Of another column.
        stems: Of the files that there are, without folders and endings, in lower case.
    """
    own, other = ([_last(folded_stem(cell)) for cell in some] for some in (numbers, cells))
    # A dot may begin an ending or be in the name.
    whole = [_last(folded(cell)) for cell in cells]
    there = {
        (number, name if name in stems else full)
        for number, name, full in zip(own, other, whole, strict=True)
        if name in stems or full in stems
    }
    least = LEAST_FOUND * min(len(cells), len(stems))
    is_apart = any(number != name for number, name in there)
    return is_apart and len({name for _, name in there}) >= least


def require_one_column(table: Delimited, names: NamesFound) -> None:
    """Raise DataError if another column of a table might name its files as well."""
    if names.rival is not None:
        raise DataError(
            f"{table.path}: the names of files could be in the column {quoted(names.column)} or "
            f"{quoted(names.rival)}, which name other files. Say which by `workbench init "
            "--file-column`, or correct the names where they are not as the files are called."
        )


def require_header(
    table: Delimited, names: NamesFound, target: str, files: Collection[str]
) -> None:
    """Raise DataError if the first row is of a file, which would be lost as the header is."""
    labels = values_in(table, header_of(table).index(target))
    # A column may be called `image` where there is an `image.png`.
    stems = {name.rpartition(".")[0] for name in files} if target in labels else set[str]()
    if _share_found([names.column], names.media, files, stems):
        raise DataError(
            f"{table.path} has no header: its first row, {table.header()}, is of a file. Put a row "
            "that names the columns before it, such as `filename,label`."
        )


def _column(
    table: Delimited,
    at: int,
    files: Collection[str],
    stems: Collection[str],
    roots: Sequence[str],
    prefer: Collection[str],
) -> _Column:
    """Return a column with the folder in which most of what it names is there."""
    cells = cells_of(table.rows[1:], at)
    some = [cell for cell in cells if cell.strip()]
    some = some[:: -(-len(some) // _SAMPLED) or 1]  # spread over all
    media, found = ".", 0.0
    for root in roots:
        if found == 1.0:
            break
        is_last = _is_of_test(root) or names_others(root)
        if is_last and root not in prefer and found >= LEAST_FOUND:
            continue
        share = _share_found(some, root, files, stems)
        if share > found:
            media, found = root, share
    names = NamesFound(column=header_of(table)[at], media=media, found=found)
    return _Column(names, cells, stems)


def _meant(found: Sequence[_Column]) -> _Column:
    """Return which of several columns names the files of the rows, with a rival if it is in doubt.

    Names under a usual header count first, and those under one with words for names alone next.
    Otherwise all columns that may name the files have to name the same ones. Plain numbers name
    files by chance where these are called by numbers: they never come before names.
    """
    varied = [column for column in found if column.is_varied] or found
    usual = [column for column in varied if column.is_usual]
    own = [column for column in found if column in varied or column.is_usual]
    own = [column for column in own if not column.is_of_others]
    sure = [column for column in own if not column.is_of_numbers]
    if known := [c for c in usual if c in sure and _is_usual(c.names.column)]:
        return _agreed(known)
    if usual:
        has_sure = any(column in sure for column in usual)
        return _agreed(usual if has_sure else usual + sure)
    if any(column in sure or column.may_head_names for column in own):
        own = [column for column in own if column in sure or not column.is_index]
    if sure:
        return _agreed(own)
    return _agreed(own + [column for column in varied if not column.is_of_numbers] or varied)


def _agreed(columns: Sequence[_Column]) -> _Column:
    """Return the column whose names have the most of their folders and endings.

    Another that names other files is its rival.
    """
    first = max(columns, key=lambda column: column.length)
    other = next((column for column in columns if _differ(first, column)), None)
    return _against(first, other)


def _against(one: _Column, other: _Column | None) -> _Column:
    """Return a column with another as its rival, if there is one."""
    rival = one.names.rival if other is None else other.names.column
    return replace(one, names=one.names.model_copy(update={"rival": rival}))


def _differ(one: _Column, other: _Column) -> bool:
    """Return whether two columns name other files in some row.

    Where a usual header has `a/0.png`, another that has `0.png` does not, wherever that was found.
    """
    rows = zip(one.files, other.files, strict=True)
    both = {(first, second) for first, second in rows if first and second and first != second}
    if one.is_usual:
        cut = len(other.prefix)
        return any(not f"/{first}".endswith(f"/{second[cut:]}") for first, second in both)
    return bool(both)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _has_measures(cells: Sequence[str]) -> bool:
    """Return whether all that is in cells is numbers of any kind, as sizes of files are."""
    try:
        return all(math.isfinite(float(cell)) for cell in cells if cell.strip())
    except ValueError:
        return False


def _is_usual(header: str) -> bool:
    return fold(header) in (*NAME_COLUMNS, *OTHER_NAMES)


def _roots(files: Collection[str]) -> list[str]:
    """Return the folders that names may be relative to: the data folder, then those below it.

    Those of test come last: folders often number their files alike, and some may be missing.
    Before them come those of masks and the like, which are called as their pictures are.
    """
    inner = {"/".join(name.split("/")[:depth]) for name in files for depth in (1, 2)} - set(files)
    some = sorted(inner, key=lambda root: (root.count("/"), root))[:_MOST_ROOTS]
    return [".", *sorted(some, key=lambda root: (_is_of_test(root), names_others(root)))]


def _is_of_test(root: str) -> bool:
    return splits_in(f"{root}/") == {"test"}


def _share_found(
    cells: Sequence[str], root: str, files: Collection[str], stems: Collection[str]
) -> float:
    prefix = "" if root == "." else f"{root}/"
    names = [prefix + plain_name(cell) for cell in cells]
    return sum(name in files or name in stems for name in names) / len(names) if names else 0.0
