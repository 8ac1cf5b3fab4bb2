"""The gate for files that come from strangers, and for paths that such files name.

What is let in is a regular file of a sane size that lies where it belongs. It is told in a sentence
that never quotes what the file holds.
"""

import errno
import os
import stat
from pathlib import Path

from workbench.errors import ConfigError, WorkbenchError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_NO_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


def require_file(
    path: Path, *, limit_bytes: int, kind: type[WorkbenchError] = ConfigError
) -> os.stat_result:
    """Return the status of a regular file; it is not opened, so no pipe can hold anybody up.

    Args:
        path: The file; a link is followed.
        limit_bytes: The most that it may hold.
        kind: Of the error.

    Raises:
        WorkbenchError: a `kind`: it is a pipe, a socket or a device, or too large.
        OSError: it is absent, a folder, or may not be looked at.
    """
    if "\x00" in str(path):
        raise kind(f"{str(path)!r} is no path: it holds a zero byte. Correct it.")
    try:
        found = path.stat()
    except OSError as error:
        if error.errno not in _NO_PATHS:
            raise
        said = os.strerror(error.errno or 0).lower()
        raise kind(f"{str(path)[:300]} cannot be opened: {said}. Correct the path.") from error
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, os.strerror(21), str(path))
    _require_regular(path, found, kind)
    _require_size(path, found.st_size, limit_bytes, kind)
    return found


def read_file(path: Path, *, limit_bytes: int, kind: type[WorkbenchError] = ConfigError) -> bytes:
    """Return what a regular file holds.

    Raises:
        WorkbenchError, OSError: as `require_file`.
    """
    require_file(path, limit_bytes=limit_bytes, kind=kind)
    # It may be another file by now: a pipe opened so does not wait for its writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _require_regular(path, os.fstat(handle), kind)
        content = file.read(limit_bytes + 1)
    _require_size(path, len(content), limit_bytes, kind)
    return content


def within(
    folder: Path,
    name: str,
    *,
    what: str,
    may_link_out: bool = False,
    kind: type[WorkbenchError] = ConfigError,
) -> Path:
    """Return the path of `name`, which a file says, in the folder that it belongs to.

    Args:
        folder: The folder.
        name: Relative to it; there need not be such a file.
        what: What it names, for the error.
        may_link_out: Whether a link in the folder may lead out of it.
        kind: Of the error.

    Raises:
        WorkbenchError: a `kind`: the name, or a link that it leads through, leaves the folder.
    """
    leaves = Path(name).is_absolute() or os.path.normpath(name).startswith(os.pardir + os.sep)
    if "\x00" in name or leaves or os.path.normpath(name) == os.pardir:
        raise kind(f"{name!r} is not in {folder}. Name the {what} relative to that folder.")
    if not may_link_out and not is_inside(folder / name, folder):
        raise kind(
            f"{folder / name} is a link that leads out of {folder}, to "
            f"{os.path.realpath(folder / name)}. Put the {what} itself there."
        )
    return folder / name


def is_inside(path: Path, folder: Path) -> bool:
    """Say whether `path`, its links followed, lies in `folder`, its links followed."""
    if "\x00" in str(path):
        return False
    ends = os.path.realpath(folder)
    return os.path.commonpath([ends, os.path.realpath(path)]) == ends


def _require_regular(path: Path, found: os.stat_result, kind: type[WorkbenchError]) -> None:
    if not stat.S_ISREG(found.st_mode):
        sort = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise kind(f"{path} is {sort}, which is not read. Name a regular file.")


def _require_size(path: Path, size: int, limit: int, kind: type[WorkbenchError]) -> None:
    if size > limit:
        raise kind(
            f"{path} has over {limit / 2**20:g} MiB, more than such a file can need. "
            "Check that it is the right one."
        )
