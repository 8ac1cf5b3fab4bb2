"""What `predict` may read and write, looked at before anything is scored."""

import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.data.delimited import read_delimited
from workbench.errors import DataError

_NO_SCORES = ({0.0, 1.0}, {0.5})
"""What stands in all rows of a table of labels, and of a template which nobody has filled in."""

_LABELS = {"target", "label", "class", "split"}
"""Columns of a table of labels: whatever else it holds, no prediction has them."""


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


def check_out(out: Path, *, inputs: Iterable[Path], bundle: Path, columns: Sequence[str]) -> None:
    """Raise DataError unless a table of predictions may be written to `out`.

    Args:
        out: Where it is to be written; predictions that are there are written anew.
        inputs: Files that are read.
        bundle: The bundle's folder.
        columns: Those that predictions have: of the name and of the score.
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
    if there and not _is_predictions(out, columns):
        raise DataError(
            f"--out {out} exists and holds no predictions ({', '.join(columns)}). Name another "
            "file, or remove it."
        )
    check_place(out)


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


def _is_predictions(path: Path, columns: Sequence[str]) -> bool:
    """Say whether `path` is a table in which every row has a score from 0 to 1.

    A template before it is filled in looks alike, and so does a table of labels with the same
    columns. There may be no second copy of either.
    """
    try:
        header, *rows = read_delimited(path).rows
        names = [cell.strip() for cell in header]
        if any(names.count(column) != 1 for column in columns) or _LABELS & {*names} - {*columns}:
            return False
        at = names.index(columns[-1])
        scores = [float(row[at]) for row in rows]
    except (DataError, ValueError, IndexError):
        return False
    if scores and any(numbers.issuperset(scores) for numbers in _NO_SCORES):
        return False
    return all(math.isfinite(score) and 0 <= score <= 1 for score in scores)
