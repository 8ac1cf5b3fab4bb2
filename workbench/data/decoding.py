"""Decoding in processes that can be ended: a file that hangs or eats memory costs itself alone."""

import os
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue

import cv2
from pebble import ProcessExpired, ProcessPool

from workbench.data.contents import Stamp, stamp, status_of, why_unread
from workbench.data.store import NEUTRAL_ROW, Outcome, write_row
from workbench.errors import MediaError
from workbench.media.facts import Facts
from workbench.media.reading import read_media
from workbench.media.view import View
from workbench.processes import KEEP_MEMORY, be_a_child, environment, interrupts_held

FILE_LIMIT_S = 300.0
"""Time that the decoding of one file may take: the longest videos that are read take a third."""

MEMORY_LIMIT_BYTES = 4 << 30
"""Memory that decoding may take beyond what the process has at its start."""

FAILED_HERE = ("timed_out", "crashed")
"""Statuses that may be the machine's fault: another try can end otherwise."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""The environment of a process that uses one thread: files are decoded side by side."""

# Tasks handed over before they can run: enough that no process waits, few enough for the memory.
_AHEAD = 4


@dataclass(frozen=True)
class Place:
    """Where a view of a file is written to."""

    view: View
    array_file: Path
    row: int


@dataclass(frozen=True)
class Task:
    """A file to decode."""

    content: str
    path: Path
    places: Mapping[str, Place]
    """By the name of the view."""

    loudness: bool
    """Whether its sound is decoded for the facts even if no view needs it."""

    stamp: Stamp | None = None
    """The file's before its content was read."""


@dataclass(frozen=True)
class Done:
    """How the decoding of a file ended."""

    outcomes: Mapping[str, Outcome]
    """By the name of the view; an outcome with a row of its own has its values written."""

    facts: Facts
    is_kept: bool = True
    """Whether that is true of the content for ever; else another try can end otherwise."""


def decode_all(
    tasks: Iterable[Task], *, jobs: int, limit_s: float = FILE_LIMIT_S
) -> Iterator[tuple[Task, Done]]:
    """Yield how each task ended, as they end.

    Args:
        tasks: Files; taken as they are needed, so that many of them take no memory.
        jobs: Processes.
        limit_s: Time that one file may take.

    Raises:
        OSError: the arrays cannot be written; what was yielded is.
    """
    waiting = iter(tasks)
    ended: SimpleQueue[Future[Done]] = SimpleQueue()
    with _pool(jobs) as pool:
        running: dict[Future[Done], Task] = {}
        while True:
            for task in islice(waiting, _AHEAD * jobs - len(running)):
                started = pool.schedule(_decode, args=[task], timeout=limit_s)
                running[started] = task
                started.add_done_callback(ended.put)
            if not running:
                return
            future = ended.get()
            task = running.pop(future)
            yield task, _result(future, task, limit_s)


def _result(future: "Future[Done]", task: Task, limit_s: float) -> Done:
    try:
        return future.result()
    except FutureTimeoutError:
        status, reason = "timed_out", f"decoding took over {limit_s:g} s"
    except ProcessExpired as error:
        status, reason = "crashed", f"the decoder died on this file (exit code {error.exitcode})"
    except MemoryError:
        status = "too_large"
        reason = f"decoding takes over {MEMORY_LIMIT_BYTES / 2**30:g} GiB of memory"
    outcome = Outcome(NEUTRAL_ROW, status, reason)
    return Done(dict.fromkeys(task.places, outcome), Facts())


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPool]:
    # Spawned, not forked: decoders start threads, and a forked copy of those can hang.
    pool = ProcessPool(jobs, initializer=_begin, context=get_context("spawn"))
    # The pool starts processes from threads of its own, whenever one is missing: those threads
    # and all that they start hold Ctrl-C back.
    with environment({**KEEP_MEMORY, **ONE_THREAD}):
        with interrupts_held():
            pool.schedule(os.getpid)
        try:
            yield pool
            pool.close()
        except BaseException:  # Ctrl-C and a reader that leaves early too: nothing may run on
            pool.stop()
            raise
        finally:
            pool.join()


def _begin() -> None:
    be_a_child()
    cv2.setNumThreads(1)
    if sys.platform == "linux":  # elsewhere the system does not say what a process has
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + MEMORY_LIMIT_BYTES
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _decode(task: Task) -> Done:
    if passing := _unread(task):
        return _not_kept(task, passing)
    views = {name: place.view for name, place in task.places.items()}
    reading = read_media(task.path, views, loudness=task.loudness)
    outcomes = {}
    for name, made in reading.made.items():
        place = task.places[name]
        if isinstance(made, MediaError):
            outcomes[name] = Outcome(NEUTRAL_ROW, made.status, str(made))
        else:
            written = write_row(place.array_file, place.row, made.array)
            outcomes[name] = Outcome(place.row, made.status, made.reason, written)
    if passing := _unread(task):
        return _not_kept(task, passing)
    return Done(outcomes, reading.facts)


def _unread(task: Task) -> Outcome | None:
    """Return why what was or would be read is not the content that the task names, if so."""
    try:
        os.close(os.open(task.path, os.O_RDONLY | os.O_NONBLOCK))
        now = stamp(task.path)
    except OSError as error:
        status = status_of(error)
        return Outcome(NEUTRAL_ROW, status, why_unread(status))
    if task.stamp in (None, now):
        return None
    return Outcome(NEUTRAL_ROW, "changed", "the file changed while it was read")


def _not_kept(task: Task, outcome: Outcome) -> Done:
    return Done(dict.fromkeys(task.places, outcome), Facts(), is_kept=False)
