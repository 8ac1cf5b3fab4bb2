"""Frames of a video at chosen places, counted by decoding."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from workbench.media.image import check_size
from workbench.media.source import (
    MAX_FRAMES,
    MAX_PIXELS,
    MAX_VIDEO_PIXELS,
    Reader,
    failure,
    feed,
    opened,
    packets,
)
from workbench.media.view import Frame, Made, Picture, VideoView


def even_indices(count: int, num_frames: int) -> list[int]:
    """Return floor((i + 1/2) count / num_frames) for each i: the middle of each of equal parts."""
    return [(2 * i + 1) * count // (2 * num_frames) for i in range(num_frames)]


class FrameReader(Reader):
    """Hands the frames of a file to the views that want them, while it is decoded.

    Args:
        container: The file.
        views: Views by name.
        count: The number of frames to expect; the file's own by default, which is nearly always
            right, and then decoding it once is enough.

    Raises:
        MediaError: no_video, broken or too_large.
    """

    stream: VideoStream

    def __init__(
        self,
        container: InputContainer,
        views: Mapping[str, VideoView],
        *,
        count: int | None = None,
    ) -> None:
        super().__init__(_chosen(container))
        self._most = _most_frames(self.stream)
        self._views = views
        if count is None:
            count = min(self.stream.frames or len(_times(container.name)), self._most)
        self._expected = max(1, count)
        self._wanted = {
            name: frozenset(view.indices(self._expected)) for name, view in views.items()
        }
        self._all_wanted = frozenset().union(*self._wanted.values())
        self._kept: dict[str, dict[int, Any]] = {name: {} for name in views}
        self._reformatter = VideoReformatter()
        self.count = 0
        """Frames decoded so far."""

    @property
    def is_full(self) -> bool:
        """Whether further frames are not looked at."""
        return self.count >= self._most

    def take(self, frame: VideoFrame) -> None:
        """Hand one frame to the views that want it."""
        if self.count in self._all_wanted:
            check_size(frame.width, frame.height)
            seen = Frame(_upright(frame, self._reformatter))
            for name, indices in self._wanted.items():
                if self.count in indices:
                    self._kept[name][self.count] = self._views[name].keep(seen)
        self.count += 1

    def kept(self, name: str) -> list[Any] | None:
        """Return what view `name` kept of its frames; none if it wanted other ones.

        Raises:
            MediaError: broken, no_video or too_large.
        """
        if self.error:
            raise self.error
        if not self.count:
            raise failure("no_video", "its video stream holds no frames")
        exact = self._views[name].indices(self.count)
        if not self._wanted[name].issuperset(exact):
            return None
        return [self._kept[name][index] for index in exact]


class NearestReader(Reader):
    """Like FrameReader, but frames that no other frame needs are skipped, not decoded.

    Of the rest, a view gets the one nearest in time to each that it wants. With the usual encoders
    every second frame or more can be skipped, and the nearest is the frame itself or a neighbour.

    Args:
        container: The file.
        views: Views by name.

    Raises:
        MediaError: no_video, broken or too_large.
    """

    stream: VideoStream

    def __init__(self, container: InputContainer, views: Mapping[str, VideoView]) -> None:
        super().__init__(_chosen(container))
        times = _times(container.name)[: _most_frames(self.stream)]
        if not times:
            raise failure("no_video", "its video stream holds no frames")
        self.stream.codec_context.skip_frame = "NONREF"
        self._views = views
        self._times = {
            name: [times[index] for index in view.indices(len(times))]
            for name, view in views.items()
        }
        self._waiting = sorted(set().union(*self._times.values()), reverse=True)
        self._kept: dict[str, dict[int, Any]] = {name: {} for name in views}
        self._last: VideoFrame | None = None
        self._reformatter = VideoReformatter()

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
            is_last_nearer = (
                last is not None
                and last.pts is not None
                and wanted - last.pts <= frame.pts - wanted
            )
            self._hand_over(last if last is not None and is_last_nearer else frame, wanted)
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

    def _hand_over(self, frame: VideoFrame, wanted: int) -> None:
        seen = Frame(_upright(frame, self._reformatter))
        for name, times in self._times.items():
            if wanted in times:
                self._kept[name][wanted] = self._views[name].keep(seen)


def read_again(path: Path, views: Mapping[str, VideoView], *, count: int) -> FrameReader:
    """Return a reader that has read the frames of `path`, which are `count` and not as announced.

    Raises:
        MediaError: broken, no_video or too_large.
    """
    with opened(path) as container:
        reader = FrameReader(container, views, count=count)
        feed(container, [reader])
    return reader


def read_still(picture: Picture, view: VideoView) -> Made:
    """Return the view of the video that is one picture."""
    kept = view.keep(Frame(picture))
    return view.of_frames([kept for _ in view.indices(1)])


def _times(file: str) -> list[int]:
    """Return the times of all packets of the video stream, ascending, without decoding them."""
    with opened(Path(file.removeprefix("file:"))) as container:
        stream = _chosen(container)
        found = [
            packet.pts if packet.pts is not None else packet.dts
            for _, packet in packets(container, [stream])
            if packet and packet.size
        ]
    return sorted(time if time is not None else index for index, time in enumerate(found))


def _most_frames(stream: VideoStream) -> int:
    size = stream.codec_context.width * stream.codec_context.height
    return min(MAX_FRAMES, MAX_VIDEO_PIXELS // max(1, size))


def _chosen(container: InputContainer) -> VideoStream:
    """Return the video stream that FFmpeg's program chooses: the default, then most pixels."""
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context and not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        raise failure("no_video", "it has no video stream that can be decoded")
    stream = max(
        streams,
        key=lambda s: (
            bool(s.disposition & Disposition.default),
            s.codec_context.width * s.codec_context.height,
        ),
    )
    check_size(stream.codec_context.width, stream.codec_context.height)
    # Should a later frame be larger than announced, the decoder itself refuses it.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _upright(frame: VideoFrame, reformatter: VideoReformatter) -> Picture:
    """Return the frame as RGB, turned as the file says (a phone held upright).

    One reformatter serves all frames of a file: to set one up takes longer than to use it.
    """
    rgb = reformatter.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1)
    picture = rgb.to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90))
