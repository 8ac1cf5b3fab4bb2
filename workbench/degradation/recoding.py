"""Videos encoded again, as a platform does with what is uploaded to it."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import cv2
import numpy as np
from pydantic import PrivateAttr

from workbench.media.declared import Modality
from workbench.media.streams import opened
from workbench.media.timing import Timeline
from workbench.media.video import Frame, read_exactly
from workbench.media.video_view import VideoView
from workbench.media.view import Made

# With B frames and macroblock trees, x264 gave two different files of the same frames.
_SAME_EVERY_TIME = ["-x264-params", "mbtree=0:bframes=0"]
_USUAL_FPS = 25.0


class FrameWriter(Protocol):
    """What takes frames, one after the other, as moviepy's writer does."""

    def write_frame(self, picture: Any) -> None:
        """Take the next frame."""

    def close(self) -> None:
        """Finish the file."""


def write_h264(source: Path, out: Path, *, crf: int) -> None:
    """Write the pictures of a video anew, as H.264 at its mean rate; its sound is left out.

    Args:
        source: The video.
        out: The MP4 to write.
        crf: x264's constant rate factor: 23 is its default, and 6 more are half the bits.

    Raises:
        MediaError: broken, no_video or too_large.
    """
    fps = _mean_fps(source)
    with closing(_EveryFrame().into(out, fps, crf)) as every:
        reader = read_exactly(source, {"every": every})
        kept = reader.kept("every")
    if kept is None:  # the file said wrongly how many frames it has
        with closing(_EveryFrame().into(out, fps, crf)) as every:
            read_exactly(source, {"every": every}, expected=reader.timeline).kept("every")


class _EveryFrame(VideoView):
    """A view that hands every frame to a writer, and keeps none."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["every-frame"] = "every-frame"
    version: Literal[2] = 2
    _how: tuple[Path, float, int] = PrivateAttr()
    _writer: FrameWriter | None = PrivateAttr(None)
    _size: tuple[int, int] = PrivateAttr((0, 0))

    def into(self, out: Path, fps: float, crf: int) -> "_EveryFrame":
        self._how = (out, fps, crf)
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (0,)

    def indices(self, timeline: Timeline) -> Sequence[int]:
        return range(timeline.count)

    def keep(self, frame: Frame) -> bool:
        picture = _of_even_sides(frame.picture)
        size = (picture.shape[1], picture.shape[0])
        if self._writer is None:
            self._size, self._writer = size, _writer(size, *self._how)
        if size != self._size:  # a stream that changes its size on the way
            picture = np.asarray(cv2.resize(picture, self._size), np.uint8)
        self._writer.write_frame(picture)
        return True

    def of_frames(self, kept: Sequence[Any]) -> Made:
        return Made(np.zeros(self.stored_shape, np.uint8))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _writer(size: tuple[int, int], out: Path, fps: float, crf: int) -> FrameWriter:
    # Half a second to load: only where it is needed.
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    writer: FrameWriter = FFMPEG_VideoWriter(
        str(out),
        size,
        fps,
        preset="veryfast",
        threads=1,
        ffmpeg_params=["-crf", str(crf), *_SAME_EVERY_TIME],
    )
    return writer


def _mean_fps(path: Path) -> float:
    with opened(path) as container:
        rates = [stream.average_rate for stream in container.streams.video]
    return next((float(rate) for rate in rates if rate and 1 <= rate <= 240), _USUAL_FPS)


def _of_even_sides(picture: Any) -> Any:
    """Return a picture with its last row and column again, where H.264 needs an even number."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
