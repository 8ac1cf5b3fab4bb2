"""What holds for every media file before it is decoded: limits, and how what fails is told."""

import errno
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, TypeVar

from workbench.errors import MediaError

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")

Status = Literal[
    "missing",  # no such file, or not a file
    "empty",  # 0 bytes
    "broken",  # not media of an accepted format, or nothing of it can be decoded
    "no_audio",  # no sound stream, or one without a sample
    "no_video",  # no picture stream (cover art is none), or one without a frame
    "silent",  # the sound never changes, so its picture would be one colour
    "too_large",  # a picture of more than MAX_PIXELS, or more memory than decoding may take
    "timed_out",  # decoding took longer than a file may take
    "crashed",  # the decoder's process died
    "unreadable",  # a disk, a network or a missing library kept it from being read: never stored
    "no_face",  # there is an array, but of the middle of the picture: no face was found in it
]
"""Why a file has no view, or not the one that was asked for."""

MAX_DURATION_S = 600
"""Sound past this is cut off, in seconds."""

MAX_FRAMES = 18_000
"""A video's frames past this many are not looked at (10 minutes at 30 frames a second)."""

MAX_VIDEO_PIXELS = 1 << 35
"""Nor at frames past this many pixels in all (16,569 frames of 1920 x 1080)."""

MAX_PIXELS = 1 << 26
"""Pictures of more pixels than this are refused: 8192 x 8192."""


PASSING = frozenset(
    {
        *(errno.EIO, errno.ENODEV, errno.ENXIO),
        *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ECONNRESET),
        *(errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH),
        *(errno.EMFILE, errno.ENFILE),
    }
)
"""Numbers of errors that say of a disk, a network or this machine what they do not of a file."""


def failure(status: Status, reason: str) -> MediaError:
    """Return the error of a file that ends with `status`.

    The reason does not name the file: its copies share one outcome.
    """
    return MediaError(reason, status=status)


def check_file(path: Path) -> None:
    """Raise MediaError (missing, empty or broken) unless `path` is a file with content."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        # A link in a circle, or a name that no file can have: too long, or with a NUL (ValueError).
        nowhere = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
        if isinstance(error, ValueError) or error.errno in nowhere:
            raise failure("missing", "the file does not exist") from error
        raise unread(error) from error
    # A pipe or a device could be read for ever.
    if not stat.S_ISREG(found.st_mode):
        raise failure("missing", "the path is not that of a file")
    if not found.st_size:
        raise failure("empty", "the file is empty (0 bytes)")


def is_passing(error: BaseException) -> bool:
    """Say whether another try to read the same file may end without this error."""
    return getattr(error, "errno", None) in PASSING


def unread(error: Exception) -> MediaError:
    """Return what becomes of a file that cannot be read by `error`."""
    status: Status = "unreadable" if is_passing(error) else "broken"
    return failure(status, f"the file cannot be read: {said_by(error)}")


def require_every_byte(path: Path) -> None:
    """Raise MediaError (unreadable) unless every byte of `path` can be read now."""
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        raise failure("unreadable", f"the file cannot be read: {said_by(error)}") from error


def said_by(error: Exception) -> str:
    """Return what `error` says, without the file's path, as the end of a sentence."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split()).rstrip(".")


def attempt(make: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | MediaError:
    """Return what `make` returns, or the MediaError that it raises."""
    try:
        return make(*args, **named)
    except MediaError as error:
        return error


def then(
    found: S | MediaError, make: Callable[Concatenate[S, P], T], *args: P.args, **named: P.kwargs
) -> T | MediaError:
    """Return what `make` makes of `found`, or the error that came before or comes of it."""
    return found if isinstance(found, MediaError) else attempt(make, found, *args, **named)
