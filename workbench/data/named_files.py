"""Which column of a table names the files, and in which folder these are."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from workbench.data.columns import NAME_COLUMNS, OTHER_NAMES, cells_of, fold, sounds_like_names
from workbench.data.delimited import Delimited, quoted
from workbench.data.guessed_columns import header_of, plain_name, require_column, values_in
from workbench.data.media_kinds import kind_by_ending
from workbench.data.split_names import split_called
from workbench.errors import DataError
from workbench.values import Frozen

LEAST_FOUND = 0.5
"""Share of a table's names that are files, from which on it is one of those files."""

_INDEX = ("", "index", "unnamed:_0", "__index_level_0__")
"""What the index of a table is called, as pandas writes it: numbers of the rows, or names."""

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
    is_whole: bool
    """Whether the names are written with their endings."""

    stems: Collection[str]
    """Of all files."""

    @property
    def is_usual(self) -> bool:
        return _is_usual(self.names.column)

    @property
    def sounds_like_names(self) -> bool:
        """Whether its header has a word for names or files, and it has more than a few values."""
        has_enough = self.num_values >= _LEAST_VALUES * len(self.cells)
        return self.is_usual or (sounds_like_names(self.names.column) and has_enough)

    @property
    def is_index(self) -> bool:
        return fold(self.names.column) in _INDEX

    @cached_property
    def num_values(self) -> int:
        return len({*map(str.strip, self.cells)} - {""})

    @property
    def is_of_rows(self) -> bool:
        """Whether each row has a name of its own."""
        return self.num_values == len(self.cells)

    @property
    def is_full(self) -> bool:
        """Whether next to no row is without a name."""
        return sum(map(bool, map(str.strip, self.cells))) >= _MOST_ROWS * len(self.cells)

    @property
    def is_of_numbers(self) -> bool:
        """Whether it is an index of plain numbers, which need not be those of the rows by now."""
        return self.is_index and all(cell.strip().isdecimal() for cell in self.cells)

    @cached_property
    def numbers_rows(self) -> bool:
        """Whether each row has the number after that of the row before it."""
        first = self.cells[0].strip() if self.cells else ""
        if not re.fullmatch(r"[0-9]{1,9}", first):
            return False
        numbers = range(int(first), int(first) + len(self.cells))
        return all(cell.strip() == str(n) for cell, n in zip(self.cells, numbers, strict=True))

    @property
    def is_of_elsewhere(self) -> bool:
        """Whether it has names of media that are not there but for their folders and endings."""
        names = [PurePosixPath(plain_name(cell)) for cell in self.cells if cell.strip()]
        num_media = sum(kind_by_ending(name.name) is not None for name in names)
        here = {stem.rpartition("/")[2] for stem in self.stems}
        return 2 * num_media >= len(names) and any(name.stem in here for name in names)

    @property
    def prefix(self) -> str:
        return "" if self.names.media == "." else f"{self.names.media}/"

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
        names = _without_row_numbers(found)
        # Folders of test often have files that are called as those of others are.
        apart = [c for c in names if c.names.media in prefer or not _is_of_test(c.names.media)]
        meant = _meant(apart or names)
        others = [column for column in columns if column not in names]
        return meant.names if named is not None else _against(meant, _doubt(meant, others)).names
    if named is not None or usual:
        # Most of the files may be elsewhere: the names are as they are called.
        at = usual[0] if named is None else places[0]
        return NamesFound(column=header[at], media=".", found=share)
    return None


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
        if _is_of_test(root) and root not in prefer and found >= LEAST_FOUND:
            continue
        share = _share_found(some, root, files, stems)
        if share > found:
            media, found = root, share
    names = NamesFound(column=header_of(table)[at], media=media, found=found)
    is_whole = _share_found(some, media, files, ()) >= LEAST_FOUND
    return _Column(names, cells, is_whole, stems)


def _without_row_numbers(found: Sequence[_Column]) -> list[_Column]:
    """Return the columns without numbers of rows, if others name files.

    Where files are called by numbers, those of rows name files too, but as it happens; so may
    another column of numbers, as a width. A column counts before them whose header has a word for
    names, or most of whose names have their endings. One that might is kept beside them, as rival.
    """
    numbers = [column for column in found if column.is_of_numbers or column.numbers_rows]
    others = [column for column in found if column not in numbers]
    if not numbers or not others:
        return list(found)
    most = max(column.num_values for column in numbers)
    named = [c for c in others if c.sounds_like_names or (c.is_whole and 2 * c.num_values > most)]
    if named:
        return others
    first = _with_most([c for c in numbers if not c.is_of_numbers] or numbers)
    might = (c for c in others if c.is_whole or 2 * c.num_values >= most)
    return [_against(first, next((c for c in might if _differ(first, c)), None))]


def _doubt(meant: _Column, others: Sequence[_Column]) -> _Column | None:
    """Return a column that was passed over and may be meant all the same, if there is one."""
    for other in others:
        is_there = other.names.found >= LEAST_FOUND
        # Samples that are numbered may have sources, which have names.
        counts_others = is_there and other.numbers_rows and not other.is_index
        if counts_others and {*meant.files}.isdisjoint({*other.files} - {""}):
            return other
        # Files are called by numbers, and another column may name them by paths of elsewhere.
        is_number = (meant.is_of_numbers or meant.numbers_rows) and not meant.is_usual
        if is_number and not is_there and other.is_of_elsewhere:
            return other
    return None


def _meant(found: Sequence[_Column]) -> _Column:
    """Return which of several columns names the files of the rows, with a rival if it is in doubt.

    A usual header counts first, then the index, if they have whole names. Names that lack their
    endings may be any numbers, where files are called by numbers.
    """
    whole = [column for column in found if column.is_whole]
    if usual := [column for column in whole if column.is_usual]:
        return _with_most(usual)
    # What some rows leave empty, as sources of the fakes, is not what each row is of.
    found = [c for c in found if c.is_usual or c.is_full] or found
    whole = [column for column in found if column.is_whole]
    if index := [column for column in whole if column.is_index and column.is_of_rows]:
        return _against_longer(index[0], whole)
    bare = [column for column in found if not column.is_whole]
    bare = [column for column in bare if column.is_usual] or bare
    if not whole or not bare:
        return _with_most(whole or bare)
    one, other = _with_most(whole), _with_most(bare)
    if not _differ(one, other):
        # A picture and its mask may be called alike, in two folders.
        is_apart = not one.sounds_like_names and not any("/" in cell for cell in one.cells)
        return other if other.is_usual or (other.sounds_like_names and is_apart) else one
    if other.is_usual:
        is_of_several = 2 * other.num_values <= one.num_values  # as the video of several frames
        return _against(one, other) if is_of_several or other.numbers_rows else other
    if 2 * one.num_values <= other.num_values and not one.sounds_like_names:
        return other  # as a reference that several rows have
    return one if other.num_values < one.num_values else _against(one, other)


def _against_longer(index: _Column, whole: Sequence[_Column]) -> _Column:
    """Return an index that has whole names, with a column that has them with other folders."""
    for other in whole:
        pairs = zip(index.files, other.files, strict=True)
        cut = len(index.prefix)
        if any(i and i != file and f"/{file}".endswith(f"/{i[cut:]}") for i, file in pairs):
            return _against(index, other)
    return index


def _with_most(found: Sequence[_Column]) -> _Column:
    """Return the column with the most names, with one of other files as rival, if in doubt.

    Of those with as many, the one of which more is there, then the first. One whose header has a
    word for names comes before others. Names without endings are in doubt with half as many.
    """
    sounding = [column for column in found if column.sounds_like_names] or found
    first, *others = sorted(sounding, key=lambda c: (-c.num_values, -c.names.found))
    for other in others:
        share = 1 if first.is_whole else 2
        if share * other.num_values >= first.num_values and _differ(first, other):
            return _against(first, other)
    return first


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


def _is_usual(header: str) -> bool:
    return fold(header) in (*NAME_COLUMNS, *OTHER_NAMES)


def _roots(files: Collection[str]) -> list[str]:
    """Return the folders that names may be relative to: the data folder, then those below it.

    Those of test come last: folders often number their files alike, and some may be missing.
    """
    inner = {"/".join(name.split("/")[:depth]) for name in files for depth in (1, 2)} - set(files)
    some = sorted(inner, key=lambda root: (root.count("/"), root))[:_MOST_ROOTS]
    return [".", *sorted(some, key=_is_of_test)]


def _is_of_test(root: str) -> bool:
    return split_called(root.partition("/")[0]) == "test"


def _share_found(
    cells: Sequence[str], root: str, files: Collection[str], stems: Collection[str]
) -> float:
    prefix = "" if root == "." else f"{root}/"
    names = [prefix + plain_name(cell) for cell in cells]
    return sum(name in files or name in stems for name in names) / len(names) if names else 0.0
