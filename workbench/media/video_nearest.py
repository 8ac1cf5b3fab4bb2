"""Frames of a video near chosen times, where frames that no other frame needs are skipped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.video.frame import VideoFrame

from workbench.media.source import failure
from workbench.media.still import check_size
from workbench.media.streams import feed, opened
from workbench.media.timing import Timeline
from workbench.media.video import FrameReader, FrameView, VideoReader, read_exactly
from workbench.media.video_scan import Scan, scan_packets


class NearestReader(VideoReader):
    """Like FrameReader, but frames that no other frame needs are skipped, not decoded.

    Of the rest, a view gets the one nearest in time to each that it wants. With the usual encoders
    every second frame or more can be skipped, and the nearest is the frame itself or a neighbour.

    Args:
        container: The file.
        views: Views by name.
        scan: When its frames are shown.

    Raises:
        MediaError: no_video, broken or too_large.
    """

    def __init__(
        self, container: InputContainer, views: Mapping[str, FrameView], scan: Scan
    ) -> None:
        super().__init__(container, views)
        for context in filter(None, (self.stream.codec_context, self._decoder)):
            context.skip_frame = "NONREF"
        self._times = {name: _times_for(view, scan) for name, view in views.items()}
        self._waiting = sorted(set().union(*self._times.values()), reverse=True)
        self._kept: dict[str, dict[int, Any]] = {name: {} for name in views}
        self._last: VideoFrame | None = None

    @property
    def is_full(self) -> bool:
        """Whether every wanted frame is there."""
        return not self._waiting

    def take(self, frame: VideoFrame) -> None:
        """Hand one frame, or the one before it, to the views that want a frame of that time."""
        check_size(frame.width, frame.height)
        while self._waiting and frame.pts is not None and frame.pts >= self._waiting[-1]:
            wanted = self._waiting.pop()
            last = self._last
            is_last = last is not None and self._is_nearer(last, frame, wanted)
            self._hand_over(last if last is not None and is_last else frame, wanted)
        self._last = frame

    def kept(self, name: str) -> list[Any]:
        """Return what view `name` kept of its frames.

        Raises:
            MediaError: broken, no_video or too_large.
        """
        if self.error:
            raise self.error
        if self._last is None:
            raise failure("no_video", "its video stream holds no frames")
        while self._waiting:  # times after the last frame that was decoded
            self._hand_over(self._last, self._waiting.pop())
        return [self._kept[name][time] for time in self._times[name]]

    def _is_nearer(self, last: VideoFrame, frame: VideoFrame, wanted: int) -> bool:
        """Say whether `last` is nearer to the time `wanted` than `frame`, which comes after it.

        Of two equally near the later: the middle of the time that the wanted one, which is skipped,
        would be on screen is nearer to it. Version 1 took the earlier.
        """
        if last.pts is None or frame.pts is None:
            return False
        before, after = wanted - last.pts, frame.pts - wanted
        return before < after or (before == after and not self._is_newer)

    def _hand_over(self, frame: VideoFrame, wanted: int) -> None:
        names = [name for name, times in self._times.items() if wanted in times]
        for name, kept in self._keep(frame, names).items():
            self._kept[name][wanted] = kept


def read_nearest(path: Path, views: Mapping[str, FrameView]) -> NearestReader | FrameReader:
    """Return a reader that has read, of the frames of `path`, those nearest to the wanted ones.

    Where the packets do not say when each frame is shown, or frames are far apart, every frame is
    decoded, as for `sampling: exact` (see `Scan.times`).

    Args:
        path: The file.
        views: Views by name, of version 1 (which always skips frames) or all of later ones.

    Raises:
        MediaError: broken, no_video or too_large.
    """
    scan = scan_packets(path)
    if not scan.times and any(view.version > 1 for view in views.values()):
        return read_exactly(path, views)
    with opened(path) as container:
        reader = NearestReader(container, views, scan)
        feed(container, [reader])
    return reader


def _times_for(view: FrameView, scan: Scan) -> list[int]:
    """Return the timestamps of the frames that a view wants.

    Raises:
        MediaError: no_video.
    """
    times = scan.first_times if view.version == 1 else scan.times
    if not times:
        raise failure("no_video", "its video stream holds no frames")
    shown = Timeline.even(len(times)) if view.version == 1 else scan.timeline
    return [times[number] for number in view.wanted(shown)]
