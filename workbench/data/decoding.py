"""Decoding of many files side by side: what a file does to its decoder costs that file alone."""

import os
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

from workbench.data.contents import Stamp, stamp, status_of, why_unread
from workbench.data.view_store import NEUTRAL_ROW, Outcome, write_row
from workbench.degradation.degraded_views import read_copies
from workbench.errors import MediaError
from workbench.media.decoders import FILE_LIMIT_S, UnexpectedError, decoders, ended
from workbench.media.facts import Facts
from workbench.media.source import is_passing, unread
from workbench.media.view import View

TRIED_AGAIN = ("timed_out", "crashed", "broken")
"""Statuses that may be the machine's fault, or its disk's: another try can end otherwise."""

# Tasks handed over before they can run: enough that no process waits, few enough for the memory.
_AHEAD = 4


@dataclass(frozen=True)
class Place:
    """Where a view of a file is written to."""

    name: str
    """The view's."""

    view: View
    array_file: Path
    row: int
    content: str
    """What the row is stored by: the file's content, or what names a changed copy of it."""

    copy: str = ""
    """The copy of the file that it is of, see `degradations.content_of`; "" for the file itself."""

    other: Path | None = None
    """The other file that goes into the copy."""

    other_stamp: Stamp | None = None
    """Of that file, before its content was read."""


@dataclass(frozen=True)
class Task:
    """A file to decode."""

    content: str
    path: Path
    places: Mapping[str, Place]
    """By any name, that of the view as a rule."""

    loudness: bool
    """Whether its sound is decoded for the facts even if no view needs it."""

    stamp: Stamp | None = None
    """The file's before its content was read."""


@dataclass(frozen=True)
class Done:
    """How the decoding of a file ended."""

    outcomes: Mapping[str, Outcome]
    """By the name of the task's place; an outcome with a row of its own has its values written."""

    facts: Facts
    is_kept: bool = True
    """Whether that is true of the content for ever; else another try can end otherwise."""

    unexpected: Mapping[str, UnexpectedError] = field(default_factory=dict)
    """By the name of the place, what nobody foresaw."""


def decode_all(
    tasks: Iterable[Task], *, jobs: int, limit_s: float = FILE_LIMIT_S
) -> Generator[tuple[Task, Done], None, None]:
    """Yield how each task ended, as they end; closed early, it ends the processes.

    Args:
        tasks: Files; taken as they are needed, so that many of them take no memory.
        jobs: Processes.
        limit_s: Time that one file may take.

    Raises:
        OSError: the arrays cannot be written; what was yielded is.
    """
    waiting = iter(tasks)
    done: SimpleQueue[Future[Done]] = SimpleQueue()
    with decoders(jobs, limit_s=limit_s) as fence:
        running: dict[Future[Done], Task] = {}
        while True:
            for task in islice(waiting, _AHEAD * jobs - len(running)):
                started = fence.submit(_decode, task)
                running[started] = task
                started.add_done_callback(done.put)
            if not running:
                return
            future = done.get()
            task = running.pop(future)
            how = ended(future, limit_s)
            if isinstance(how, MediaError):
                outcome = Outcome(NEUTRAL_ROW, how.status, str(how))
                how = Done(dict.fromkeys(task.places, outcome), Facts())
            yield task, how


def _decode(task: Task) -> Done:
    if passing := _unread(task):
        return _not_kept(task, passing)
    wanted = {name: (place.copy, place.view) for name, place in task.places.items()}
    others = {place.copy: place.other for place in task.places.values() if place.other}
    try:
        reading = read_copies(
            task.path, wanted, content=task.content, loudness=task.loudness, others=others
        )
    except MediaError as error:  # of what the file says of itself: see `image_facts`
        return _not_kept(task, Outcome(NEUTRAL_ROW, error.status, str(error)))
    unread = (one for one in reading.made.values() if isinstance(one, MediaError))
    if first := next((one for one in unread if one.status == "unreadable"), None):
        return _not_kept(task, Outcome(NEUTRAL_ROW, first.status, str(first)))
    outcomes, unexpected = {}, {}
    for name, made in reading.made.items():
        place = task.places[name]
        if isinstance(made, MediaError):
            outcomes[name] = Outcome(NEUTRAL_ROW, made.status, str(made))
            if isinstance(made, UnexpectedError):
                unexpected[name] = made
        else:
            written = write_row(place.array_file, place.row, made.array)
            outcomes[name] = Outcome(place.row, made.status, made.reason, written)
    if passing := _unread(task):
        return _not_kept(task, passing)
    return Done(outcomes, reading.facts, unexpected=unexpected)


def _unread(task: Task) -> Outcome | None:
    """Return why what was or would be read is not the content that the task names, if so."""
    places = task.places.values()
    others = {place.other: place.other_stamp for place in places if place.other}
    for path, before in {**others, task.path: task.stamp}.items():
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            now = stamp(path)
        except OSError as error:
            status = status_of(error)
            why = str(unread(error)) if is_passing(error) else why_unread(status)
            return Outcome(NEUTRAL_ROW, status, why)
        if before not in (None, now):
            return Outcome(NEUTRAL_ROW, "changed", "the file changed while it was read")
    return None


def _not_kept(task: Task, outcome: Outcome) -> Done:
    return Done(dict.fromkeys(task.places, outcome), Facts(), is_kept=False)
