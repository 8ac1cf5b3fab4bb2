"""One media file in, an array for each view out: one pass over the file for all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from av.container import InputContainer

from workbench.errors import MediaError
from workbench.media.audio import SoundReader
from workbench.media.facts import Facts, container_facts, image_facts
from workbench.media.image import Still, read_picture, still_format
from workbench.media.source import MediaReader, check_file, failure, feed, opened
from workbench.media.video import (
    FrameReader,
    NearestReader,
    read_exactly,
    read_nearest,
    read_still,
)
from workbench.media.view import Array, FileView, Made, SoundView, VideoView, View

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")

MadeOrNot = dict[str, Made | MediaError]


@dataclass(frozen=True)
class Reading:
    """What one file gave."""

    made: Mapping[str, Made | MediaError]
    """For each view by its name, the array or why there is none."""

    facts: Facts
    """What the file says of itself, as far as it could be opened."""


def read_media(path: Path, views: Mapping[str, View], *, loudness: bool = False) -> Reading:
    """Decode a file once into every view; what fails in one view leaves the others.

    Args:
        path: The file.
        views: Views by name.
        loudness: Decode the sound for the facts even where no view needs it.
    """
    own = {name: view for name, view in views.items() if isinstance(view, FileView)}
    streamed = {name: view for name, view in views.items() if name not in own}
    made: MadeOrNot = {name: _attempt(view.of_file, path) for name, view in own.items()}
    if own and not streamed:
        return Reading(made, image_facts(path))
    try:
        # To place a sound on the picture's clock, the picture's start must be known.
        wants_pictures = any(
            isinstance(view, VideoView) or (isinstance(view, SoundView) and view.align)
            for view in streamed.values()
        )
        check_file(path)
        if still_format(path):
            raise failure("broken", "it is a still image")
        with opened(path, for_sound=not wants_pictures) as container:
            rest, facts = _read_streams(path, container, streamed, loudness=loudness)
    except MediaError as error:
        still = _read_still(path, streamed) if error.status == "broken" else None
        rest, facts = still or dict.fromkeys(streamed, error), image_facts(path)
    return Reading({**made, **rest}, facts)


def decode(view: View, path: Path) -> Array:
    """Return one view of one file, of its `stored_shape`.

    Raises:
        MediaError: the file has no such view; its status is a `source.Status`.
    """
    made = read_media(path, {"view": view}).made["view"]
    if isinstance(made, MediaError):
        raise made
    return made.array


def _read_still(path: Path, views: Mapping[str, View]) -> MadeOrNot | None:
    """Return the views of a still image, the video of one frame; none if it is no image."""
    still = _attempt(read_picture, path)
    # A picture that is too large is one all the same, and one of a format that is known but not
    # read here says more of itself than a video that it is not.
    if isinstance(still, MediaError) and still.status != "too_large" and not still_format(path):
        return None
    return {
        name: _then(still, _of_still, view)
        if isinstance(view, VideoView)
        else failure("no_audio", "it is a still image")
        for name, view in views.items()
    }


def _way(view: SoundView) -> tuple[bool, bool]:
    """Return whether a view's sound is aligned, and has the container's length in any case."""
    return view.align, view.version == 1


def _of_still(still: Still, view: VideoView) -> Made:
    if still.note and view.version == 1:
        raise failure("broken", f"the image cannot be decoded: {still.note}")
    made = read_still(still.picture, view)
    return replace(made, reason=still.note) if made.status == "ok" else made


def _read_streams(
    path: Path, container: InputContainer, views: Mapping[str, View], *, loudness: bool
) -> tuple[MadeOrNot, Facts]:
    sounds = {name: view for name, view in views.items() if isinstance(view, SoundView)}
    videos = {name: view for name, view in views.items() if isinstance(view, VideoView)}
    exact = {name: view for name, view in videos.items() if view.sampling == "exact"}
    nearest = {name: view for name, view in videos.items() if view.sampling == "nearest"}
    facts = container_facts(container)
    if not any(s.codec_context for s in (*container.streams.audio, *container.streams.video)):
        raise failure("broken", "it has neither sound nor pictures that can be decoded")

    listener = _attempt(SoundReader, container) if sounds or loudness else None
    watcher = _attempt(FrameReader, container, exact) if exact else None
    feed(container, [reader for reader in (listener, watcher) if isinstance(reader, MediaReader)])

    made: MadeOrNot = {}
    if listener:
        # Asked for without a view, too: it finds out the loudness.
        ways = {_way(view) for view in sounds.values()} or {(False, False)}
        heard = {
            (align, believing): _then(listener, SoundReader.sound, align=align, believing=believing)
            for align, believing in sorted(ways)
        }
        made |= {name: _then(heard[_way(view)], view.of_sound) for name, view in sounds.items()}
    if isinstance(listener, SoundReader):
        facts = facts.heard(duration_s=listener.duration_s, loudness_db=listener.loudness_db)
    if watcher:
        made |= _of_frames(path, exact, watcher)
    # In passes of their own: what other views there are must not change these ones' frames.
    for is_first in (True, False):
        some = {name: view for name, view in nearest.items() if (view.version == 1) == is_first}
        if some:
            made |= _of_frames(path, some, _attempt(read_nearest, path, some))
    return made, facts


def _of_frames(
    path: Path, views: Mapping[str, VideoView], reader: FrameReader | NearestReader | MediaError
) -> MadeOrNot:
    """Return the views of frames that were read, some of them read again if need be."""
    made = _of_kept(views, reader)
    if isinstance(reader, FrameReader) and (again := views.keys() - made.keys()):
        others = {name: views[name] for name in sorted(again)}
        exactly = _attempt(read_exactly, path, others, expected=reader.timeline)
        made |= _of_kept(others, exactly)
    return made


def _of_kept(
    views: Mapping[str, VideoView], reader: FrameReader | NearestReader | MediaError
) -> MadeOrNot:
    """Return the views whose frames the reader has, or why there are none."""
    made: MadeOrNot = {}
    for name, view in views.items():
        kept = reader if isinstance(reader, MediaError) else _attempt(reader.kept, name)
        if kept is not None:
            made[name] = _then(kept, view.of_frames)
    return made


def _attempt(make: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | MediaError:
    try:
        return make(*args, **named)
    except MediaError as error:
        return error


def _then(
    found: S | MediaError, make: Callable[Concatenate[S, P], T], *args: P.args, **named: P.kwargs
) -> T | MediaError:
    """Return what `make` makes of `found`, or the error that came before or comes of it."""
    return found if isinstance(found, MediaError) else _attempt(make, found, *args, **named)
