"""Views of the frames of a file."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from av.container import InputContainer

from workbench.errors import MediaError
from workbench.media.image import Still, read_picture
from workbench.media.source import attempt, failure, then
from workbench.media.streams import StreamView, StreamViews
from workbench.media.timing import Timeline
from workbench.media.video import Frame, FrameReader, read_exactly
from workbench.media.video_nearest import NearestReader, read_nearest
from workbench.media.view import Made, MadeOrNot

AnyReader = FrameReader | NearestReader | MediaError


class VideoViews(StreamViews):
    """The views of a file's frames."""

    needs_pictures = True

    def __init__(self, views: Mapping[str, "VideoView"]) -> None:
        super().__init__(views)
        self._exact = {name: view for name, view in views.items() if view.sampling == "exact"}
        self._reader: FrameReader | MediaError | None = None

    def begin(self, container: InputContainer) -> FrameReader | None:
        """See `StreamViews.begin`; views of the nearest frames have a pass of their own."""
        if self._exact:
            self._reader = attempt(FrameReader, container, self._exact)
        return self._reader if isinstance(self._reader, FrameReader) else None

    def made(self, path: Path) -> MadeOrNot:
        """See `StreamViews.made`."""
        made = _of_frames(path, self._exact, self._reader) if self._reader else {}
        # In passes of their own: what other views there are must not change these ones' frames.
        for is_first in (True, False):
            nearest = {
                name: view
                for name, view in self.views.items()
                if name not in self._exact and (view.version == 1) == is_first
            }
            if nearest:
                made |= _of_frames(path, nearest, attempt(read_nearest, path, nearest))
        return made

    def of_still(self, path: Path) -> MadeOrNot:
        """See `StreamViews.of_still`: it is the video of one frame."""
        still = attempt(read_picture, path)
        return {name: then(still, _of_still, view) for name, view in self.views.items()}


class VideoView(StreamView):
    """A view of frames of the video; of a still image, the video of that one frame.

    Frames are handed over one at a time while the file is decoded, so that what is kept of them
    decides the memory, not their size.

    Version 1 of every such view counts frames instead of looking at their times, and sees them as
    they are stored but for a turn: mirrored ones upside down, the colours under transparent pixels,
    high dynamic range as if it were an ordinary one.
    """

    streams: ClassVar[type[StreamViews]] = VideoViews
    version: int

    sampling: Literal["exact", "nearest"] = "exact"
    """`nearest` skips frames that no other frame needs, and takes the nearest of the rest; a file
    that does not say when its frames are shown, or whose frames are over a quarter of a second
    apart, is decoded as for `exact`."""

    def wanted(self, timeline: Timeline) -> Sequence[int]:
        """Return `indices`, of a video whose frames are shown as `timeline` says."""
        return self.indices(Timeline.even(timeline.count) if self.version == 1 else timeline)

    @abstractmethod
    def indices(self, timeline: Timeline) -> Sequence[int]:
        """Return the frames wanted of a video, by number and in their order, repeats included."""

    @abstractmethod
    def keep(self, frame: Frame) -> Any:
        """Return what is needed of one wanted frame; its picture is gone afterwards."""

    @abstractmethod
    def of_frames(self, kept: Sequence[Any]) -> Made:
        """Return the view of what `keep` returned, one for each of `indices`, in their order.

        Raises:
            MediaError: there is no such view of it; its status is a `source.Status`.
        """


def _of_still(still: Still, view: VideoView) -> Made:
    if still.note and view.version == 1:
        raise failure("broken", f"the image cannot be decoded: {still.note}")
    kept = view.keep(Frame(still.picture))
    made = view.of_frames([kept for _ in view.wanted(Timeline.even(1))])
    return replace(made, reason=still.note) if made.status == "ok" else made


def _of_frames(path: Path, views: Mapping[str, VideoView], reader: AnyReader) -> MadeOrNot:
    """Return the views of frames that were read, some of them read again if need be."""
    made = _of_kept(views, reader)
    if isinstance(reader, FrameReader) and (again := views.keys() - made.keys()):
        others = {name: views[name] for name in sorted(again)}
        exactly = attempt(read_exactly, path, others, expected=reader.timeline)
        made |= _of_kept(others, exactly)
    return made


def _of_kept(views: Mapping[str, VideoView], reader: AnyReader) -> MadeOrNot:
    """Return the views whose frames the reader has, or why there are none."""
    made: MadeOrNot = {}
    for name, view in views.items():
        kept = reader if isinstance(reader, MediaError) else attempt(reader.kept, name)
        if kept is not None:
            made[name] = then(kept, view.of_frames)
    return made
