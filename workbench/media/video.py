"""Frames of a video at picture_stream times, by their timestamps and counted by decoding."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from av import CodecContext, codecs_available
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workbench.media.rendering import Renderer
from workbench.media.source import failure
from workbench.media.still import check_size
from workbench.media.streams import MediaReader, feed, opened
from workbench.media.timing import Timeline, timeline
from workbench.media.video_scan import is_broadcast, most_frames, picture_stream, scan_packets
from workbench.media.view import Picture

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""By the decoder of the pictures alone, the one of their alpha channel too."""


@dataclass(frozen=True)
class Frame:
    """A decoded frame on its way to every view that wants it."""

    picture: Picture
    memory: dict[Any, Any] = field(default_factory=dict)
    """What a view found in it and another one may ask for (detected faces)."""


class FrameView(Protocol):
    """What a reader of frames asks of a view; see `video_view.VideoView`."""

    @property
    def version(self) -> int:
        """1 for a view as it was made first."""

    def wanted(self, timeline: Timeline) -> Sequence[int]:
        """Return the numbers of the frames that it wants of a video."""

    def keep(self, frame: Frame) -> Any:
        """Return what is needed of one wanted frame."""


class VideoReader(MediaReader):
    """What the readers of frames share: how a stream is decoded and its pictures handed over."""

    stream: VideoStream

    def __init__(self, container: InputContainer, views: Mapping[str, FrameView]) -> None:
        super().__init__(picture_stream(container))
        self._views = views
        self._most = most_frames(self.stream)
        self._is_newer = any(view.version > 1 for view in views.values())
        self._decoder = _alpha_decoder(self.stream) if self._is_newer else None
        codec = self.stream.codec_context.name
        # The fourth byte of an AVI's raw pixels (BI_RGB) has no meaning, and is often 0.
        self._renderer = Renderer(has_alpha=(container.format.name, codec) != ("avi", "rawvideo"))

    def decode(self, packet: "Packet[Any] | None") -> Sequence[Any]:
        """Return the frames that a packet of the stream completes; None: those held back."""
        return self._decoder.decode(packet) if self._decoder else self.stream.decode(packet)

    def _keep(self, frame: VideoFrame, names: Iterable[str]) -> dict[str, Any]:
        """Return what each of the views keeps of a frame."""
        check_size(frame.width, frame.height)
        shown: dict[bool, Frame] = {}  # by whether it is for views of version 1
        kept = {}
        for name in names:
            view = self._views[name]
            is_first = view.version == 1
            if is_first not in shown:
                render = self._renderer.first_picture if is_first else self._renderer.picture
                shown[is_first] = Frame(render(frame))
            kept[name] = view.keep(shown[is_first])
        return kept


class FrameReader(VideoReader):
    """Hands the frames of a file to the views that want them, while it is decoded.

    Args:
        container: The file.
        views: Views by name.
        expected: When its frames are shown; as the file itself says by default, which is nearly
            always right, and then decoding it once is enough.

    Raises:
        MediaError: no_video, broken or too_large.
    """

    def __init__(
        self,
        container: InputContainer,
        views: Mapping[str, FrameView],
        *,
        expected: Timeline | None = None,
    ) -> None:
        super().__init__(container, views)
        if expected is None:
            expected = _expected(container, self.stream, self._most)
        self._wanted = {name: frozenset(view.wanted(expected)) for name, view in views.items()}
        self._all_wanted = frozenset().union(*self._wanted.values())
        self._kept: dict[str, dict[int, Any]] = {name: {} for name in views}
        self._is_broadcast = is_broadcast(container)
        self._times: list[int | None] = []
        self._last_duration: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether further frames are not looked at."""
        return len(self._times) >= self._most

    def take(self, frame: VideoFrame) -> None:
        """Hand one frame to the views that want it."""
        number = len(self._times)
        if number in self._all_wanted:
            names = [name for name, wanted in self._wanted.items() if number in wanted]
            for name, kept in self._keep(frame, names).items():
                self._kept[name][number] = kept
        self._times.append(frame.pts)
        self._last_duration = frame.duration

    @cached_property
    def timeline(self) -> Timeline:
        """When the frames taken are shown; asked for when all were."""
        return timeline(
            self._times,
            last=self._last_duration,
            tick_s=self.stream.time_base,
            is_broadcast=self._is_broadcast,
        )

    def kept(self, name: str) -> list[Any] | None:
        """Return what view `name` kept of its frames; none if it wanted other ones.

        Raises:
            MediaError: broken, no_video or too_large.
        """
        if self.error:
            raise self.error
        if not self._times:
            raise failure("no_video", "its video stream holds no frames")
        exact = self._views[name].wanted(self.timeline)
        if not self._wanted[name].issuperset(exact):
            return None
        return [self._kept[name][number] for number in exact]


def read_exactly(
    path: Path, views: Mapping[str, FrameView], *, expected: Timeline | None = None
) -> FrameReader:
    """Return a reader that has read the frames of `path`; `expected` as for `FrameReader`.

    Raises:
        MediaError: broken, no_video or too_large.
    """
    with opened(path) as container:
        reader = FrameReader(container, views, expected=expected)
        feed(container, [reader])
    return reader


def _expected(container: InputContainer, stream: VideoStream, most: int) -> Timeline:
    """Return when the frames of a file are shown, as far as it can be had without decoding."""
    if stream.frames and stream.average_rate == stream.base_rate and stream.average_rate:
        # What an edit list hides is counted, and not part of the duration.
        length = stream.duration and stream.time_base and stream.duration * stream.time_base
        if not length or abs(length * stream.average_rate - stream.frames) <= 1:
            return Timeline.even(min(stream.frames, most))
    return scan_packets(Path(container.name.removeprefix("file:"))).timeline


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Return what decodes a stream that keeps its alpha channel beside the pictures, in WebM.

    FFmpeg's own decoders leave the channel out.
    """
    name = _WITH_ALPHA.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in codecs_available:
        return None
    decoder: VideoCodecContext = CodecContext.create(name, "r")
    decoder.thread_count = 1
    decoder.options = stream.codec_context.options
    return decoder
