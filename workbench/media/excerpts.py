"""The first moments of a media file, small, in a form that every browser plays."""

import io
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.video.frame import VideoFrame
from PIL import Image as Pillow

from workbench.errors import MediaError
from workbench.media.audio import sound_stream
from workbench.media.ffmpeg import Encoder, load_moviepy
from workbench.media.image import read_picture
from workbench.media.rendering import Renderer
from workbench.media.source import failure
from workbench.media.still import still_format
from workbench.media.streams import MediaReader, feed, opened
from workbench.media.temporary import temporary_folder
from workbench.media.video_scan import picture_stream
from workbench.media.view import Picture
from workbench.opencv import cv2

DURATION_S = 2.0
FRAMES_PER_S = 12
SIDE_PX = 160
"""Longer side of a video."""

STILL_PX = 320
"""Longer side of a still picture."""

_RATE_HZ = 22_050
_NUM_SAMPLES = int(DURATION_S * _RATE_HZ)
# No program's version, time or random number: the same file gives the same bytes.
_EXACT = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
# A browser plays it before it has all of it.
_AT_ONCE = ["-movflags", "+faststart", *_EXACT]

Sound16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a file: an encoded video, sound or picture."""

    mime: str
    """`video/mp4`, `audio/mp4` or `image/jpeg`."""

    data: bytes


def excerpt(path: Path) -> Excerpt:
    """Return the first `DURATION_S` of a video or a sound, or a picture, small.

    PyAV and Pillow read it, as they read it for the views; FFmpeg writes it, as H.264 and AAC.

    Raises:
        MediaError: missing, empty, broken, too large, or nothing of it can be shown or heard;
            crashed: FFmpeg did not write it to its end.
        OSError: the disk is full.
    """
    if still_format(path):
        return _still(path)
    try:
        with opened(path) as container:
            pictures, sound = _read(container)
    except MediaError as error:
        if error.status != "broken":
            raise
        return _still(path)
    if len(pictures):
        return Excerpt("video/mp4", _video(pictures, sound))
    if sound is None:
        raise failure("broken", "nothing of it can be shown or heard")
    return Excerpt("audio/mp4", _sound(sound))


class _Frames(MediaReader):
    """Takes the frames of the first moments, as many as are shown again."""

    def __init__(self, container: InputContainer) -> None:
        super().__init__(picture_stream(container))
        self._renderer = Renderer()
        self._start: float | None = None
        self._count = 0
        self._at = 0.0
        self.pictures: list[Picture] = []
        """One for each moment of the excerpt."""

    @property
    def is_full(self) -> bool:
        return len(self.pictures) >= DURATION_S * FRAMES_PER_S

    def take(self, frame: VideoFrame) -> None:
        time = self._count / 25 if frame.time is None else float(frame.time)
        self._count += 1
        self._start = time if self._start is None else self._start
        # A time that jumps far ahead shows the frame before for long: that is as it is played.
        until = min(round((time - self._start) * FRAMES_PER_S), int(DURATION_S * FRAMES_PER_S))
        while self.pictures and len(self.pictures) < until:
            self.pictures.append(self.pictures[-1])
        if not self.is_full and len(self.pictures) <= until:
            self.pictures.append(within_side(self._renderer.picture(frame), SIDE_PX, even=True))


class _Samples(MediaReader):
    """Takes the sound of the first moments."""

    def __init__(self, container: InputContainer) -> None:
        super().__init__(sound_stream(container))
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)
        self._parts: list[Sound16] = []
        self._count = 0

    @property
    def is_full(self) -> bool:
        return self._count >= _NUM_SAMPLES

    def take(self, frame: AudioFrame) -> None:
        for made in self._resampler.resample(frame):
            self._parts.append(made.to_ndarray()[0])
            self._count += self._parts[-1].size

    def sound(self) -> Sound16 | None:
        return np.concatenate(self._parts)[:_NUM_SAMPLES] if self._parts else None


def _read(container: InputContainer) -> tuple[Sequence[Picture], Sound16 | None]:
    """Return pictures and sound of the first moments, of what there is."""
    frames = samples = None
    with suppress(MediaError):
        frames = _Frames(container)
    with suppress(MediaError):
        samples = _Samples(container)
    feed(container, [reader for reader in (frames, samples) if reader is not None])
    return frames.pictures if frames else [], samples.sound() if samples else None


def within_side(picture: Picture, side_px: int, *, even: bool = False) -> Picture:
    """Return a picture of which no side is longer than `side_px`; of even sides, if asked."""
    height, width = picture.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = [max(2, round(side * scale)) for side in (width, height)]
    if even:
        size = [side - side % 2 for side in size]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _still(path: Path) -> Excerpt:
    data = io.BytesIO()
    picture = Pillow.fromarray(within_side(read_picture(path).picture, STILL_PX))
    picture.save(data, "JPEG", quality=80)
    return Excerpt("image/jpeg", data.getvalue())


def _video(pictures: Sequence[Picture], sound: Sound16 | None) -> bytes:
    load_moviepy()
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    with temporary_folder("excerpt-") as folder:
        out, heard = folder / "excerpt.mp4", folder / "sound.m4a"
        if sound is not None:
            _write_sound(sound, heard, [])
        writer = FFMPEG_VideoWriter(
            str(out),
            pictures[0].shape[1::-1],
            FRAMES_PER_S,
            codec="libx264",
            audiofile=None if sound is None else str(heard),
            preset="veryfast",
            threads=1,
            ffmpeg_params=["-crf", "28", *_AT_ONCE],
        )
        with closing(Encoder(writer, out)) as encoder:
            for picture in pictures:
                encoder.write(_like(picture, pictures[0]))
            encoder.finish()
        return out.read_bytes()


def _sound(sound: Sound16) -> bytes:
    with temporary_folder("excerpt-") as folder:
        out = folder / "excerpt.m4a"
        _write_sound(sound, out, _AT_ONCE)
        return out.read_bytes()


def _write_sound(sound: Sound16, out: Path, params: Sequence[str]) -> None:
    load_moviepy()
    from moviepy.audio.io.ffmpeg_audiowriter import FFMPEG_AudioWriter

    writer = FFMPEG_AudioWriter(
        str(out), _RATE_HZ, nchannels=2, codec="aac", bitrate="48k", ffmpeg_params=params
    )
    with closing(Encoder(writer, out)) as encoder:
        encoder.write(np.tile(sound[:, None], 2))
        encoder.finish()


def _like(picture: Picture, first: Picture) -> Picture:
    """Return a picture of the first one's size: a video may change its own."""
    if picture.shape == first.shape:
        return picture
    return cv2.resize(picture, first.shape[1::-1], interpolation=cv2.INTER_AREA)
