"""The sound of a file, as the competition's public baseline hears it.

The baseline writes the sound with moviepy as 44.1 kHz 16-bit stereo and reads that back with
`librosa.load` at 22.05 kHz mono. Here the same steps are done in memory: FFmpeg's resampler to
44.1 kHz, moviepy's clipping and length, the mean of both channels, then soxr, which librosa uses.
Files with sound alone go the same way (moviepy's `AudioFileClip`), so that a sound cut out of a
video has the picture that it had inside.
"""

from collections.abc import Sequence
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

from workbench.media.source import MAX_DURATION_S, Reader, failure, feed, opened
from workbench.media.view import Sound

RATE_HZ = 22_050
"""Rate of the sound that `read_sound` returns."""

Stereo = npt.NDArray[Any]
"""(2, samples) int16 or float32: left and right, in whole steps of 16 bits."""

_WAV_HZ = 44_100
# Outside these rates a small file would grow a thousandfold on its way to 44.1 kHz, or ask for a
# resampling filter that takes minutes.
_RATES_HZ = range(1_000, 768_001)
# moviepy keeps its 16-bit samples within 0.99 of full scale: int(0.99 * 2**15).
_LOUDEST = 32_440
# The form of most sound in videos (AAC).
_AS_WANTED = ("fltp", "stereo", _WAV_HZ)
_DTYPES: dict[str, type[np.generic]] = {"flt": np.float32, "s16": np.int16, "s32": np.int32}
# Samples that are resampled at once: bounds the memory beside the sound itself.
_BLOCK = 1 << 16
# Power of the faintest sound that has a loudness: -120 dB.
_FAINTEST = 1e-12


def read_sound(path: Path) -> Sound:
    """Return the mono sound of `path` at 22,050 Hz in [-1, 1], cut at MAX_DURATION_S.

    It is as long as the container says in hundredths of a second: cut there, or followed by
    silence. Where the container does not say, it is as long as what was decoded.

    Raises:
        MediaError: missing, empty, broken, no_audio or silent.
    """
    with opened(path, for_sound=True) as container:
        reader = SoundReader(container)
        feed(container, [reader])
        return reader.sound()


class SoundReader(Reader):
    """Gathers the sound of a file while it is decoded.

    Args:
        container: The file.

    Raises:
        MediaError: broken or no_audio.
    """

    stream: AudioStream

    def __init__(self, container: InputContainer) -> None:
        super().__init__(_chosen(container))
        rate_hz = self.stream.codec_context.sample_rate
        if rate_hz not in _RATES_HZ:
            raise failure("broken", f"its sound has {rate_hz} samples a second")
        self._length = _length(container)
        self._max_samples = self._length or MAX_DURATION_S * _WAV_HZ
        self._end_s = _end_s(container, self.stream)
        self._form: tuple[str, str, int] | None = None
        self._resampler = _resampler()
        self._waiting: list[AudioFrame] = []
        self._num_waiting = 0
        self._parts: list[Stereo] = []
        self._num_samples = 0
        self.loudness_db: float | None = None
        """Root mean square of the sound in decibels below full scale, once it was asked for."""

    @property
    def is_full(self) -> bool:
        """Whether the sound is as long as it can be."""
        return self._num_samples >= self._max_samples

    def take(self, frame: AudioFrame) -> None:
        """Take one frame."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # at the start, or where the stream changes its form on the way
            self._end_form()
            self._form, self._resampler = form, _resampler()
        self._waiting.append(frame)
        self._num_waiting += frame.samples
        if self._num_waiting >= _BLOCK:
            self._resample()

    def sound(self) -> Sound:
        """Return the sound of all frames taken.

        Raises:
            MediaError: broken, no_audio or silent.
        """
        if self.error:
            raise self.error
        self._end_form()
        if not self._num_samples:
            raise failure("no_audio", "its sound stream holds no samples")
        stereo = np.concatenate(self._parts, axis=1)[:, : self._max_samples]
        self._parts.clear()
        mono = _mean(stereo)
        power = float(np.dot(mono, mono)) / len(mono)
        self.loudness_db = 10 * float(np.log10(max(power, _FAINTEST)))
        if mono.min() == mono.max():
            raise failure("silent", f"its sound never changes ({mono[0]:g} throughout)")
        mono = _fit(mono, self._length or len(mono))
        # librosa rounds the length up, where soxr rounds to the nearest.
        return _fit(soxr.resample(mono, _WAV_HZ, RATE_HZ, quality="HQ"), -(-len(mono) // 2))

    def _end_form(self) -> None:
        """Take what the resampler still holds back."""
        self._resample()
        if self._form not in (None, _AS_WANTED):
            self._add(self._resampler.resample(None))

    def _resample(self) -> None:
        """Turn the frames that wait into 44.1 kHz 16-bit stereo, as FFmpeg's program does.

        All at once: handing over each by itself takes longer than its work.
        """
        if not self._waiting or not self._form:
            return
        samples = _joined(self._waiting, self._end_s)
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            # What a number-that-is-none becomes depends on the processor, and it spreads.
            samples = np.nan_to_num(samples, posinf=1e6, neginf=-1e6)
        self._waiting.clear()
        self._num_waiting = 0
        if self._form == _AS_WANTED:
            # FFmpeg scales and rounds to even; so does this, without its set-up.
            samples *= 1 << 15
            np.rint(samples, out=samples)
            self._parts.append(samples)
            self._num_samples += samples.shape[1]
            return
        sample_format, layout, rate_hz = self._form
        frame = AudioFrame.from_ndarray(samples, sample_format, layout)
        frame.sample_rate = rate_hz
        self._add(self._resampler.resample(frame))

    def _add(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            # A plane may be longer than its samples.
            planes = [memoryview(plane) for plane in frame.planes]
            self._parts.append(
                np.stack([np.frombuffer(p, np.int16, frame.samples) for p in planes])
            )
            self._num_samples += frame.samples


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16p", layout="stereo", rate=_WAV_HZ)


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


def _joined(frames: Sequence[AudioFrame], end_s: float | None) -> npt.NDArray[Any]:
    """Return the samples of `frames`, (planes, values), cut where `end_s` lies inside the last."""
    last = frames[-1]
    # The usual formats are read here: `to_ndarray`, which knows them all, takes thrice as long.
    dtype = _DTYPES.get(last.format.name.removesuffix("p"))
    num_values = 1 if last.format.is_planar else last.layout.nb_channels
    if dtype is None:
        joined = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    else:
        joined = np.stack(
            [
                np.concatenate(
                    [
                        np.frombuffer(memoryview(f.planes[i]), dtype, f.samples * num_values)
                        for f in frames
                    ]
                )
                for i in range(len(last.planes))
            ]
        )
    if end_s is None or last.time is None:
        return joined
    kept = round((end_s - last.time) * last.sample_rate)
    if not 0 < kept < last.samples:
        return joined
    cut = last.samples - kept
    return joined[
        :, : joined.shape[1] - (cut if last.format.is_planar else cut * last.layout.nb_channels)
    ]


def _mean(stereo: Stereo) -> Sound:
    """Return the mean of left and right, 1 being full scale."""
    left, right = np.clip(stereo, -_LOUDEST, _LOUDEST)
    mono = np.add(left, right, dtype=np.float32)
    mono /= 1 << 16
    return mono


def _fit(sound: Sound, length: int) -> Sound:
    """Return `sound` cut to `length`, or followed by silence up to it."""
    if len(sound) >= length:
        return sound[:length]
    return np.pad(sound, (0, length - len(sound)))
