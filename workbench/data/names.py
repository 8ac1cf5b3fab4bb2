"""One way to match the names that a table gives with the files that are there.

A name is first taken as it stands. Only where there is no such file it is read more and more
loosely, and every loose reading is told; where it could be two files, or two names be one, that is
an error: a guess would label or score the wrong file.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from workbench.data.delimited import quoted
from workbench.errors import DataError

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet program runs."""


@dataclass(frozen=True)
class Matches:
    """Which file each name is."""

    files: dict[str, str]
    """By the name; a name without a file is absent."""

    said: tuple[str, ...]
    """A line for each kind of loose reading, and how many names it found."""


def leaves_folder(name: str) -> bool:
    """Say whether the relative `name` is empty or can name a file outside its folder."""
    text = name.strip()
    # A backslash is a letter here and a slash where many tables are written.
    path = PurePosixPath(text.replace("\\", "/"))
    windows_drive = len(text) > 1 and text[1] == ":"
    return not text or path.is_absolute() or ".." in path.parts or windows_drive or "\x00" in text


def file_cell(name: str) -> str:
    """Return the name of a file as text that no spreadsheet program takes for a formula.

    `./=1.mp4` is the same file as `=1.mp4`, and is matched with it. Bytes of a name that are no
    UTF-8 are written by their numbers: a table cannot hold them, and the scores are to be kept.
    """
    name = name.encode("utf-8", "backslashreplace").decode()
    return f"./{name}" if name.startswith(_FORMULA) else name


def match(names: Iterable[str], there: Collection[str], *, where: str) -> Matches:
    """Return which of the files `there` each of `names` is.

    Args:
        names: As a table gives them.
        there: Paths of files within their folder, with `/` between folders.
        where: What the names are of, for messages: a split or a file.

    Raises:
        DataError: a name could be two files, or two names one file; says both.
    """
    there = there if isinstance(there, set | dict | frozenset) else set(there)
    asked = dict.fromkeys(names)
    files = {name: name for name in asked if name in there}
    left = [name for name in asked if name not in there]
    near = _near(left, there) if left else []
    exact = set(files)
    said = []
    for reading in _READINGS:
        by_key = defaultdict[str, list[str]](list)
        for file in near:
            # What is another row's by its very name is no guess for this one.
            if reading.is_spelling or file not in exact:
                by_key[reading.of_file(file)].append(file)
        found = {}
        for name in left:
            candidates = by_key.get(reading.of_name(name), [])
            if len(candidates) > 1:
                one, other = sorted(candidates)[:2]
                raise DataError(
                    f"{where}: the name {quoted(name)} could be the file {quoted(one)} or "
                    f"{quoted(other)}. Write it as the file is called."
                )
            if candidates:
                found[name] = candidates[0]
        if not reading.is_spelling:
            _check_apart(found, where)
        if found:
            files |= found
            exact |= set(found.values())
            left = [name for name in left if name not in found]
            name, file = next(iter(found.items()))
            count = f"{len(found)} names were" if len(found) > 1 else "1 name was"
            said.append(
                f"{where}: {count} matched with files {reading.how}, e.g. {quoted(name)} with "
                f"{quoted(file)}"
            )
    return Matches(files, tuple(said))


def find_files(names: Iterable[str], folder: Path, *, where: str) -> Matches:
    """Return which file below `folder` each of `names` is; it is listed only where one is lacking.

    Raises:
        DataError: as `match`.
    """
    asked = list(dict.fromkeys(names))
    if all(_is_file(folder / name) for name in asked):
        return Matches({name: name for name in asked}, ())
    there = {
        (Path(parent) / file).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for file in files
    }
    # A file below a linked folder is found by its very name.
    there |= {name for name in asked if _is_file(folder / name)}
    return match(asked, there, where=where)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is longer than a file's can be
        return False


class _Reading(NamedTuple):
    of_name: Callable[[str], str]
    of_file: Callable[[str], str]
    how: str
    is_spelling: bool = False
    """Whether the two are one name, written in two ways."""


def spelled(name: str) -> str:
    """Return a name without what no two files differ by.

    That is: spaces around it, `./`, how an accent is composed, and which slash it has.
    """
    text = name if name.isascii() else unicodedata.normalize("NFC", name)
    text = text.replace("\\", "/").strip()
    if "/" in text:
        text = "/".join(part for part in text.split("/") if part not in ("", ".")).strip()
    return text


def _split(name: str) -> tuple[str, str]:
    """Return a name as it is spelled, and how it ends, `.mp4` or nothing."""
    text = spelled(name)
    stem, dot, ending = text.rpartition(".")
    # A dot that begins a file's name, or is in a folder's, ends nothing.
    if not dot or "/" in ending or not stem or stem.endswith("/"):
        return text, ""
    return stem, dot + ending


def _small_ending(name: str) -> str:
    stem, ending = _split(name)
    return stem + ending.lower()


def _stem(name: str) -> str:
    return _split(name)[0]


def folded(name: str) -> str:
    """Return a name as it is spelled, in lower case."""
    return spelled(name).casefold()


def folded_stem(name: str) -> str:
    """Return a name without its ending, in lower case."""
    return _stem(name).casefold()


_READINGS = (
    _Reading(
        spelled, spelled, "leaving aside spaces, `./`, slashes and how accents are written", True
    ),
    _Reading(_small_ending, _small_ending, "leaving aside the case of the ending"),
    _Reading(spelled, _stem, "adding the ending that they lack"),
    _Reading(folded, folded, "leaving aside upper and lower case"),
    _Reading(folded, folded_stem, "adding the ending that they lack, whatever the case"),
)


def _near(names: Iterable[str], there: Iterable[str]) -> list[str]:
    """Return the files that the loosest reading of any of `names` could mean."""
    wanted = {folded(name) for name in names}
    return [file for file in there if {folded(file), folded_stem(file)} & wanted]


def _check_apart(found: dict[str, str], where: str) -> None:
    name_of: dict[str, str] = {}
    for name, file in found.items():
        if file in name_of:
            raise DataError(
                f"{where}: the names {quoted(name_of[file])} and {quoted(name)} both match "
                f"the file {quoted(file)}. Write each name as its file is called."
            )
        name_of[file] = name
