"""Videos encoded again, as a platform does with what is uploaded to it."""

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from math import floor
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr

from workbench.errors import ConfigError
from workbench.media.declared import Modality
from workbench.media.ffmpeg import Encoder, load_moviepy
from workbench.media.streams import opened
from workbench.media.timing import Timeline
from workbench.media.video import Frame, read_exactly
from workbench.media.video_view import VideoView
from workbench.media.view import Made, View
from workbench.opencv import cv2

Codec = Literal["libx264", "libx265"]

# With B frames and macroblock trees, x264 gave two different files of the same frames.
_SAME_EVERY_TIME: Mapping[Codec, Sequence[str]] = {
    "libx264": ("-x264-params", "mbtree=0:bframes=0"),
    "libx265": ("-x265-params", "pools=none:frame-threads=1:wpp=0:log-level=error"),
}
_USUAL_FPS = 25.0
# x265 writes past its memory where a side is under 48 pixels: it may die, or write half a file.
_LEAST_PX: Mapping[Codec, int] = {"libx264": 0, "libx265": 48}


Seen = Callable[[VideoView], VideoView]
"""Makes of a view one that sees changed frames."""


def as_they_are(view: VideoView) -> VideoView:
    """Return the view itself."""
    return view


def write_h264(
    source: Path,
    out: Path,
    rng: np.random.Generator | None = None,
    seen: Seen = as_they_are,
    *,
    crf: int,
) -> None:
    """Write the pictures of a video anew, as H.264 at its mean rate; its sound is left out.

    Args:
        source: The video.
        out: The MP4 to write.
        rng: Nothing is drawn.
        seen: What happens to its frames before.
        crf: x264's constant rate factor: 23 is its default, and 6 more are half the bits.

    Raises:
        MediaError: broken, no_video or too_large; crashed: FFmpeg did not write it to its end.
        OSError: the disk is full.
    """
    _write(source, out, _Coding("libx264", crf, _mean_fps(source)), seen)


def write_as_sent(
    source: Path,
    out: Path,
    rng: np.random.Generator,
    seen: Seen = as_they_are,
    *,
    codec: Codec,
) -> None:
    """Write a video as platforms hand it on, without its sound.

    Drawn evenly: a crf of 17 to 40, 15 to 30 frames a second, though never more than there are, and
    a quarter to all of its width and height, though no side becomes less than the codec takes. The
    arguments and errors are those of `write_h264`.
    """
    crf, fps, scale = int(rng.integers(17, 41)), rng.uniform(15, 30), rng.uniform(0.25, 1)
    own_fps = _mean_fps(source)
    fps = min(fps, own_fps)
    _write(source, out, _Coding(codec, crf, fps, scale, kept=fps / own_fps), seen)


def require_encoder(views: Iterable[View], *, encoder: str, what: str, of: type, key: str) -> None:
    """Make sure that FFmpeg can write copies, where there is a view that reads them.

    Args:
        views: All views.
        encoder: The encoder's name.
        what: What it writes, for a person.
        of: The kind of views that read it.
        key: The key of `copies` that asks for it.

    Raises:
        ConfigError: it cannot.
    """
    if not any(isinstance(view, of) for view in views):
        return
    program = load_moviepy()
    if encoder not in _encoders(program):
        raise ConfigError(
            f"{what} cannot be written: the FFmpeg at hand ({program}) has no {encoder}. Let "
            f"FFMPEG_BINARY, in the environment, name one that has, or leave copies.{key} and "
            "slices of such copies out."
        )


@cache
def _encoders(program: str) -> str:
    asked = [program, "-hide_banner", "-encoders"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


@dataclass(frozen=True)
class _Coding:
    """How a video is written."""

    codec: Codec
    crf: int
    fps: float
    scale: float = 1.0
    kept: float = 1.0
    """Share of the frames that are written."""


def _write(source: Path, out: Path, how: _Coding, seen: Seen) -> None:
    with closing(_EveryFrame().into(out, how)) as every:
        reader = read_exactly(source, {"every": seen(every)})
        kept = reader.kept("every")
        if kept is not None:
            every.finish()
    if kept is None:  # the file said wrongly how many frames it has
        with closing(_EveryFrame().into(out, how)) as every:
            read_exactly(source, {"every": seen(every)}, expected=reader.timeline).kept("every")
            every.finish()


class _EveryFrame(VideoView):
    """A view that hands every frame to a writer, and keeps none."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["every-frame"] = "every-frame"
    version: Literal[2] = 2
    _out: Path = PrivateAttr()
    _how: _Coding = PrivateAttr()
    _encoder: Encoder | None = PrivateAttr(None)
    _size: tuple[int, int] = PrivateAttr((0, 0))

    def into(self, out: Path, how: _Coding) -> "_EveryFrame":
        self._out, self._how = out, how
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (0,)

    def indices(self, timeline: Timeline) -> Sequence[int]:
        share = self._how.kept
        return [k for k in range(timeline.count) if floor(k * share) > floor((k - 1) * share)]

    def keep(self, frame: Frame) -> bool:
        least_px = _LEAST_PX[self._how.codec]
        picture = _of_even_sides(_scaled(frame.picture, self._how.scale, least_px))
        size = (picture.shape[1], picture.shape[0])
        if self._encoder is None:
            self._size, self._encoder = size, _encoder(size, self._out, self._how)
        if size != self._size:  # a stream that changes its size on the way
            picture = np.asarray(cv2.resize(picture, self._size), np.uint8)
        self._encoder.write(picture)
        return True

    def of_frames(self, kept: Sequence[Any]) -> Made:
        return Made(np.zeros(self.stored_shape, np.uint8))

    def finish(self) -> None:
        """Finish the file; see `Encoder.finish`."""
        if self._encoder is not None:
            self._encoder.finish()

    def close(self) -> None:
        if self._encoder is not None:
            self._encoder.close()


def _encoder(size: tuple[int, int], out: Path, how: _Coding) -> Encoder:
    # Half a second to load: only where it is needed.
    load_moviepy()
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    writer = FFMPEG_VideoWriter(
        str(out),
        size,
        how.fps,
        codec=how.codec,
        preset="veryfast",
        threads=1,
        ffmpeg_params=["-crf", str(how.crf), *_SAME_EVERY_TIME[how.codec]],
    )
    return Encoder(writer, out)


def _mean_fps(path: Path) -> float:
    with opened(path) as container:
        rates = [stream.average_rate for stream in container.streams.video]
    return next((float(rate) for rate in rates if rate and 1 <= rate <= 240), _USUAL_FPS)


def _scaled(picture: Any, scale: float, least_px: int) -> Any:
    """Return a picture of `scale` times its sides, each of 16 if it has them and of `least_px`."""
    if scale == 1:
        return picture
    height, width = (
        max(min(side, 16), least_px, round(side * scale)) for side in picture.shape[:2]
    )
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _of_even_sides(picture: Any) -> Any:
    """Return a picture with its last row and column again, where H.264 needs an even number."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
