"""The sound of a file, as the competition's public baseline hears it.

The baseline writes the sound with moviepy as 44.1 kHz 16-bit stereo and reads that back with
`librosa.load` at 22.05 kHz mono. Here the same steps are done in memory: FFmpeg's resampler to
44.1 kHz, moviepy's clipping and length, the mean of both channels, then soxr, which librosa uses.
Files with sound alone go the same way (moviepy's `AudioFileClip`), so that a sound cut out of a
video has the picture that it had inside.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from workbench.media.source import MAX_DURATION_S, decoded, failure, opened

RATE_HZ = 22_050
"""Rate of the sound that `read_sound` returns."""

_WAV_HZ = 44_100
# Outside these rates a small file would grow a thousandfold on its way to 44.1 kHz, or ask for a
# resampling filter that takes minutes.
_RATES_HZ = range(1_000, 768_001)
# moviepy keeps its 16-bit samples within 0.99 of full scale: int(0.99 * 2**15).
_LOUDEST = 32_440


def read_sound(path: Path) -> npt.NDArray[np.float32]:
    """Return the mono sound of `path` at 22,050 Hz in [-1, 1], cut at MAX_DURATION_S.

    It is as long as the container says in hundredths of a second: cut there, or followed by
    silence. Where the container does not say, it is as long as what was decoded.

    Raises:
        MediaError: missing, empty, broken, no_audio or silent.
    """
    with opened(path) as container:
        stream = _chosen(container)
        if stream.codec_context.sample_rate not in _RATES_HZ:
            rate_hz = stream.codec_context.sample_rate
            raise failure("broken", f"its sound has {rate_hz} samples a second")
        length = _length(container)
        stereo = _stereo(container, stream, length or MAX_DURATION_S * _WAV_HZ)
    if not len(stereo):
        raise failure("no_audio", "its sound stream holds no samples")
    mono = _mean(stereo)
    if mono.min() == mono.max():
        raise failure("silent", f"its sound never changes ({mono[0]:g} throughout)")
    mono = _fit(mono, length or len(mono))
    # librosa rounds the length up, where soxr rounds to the nearest.
    return _fit(soxr.resample(mono, _WAV_HZ, RATE_HZ, quality="HQ"), -(-len(mono) // 2))


def _chosen(container: InputContainer) -> AudioStream:
    """Return the sound stream that FFmpeg's program chooses: the default, then most channels."""
    streams = [stream for stream in container.streams.audio if stream.codec_context]
    if not streams:
        raise failure("no_audio", "it has no sound stream that can be decoded")
    return max(
        streams,
        key=lambda s: (bool(s.disposition & Disposition.default), s.codec_context.channels),
    )


def _length(container: InputContainer) -> int:
    """Return the samples at 44.1 kHz of the container's duration as FFmpeg prints it; 0: unknown.

    moviepy reads that line, which has hundredths of a second, and rounds down to samples.
    """
    if not container.duration or container.duration < 0:
        return 0
    hundredths = min((container.duration + 5_000) // 10_000, MAX_DURATION_S * 100)
    # In moviepy's floating-point arithmetic, which falls below a whole number one time in 14.
    return int(_WAV_HZ * (hundredths % 6_000 / 100 + 60 * (hundredths // 6_000)))


def _stereo(
    container: InputContainer, stream: AudioStream, max_samples: int
) -> npt.NDArray[np.int16]:
    """Return (samples, 2) int16 at 44.1 kHz, at most `max_samples` of them."""
    parts, num_samples = [], 0
    end_s = _end_s(container, stream)
    frames = (_until(end_s, frame) for frame in decoded(container, stream))
    for frame in _resampled(frames):
        # A plane may be longer than its samples.
        parts.append(np.frombuffer(memoryview(frame.planes[0]), np.int16, count=frame.samples * 2))
        num_samples += frame.samples
        if num_samples >= max_samples:
            break
    if not parts:
        return np.empty((0, 2), np.int16)
    return np.concatenate(parts).reshape(-1, 2)[:max_samples]


def _end_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Return when an MP4 says that its sound ends, in seconds; None: it does not say.

    A codec's last block is filled up with samples that are not part of the sound. FFmpeg cuts them
    off from version 9 on, unless the sound begins late or the file is in fragments (which announce
    no number of frames); its program, which the baseline runs, is the reference.
    """
    is_whole = container.format.name.startswith("mov") and stream.frames and stream.start_time == 0
    if not (is_whole and stream.duration and stream.time_base):
        return None
    return float(stream.duration * stream.time_base)


def _until(end_s: float | None, frame: AudioFrame) -> AudioFrame:
    """Return `frame`, cut where `end_s` lies inside it."""
    if end_s is None or frame.time is None:
        return frame
    samples = round((end_s - frame.time) * frame.sample_rate)
    if not 0 < samples < frame.samples:
        return frame
    values = samples if frame.format.is_planar else samples * frame.layout.nb_channels
    kept: npt.NDArray[Any] = np.ascontiguousarray(frame.to_ndarray()[:, :values])
    cut = AudioFrame.from_ndarray(kept, frame.format.name, frame.layout.name)
    cut.sample_rate, cut.time_base, cut.pts = frame.sample_rate, frame.time_base, frame.pts
    return cut


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    """Yield `frames` as 44.1 kHz 16-bit stereo, as FFmpeg's program makes them."""
    now, resampler = None, av.AudioResampler(format="s16", layout="stereo", rate=_WAV_HZ)
    for frame in frames:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if now not in (None, form):  # the stream changed its form on the way
            yield from resampler.resample(None)
            resampler = av.AudioResampler(format="s16", layout="stereo", rate=_WAV_HZ)
        now = form
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _mean(stereo: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    limited = np.clip(stereo, -_LOUDEST, _LOUDEST)
    return limited.sum(axis=1, dtype=np.int32).astype(np.float32) / np.float32(1 << 16)


def _fit(sound: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """Return `sound` cut to `length`, or followed by silence up to it."""
    return np.pad(sound[:length], (0, max(0, length - len(sound))))
