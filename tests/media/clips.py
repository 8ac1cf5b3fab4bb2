"""Small media files made by the tests."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from workbench.errors import MediaError
from workbench.media.audio import SoundReader
from workbench.media.reading import read_media
from workbench.media.streams import feed, opened
from workbench.media.view import Array, View
from workbench.media.view import Sound as Mono

Sound = npt.NDArray[np.int16]
Pictures = npt.NDArray[np.uint8]

_MS = Fraction(1, 1000)


def chirp(
    duration_s: float, *, rate_hz: int = 44_100, channels: int = 2, loud: float = 0.5
) -> Sound:
    """Return (samples, channels): a rising tone with noise, other noise in each channel."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    tone = np.sin(2 * np.pi * (200 + 700 * time_s) * time_s)
    noise = np.random.default_rng(0).normal(0, 0.1, (len(time_s), channels))
    return to_int16(loud * (tone[:, None] + noise))


def tone(frequency_hz: float, duration_s: float, *, rate_hz: int = 44_100) -> Sound:
    """Return (samples, 2): a sine at half of full scale."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return to_int16(np.tile(0.5 * np.sin(2 * np.pi * frequency_hz * time_s)[:, None], 2))


def to_int16(sound: npt.NDArray[np.float64]) -> Sound:
    """Return `sound`, 1 being full scale, as 16-bit samples."""
    return (32_767 * sound.clip(-1, 1)).astype(np.int16)


def moving(num_frames: int, *, width: int = 64, height: int = 48) -> Pictures:
    """Return (frames, height, width, 3): colour gradients with a bright bar that wanders right."""
    down, across = np.mgrid[:height, :width]
    still = np.stack([4 * across, 5 * down, 255 - 2 * (across + down)], axis=-1).astype(np.uint8)
    frames = np.tile(still, (num_frames, 1, 1, 1))
    for index, frame in enumerate(frames):
        frame[:, (2 * index) % width] = 255
    return frames


def greys(num_frames: int, *, step: int = 8, width: int = 64, height: int = 48) -> Pictures:
    """Return (frames, height, width, 3) where frame i is grey `step * i` all over."""
    levels = (step * np.arange(num_frames)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def write_media(
    path: Path,
    *,
    sound: Sound | None = None,
    rate_hz: int = 44_100,
    sound_codec: str = "aac",
    pictures: Pictures | None = None,
    fps: int = 25,
    video_codec: str = "libx264",
    times_ms: Sequence[int] = (),
) -> Path:
    """Write sound (samples, channels) and pictures (frames, height, width, 3) to `path`.

    `times_ms`: when each picture is shown; by `fps` by default.
    """
    with av.open(str(path), "w") as container:
        if pictures is not None:
            video = container.add_stream(video_codec, rate=fps)
            video.height, video.width = pictures.shape[1:3]
            video.pix_fmt = "yuv420p"
        if sound is not None:
            layout = {1: "mono", 2: "stereo", 8: "7.1"}[sound.shape[1]]
            audio = container.add_stream(sound_codec, rate=rate_hz, layout=layout)
        if pictures is not None:
            if times_ms:
                video.codec_context.time_base = _MS
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                if times_ms:
                    frame.pts, frame.time_base = times_ms[index], _MS
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", layout)
            samples.sample_rate = rate_hz
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
    return path


def read_sound(path: Path, *, align: bool = False) -> Mono:
    """Return the sound of `path` as views get it; see `SoundReader.sound`."""
    with opened(path, for_sound=not align) as container:
        reader = SoundReader(container)
        feed(container, [reader])
        return reader.sound(align=align)


def decode(view: View, path: Path) -> Array:
    """Return one view of one file, of its `stored_shape`.

    Raises:
        MediaError: the file has no such view; its status is a `source.Status`.
    """
    made = read_media(path, {"view": view}).made["view"]
    if isinstance(made, MediaError):
        raise made
    return made.array
