"""What the packets of a video stream say of its frames; nothing is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, cast

from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from workbench.media.source import MAX_FRAMES, MAX_PIXELS, MAX_VIDEO_PIXELS, failure
from workbench.media.still import check_size
from workbench.media.streams import opened, packets
from workbench.media.timing import Timeline, timeline

_NEAR_S = Fraction(1, 4)
"""Between frames that are further apart, the nearest one that is not skipped may be far away."""


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


class _Packet(NamedTuple):
    """What counts here of a packet, without its data."""

    pts: int | None
    dts: int | None
    duration: int | None
    is_hidden: bool


def scan_packets(path: Path) -> Scan:
    """Return what the packets of a file's video stream say of its frames."""
    with opened(path) as container:
        stream = picture_stream(container)
        most = most_frames(stream)
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
                is_broadcast=is_broadcast(container),
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


def is_broadcast(container: InputContainer) -> bool:
    """Say whether the clock of a file may be set anew on the way."""
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def most_frames(stream: VideoStream) -> int:
    """Return how many frames of a stream are looked at."""
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
