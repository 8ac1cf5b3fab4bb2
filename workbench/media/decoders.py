"""Media files decoded in a fence: whatever a file does to its decoder is its own outcome."""

import resource
import sys
import traceback
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from workbench.errors import SPACE, DataError, MediaError
from workbench.fence import KEEP_MEMORY, DiedError, Fence, TimedOutError
from workbench.media.source import failure, is_passing, said_by, unread
from workbench.media.view import MadeOrNot, View, ViewReader, read_views
from workbench.opencv import cv2

T = TypeVar("T")

FILE_LIMIT_S = 300.0
"""Time that the decoding of one file may take: the longest videos that are read take a third."""

MEMORY_LIMIT_BYTES = 4 << 30
"""Memory that decoding may take beyond what the process has at its start."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""The environment of a process that uses one thread: files are decoded side by side."""

_LONGEST_REASON = 100
_OUT_OF_MEMORY = ("annot allocate memory", "Insufficient memory", "failed to map segment")
_PACKAGE = Path(__file__).parents[1]


MANY_FILES, MANY_SHARE = 20, 0.05
"""So many files, and a larger share of all than this, ended by one exception are no odd files."""


class UnexpectedError(MediaError):
    """One file ended by an exception that nobody foresaw.

    Either the file is odder than any that was thought of, or a view has a bug: how many files end
    by the same exception tells.

    Args:
        error: The exception.
        path: The file.
    """

    def __init__(self, error: Exception, path: Path) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = Path(last.filename)
        if place.is_relative_to(_PACKAGE):
            place = place.relative_to(_PACKAGE.parent)
        self.exception = f"{type(error).__name__} at {place}:{last.lineno}"
        """Its type, and the file and line that raised it."""

        self.traceback = "".join(traceback.format_exception(error))
        # Copies of the file share the reason, so it does not name it.
        said = said_by(error).replace(str(path), "the file")
        super().__init__(f"unexpected {type(error).__name__}: {said}"[:_LONGEST_REASON])


class Tally:
    """Tells a bug of this program from odd files: by how many files one exception ended.

    Args:
        num_files: How many files there are.
    """

    def __init__(self, num_files: int) -> None:
        self._num_files = num_files
        self._files: defaultdict[str, set[str]] = defaultdict(set)
        self._first: dict[str, str] = {}

    def add(self, file: str, exception: str, text: str = "") -> None:
        """Count a file that an exception ended, whose traceback is `text`; twice is once."""
        self._files[exception].add(file)
        if text:
            self._first.setdefault(exception, text)

    def check(self, where: str = "") -> None:
        """Raise DataError if one exception ended many files; `where` says more of them."""
        for exception, files in self._files.items():
            count = len(files)
            if count >= MANY_FILES and count > MANY_SHARE * self._num_files:
                raise DataError(
                    f"{count} of {self._num_files} files failed with the same unexpected "
                    f"{exception}, which points to a fault of this program rather than of "
                    f"the files.{where} Report the first "
                    f"one:\n\n{self._first.get(exception, '')}"
                )


def decoders(num_processes: int, *, limit_s: float = FILE_LIMIT_S) -> Fence:
    """Return a fence for the decoding of files.

    Args:
        num_processes: Files decoded side by side.
        limit_s: Time that one file may take.
    """
    return Fence(
        num_processes, limit_s=limit_s, begin=_begin, environment={**KEEP_MEMORY, **ONE_THREAD}
    )


def read_any(
    path: Path, views: Mapping[str, View], onlooker: Any = None, read: ViewReader | None = None
) -> MadeOrNot:
    """Do as `read_views`, whatever is raised on the way: it is the outcome of the view at fault.

    Args:
        path: The file.
        views: Views by name.
        onlooker: See `read_views`.
        read: What reads them in its place.

    Raises:
        MemoryError: the memory that the process may take is not enough.
        OSError: the disk is full.
    """
    try:
        return (read or read_views)(path, views, onlooker)
    except Exception as error:  # noqa: BLE001 (decoders raise anything; one file ends no other)
        if is_passing(error):
            return dict.fromkeys(views, unread(error))
        unexpected = _unexpected(error, path)
    if len(views) < 2:
        return dict.fromkeys(views, unexpected)
    made: MadeOrNot = {}
    for name, view in views.items():  # what fails in one view leaves the others
        made |= read_any(path, {name: view}, read=read)
    return made


def ended(reading: "Future[T]", limit_s: float) -> T | MediaError:
    """Return what came of decoding a file in a fence, or how the file ended its decoder."""
    try:
        return reading.result()
    except TimedOutError:
        return failure("timed_out", f"decoding took over {limit_s:g} s")
    except DiedError as error:
        return failure("crashed", f"the decoder died on this file (exit code {error.exit_code})")
    except MemoryError:
        gib = MEMORY_LIMIT_BYTES / 2**30
        return failure("too_large", f"decoding takes over {gib:g} GiB of memory")


def read_here(path: Path, views: Mapping[str, View]) -> MadeOrNot | MediaError:
    """Do as `read_any` in this process, without limits of time and memory."""
    try:
        return read_any(path, views)
    except MemoryError:
        return failure("too_large", "decoding takes more memory than there is")


def _unexpected(error: Exception, path: Path) -> UnexpectedError:
    """Return the outcome of a file on which `error` was raised, if it may be the file's fault."""
    if isinstance(error, OSError) and error.errno in SPACE:
        raise error
    # Libraries say in their own ways that memory ran out.
    if isinstance(error, MemoryError) or any(said in str(error) for said in _OUT_OF_MEMORY):
        raise MemoryError(str(error)) from error
    return UnexpectedError(error, path)


def _begin() -> None:
    import workbench.media.views  # noqa: F401 (what loading takes of time and memory is no file's)

    cv2.setNumThreads(1)
    if sys.platform == "linux":  # elsewhere the system does not say what a process has
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + MEMORY_LIMIT_BYTES
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
