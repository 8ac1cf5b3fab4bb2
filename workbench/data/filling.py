"""Stores filled: what they lack of some files is decoded, each once for all views and copies."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir

from workbench.console import say, track
from workbench.data.contents import Stamp
from workbench.data.decoding import TRIED_AGAIN, Place, Task, decode_all
from workbench.data.facts import FactsStore, FactsWriter
from workbench.data.unexpected import Unexpected, libraries
from workbench.data.view_store import NEUTRAL_ROW, Outcome, StoreWriter, ViewStore
from workbench.degradation.degradations import content_of
from workbench.errors import SPACE, CacheError, DataError

# Files between two writings of the index: what a kill can cost.
_FLUSH_FILES = 256

_MOST_REMOVED = 3
"""Times that stores are filled anew which another process removes."""

Outcomes = dict[str, dict[str, Outcome]]
"""By the name of the view and by content."""


@dataclass(frozen=True)
class Media:
    """The files whose views are wanted."""

    folder: Path
    """The data folder."""

    paths: Mapping[str, str]
    """By content, relative to the folder."""

    stamps: Mapping[str, Stamp]
    """By path, as the file was before its content was read."""

    copies: Mapping[str, Sequence[str]]
    """The views of each copy that is wanted, see `degradations.content_of`; of the file itself by
    ""."""

    made_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By copy, the contents of which alone it is wanted, each with the content of the other file
    that goes into it, or "". What is not named is wanted of every file."""

    def wanted(self, content: str) -> Iterator[tuple[str, str, str]]:
        """Yield the copy, the view and what the copy's content is called, of all that is wanted."""
        for copy, views in self.copies.items():
            if content in self.made_of.get(copy, self.paths):
                called = content_of(content, copy, self.made_of.get(copy, {}).get(content, ""))
                for view in views:
                    yield copy, view, called

    def other(self, content: str, copy: str) -> tuple[Path | None, Stamp | None]:
        """Return the other file that goes into a copy of a content, and its stamp."""
        other = self.made_of.get(copy, {}).get(content)
        path = self.paths[other] if other else ""
        return (self.folder / path, self.stamps.get(path)) if path else (None, None)

    def contents(self) -> set[str]:
        """Return what is to be in the stores."""
        return {called for content in self.paths for _, _, called in self.wanted(content)}

    @property
    def is_of_files(self) -> bool:
        """Whether the files themselves are wanted: their facts are then, too."""
        return "" in self.copies


@dataclass(frozen=True)
class How:
    """How to fill the stores; see `prepare.prepare`."""

    jobs: int
    limit_s: float
    retry: bool = False
    verify: bool = False


def decoded(stores: Mapping[str, ViewStore], media: Media, how: How, *, cache: Path) -> Outcomes:
    """Decode what is not stored yet; return how the decoding of every content ended.

    Raises:
        DataError: the disk is full, or one exception that nobody foresaw ended many files; what
            was decoded is kept.
        CacheError: another process removes the stores.
    """
    for _ in range(_MOST_REMOVED):
        found = _decoded(stores, media, how, cache=cache)
        wanted = (each for content in media.paths for each in media.wanted(content))
        if all(called in found[view] for _, view, called in wanted):
            return found
    raise CacheError(
        f"What was decoded is removed from {cache} by another command. Run the same command again."
    )


def _decoded(stores: Mapping[str, ViewStore], media: Media, how: How, *, cache: Path) -> Outcomes:
    """As `decoded`; of a store that was removed meanwhile, as `clean` does, nothing is known."""
    facts = FactsStore(cache)
    folders = {name: store.folder.name for name, store in stores.items()}
    unexpected = Unexpected(cache, folders, media.contents())
    passing: Outcomes = {}
    if (
        how.retry
        or how.verify
        or not _is_all_there(stores, facts, media, unexpected)
        # To check cached rows waits for nobody who is writing.
        or (any(store.is_to_check() for store in stores.values()) and not facts.is_being_written())
    ):
        try:
            passing = _fill(stores, facts, media, unexpected, how)
        except OSError as error:
            if error.errno not in SPACE:
                raise
            place, remedy = cache, "Make some"
            if error.filename == (temporary := gettempdir()):
                place, remedy = Path(temporary), f"{remedy}, or let TMPDIR name another folder,"
            raise DataError(
                f"There is no space left for {place} ({error.strerror}). {remedy} and run this "
                "again: what was decoded is kept."
            ) from error
    return {name: store.outcomes() | passing.get(name, {}) for name, store in stores.items()}


def _is_all_there(
    stores: Mapping[str, ViewStore], facts: FactsStore, media: Media, unexpected: Unexpected
) -> bool:
    """Say whether nothing is to decode, without waiting for one who is writing."""
    if not all(store.array_file.exists() for store in stores.values()):
        return False
    known = {
        name: store.outcomes().keys() - unexpected.stale(name) for name, store in stores.items()
    }
    if media.is_of_files and not media.paths.keys() <= facts.read().keys():
        return False
    return all(
        called in known[view]
        for content in media.paths
        for _, view, called in media.wanted(content)
    )


class _Lacking:
    """What is to be decoded of some media, and where it is stored."""

    def __init__(
        self,
        stores: Mapping[str, ViewStore],
        writers: Mapping[str, StoreWriter],
        facts: FactsWriter,
        media: Media,
    ) -> None:
        self._stores, self._writers, self._facts, self._media = stores, writers, facts, media

    def count(self) -> int:
        """Return how many files are to be read."""
        return sum(
            self.lacks_facts(content) or any(True for _ in self._lacking(content))
            for content in self._media.paths
        )

    def views(self) -> set[str]:
        """Return the views of which something is to be stored."""
        return {view for content in self._media.paths for _, view, _ in self._lacking(content)}

    def lacks_facts(self, content: str) -> bool:
        return self._media.is_of_files and content not in self._facts.known

    def tasks(self) -> Iterator[Task]:
        """Yield the reading of each file, its rows reserved."""
        for content, path in self._media.paths.items():
            places = {
                f"{copy}/{view}": self._place(copy, view, called, content)
                for copy, view, called in list(self._lacking(content))
            }
            loudness = self.lacks_facts(content)
            if places or loudness:
                file = self._media.folder / path
                yield Task(content, file, places, loudness, self._media.stamps.get(path))

    def _lacking(self, content: str) -> Iterator[tuple[str, str, str]]:
        for copy, view, called in self._media.wanted(content):
            if called not in self._writers[view].outcomes:
                yield copy, view, called

    def _place(self, copy: str, view: str, called: str, content: str) -> Place:
        store = self._stores[view]
        row = self._writers[view].reserve(called)
        other = self._media.other(content, copy)
        return Place(view, store.view, store.array_file, row, called, copy, *other)


def _fill(
    stores: Mapping[str, ViewStore],
    facts: FactsStore,
    media: Media,
    unexpected: Unexpected,
    how: How,
) -> Outcomes:
    """Decode into `stores` and `facts` what they lack.

    Returns:
        Outcomes that say nothing of the content and are not kept.
    """
    passing: Outcomes = {name: {} for name in stores}
    with ExitStack() as stack:
        # In one order, whoever prepares: two would otherwise wait for each other for ever.
        fact_writer = stack.enter_context(facts.writing())
        in_order = sorted(stores.items(), key=lambda item: str(item[1].folder))
        writers = {
            name: stack.enter_context(store.writing(thorough=how.verify))
            for name, store in in_order
        }
        files, again = {*fact_writer.known}, set[str]()
        for name, writer in writers.items():
            if writer.num_damaged:
                say(
                    f"{stores[name].array_file}: {writer.num_damaged} cached rows were changed "
                    "on disk. What is needed of them is decoded anew."
                )
            if how.retry:
                # Copies have no facts. Only a search knows which of them it wants.
                for content in writer.ended(TRIED_AGAIN):
                    writer.forget(content, lasting=content not in files)
                    again.add(content)
        again |= unexpected.forget(writers, retry_all_but=files if how.retry else None)
        fact_writer.known -= again  # nothing was learned of a file that ended its decoder
        lacking = _Lacking(stores, writers, fact_writer, media)
        total = lacking.count()
        for name in sorted(lacking.views()) if total else ():
            if line := stores[name].note_libraries(libraries()):
                say(line)
        done = stack.enter_context(
            closing(
                decode_all(lacking.tasks(), jobs=min(how.jobs, max(1, total)), limit_s=how.limit_s)
            )
        )
        for count, (task, ended) in enumerate(track(done, "decode", unit="file", total=total), 1):
            unexpected.take(task, ended)
            for name, outcome in ended.outcomes.items():
                place = task.places[name]
                if outcome.row == NEUTRAL_ROW:
                    writers[place.name].release(place.row)
                if not ended.is_kept:
                    passing[place.name][place.content] = outcome
                elif name not in ended.unexpected:
                    writers[place.name].add(place.content, outcome)
            if ended.is_kept and lacking.lacks_facts(task.content):
                fact_writer.add(task.content, ended.facts)
            if count % _FLUSH_FILES == 0:
                for writer in writers.values():
                    writer.flush()
                fact_writer.flush()
        unexpected.keep(writers)
    return passing
