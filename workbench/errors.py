"""Errors a person can act on: each message says what is wrong, then what to do."""

from typing import Any


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


class BundleError(WorkbenchError):
    """A bundle is incomplete or was changed."""


def _rebuild(cls: type[WorkbenchError], message: str, fields: dict[str, Any]) -> WorkbenchError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(fields)
    return error
