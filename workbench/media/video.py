"""Frames of a video at chosen times, by their timestamps and counted by decoding."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

from av import CodecContext, codecs_available
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workbench.media.image import check_size
from workbench.media.rendering import Renderer
from workbench.media.source import (
    MAX_FRAMES,
    MAX_PIXELS,
    MAX_VIDEO_PIXELS,
    MediaReader,
    failure,
    feed,
    opened,
    packets,
)
from workbench.media.timing import Timeline, timeline
from workbench.media.view import Frame, Made, Picture, VideoView

_NEAR_S = Fraction(1, 4)
"""Between frames that are further apart, the nearest one that is not skipped may be far away."""

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""By the decoder of the pictures alone, the one of their alpha channel too."""


class _PictureReader(MediaReader):
    """What the readers of frames share: how a stream is decoded and its pictures handed over."""

    stream: VideoStream

    def __init__(self, container: InputContainer, views: Mapping[str, VideoView]) -> None:
        super().__init__(picture_stream(container))
        self._views = views
        self._most = _most_frames(self.stream)
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


class FrameReader(_PictureReader):
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
        views: Mapping[str, VideoView],
        *,
        expected: Timeline | None = None,
    ) -> None:
        super().__init__(container, views)
        if expected is None:
            expected = _expected(container, self.stream, self._most)
        self._wanted = {name: frozenset(view.wanted(expected)) for name, view in views.items()}
        self._all_wanted = frozenset().union(*self._wanted.values())
        self._kept: dict[str, dict[int, Any]] = {name: {} for name in views}
        self._is_broadcast = _is_broadcast(container)
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


class NearestReader(_PictureReader):
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
        self, container: InputContainer, views: Mapping[str, VideoView], scan: "Scan"
    ) -> None:
        super().__init__(container, views)
        for context in filter(None, (self.stream.codec_context, self._decoder)):
            context.skip_frame = "NONREF"
        self._times = {name: scan.times_for(view) for name, view in views.items()}
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


def read_exactly(
    path: Path, views: Mapping[str, VideoView], *, expected: Timeline | None = None
) -> FrameReader:
    """Return a reader that has read the frames of `path`; `expected` as for `FrameReader`.

    Raises:
        MediaError: broken, no_video or too_large.
    """
    with opened(path) as container:
        reader = FrameReader(container, views, expected=expected)
        feed(container, [reader])
    return reader


def read_nearest(path: Path, views: Mapping[str, VideoView]) -> NearestReader | FrameReader:
    """Return a reader that has read, of the frames of `path`, those nearest to the wanted ones.

    Where the packets do not say when each frame is shown, or frames are far apart, every frame is
    decoded, as for `sampling: exact` (see `Scan.times`).

    Args:
        path: The file.
        views: Views by name, of version 1 (which always skips frames) or all of later ones.

    Raises:
        MediaError: broken, no_video or too_large.
    """
    scan = _scan(path)
    if not scan.times and any(view.version > 1 for view in views.values()):
        return read_exactly(path, views)
    with opened(path) as container:
        reader = NearestReader(container, views, scan)
        feed(container, [reader])
    return reader


def read_still(picture: Picture, view: VideoView) -> Made:
    """Return the view of the video that is one picture."""
    kept = view.keep(Frame(picture))
    return view.of_frames([kept for _ in view.wanted(Timeline.even(1))])


@dataclass(frozen=True)
class Scan:
    """What the packets of a video stream say of its frames; nothing is decoded."""

    timeline: Timeline
    """When the frames are shown; those that an edit list hides are not among them."""

    times: Sequence[int]
    """Their timestamps; none at all where one is lacking, goes back to before another, or is over
    `_NEAR_S` from the one before: frames are not to be found by their times there, or the nearest
    to one is far away."""

    first_times: Sequence[int]
    """What version 1 of the views took for that: hidden frames are among them."""

    def times_for(self, view: VideoView) -> list[int]:
        """Return the timestamps of the frames that `view` wants.

        Raises:
            MediaError: no_video.
        """
        times = self.first_times if view.version == 1 else self.times
        if not times:
            raise failure("no_video", "its video stream holds no frames")
        shown = Timeline.even(len(times)) if view.version == 1 else self.timeline
        return [times[number] for number in view.indices(shown)]


class _Packet(NamedTuple):
    """What counts here of a packet, without its data."""

    pts: int | None
    dts: int | None
    duration: int | None
    is_hidden: bool


def _scan(path: Path) -> Scan:
    with opened(path) as container:
        stream = picture_stream(container)
        most = _most_frames(stream)
        found = [
            _Packet(packet.pts, packet.dts, packet.duration, packet.is_discard)
            for _, packet in packets(container, [stream])
            if packet and packet.size
        ]
        runs = _runs(found)
        shown = [packet for run in runs for packet in run if not packet.is_hidden][:most]
        times = [packet.pts for packet in shown]
        known = [time for time in times if time is not None]
        near = int(_NEAR_S / (stream.time_base or 1))
        is_clear = (
            len(known) == len(times)
            and len(runs) == 1
            and all(later - time <= near for time, later in pairwise(known))
        )
        first = [packet.pts if packet.pts is not None else packet.dts for packet in found]
        return Scan(
            timeline(
                times or [None],
                last=shown[-1].duration if shown else None,
                tick_s=stream.time_base,
                is_broadcast=_is_broadcast(container),
            ),
            known if is_clear else [],
            sorted(time if time is not None else i for i, time in enumerate(first))[:most],
        )


def _runs(found: Sequence[_Packet]) -> list[list[_Packet]]:
    """Return packets as their frames are shown, cut wherever the clock is set back."""
    runs: list[list[_Packet]] = [[]]
    latest: int | None = None
    for packet in found:
        if packet.dts is not None:
            if latest is not None and packet.dts < latest:
                runs.append([])
            latest = packet.dts
        runs[-1].append(packet)
    return [sorted(run, key=lambda packet: packet.pts or 0) for run in runs]


def _expected(container: InputContainer, stream: VideoStream, most: int) -> Timeline:
    """Return when the frames of a file are shown, as far as it can be had without decoding."""
    if stream.frames and stream.average_rate == stream.base_rate and stream.average_rate:
        # What an edit list hides is counted, and not part of the duration.
        length = stream.duration and stream.time_base and stream.duration * stream.time_base
        if not length or abs(length * stream.average_rate - stream.frames) <= 1:
            return Timeline.even(min(stream.frames, most))
    return _scan(Path(container.name.removeprefix("file:"))).timeline


def _is_broadcast(container: InputContainer) -> bool:
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def _most_frames(stream: VideoStream) -> int:
    size = stream.codec_context.width * stream.codec_context.height
    return min(MAX_FRAMES, MAX_VIDEO_PIXELS // max(1, size))


def picture_stream(container: InputContainer) -> VideoStream:
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
