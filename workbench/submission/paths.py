"""What `predict` may read and write, looked at before anything is scored."""

import os
import stat
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from workbench.data.delimited import table_bytes
from workbench.errors import DataError
from workbench.files import write_bytes


def check_files(files: Iterable[Path]) -> None:
    """Raise DataError unless each of `files`, which a person named, is a file that can be read.

    A file that is there and damaged is scored all the same; one that is not there was not meant.
    """
    for path in files:
        try:
            found = path.stat()
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{path} cannot be read: {said}. Name a media file.") from error
        if stat.S_ISDIR(found.st_mode):
            raise DataError(f"{path} is a folder. Name the media files in it, e.g. {path}/*.mp4.")
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path} is no file but a pipe or a device. Name a media file.")
        if not os.access(path, os.R_OK):
            raise DataError(f"{path} cannot be read: permission denied. Name a media file.")


def check_out(
    out: Path, *, inputs: Iterable[Path], bundle: Path, is_earlier: Callable[[bytes], bool]
) -> None:
    """Raise DataError unless a table of predictions may be written to `out`.

    Args:
        out: Where it is to be written; what the same command wrote there is written anew.
        inputs: Files that are read.
        bundle: The bundle's folder.
        is_earlier: Whether a file with these bytes is what the same command wrote before.
    """
    whole = _real(out)
    if whole.is_relative_to(_real(bundle)):
        raise DataError(
            f"--out {out} is inside the bundle, which must stay as it was exported. Name a "
            "file elsewhere."
        )
    there = _identity(out)
    for path in inputs:
        if _real(path) == whole or (there and _identity(path) == there):
            raise DataError(f"--out {out} is one of the files to read. Name another file.")
    if there and not _holds(out, is_earlier):
        raise DataError(
            f"--out {out} exists and holds no predictions of the same files, row by row as they "
            "are written here. Name another file, or remove it."
        )
    check_place(out)


def write_out(out: Path, data: bytes, is_earlier: Callable[[bytes], bool]) -> bool:
    """Write a table of predictions to `out`, and return whether it held earlier ones.

    What came there since `check_out` looked is kept, and the table is written beside it: hours may
    have gone into the scores.

    Args:
        out: Where it belongs; a link stays one, and what it names gets the table.
        data: The table.
        is_earlier: See `check_out`.

    Raises:
        DataError: something else is there by now, and it says where the scores are; or the table
            cannot be written.
    """
    is_there, place = _identity(out) is not None, out
    is_kept = is_there and not _holds(out, is_earlier)
    if is_kept:
        beside = (out.with_name(f"{out.stem}-{number}{out.suffix}") for number in count(1))
        place = next(path for path in beside if not os.path.lexists(path))
    try:
        write_bytes(_real(place), data)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror}.") from error
    if is_kept:
        raise DataError(
            f"{out} was written by another program meanwhile, and is kept. The scores are in "
            f"{place}."
        )
    return is_there


def check_place(out: Path) -> None:
    """Raise DataError unless something new may be put at `out`, as far as its folder goes."""
    folder = next(parent for parent in out.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():  # a file, or a link that leads nowhere
        raise DataError(f"--out {out} cannot be written: {folder} is not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"--out {out} cannot be written: {folder}: permission denied.")


def _real(path: Path) -> Path:
    """Return the path with its links followed, as far as there is something."""
    return Path(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells that two names are of one file; none if there is nothing."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _holds(path: Path, is_earlier: Callable[[bytes], bool]) -> bool:
    try:
        return is_earlier(table_bytes(path))
    except DataError:  # a folder, a pipe, or more than a table may have
        return False
