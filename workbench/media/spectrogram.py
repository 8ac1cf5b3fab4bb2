"""What the square pictures of a sound have in common: segments, spectra, decibels, grey levels.

Rows run from low to high frequency (row 0 is the lowest), columns with time.
"""

from abc import abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.declared import Modality
from workbench.media.sound_view import SoundView
from workbench.media.source import MAX_DURATION_S, failure
from workbench.media.square import square
from workbench.media.view import Made, Sound
from workbench.opencv import cv2

Levels = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

RANGE_DB = 80.0
"""What is further below the loudest is black."""

_FLOOR = 1e-10
# Samples of overlapping windows transformed at once. What a block needs stays in the processor's
# cache, which is worth more than the calls that longer blocks would save, and bounds the memory.
_BLOCK = 1 << 17


class Spectrogram(SoundView):
    """Square pictures of a sound: one of the whole, or one of each of several segments."""

    image_px: int = Field(256, ge=16, le=1024)
    """Side of each square picture, in pixels."""

    segments: int = Field(1, ge=1, le=64)
    """Number of pictures of one file, each of `segment_s` seconds of it, at even times."""

    segment_s: float | None = Field(None, ge=0.1, le=MAX_DURATION_S)
    """Length of one segment, in seconds; by default the whole sound is the one segment."""

    modality: ClassVar[Modality] = "spectrogram"
    neutral_level: ClassVar[int] = 0

    @model_validator(mode="after")
    def _check_segments(self) -> Self:
        if self.segments > 1 and self.segment_s is None:
            raise ValueError(
                f"`segments` is {self.segments}, and segment_s is missing. Set segment_s, "
                "in seconds, or segments: 1"
            )
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels) of one segment."""
        return (1, self.image_px, self.image_px, 1)

    @property
    def num_segments(self) -> int:
        """Samples that one file makes; its score is the mean of theirs."""
        return self.segments

    @abstractmethod
    def picture(self, sound: Sound) -> Grey:
        """Return the (image_px, image_px) picture of a sound.

        Raises:
            MediaError: silent, where every part of it is equally loud or too faint to tell.
        """

    def of_sound(self, sound: Sound) -> Made:
        """Return the pictures of one sound, uint8 of `stored_shape`; a silent segment is black.

        Raises:
            MediaError: silent, where every segment is.
        """
        pictures = [self._picture_or_none(part) for part in self._parts(sound)]
        if all(picture is None for picture in pictures):
            raise failure("silent", f"its sound is too faint for a {self.kind} picture")
        array = self.neutral()
        for segment, picture in enumerate(pictures):
            if picture is not None:
                array[segment, 0, :, :, 0] = picture
        return Made(array)

    def _picture_or_none(self, sound: Sound) -> Grey | None:
        try:
            return self.picture(sound)
        except MediaError as error:
            if error.status == "silent":
                return None
            raise

    def _parts(self, sound: Sound) -> list[Sound]:
        if self.segment_s is None:
            return [sound]
        return cut_segments(sound, num_parts=self.segments, part_s=self.segment_s)


class BandSpectrogram(Spectrogram):
    """A picture made of Fourier transforms of windows, between two frequencies."""

    window: Literal[256, 512, 1024, 2048, 4096, 8192] = 2048
    """Samples in one spectrum."""

    hop: int = Field(512, ge=32, le=8192)
    """Samples from one spectrum to the next."""

    low_hz: float = Field(0.0, ge=0)
    """The lowest frequency, in hertz."""

    high_hz: float = Field(RATE_HZ / 2, le=RATE_HZ / 2)
    """The highest frequency, in hertz."""

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        # A wider hop leaves sound out; a narrower one takes memory for what is all but the same.
        if not self.window // 16 <= self.hop <= self.window:
            raise ValueError(
                f"hop {self.hop} does not suit window {self.window}. "
                f"Choose {self.window // 16} to {self.window}"
            )
        if self.low_hz >= self.high_hz:
            raise ValueError(
                f"low_hz {self.low_hz:g} is not below high_hz {self.high_hz:g}. Set it lower"
            )
        return self


def cut_segments(sound: Sound, *, num_parts: int, part_s: float) -> list[Sound]:
    """Return parts of `part_s` seconds, evenly spaced from the first to the last that fits.

    A single part is the middle. A sound that is shorter is followed by silence.
    """
    length = round(part_s * RATE_HZ)
    room = max(0, len(sound) - length)
    steps = max(1, num_parts - 1)
    starts = [room // 2] if num_parts == 1 else [round(i * room / steps) for i in range(num_parts)]
    parts = [sound[start : start + length] for start in starts]
    return [np.pad(part, (0, length - len(part))) for part in parts]


def num_spectra(num_samples: int, hop: int) -> int:
    """Return how many windows, each centred on a multiple of `hop`, a sound has."""
    return 1 + num_samples // hop


def power_spectra(sound: Sound, *, window: int, hop: int) -> Iterator[tuple[slice, Levels]]:
    """Yield (which, spectra): power spectra of a sound, (spectra, window // 2 + 1), block by block.

    Centred Hann windows over a sound with zeros around it. A block's array holds only until the
    next one.

    Source:
        The conventions of librosa 0.11: `np.square(np.abs(librosa.stft(sound)))`, transposed.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(sound, window // 2), window)[::hop]
    num_windows, num_rows = len(windows), min(len(windows), _BLOCK // window)
    weighted = np.empty((num_rows, window), np.float32)
    packed = np.empty_like(weighted)
    power = np.empty((num_rows, window // 2 + 1), np.float32)
    for start in range(0, num_windows, num_rows):
        which = slice(start, min(start + num_rows, num_windows))
        rows = slice(which.stop - start)
        np.multiply(windows[which], hann(window), out=weighted[rows])
        # Real transforms in 32 bits, in a quarter of SciPy's time. A row comes out as the real part
        # of 0 Hz, then real and imaginary parts in turn, then the real part of the last frequency.
        squares = cv2.dft(weighted[rows], dst=packed[rows], flags=cv2.DFT_ROWS)
        np.square(squares, out=squares)
        power[rows, 0], power[rows, -1] = squares[:, 0], squares[:, -1]
        np.add(squares[:, 1:-1:2], squares[:, 2:-1:2], out=power[rows, 1:-1])
        yield which, power[rows]


def decibels(power: Levels) -> Levels:
    """Return decibels below the loudest, at least -RANGE_DB; `power` is overwritten.

    Raises:
        MediaError: silent, where all is equally loud or too faint to tell.

    Source:
        librosa 0.11: `power_to_db` with `ref=np.max`.
    """
    np.maximum(power, _FLOOR, out=power)
    np.log10(power, out=power)
    power *= 10
    power -= power.max()
    np.maximum(power, -RANGE_DB, out=power)
    if power.min() == 0:
        raise failure("silent", "its sound is too faint for a picture")
    return power


def grey_square(level_db: Levels, image_px: int) -> Grey:
    """Return decibels, (height, width), as a (image_px, image_px) picture.

    -RANGE_DB is black (0) and the loudest white (255). A side that shrinks averages the levels
    under each new pixel; a side that grows is bilinear.
    """
    grey = cv2.convertScaleAbs(level_db, alpha=255 / RANGE_DB, beta=255)
    return square(grey, image_px)


@lru_cache(maxsize=8)
def hann(window: int) -> npt.NDArray[np.float32]:
    """Return the periodic Hann window."""
    phase = 2 * np.pi * np.arange(window) / window
    weights = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    weights.flags.writeable = False
    return weights
