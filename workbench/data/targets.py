"""What a label says: 1 for a fake, 0 for a real file, in whichever words."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, model_validator

from workbench.data.columns import and_more, cells_of
from workbench.data.delimited import Delimited, quoted, shown_cell
from workbench.errors import DataError
from workbench.values import Frozen

_NUMBER = re.compile(r"([01])(\.0*)?")
_WORDS = {
    "fake": ("fake", "deepfake", "spoof", "spoofed", "forged", "synthetic"),
    "real": ("real", "genuine", "bonafide", "bona-fide", "bona fide", "pristine", "authentic"),
}
_IN_NAMES = {
    "fake": (
        *(*_WORDS["fake"], "fakes", "deepfakes", "synthesis", "synthesized", "synthesised"),
        *("manipulated", "generated", "ai", "faceswap"),
    ),
    "real": (*_WORDS["real"], "reals"),
}
"""What files and their folders are called: more than labels are. Whether `original` is a class is
for a person to say."""

_A_CLASS = f"(?:{'|'.join(word for words in _IN_NAMES.values() for word in words)})"

_TAKEN_BACK = re.compile(
    rf"\b(?:no[tn] |(?:no|without) {_A_CLASS}\b|(?:user|human) (?:ai|generated)\b"
    rf"|{_A_CLASS} (?:free\b|no(?: \d|$)))"
)
"""In the words of a name without its suffix: those for a class say none, as in `no_fake`,
`fake_no.mp4`, `deepfake-free` or `user_generated`; what `user_7_fake.png`, `fake_no_sound.mp4` and
`fake_no_bg` say they do say."""

_SUFFIX = re.compile(r"\.\w{2,5}$")

_MAY_SAY = re.compile(
    "|".join((*_IN_NAMES["fake"], *_IN_NAMES["real"], "bona_fide")), re.IGNORECASE
)

_BINARY = "Two classes are told apart here, real and fake, and no more."

_NAMED = 6
"""Labels or folders that a message names."""

_SOME = 200
"""Cells of a column that say whether it has words for a class."""

_Reader = Callable[[str], int | None]
"""Says of a label whether it is a fake (1), real (0) or not known."""


def _words(value: Any) -> Any:
    """Return a class's words as text: YAML reads 1 and True as other things."""
    some = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) for one in some)


class Classes(Frozen):
    """The labels of each class, in upper or lower case; they replace the usual ones."""

    fake: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Labels of the fakes: a score is the probability of this class."""

    real: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Labels of the real files."""

    @model_validator(mode="after")
    def _are_two(self) -> "Classes":
        if bool(self.fake) != bool(self.real):
            raise ValueError("name the labels of both classes, `fake` and `real`")
        if both := {_plain(word) for word in self.fake} & {_plain(word) for word in self.real}:
            raise ValueError(f"{min(both)!r} is named for both classes: name it for one")
        return self


def read_targets(
    words: Sequence[str], classes: Classes, names: Sequence[str], lines: Sequence[int], path: Path
) -> tuple["np.ndarray[Any, np.dtype[np.int8]]", str]:
    """Return what each label says, and how they were read if they are not 0 and 1.

    Raises:
        DataError: one is of another kind than the first that is known, or of none.
    """
    known = next((word for word in dict.fromkeys(words) if reader_of(word, classes)), "")
    read = reader_of(known, classes)
    meaning = {word: read(_plain(word)) if read else None for word in set(words)}
    found = [meaning[word] for word in words]
    if None in meaning.values():
        row = found.index(None)
        said = (
            f"{path} line {lines[row]}: the target of {shown_cell(names[row].strip())} is "
            f"{quoted(words[row].strip())}{and_more(found.count(None))}."
        )
        if classes.fake:
            those = shown_cell(", ".join((*classes.real, *classes.fake)), most=120)
            raise DataError(
                f"{said} `classes` names only {those}. Add it there, or correct the label."
            )
        if reader_of(words[row], classes):
            other = quoted(known.strip())
            raise DataError(
                f"{said} Other rows have labels such as {other}: write all of them in one way."
            )
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


def third_class(place: Path, names: Sequence[str], what: str) -> str:
    """Return the sentence for data with more than two classes."""
    some = ", ".join(map(quoted, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return (
        f"{place} has {len(names)} {what}: {some}. {_BINARY} Say which are which by `classes` "
        "under `data` in the experiment, or by --fake and --real of `workbench init`; the others "
        "are left out."
    )


def require_fake_is_one(column: str, words: Sequence[str], classes: Classes, path: Path) -> None:
    """Refuse labels 1 and True in a column that by its name says which files are real.

    Read as labels are, every one of them would mean the other class.

    Raises:
        DataError: the column is such a one, and `classes` says nothing.
    """
    # `isReal` is `is_real`, and what is not fake is real.
    parted = re.sub(r"([a-z])([A-Z])|^((?i:is|not|non))", r"\1\3_\2", column.strip())
    parts = {_plain(part) for part in re.split(r"[\W_]+", parted)}
    says_real = bool(parts & {*_WORDS["real"], "bona"})
    says_fake = bool(parts & {*_WORDS["fake"]})
    if classes.fake or says_real == says_fake or says_fake == parts.isdisjoint({"not", "non"}):
        return
    known = sorted({word.strip() for word in words if means(word) == 1})
    others = sorted({word.strip() for word in words if means(word) == 0})
    if known or others:
        fake, real = ", ".join(others) or "0", ", ".join(known) or "1"
        raise DataError(
            f"{path}: by its name the column {quoted(column)} says which files are real, and 1 or "
            "True would be read as fake. Say which is which by `classes: {fake: "
            f"[{shown_cell(fake)}], real: [{shown_cell(real)}]"
            "}` under `data` in the experiment, or by --fake and --real of `workbench init`."
        )


def require_agreement(table: Delimited, target_at: int) -> None:
    """Refuse a column of labels, known by its name alone, that another column turns over.

    Such a column has words for a class, or paths with folders that are called so.

    Raises:
        DataError: where the words say a class, it is the other one.
    """
    rows, header = table.rows[1:], [cell.strip() for cell in table.rows[0]]
    own = _read_each(cells_of(rows, target_at))
    for at, name in enumerate(header):
        words = _class_words(cells_of(rows, at)) if at != target_at else []
        if not words:
            continue
        said = _read_each(words)
        torn = _torn(own, said)
        # Of the parts of a fake one may be real. Of a real file none is fake.
        is_part = torn.count(False) and not _real_is_fake(own, torn)
        if torn.count(True) > 10 * torn.count(False) and not is_part:
            row = torn.index(True)
            label, word = cells_of(rows, target_at)[row].strip(), words[row].strip()
            raise DataError(
                f"{table.path} line {table.lines[row + 1]}: `{shown_cell(header[target_at])}` is "
                f"{quoted(label)} where `{shown_cell(name)}` is {quoted(word)}"
                f"{and_more(torn.count(True))}, and 1 is read as fake. Say by --fake and --real of "
                "`workbench init` which is which, or by --label-column which column has the labels "
                "(`classes` and `columns` under `data` in an experiment)."
            )


def require_names_agree(paths: Sequence[str], targets: Sequence[int], folder: Path) -> None:
    """Refuse labels that the names of the files, or of the folders they are in, turn over.

    Raises:
        DataError: they do, see `turned_by_names`.
    """
    if said := turned_by_names(paths, targets):
        raise DataError(
            f"{folder}: {said}. Say by --fake and --real of `workbench init` which labels or "
            "folders are of which class (`classes` under `data` in an experiment), or rename the "
            "files."
        )


def turned_by_names(paths: Sequence[str], targets: Sequence[int]) -> str:
    """Return which files are called what they are not labelled, if the names turn the labels over.

    They do where more than ten times as many names say the other class as say the same, files that
    are labelled real are called fake (what is called real may be a part of a fake), and these names
    are of a quarter of the files of a class at least: one speaker `Ai` turns nothing over.
    """
    said = [*map(_class_in_name, paths)]
    if len(set(said)) < 2:  # what all are called, as in `deepfake-data/1.png`, is no class
        return ""
    torn = _torn(targets, said)
    if not _real_is_fake(targets, torn) or torn.count(True) <= 10 * torn.count(False):
        return ""
    if 4 * torn.count(True) < min(targets.count(0), targets.count(1)):
        return ""
    row = torn.index(True)
    more = f", and {torn.count(True) - 1} more so" if torn.count(True) > 1 else ""
    return (
        f"{shown_cell(paths[row], most=200)} would be read as {('real', 'fake')[targets[row]]}"
        f"{more}: by their names it is the other way round"
    )


def _torn(own: Sequence[int | None], said: Sequence[int | None]) -> list[bool | None]:
    """Return for each file whether two sources say different classes; None if one says none."""
    pairs = zip(own, said, strict=True)
    return [one != other if None not in (one, other) else None for one, other in pairs]


def _real_is_fake(own: Sequence[int | None], torn: Sequence[bool | None]) -> bool:
    """Return whether a file labelled real is called fake by the other source."""
    return any(one == 0 and differs for one, differs in zip(own, torn, strict=True))


def _class_in_name(path: str) -> int | None:
    """Return the class that a path's name has a word for, such as `fake_12.png`, or its folders.

    The nearest part of the path that has one decides; words of both classes say nothing, nor do
    those in `not_fake` (see `_TAKEN_BACK`).
    """
    if not _MAY_SAY.search(path):
        return None
    for part in reversed(_SUFFIX.sub("", path).split("/")):
        apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", part)
        apart = re.sub(r"bona[\W_]fide", "bonafide", apart.casefold())
        words = re.findall(r"[^\W\d_]+|\d+", apart)
        found = {_class_of_word(word) for word in words} - {None}
        if found:
            is_plain = len(found) == 1 and not _TAKEN_BACK.search(" ".join(words))
            return found.pop() if is_plain else None
    return None


def _class_words(cells: Sequence[str]) -> list[str]:
    """Return the word for a class of each cell, or in the folders of it; empty where there is none.

    Nothing if there are none at all, as far as some of the cells show.
    """
    some = cells[:: max(1, len(cells) // _SOME)]
    if any(map(_is_word, some)):
        return [cell if _is_word(cell) else "" for cell in cells]

    @cache
    def in_folders(folder: str) -> str:
        return next(filter(_is_word, folder.split("/")), "")

    folders = [cell.replace("\\", "/").rpartition("/")[0] for cell in cells]
    some = folders[:: max(1, len(cells) // _SOME)]
    return [*map(in_folders, folders)] if any(map(in_folders, some)) else []


def _is_word(word: str) -> bool:
    """Return whether a label is a word for a class: a number or a truth value may say anything."""
    return means(word) is None and reader_of(word, Classes()) is not None


def _read_each(words: Sequence[str]) -> list[int | None]:
    """Return what each label says by the usual words and numbers; None where it says nothing."""
    readers = {word: reader_of(word, Classes()) for word in set(words)}
    return [(read := readers[word]) and read(_plain(word)) for word in words]


def means(word: str) -> int | None:
    """Return what a label says that is no word for a class: a number, or true or false."""
    plain = _plain(word)
    number = _read_number(plain)
    return _of_words(("true",), ("false",))(plain) if number is None else number


def reader_of(word: str, classes: Classes) -> _Reader | None:
    """Return what reads labels of the kind that `word` is of; None if it is of none.

    Kinds are not mixed in one file: beside `fake`, `true` would mean real.
    """
    kinds = [_read_number, _of_words(("true",), ("false",)), _of_words(**_WORDS)]
    if classes.fake:
        kinds = [_of_words(classes.fake, classes.real)]
    return next((read for read in kinds if read(_plain(word)) is not None), None)


def _of_words(fake: Sequence[str], real: Sequence[str]) -> _Reader:
    return ({_plain(w): 1 for w in fake} | {_plain(w): 0 for w in real}).get


def _read_number(word: str) -> int | None:
    found = _NUMBER.fullmatch(word)
    return int(found[1]) if found else None


def _plain(word: str) -> str:
    return word.strip().casefold()


_class_of_word = _of_words(**_IN_NAMES)
"""Returns the class of a word in a name that is one for a class."""
