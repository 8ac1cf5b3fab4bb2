"""Label files and prediction templates: which column is which, and what a label says.

What the competitions write is read without a word. What differs is guessed where only one reading
is likely, and every guess is told; anything else is an error with its line and value.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, model_validator

from workbench.data.delimited import SEPARATORS, Delimited, quoted, read_delimited, shown_cell
from workbench.data.names import leaves_folder
from workbench.errors import DataError
from workbench.values import Frozen

NAME_COLUMNS = ("video_name", "img_name", "image_name", "audio_name", "file_name")
SCORE_COLUMNS = ("y_pred", "score")
TARGET_COLUMNS = ("target",)

_OTHER_NAMES = (
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
_OTHER_TARGETS = ("label", "labels", "class", "is_fake", "is_deepfake", "y_true")
"""Columns in which a 1 that means real would be strange; of others, `columns` has to say."""

_OTHER_SCORES = ("prediction", "predictions", "pred", "prob", "probability", "y_score")

_OR_NAMED = ", or name it by `columns` under `data` in the experiment, which a search reads."

_NUMBER = re.compile(r"([01])(\.0*)?")
_WORDS = {
    "fake": ("fake", "deepfake", "spoof", "spoofed", "forged", "synthetic"),
    "real": ("real", "genuine", "bonafide", "bona-fide", "bona fide", "pristine", "authentic"),
}


_Reader = Callable[[str], int | None]
"""Says of a label whether it is a fake (1), real (0) or not known."""


def _words(value: Any) -> Any:
    """Return a class's words as text: YAML reads 1 and True as other things."""
    some = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) for one in some)


class Columns(Frozen):
    """What the columns of label files and template are called, where that cannot be guessed."""

    name: str | None = None
    target: str | None = None
    score: str | None = None
    """Of the template."""


class Classes(Frozen):
    """What the labels of each class are, in any case of letters; read instead of the usual ones."""

    fake: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    real: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()

    @model_validator(mode="after")
    def _are_two(self) -> "Classes":
        if bool(self.fake) != bool(self.real):
            raise ValueError("name the labels of both classes, `fake` and `real`")
        if both := {_plain(word) for word in self.fake} & {_plain(word) for word in self.real}:
            raise ValueError(f"{min(both)!r} stands for both classes")
        return self


@dataclass(frozen=True)
class Labels:
    """The labels of one split."""

    table: pd.DataFrame
    """Columns `name` (str), `target` (int8, 1 = fake) and `cell` (the name with the spaces that it
    has in the file), one row a name, in the file's order."""

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

    @property
    def names(self) -> "pd.Series[str]":
        """The media names, a row each, in the template's order."""
        return self.table[self.name_column]


def read_labels(
    path: Path, columns: Columns | None = None, classes: Classes | None = None
) -> Labels:
    """Return the labels that `path` holds: a name and a target a row.

    Args:
        path: A table with commas, semicolons or tabs, with a header or, of two columns, without.
        columns: What its columns are called, if they are called otherwise than usual.
        classes: What its labels are, if they are neither 0 and 1 nor real and fake.

    Raises:
        DataError: the file is absent, empty, without these columns, names a file outside its
            media folder, gives a target that is not known, or gives one name two targets.
    """
    columns, classes = columns or Columns(), classes or Classes()
    table = read_delimited(path)
    header = [cell.strip() for cell in table.rows[0]]
    name_at = _find(table, columns.name, NAME_COLUMNS, _OTHER_NAMES, "name")
    target_at = _find(table, columns.target, TARGET_COLUMNS, _OTHER_TARGETS, "target")
    first, said = 1, list[str]()
    if name_at is None and target_at is None and len(header) == 2:
        name_at, target_at = _without_header(table, classes)
        first = 0
        said.append(
            f"no header, column {name_at + 1} the name and column {target_at + 1} the label"
        )
    if name_at is None:
        raise DataError(_lacks_one_of(table, NAME_COLUMNS, "name"))
    if target_at is None:
        raise DataError(
            f"{path} has no column `target`: its header is {table.header()}. A label file begins "
            f"with e.g. `video_name,target`: rename the column{_OR_NAMED}"
        )
    table.check_widths()
    used = {_fold(header[name_at]), _fold(header[target_at])}
    if first and used - {*NAME_COLUMNS, *TARGET_COLUMNS}:
        said.append(f"columns {shown_cell(header[name_at])} and {shown_cell(header[target_at])}")
    rows, lines = table.rows[first:], table.lines[first:]
    if not rows:
        raise DataError(f"{path} has a header and no rows. It needs a row for each file.")
    cells = _column(rows, name_at)
    _check_names(cells, lines, path)
    words = _column(rows, target_at)
    targets, reading = _targets(words, classes, cells, lines, path)
    if reading or (said and _fold(header[target_at]) not in TARGET_COLUMNS):
        said.append(reading or "1 is fake")
    labels = pd.DataFrame({"name": [c.strip() for c in cells], "target": targets, "cell": cells})
    kept, num_repeated = without_repeats(labels, "cell", path)
    return Labels(kept, num_repeated, _understood(table, said))


def read_template(path: Path, columns: Columns | None = None) -> Template:
    """Return the prediction template that `path` holds: a name and a score column.

    Raises:
        DataError: the file is absent, empty, lacks one of these columns, or names a file outside
            its media folder.
    """
    columns = columns or Columns()
    table = read_delimited(path)
    header = [cell.strip() for cell in table.rows[0]]
    # The label files may call it otherwise.
    named = columns.name if columns.name in header else None
    name_at = _find(table, named, NAME_COLUMNS, _OTHER_NAMES, "name")
    score_at = _find(table, columns.score, SCORE_COLUMNS, _OTHER_SCORES, "score")
    for at, known, what in ((name_at, NAME_COLUMNS, "name"), (score_at, SCORE_COLUMNS, "score")):
        if at is None:
            raise DataError(_lacks_one_of(table, known, what))
    assert name_at is not None and score_at is not None
    table.check_widths()
    rows, lines = table.rows[1:], table.lines[1:]
    if not rows:
        raise DataError(f"{path} has a header and no rows. It needs a row for each file.")
    _check_names(_column(rows, name_at), lines, path)
    width = len(header)
    whole = [[*row, *[""] * (width - len(row))][:width] for row in rows]
    said = []
    if {_fold(header[name_at]), _fold(header[score_at])} - {*NAME_COLUMNS, *SCORE_COLUMNS}:
        said.append(f"columns {shown_cell(header[name_at])} and {shown_cell(header[score_at])}")
    return Template(
        pd.DataFrame(whole, columns=header, dtype="str"),
        header[name_at],
        header[score_at],
        path,
        _understood(table, said),
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
            f"{path} gives {shown_cell(torn.iloc[0])} both targets, 0 and 1{_and_more(len(torn))}. "
            "Keep one row for each name."
        )
    return labels, int(repeated.sum())


def _find(
    table: Delimited, named: str | None, known: Sequence[str], others: Sequence[str], what: str
) -> int | None:
    """Return where the header has a column: the one that is named, else a known one, else a guess.

    Raises:
        DataError: it stands there twice, or several would do.
    """
    header = [cell.strip() for cell in table.rows[0]]
    folded = [_fold(cell) for cell in header]
    if named is not None:
        found = [at for at, cell in enumerate(header) if cell == named]
        found = found or [at for at, cell in enumerate(folded) if cell == _fold(named)]
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
    if _fold(one) == _fold(other):
        raise DataError(
            f"{table.path} has the column {quoted(one)} twice: its header is {table.header()}. "
            "Keep one of the two."
        )
    if _fold(one) in known:
        raise DataError(_lacks_one_of(table, known, what))
    raise DataError(
        f"{table.path}: the {what} could be in the column {quoted(one)} or {quoted(other)}. "
        f"Rename one of them{_OR_NAMED}"
    )


def _lacks_one_of(table: Delimited, known: Sequence[str], what: str) -> str:
    return (
        f"{table.path} needs one column of {', '.join(known)}: its header is {table.header()}. "
        f"Rename the {what} column{_OR_NAMED}"
    )


def _without_header(table: Delimited, classes: Classes) -> tuple[int, int]:
    """Return where a table of two columns without a header has its names and its labels.

    Raises:
        DataError: its first row has no label, or two.
    """
    labels = [at for at in (0, 1) if _reader(table.rows[0][at], classes)]
    if len(labels) != 1:
        raise DataError(_lacks_one_of(table, NAME_COLUMNS, "name"))
    return 1 - labels[0], labels[0]


def _targets(
    words: Sequence[str], classes: Classes, names: Sequence[str], lines: Sequence[int], path: Path
) -> tuple["np.ndarray[Any, np.dtype[np.int8]]", str]:
    """Return what each label says, and how they were read if they are not 0 and 1.

    Raises:
        DataError: one is of another kind than the first that is known, or of none.
    """
    known = next((word for word in dict.fromkeys(words) if _reader(word, classes)), "")
    read = _reader(known, classes)
    meaning = {word: read(_plain(word)) if read else None for word in set(words)}
    found = [meaning[word] for word in words]
    if None in meaning.values():
        row = found.index(None)
        said = (
            f"{path} line {lines[row]}: the target of {shown_cell(names[row].strip())} is "
            f"{quoted(words[row].strip())}{_and_more(found.count(None))}."
        )
        if classes.fake:
            those = shown_cell(", ".join((*classes.real, *classes.fake)), most=120)
            raise DataError(f"{said} `classes` knows {those}.")
        if _reader(words[row], classes):
            other = quoted(known.strip())
            raise DataError(f"{said} Others are such as {other}: write all of them in one way.")
        raise DataError(
            f"{said} A target is 0 (real) or 1 (fake): write it so, or name other labels by "
            "`classes` under `data` in the experiment, which a search reads."
        )
    seen = {
        target: sorted({word.strip() for word in meaning if meaning[word] == target})
        for target in (1, 0)
    }
    said = "/".join(", ".join(map(shown_cell, some)) for some in seen.values() if some)
    numbers = "/".join(str(target) for target, some in seen.items() if some)
    is_usual = not classes.fake and {word.strip() for word in meaning} <= {"0", "1"}
    return np.array(found, np.int8), "" if is_usual else f"{said} read as {numbers}"


def _reader(word: str, classes: Classes) -> _Reader | None:
    """Return what reads labels of the kind that `word` is of; None if it is of none.

    Kinds are not mixed in one file: beside `fake`, `true` would mean real.
    """
    kinds = [_read_number, _reader_of(("true",), ("false",)), _reader_of(**_WORDS)]
    if classes.fake:
        kinds = [_reader_of(classes.fake, classes.real)]
    return next((read for read in kinds if read(_plain(word)) is not None), None)


def _reader_of(fake: Sequence[str], real: Sequence[str]) -> _Reader:
    return ({_plain(w): 1 for w in fake} | {_plain(w): 0 for w in real}).get


def _read_number(word: str) -> int | None:
    found = _NUMBER.fullmatch(word)
    return int(found[1]) if found else None


def _column(rows: Sequence[Sequence[str]], at: int) -> list[str]:
    return [row[at] if at < len(row) else "" for row in rows]


def _check_names(names: Sequence[str], lines: Sequence[int], path: Path) -> None:
    for name, line in zip(names, lines, strict=True):
        # Most names hold none of these, and a million are looked at.
        if (not name or _SUSPECT.search(name)) and leaves_folder(name):
            text = name.strip()
            what = (
                f"the name {quoted(text)} leaves the media folder" if text else "a name is missing"
            )
            raise DataError(f"{path} line {line}: {what}. Name files in that folder.")


_SUSPECT = re.compile(r"\.\.|^\s*/|\\|:|\x00|//|^\s+$")


def _understood(table: Delimited, said: Sequence[str]) -> str:
    """Return how a file was read, in a line; nothing if as the competitions write it."""
    how = []
    if table.separator != ",":
        how.append(SEPARATORS[table.separator])
    if table.encoding != "UTF-8":
        how.append(table.encoding)
    every = [*how, *said]
    return f"{table.path.name}: {', '.join(every)}" if every else ""


def _fold(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().casefold())


def _plain(word: str) -> str:
    return word.strip().casefold()


def _and_more(count: int) -> str:
    return f" (and {count - 1} more such rows)" if count > 1 else ""
