"""The files in a media folder, by their names within it."""

import os
import stat
from pathlib import Path, PurePosixPath

import pandas as pd

from workbench.data.contents import status_of
from workbench.data.media_kinds import kind_by_ending
from workbench.errors import DataError
from workbench.media.source import said_by

DENIED = -2
"""In the place of the size of a file that this user may not look at."""

NO_FILE = -1
"""In the place of the size of a link that leads nowhere, of a pipe or of a device."""

UNREADABLE = -3
"""In the place of the size of a file of which a disk or a network says nothing for now."""


def sizes_in(media: Path, split: str) -> dict[str, int]:
    """Return the size of every file under `media`, by its name within `media`.

    What this user may not look at has the size `DENIED`: a file, or a folder, whose name ends
    with a slash; what is no file has the size `NO_FILE`, and what a disk or a network does not give
    for now `UNREADABLE`.

    Raises:
        DataError: it is no folder, or it or a folder in it cannot be listed, as on a bad disk.
        PermissionError: this user may not look into it.
    """
    if not media.is_dir():
        raise DataError(f"{media} is not a folder. It should hold the media files of {split}.")
    sizes = {}

    def refused(error: OSError) -> None:
        place, status = Path(error.filename), status_of(error)
        if status != "denied":
            # What was removed meanwhile holds nothing. Anything else would lose its files unsaid.
            if status != "missing" or os.path.lexists(place):
                raise _unlisted(place, error)
            return
        inner = place.relative_to(media)
        if inner == Path():
            raise error
        sizes[f"{inner.as_posix()}/"] = DENIED

    for parent, folders, files in os.walk(media, onerror=refused, followlinks=True):
        inside = Path(parent).relative_to(media)
        # A link to a folder above would be walked again and again.
        above = {os.path.realpath(str(folder)) for folder in (parent, *Path(parent).parents)}
        folders[:] = [f for f in folders if os.path.realpath(f"{parent}/{f}") not in above]
        for name in files:
            try:
                found = (Path(parent) / name).stat()
                size = found.st_size if stat.S_ISREG(found.st_mode) else NO_FILE
            except OSError as error:  # a dangling link: to its reader it is missing
                size = _SIZES.get(status_of(error), NO_FILE)
                # It may be a link to a folder.
                if size == UNREADABLE and not (name.startswith(".") or kind_by_ending(name)):
                    raise _unlisted(Path(parent) / name, error) from error
            # No label file, being UTF-8, names a file whose name is not; it is only listed.
            inner = (inside / name).as_posix().encode("utf-8", "surrogateescape")
            sizes[inner.decode("utf-8", "replace")] = size
    return sizes


_SIZES = {"denied": DENIED, "unreadable": UNREADABLE}


def _unlisted(place: Path, error: OSError) -> DataError:
    return DataError(
        f"{place} cannot be read: {said_by(error)}. See whether the disk or network is well, or "
        "take it out of the folder."
    )


def files_among(sizes: dict[str, int]) -> set[str]:
    """Return the names of files among those of `sizes_in`."""
    return {name for name, size in sizes.items() if size != NO_FILE and not name.endswith("/")}


def unnamed_files(
    table: pd.DataFrame,
    media_of: dict[str, Path],
    files_in: dict[Path, dict[str, int]],
    folder: Path,
) -> pd.DataFrame:
    """Return `Manifest.unnamed`: what lies in a media folder and is in no row of any split."""
    named = {path.removeprefix("./") for path in table["path"]}
    rows: dict[str, str] = {}
    for media, sizes in files_in.items():
        splits = [split for split, place in media_of.items() if place == media]
        endings = {_ending(name) for name in table.loc[table["split"].isin(splits), "name"]}
        prefix = media.relative_to(folder).as_posix()
        for name in sizes:
            path = f"{prefix}/{name}".removeprefix("./")
            is_hidden = PurePosixPath(name).name.startswith(".") or sizes[name] < 0
            if path not in named and not is_hidden and _ending(name) in endings:
                # One media folder may lie in another: the file is said once.
                rows.setdefault(path, ", ".join(splits))
    found = pd.DataFrame({"split": list(rows.values()), "path": list(rows)}, dtype="str")
    return found.sort_values("path", ignore_index=True)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
