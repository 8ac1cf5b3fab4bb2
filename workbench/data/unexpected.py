"""Files that ended by an exception nobody foresaw: logged, told from bugs, tried again in time.

One odd file is an outcome like any other. The same exception on many files is rather a fault of
the program, and stops a preparation. What is kept of such files is forgotten as soon as the code
that reads media is another.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import numpy as np
import PIL

from workbench.console import say
from workbench.data.decoding import Done, Task
from workbench.data.view_store import Outcome, StoreWriter
from workbench.files import read_json, write_json
from workbench.media.decoders import Tally
from workbench.media.still import LIBRARIES, READ_BY
from workbench.opencv import cv2


class Unexpected:
    """What is known of the files that ended unexpectedly; for one preparation.

    Args:
        stores: The name of each view's store, by the name of the view.
    """

    def __init__(self, cache: Path, stores: Mapping[str, str], contents: Collection[str]) -> None:
        self._file = cache / "unexpected.json"
        self._log = cache / "unexpected.log"
        self._stores = stores
        self._contents = contents
        self._known = self._read()
        self._is_changed = False
        self._held: list[tuple[str, str, Outcome, str]] = []
        """Content, view, outcome and exception of what is not stored yet."""

        self._tally = Tally(len(contents))

    def stale(self, view: str) -> set[str]:
        """Return the contents whose outcome other code gave."""
        ended = self._known.get(self._stores[view], {})
        return {c for c, (reader, _) in ended.items() if reader != reader_version()}

    def forget(
        self, writers: Mapping[str, StoreWriter], *, retry_all_but: Collection[str] | None
    ) -> set[str]:
        """Let what is stale be decoded again by the writers, whose locks are held; return it.

        To try again, all contents count as stale but those of files of other data.
        """
        self._known = self._read()  # another preparation may have written since
        forgotten = set()
        for view, writer in writers.items():
            ended = self._known.get(self._stores[view], {})
            stale = self.stale(view).intersection(self._contents)
            if retry_all_but is not None:
                own = {content for content in ended if content in self._contents}
                stale = own | (ended.keys() - {*retry_all_but})
            for content in stale:
                writer.forget(content, lasting=content not in self._contents)
                del ended[content]
                forgotten.add(content)
            for content, (_, exception) in ended.items():
                if content in self._contents:
                    self._tally.add(content, exception)
        self._is_changed = bool(forgotten)
        return forgotten

    def take(self, task: Task, how: Done) -> None:
        """Log what nobody foresaw of a file, and hold it back until it is told from a bug.

        Raises:
            DataError: too many of the files ended by one exception.
        """
        for text in {error.traceback for error in how.unexpected.values()}:
            with self._log.open("a", encoding="utf-8", errors="backslashreplace") as log:
                when = datetime.now().astimezone().isoformat(timespec="seconds")
                log.write(f"{when} {str(task.path)!r}\n{text}\n")
        for name, error in how.unexpected.items():
            place = task.places[name]
            outcome = how.outcomes[name]
            self._held.append((place.content, place.name, outcome, error.exception))
            self._tally.add(place.content, error.exception, error.traceback)
        if how.unexpected:
            self._tally.check(f" {self._log} has every traceback; leave out the view at fault.")

    def keep(self, writers: Mapping[str, StoreWriter]) -> None:
        """Store the outcomes held back: they are of odd files."""
        for content, view, _, exception in self._held:
            ended = self._known.setdefault(self._stores[view], {})
            ended[content] = [reader_version(), exception]
        if self._held or self._is_changed:
            # Before the outcomes, which would otherwise be believed for ever after a kill between.
            write_json(self._file, self._known)
        for content, view, outcome, _ in self._held:
            writers[view].add(content, outcome)
        if many := len({content for content, *_ in self._held}):
            say(
                f"{many} file{'s' if many > 1 else ''} could not be read for a reason that nobody "
                f"foresaw; the tracebacks are in {self._log}."
            )

    def _read(self) -> dict[str, dict[str, list[str]]]:
        """Return, by store and content, which code read it and what was raised."""
        try:
            known = read_json(self._file)
        except (FileNotFoundError, ValueError, RecursionError):
            return {}  # what a damaged one held stays as it is stored
        return {
            store: {c: both for c, both in ended.items() if list(map(type, both)) == [str, str]}
            for store, ended in (known.items() if isinstance(known, dict) else ())
            if isinstance(ended, dict) and all(isinstance(both, list) for both in ended.values())
        }


@cache
def reader_version() -> str:
    """Return twelve hex digits that name the code by which media are read, ours and others'."""
    code = hashlib.sha256()
    package = Path(__file__).parents[1]
    for folder in ("media", "degradation"):
        for path in sorted((package / folder).glob("*.py")):
            code.update(path.read_bytes())
    code.update(f"{libraries()}, numpy {np.__version__}\n".encode())
    return code.hexdigest()[:12]


@cache
def libraries() -> str:
    """Return the libraries whose versions decide what pictures and sounds a file gives."""
    found = [f"{library.__name__} {library.__version__}" for library in (av, cv2, PIL)]
    return ", ".join([*found, f"soxr {version('soxr')}", *_of_pictures()])


def _of_pictures() -> Iterator[str]:
    """Yield the packages that read further formats of pictures, of those that are installed."""
    for name in (READ_BY[form] for form in LIBRARIES):
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"
