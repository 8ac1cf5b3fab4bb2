"""Errors a person can act on: each message says what is wrong, then what to do."""

import errno
import os
from typing import Any

SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a full disk, and of a user who may fill no more of it."""

_RIGHTS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "it is on a read-only file system",
}
_LIMITS = {
    errno.EMFILE: "This process has as many files open as it may. Raise `ulimit -n`.",
    errno.ENFILE: "The system has as many files open as it can. End other programs.",
}
_DISK = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)


class WorkbenchError(Exception):
    """Base of every error this package raises on purpose; anything else is a bug."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process boundaries (decoders, trial workers), and the default pickling
        # would call __init__ with the message alone.
        return _rebuild, (type(self), str(self), self.__dict__)


class ConfigError(WorkbenchError):
    """An experiment, search space or option says something that cannot be used."""


class DataError(WorkbenchError):
    """Labels, templates or the layout of a data folder cannot be used."""


class MediaError(WorkbenchError):
    """One media file cannot be turned into the array that a view asks for.

    It never stops a preparation: the file's row records the status and the reason.
    """

    def __init__(self, reason: str, *, status: str = "broken") -> None:
        self.status = status
        super().__init__(reason)


class CacheError(DataError):
    """A decoded array is gone, is another data set's, or was changed: nothing is read from it."""


class AccessError(WorkbenchError):
    """The user who runs this may not read or write a file or folder."""


class DamagedFileError(WorkbenchError):
    """A file that this program wrote cannot be read, or is not what was written."""


class LockError(WorkbenchError):
    """A file or folder cannot be locked, so that nothing keeps two processes apart."""


class DiskFullError(WorkbenchError):
    """A file could not be written for want of space; nothing of it is left."""


class WeightsError(WorkbenchError):
    """Pretrained weights were asked for and cannot be had."""


class RuleError(WorkbenchError):
    """A model breaks the rulebook."""


class StudyError(WorkbenchError):
    """A study, a trial of it or its champion cannot be found or used."""


class StoreError(WorkbenchError):
    """The database or the server that keeps a study does not answer, or refuses to."""


class BundleError(WorkbenchError):
    """A bundle is incomplete or was changed."""


def told(error: OSError) -> str:
    """Return what is to be said of an error of rights, space, places or disks, with its remedy.

    Empty for every other one: a file that is not there, or there already, can be a bug, and so can
    rights that are lacking to something without a name.
    """
    named = error.filename if isinstance(error.filename, str | bytes | os.PathLike) else ""
    path = os.fsdecode(named)
    number = error.errno or 0
    if number == errno.EISDIR and error.filename2:  # of a rename, what was to be replaced
        place = os.fsdecode(error.filename2)
        return f"{place} is a folder, where a file has to be. Remove it, or give it another name."
    if number == errno.ENOTDIR and path:
        return f"{path} cannot be reached: on the way to it is a file. Give that another name."
    if number in _RIGHTS and path:
        return (
            f"{path}: {_RIGHTS[number]}. Give the user who runs this the right to it, or name "
            "another place."
        )
    if number in SPACE:
        place = os.fsdecode(error.filename2) if error.filename2 else path  # of a copy, its target
        return (
            f"There is no space left{f' for {place}' if place else ''}. Make some; run this again."
        )
    if number in _DISK and path:
        return f"{path}: {os.strerror(number).lower()}. See whether its disk or network is well."
    return _LIMITS.get(number, "")


def _rebuild(cls: type[WorkbenchError], message: str, fields: dict[str, Any]) -> WorkbenchError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(fields)
    return error
