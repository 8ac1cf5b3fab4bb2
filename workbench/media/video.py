"""Frames of a video at even times, counted by decoding."""

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workbench.media.image import check_size, square
from workbench.media.source import (
    MAX_FRAMES,
    MAX_PIXELS,
    MAX_VIDEO_PIXELS,
    decoded,
    failure,
    opened,
    packets,
)

Picture = npt.NDArray[np.uint8]


def read_frames(path: Path, *, num_frames: int, image_px: int) -> Picture:
    """Return (num_frames, image_px, image_px, 3) RGB frames at even times, upright.

    Picture i is frame `even_indices` of the frames that can be decoded, whatever the header says
    of their number. A shorter video repeats frames.

    Raises:
        MediaError: missing, empty, broken, no_video or too_large.
    """
    # The file's own count is nearly always right, and then decoding it once is enough.
    wanted = even_indices(_announced(path), num_frames)
    count, pictures = _read(path, set(wanted), image_px)
    if not count:
        raise failure("no_video", "its video stream holds no frames")
    exact = even_indices(count, num_frames)
    if exact != wanted:
        pictures = _read(path, set(exact), image_px)[1]
    return np.stack([pictures[index] for index in exact])


def even_indices(count: int, num_frames: int) -> list[int]:
    """Return floor((i + 1/2) count / num_frames) for each i: the middle of each of equal parts."""
    return [(2 * i + 1) * count // (2 * num_frames) for i in range(num_frames)]


def _announced(path: Path) -> int:
    """Return the number of frames in the header, or where it gives none, that of packets."""
    with opened(path) as container:
        stream = _chosen(container)
        count = stream.frames or sum(
            1 for packet in packets(container, stream) if packet and packet.size
        )
        return min(count, _most_frames(stream))


def _read(path: Path, wanted: Collection[int], image_px: int) -> tuple[int, dict[int, Picture]]:
    """Return the number of frames decoded, and the wanted ones by their index."""
    pictures = {}
    count = 0
    with opened(path) as container:
        stream = _chosen(container)
        for frame in _frames(container, stream):
            if count in wanted:
                check_size(frame.width, frame.height)
                pictures[count] = square(_upright(frame), image_px)
            count += 1
    return count, pictures


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    return islice(decoded(container, stream), _most_frames(stream))


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


def _upright(frame: VideoFrame) -> Picture:
    """Return the frame as RGB, turned as the file says (a phone held upright)."""
    picture = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90))
