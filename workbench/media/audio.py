"""The sound of a file, as the competition's public baseline hears it.

The baseline writes the sound with moviepy as 44.1 kHz 16-bit stereo and reads that back with
`librosa.load` at 22.05 kHz mono. Here the same steps are done in memory: FFmpeg's resampler to
44.1 kHz, moviepy's clipping and length, the mean of both channels, then soxr, which librosa uses.
Files with sound alone go the same way (moviepy's `AudioFileClip`), so that a sound cut out of a
video has the picture that it had inside.

Two things of a file's own time are the baseline's by default and can be had otherwise. Sound that
begins after the picture is placed at 0 all the same; `align` places it where it is heard. And where
the container's length is a guess (from a bit rate, or a header written before its content was), the
baseline believes it; here what was decoded rules.
"""

from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from workbench.media.sound_clock import WAV_HZ, SoundClock, announced_length, end_s, picture_start_s
from workbench.media.source import MAX_DURATION_S, failure
from workbench.media.streams import MediaReader
from workbench.media.view import Sound

RATE_HZ = 22_050
"""Rate of the sound that views are made of."""

Stereo = npt.NDArray[Any]
"""(2, samples) int16 or float32: left and right, in whole steps of 16 bits."""

_DTYPES: dict[str, type[np.generic]] = {
    "flt": np.float32,
    "s16": np.int16,
    "s32": np.int32,
    "dbl": np.float64,
    "u8": np.uint8,
}
"""By their names, the formats that are turned into arrays; frames of others (64-bit integers) go to
FFmpeg as they are."""

# moviepy keeps its 16-bit samples within 0.99 of full scale: int(0.99 * 2**15).
_LOUDEST = 32_440

# Outside these rates a small file would grow a thousandfold on its way to 44.1 kHz, or ask for a
# resampling filter that takes minutes.
_RATES_HZ = range(1_000, 768_001)
# The form of most sound in videos (AAC).
_AS_WANTED = ("fltp", "stereo", WAV_HZ)
# PyAV takes what lies behind the eighth plane of a frame for a ninth one, and dies of reading it.
_MOST_PLANES = 7
# What honest containers and what is decoded differ by: rounding, and a codec's last block, which is
# 0.13 s of AAC at 8 kHz.
_SLACK_S = 0.15
# Formats whose length is that between the first timestamp and the last.
_HEADLESS = ("mpegts", "mpeg")
# Samples that are resampled at once: bounds the memory beside the sound itself.
_BLOCK = 1 << 16
# Full scales. FFmpeg's conversion to 16 bits wraps from 65,536 on; mixing channels and filtering
# raise a sample by less than four times.
_MOST_FULL_SCALES = 1e4
# Power of the faintest sound that has a loudness: -120 dB.
_FAINTEST = 1e-12


class SoundReader(MediaReader):
    """Gathers the sound of a file while it is decoded.

    Args:
        container: The file.

    Raises:
        MediaError: broken or no_audio.
    """

    stream: AudioStream

    def __init__(self, container: InputContainer) -> None:
        super().__init__(sound_stream(container))
        # 0: FFmpeg met the stream too late to look into it.
        if rate_hz := self.stream.codec_context.sample_rate:
            _check_rate(rate_hz)
        self._announced = announced_length(container)
        self._has_no_header = container.format.name in _HEADLESS
        self._picture_s = picture_start_s(container)
        self._max_samples = MAX_DURATION_S * WAV_HZ
        self._end_s = end_s(container, self.stream)
        self._clock = SoundClock()
        self._form: tuple[str, str, int] | None = None
        self._resampler = _resampler()
        self._waiting: list[AudioFrame] = []
        self._num_waiting = 0
        self._parts: list[Stereo] = []
        self._num_samples = 0
        self._heard: Sound | None = None
        self.loudness_db: float | None = None
        """Root mean square of the sound in decibels below full scale, once it was asked for."""
        self.duration_s: float | None = None
        """The file's length in seconds, where the container's is none, once it was asked for."""

    @property
    def is_full(self) -> bool:
        """Whether the sound is as long as it can be."""
        return self._num_samples >= self._max_samples

    def take(self, frame: AudioFrame) -> None:
        """Take one frame.

        Raises:
            MediaError: broken.
        """
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # at the start, or where the stream changes its form on the way
            _check_rate(frame.sample_rate)
            self._end_form()
            self._form, self._resampler = form, _resampler()
        self._clock.take(frame)
        self._waiting.append(frame)
        self._num_waiting += frame.samples
        if self._num_waiting >= _BLOCK:
            self._resample()

    def sound(self, *, align: bool = False, believing: bool = False) -> Sound:
        """Return the sound of all frames taken.

        It has the container's length: with a picture, that of the longer of both. Where that is a
        guess or was written before the content was, it has the length of what was decoded: in a
        file of sound alone that differs by more than a codec's padding, and in a transport stream
        whose timestamps begin anew, of which more is decoded than they say.

        Args:
            align: Place it on the clock of the file's picture: sound that begins late or that has
                a gap has silence there, and what is heard before the first frame is cut off.
                Without a picture there is nothing to align with.
            believing: Give it the container's length though that cannot be, as version 1 of sound
                views did.

        Raises:
            MediaError: broken, no_audio or silent.
        """
        if self.error:
            raise self.error
        if self._heard is None:
            self._heard = self._hear()
        length = self._length(self._num_samples, believing=believing)
        mono = self._heard[:length]
        if mono.min() == mono.max():
            raise failure("silent", f"its sound never changes ({mono[0]:g} throughout)")
        if align and self._picture_s is not None:
            longest_s = (self._announced or self._max_samples) / WAV_HZ
            mono = self._clock.placed(self._heard, start_s=self._picture_s, longest_s=longest_s)
            mono = mono[: self._max_samples]
            length = self._length(len(mono), believing=believing)
            if not mono.any():
                raise failure("silent", "none of its sound is heard while there is a picture")
        mono = _fit(mono, length)
        # librosa rounds the length up, where soxr rounds to the nearest.
        return _fit(soxr.resample(mono, WAV_HZ, RATE_HZ, quality="HQ"), -(-len(mono) // 2))

    def _hear(self) -> Sound:
        """Return all samples as mono, 44,100 a second, and find out how loud they are."""
        self._end_form()
        if not self._num_samples:
            raise failure("no_audio", "its sound stream holds no samples")
        mono = _mean(np.concatenate(self._parts, axis=1)[:, : self._max_samples])
        self._parts.clear()
        length = self._length(self._num_samples)
        # A picture without a length may well last longer.
        if length != self._announced and (self._picture_s is None or self._has_no_header):
            self.duration_s = length / WAV_HZ
        kept = mono[:length]
        power = float(np.dot(kept, kept)) / len(kept)
        self.loudness_db = 10 * float(np.log10(max(power, _FAINTEST)))
        return mono

    def _length(self, num_samples: int, *, believing: bool = False) -> int:
        """Return the samples at 44.1 kHz that the sound has, of which `num_samples` are there."""
        num_samples = min(num_samples, self._max_samples)
        slack = round(_SLACK_S * WAV_HZ)
        is_alone = self._picture_s is None
        # Sound alone may be announced by its last timestamp: it began late, or has gaps.
        end = max(num_samples, round(self._clock.end_s * WAV_HZ))
        is_too_long = is_alone and self._announced > end + slack
        is_too_short = (is_alone or self._has_no_header) and num_samples > self._announced + slack
        if self._announced and (believing or not (is_too_long or is_too_short)):
            return self._announced
        return num_samples

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
        if self._form[0].removesuffix("p") not in _DTYPES:
            for frame in self._waiting:
                self._add(self._resampler.resample(frame))
            self._waiting.clear()
            self._num_waiting = 0
            return
        samples = _joined(self._waiting, self._end_s)
        if samples.dtype.kind == "f" and not (np.abs(samples) <= _MOST_FULL_SCALES).all():
            # What a number-that-is-none becomes depends on the processor, and it spreads.
            samples = np.nan_to_num(samples).clip(-_MOST_FULL_SCALES, _MOST_FULL_SCALES)
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
        if len(samples) > _MOST_PLANES:
            sample_format, samples = sample_format.removesuffix("p"), samples.T.reshape(1, -1)
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
    return av.AudioResampler(format="s16p", layout="stereo", rate=WAV_HZ)


def _check_rate(rate_hz: int) -> None:
    if rate_hz not in _RATES_HZ:
        raise failure("broken", f"its sound has {rate_hz} samples a second")


def sound_stream(container: InputContainer) -> AudioStream:
    """Return the sound stream that FFmpeg's program chooses: the default, then most channels."""
    streams = [stream for stream in container.streams.audio if stream.codec_context]
    if not streams:
        raise failure("no_audio", "it has no sound stream that can be decoded")
    return max(
        streams,
        key=lambda s: (bool(s.disposition & Disposition.default), s.codec_context.channels),
    )


def _joined(frames: Sequence[AudioFrame], end_s: float | None) -> npt.NDArray[Any]:
    """Return the samples of `frames`, (planes, values), cut where `end_s` lies inside the last."""
    last = frames[-1]
    dtype = _DTYPES[last.format.name.removesuffix("p")]
    num_channels = last.layout.nb_channels
    num_planes, num_values = (num_channels, 1) if last.format.is_planar else (1, num_channels)
    # `to_ndarray` takes thrice as long, and asks for planes that there are not.
    blocks = [
        [np.frombuffer(memoryview(f.planes[i]), dtype, f.samples * num_values) for f in frames]
        for i in range(num_planes)
    ]
    joined = np.stack([np.concatenate(of_plane) for of_plane in blocks])
    if end_s is None or last.time is None:
        return joined
    kept = round((end_s - last.time) * last.sample_rate)
    if not 0 < kept < last.samples:
        return joined
    cut = last.samples - kept
    return joined[:, : joined.shape[1] - cut * num_values]


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
