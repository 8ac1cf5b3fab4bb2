"""Which column of a table is which: by usual names, or by those that a person gives."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.data.delimited import SEPARATORS, Delimited, quoted, shown_cell
from workbench.data.names import leaves_folder
from workbench.errors import DataError
from workbench.values import Frozen

NAME_COLUMNS = ("video_name", "img_name", "image_name", "audio_name", "file_name")
SCORE_COLUMNS = ("y_pred", "score")
TARGET_COLUMNS = ("target",)

OTHER_NAMES = (
    "name",
    "names",
    "file",
    "files",
    "filename",
    "filenames",
    "file_path",
    "filepath",
    "path",
    "video",
    "videos",
    "clip",
    "image",
    "images",
    "img",
    "audio",
)
INDEX = ("", "index", "unnamed:_0", "__index_level_0__")
"""What the index of a table is called, as pandas writes it: numbers of the rows, or names."""

OTHER_TARGETS = ("label", "labels", "class", "is_fake", "is_deepfake", "y_true")
"""Columns in which a 1 that means real would be strange; of others, `columns` has to say."""

_WORDS = frozenset(
    {"image", "img", "picture", "pic", "photo", "video", "vid", "clip", "audio", "wav", "sound"}
    | {"utt", "utterance", "recording", "track", "file", "filename", "fname", "name", "path"}
    | {"id", "uid", "key", "media", "url", "uri"}
)
"""Words in the headers of columns that name files."""

_OTHER_WORDS = frozenset({"id", "uid", "key", "sample"})
"""Those that may as well head the number of a row, if they stand alone."""

_WORDS_OF_OTHERS = frozenset(
    {"speaker", "subject", "person", "actor", "identity", "user", "class", "label", "target"}
    | {"source", "original", "reference", "mask", "generator", "method", "fold", "session"}
    | {"camera", "group", "batch"}
)
"""Words in the headers of columns that name something else of a file, as `speaker_id`."""

OTHER_SCORES = ("prediction", "predictions", "pred", "prob", "probability", "y_score")

OR_NAMED = ", or name it by `columns` under `data` in the experiment, which a search reads."


class Columns(Frozen):
    """What the columns of label files and template are called, where that cannot be guessed."""

    name: str | None = None
    """Name of the column with the names of the files."""

    target: str | None = None
    """Name of the column with the labels."""

    score: str | None = None
    """Name of the template's column for the scores."""

    split: str | None = None
    """Name of the column that says each file's split, in a table of all files."""


def find_column(
    table: Delimited, named: str | None, known: Sequence[str], others: Sequence[str], what: str
) -> int | None:
    """Return where the header has a column: the one that is named, else a known one, else a guess.

    Raises:
        DataError: it stands there twice, or several would do.
    """
    header = [cell.strip() for cell in table.rows[0]]
    folded = [fold(cell) for cell in header]
    if named is not None:
        found = [at for at, cell in enumerate(header) if cell == named]
        found = found or [at for at, cell in enumerate(folded) if cell == fold(named)]
        if not found:
            raise DataError(
                f"{table.path} has no column {quoted(named)}, which `columns` names: its header is "
                f"{table.header()}. Correct `columns` under `data` in the experiment."
            )
    else:
        found = [at for at, cell in enumerate(folded) if cell in known]
        found = found or [at for at, cell in enumerate(folded) if cell in others]
    if len(found) < 2:
        return found[0] if found else None
    one, other = header[found[0]], header[found[1]]
    if fold(one) == fold(other):
        raise DataError(
            f"{table.path} has the column {quoted(one)} twice: its header is {table.header()}. "
            "Keep one of the two."
        )
    if fold(one) in known:
        raise DataError(lacks_one_of(table, known, what))
    raise DataError(
        f"{table.path}: the {what} could be in the column {quoted(one)} or {quoted(other)}. "
        f"Rename one of them{OR_NAMED}"
    )


def find_names(table: Delimited, columns: Columns) -> int | None:
    """Return where a table beside those of the labels names files: as these do, if it has that.

    An index of pandas may have names there and number the rows here: a column under a usual header,
    or the only one with words for names, comes before plain numbers in it. That one is taken, too,
    where no header is usual; plain numbers in it are not, if the labels have a column of names.

    Raises:
        DataError: several would do.
    """
    header, rows = [cell.strip() for cell in table.rows[0]], table.rows[1:]
    usual = (*NAME_COLUMNS, *OTHER_NAMES)
    named = columns.name if columns.name in header else None
    at = find_column(table, named, NAME_COLUMNS, OTHER_NAMES, "name")
    cells = [] if at is None else [cell.strip() for cell in cells_of(rows, at)]
    if at is not None and (fold(header[at]) in usual or not has_numbers(cells)):
        return at
    if at is not None and fold(header[at]) not in INDEX:
        return at  # numbers may be the names
    counts_rows = cells == [str(number) for number in range(len(rows))]
    others = []
    for other, cell in enumerate(header):
        numbers = has_numbers(cells_of(rows, other))
        if other == at or cell == columns.score:
            continue
        if at is None and numbers and columns.name is not None:
            continue  # they may be those of what joins two tables
        is_number = numbers and at is not None and not counts_rows
        others += [other] if names_files(cell, may_be_number=is_number) else []
    if any(fold(header[other]) in usual for other in others):
        return find_column(table, None, NAME_COLUMNS, OTHER_NAMES, "name")
    return others[0] if len(others) == 1 else at


def has_numbers(cells: Iterable[str]) -> bool:
    """Return whether all that is in cells is plain numbers."""
    return all(cell.strip().isdecimal() for cell in cells if cell.strip())


def lacks_one_of(table: Delimited, known: Sequence[str], what: str) -> str:
    """Return the sentence for a table in which none, or more than one, of `known` is found."""
    return (
        f"{table.path} needs one column of {', '.join(known)}: its header is {table.header()}. "
        f"Rename the {what} column{OR_NAMED}"
    )


def cells_of(rows: Sequence[Sequence[str]], at: int) -> list[str]:
    """Return the cells of the column at `at`; empty ones where a row ends before it."""
    return [row[at] if at < len(row) else "" for row in rows]


def check_rows(table: Delimited) -> None:
    """Raise DataError unless each row of a table has cells for its header alone, and one line.

    A quote that begins a cell and is a letter there, as in a table of sentences, takes in all up to
    the next cell that ends with one. A cell with line ends in it is none of that.
    """
    table.check_widths()
    width = len(table.rows[0])
    for line, end in zip(table.lines, table.ends, strict=True):
        whole = [text for text in table.text[line - 1 : end] if text.strip()]
        if len(whole) > 1 and all(text.count(table.separator) + 1 == width for text in whole):
            raise DataError(
                f"{table.path} line {line}: a quote that begins there ends on line {end}, so that "
                "rows of their own would be one. Where quotes are letters, write each twice and "
                "put quotes around its cell, or take them out."
            )


def check_names(names: Sequence[str], lines: Sequence[int], path: Path) -> None:
    """Raise DataError if one of the names of files, on these lines, can leave its folder."""
    for name, line in zip(names, lines, strict=True):
        # Most names hold none of these, and a million are looked at.
        if (not name or _SUSPECT.search(name)) and leaves_folder(name):
            text = name.strip()
            what = (
                f"the name {quoted(text)} leaves the media folder" if text else "a name is missing"
            )
            raise DataError(f"{path} line {line}: {what}. Name files in that folder.")


_SUSPECT = re.compile(r"\.\.|^\s*/|\\|:|\x00|//|^\s+$")


def understood_as(table: Delimited, said: Sequence[str]) -> str:
    """Return how a file was read, in a line; nothing if as the competitions write it."""
    how = []
    if table.separator != ",":
        how.append(SEPARATORS[table.separator])
    if table.encoding != "UTF-8":
        how.append(table.encoding)
    every = [*how, *said]
    return f"{table.path.name}: {', '.join(every)}" if every else ""


def names_files(header: str, *, may_be_number: bool) -> bool:
    """Return whether a header has words for names or files alone, as `img_path` and `image_id`.

    A word such as `id` alone is one unless it `may_be_number`.
    """
    words = _words(header)
    if fold(header) in (*NAME_COLUMNS, *OTHER_NAMES):
        return True
    is_number = may_be_number and words <= _OTHER_WORDS
    return bool(words) and words <= _WORDS | _OTHER_WORDS and not is_number


def may_name_files(header: str) -> bool:
    """Return whether a header has a word for names or files among others, as `file_upload` does."""
    words = _words(header)
    return not words.isdisjoint(_WORDS - _OTHER_WORDS) and not names_others(header)


def names_others(header: str) -> bool:
    """Return whether a header or a folder has a word for what else a file has, as `speaker_id`."""
    return not _words(header).isdisjoint(_WORDS_OF_OTHERS)


def _words(header: str) -> set[str]:
    """Return the words of a header, those known in the singular."""
    words = {*re.split(r"[\W_]+", header.casefold())} - {""}
    known = _WORDS | _WORDS_OF_OTHERS
    return {word if word in known else word.removesuffix("s") for word in words}


def both_told(name: str, other: str) -> str:
    """Return two columns in words; one may have no header, as pandas writes an index."""
    name, other = (shown_cell(column) or quoted(column) for column in (name, other))
    return f"columns {name} and {other}"


def fold(column: str) -> str:
    """Return what a column's name has in common with other ways to write it."""
    return re.sub(r"[\s-]+", "_", column.strip().casefold())


def and_more(count: int) -> str:
    """Return what follows an example, of `count` rows in all."""
    return f" (and {count - 1} more such rows)" if count > 1 else ""
