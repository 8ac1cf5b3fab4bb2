"""The constant-Q picture of a sound: every octave has as many rows, as on a piano."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from workbench.media.audio import RATE_HZ
from workbench.media.spectrogram import (
    Grey,
    Levels,
    Spectrogram,
    decibels,
    grey_square,
    num_spectra,
)
from workbench.media.view import Sound

# Samples transformed at once: a clip of 4.8 s with the kernels of the default settings around it.
_MIN_BLOCK = 1 << 17
# A kernel's spectrum is read this many times (sample rate / kernel length) up and down from its
# frequency: further away it is 82 dB or more below its peak.
_REACH = 16


class Cqt(Spectrogram):
    """The constant-Q picture of the sound.

    Rows run from low to high frequency, evenly in pitch: `bins_per_octave` from `low_hz` to twice
    that, and so on for all `octaves`. Columns run with time. Black (0) is 80 dB or more below the
    loudest point of the picture, white (255) is that point. White noise is equally bright at all
    pitches.
    """

    kind: Literal["cqt"] = "cqt"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    bins_per_octave: int = Field(24, ge=12, le=48)
    """Rows from one frequency to twice that."""

    octaves: int = Field(7, ge=1, le=9)
    """Doublings of the frequency from the lowest row to the highest."""

    low_hz: float = Field(32.70, ge=16, le=8000)
    """Frequency of the lowest bin, in hertz; by default the note C1."""

    hop: Literal[128, 256, 512, 1024, 2048] = 512
    """Samples from one column to the next, before the picture is resized."""

    @model_validator(mode="after")
    def _check_top(self) -> Self:
        # A Hann kernel hears noise in a band 1.5 times (sample rate / its length) wide.
        top_hz = self.frequencies_hz[-1] * (1 + 1.5 / 2 * _relative_width(self.bins_per_octave))
        if top_hz > RATE_HZ / 2:
            raise ValueError(
                f"{self.octaves} octaves from {self.low_hz:g} Hz reach up to {top_hz:.0f} Hz, over "
                f"half the sample rate, {RATE_HZ // 2} Hz. Choose fewer octaves or a lower low_hz"
            )
        return self

    @property
    def frequencies_hz(self) -> npt.NDArray[np.float64]:
        """Return the frequency of each bin, (octaves * bins_per_octave,), in hertz."""
        return _frequencies_hz(self.bins_per_octave, self.octaves, self.low_hz)

    def picture(self, sound: Sound) -> Grey:
        """Return the (image_px, image_px) picture; MediaError (silent) says why there is none."""
        return grey_square(self.level_db(sound), self.image_px)

    def level_db(self, sound: Sound) -> Levels:
        """Return (bins, columns) decibels below the loudest, at least -80.

        Raises:
            MediaError: silent, where all is equally loud or too faint to tell.

        Source:
            Brown and Puckette, "An efficient algorithm for the calculation of a constant Q
            transform", JASA 92 (1992): kernels as spectra, made once. One long transform serves all
            columns here: its product with a kernel, folded to the rate of the columns and
            transformed back, is the row (Velasco, Holighaus, Doerfler and Grill, DAFx 2011).
            Kernel lengths and scale are those of `librosa.cqt` (0.11), whose centres are rounded.
        """
        bank = _bank(self.bins_per_octave, self.octaves, self.low_hz, self.hop)
        num_columns = num_spectra(len(sound), self.hop)
        power = np.empty((len(bank.kernels), num_columns), np.float32)
        padded = np.pad(sound, (bank.margin * self.hop, bank.num_samples))
        for start in range(0, num_columns, bank.num_valid):
            first = start * self.hop
            rows = power[:, start : start + bank.num_valid]
            rows[:] = bank.power(padded[first : first + bank.num_samples])[:, : rows.shape[1]]
        return decibels(power)


@dataclass(frozen=True)
class _Kernel:
    """A bin's kernel as a spectrum, which is real as the kernel is symmetric."""

    bins: slice
    """Frequencies of a block's transform that it reads: whole turns of its columns."""

    gains: npt.NDArray[np.float32]
    """(turns, columns in a block)."""


@dataclass(frozen=True)
class _Bank:
    """All kernels for one length of block."""

    kernels: list[_Kernel]

    num_samples: int
    """In a block."""

    num_columns: int
    """In a block."""

    margin: int
    """Columns at either end of a block that half a kernel reaches out of."""

    @property
    def num_valid(self) -> int:
        """Columns between the margins."""
        return self.num_columns - 2 * self.margin

    def power(self, block: Sound) -> Levels:
        """Return (kernels, num_valid) power of the columns between a block's margins."""
        import scipy.fft  # a quarter of a second, which other views need not wait for

        spectrum = scipy.fft.rfft(block)
        folded = np.empty((len(self.kernels), self.num_columns), np.complex64)
        for row, kernel in zip(folded, self.kernels, strict=True):
            band = spectrum[kernel.bins].reshape(kernel.gains.shape)
            np.sum(band * kernel.gains, axis=0, out=row)
        values = scipy.fft.ifft(folded, overwrite_x=True)[:, self.margin :][:, : self.num_valid]
        return np.square(values.real) + np.square(values.imag)


@lru_cache(maxsize=4)
def _bank(bins_per_octave: int, octaves: int, low_hz: float, hop: int) -> _Bank:
    frequencies_hz = _frequencies_hz(bins_per_octave, octaves, low_hz)
    lengths = RATE_HZ / (_relative_width(bins_per_octave) * frequencies_hz)
    margin = int(np.ceil(lengths[0] / 2 / hop))
    num_samples = max(_MIN_BLOCK, 1 << int(np.ceil(np.log2(4 * margin * hop))))
    num_columns = num_samples // hop
    kernels = []
    for frequency_hz, length in zip(frequencies_hz, lengths, strict=True):
        centre, reach = frequency_hz / RATE_HZ * num_samples, _REACH / length * num_samples
        first_turn = max(0, int((centre - reach) // num_columns))
        end_turn = min(hop // 2, int(-(-(centre + reach) // num_columns)))
        bins = slice(first_turn * num_columns, end_turn * num_columns)
        away = (np.arange(bins.start, bins.stop) - centre) / num_samples * length
        gains = np.where(np.abs(away) <= _REACH, _hann_spectrum(away), 0)
        # Kernels have a unit sum (a tone is equally strong in each), then times the square root of
        # their length (noise is). Taking one in `hop` samples divides by hop.
        scaled = (gains * np.sqrt(length) / hop).astype(np.float32)
        kernels.append(_Kernel(bins, scaled.reshape(-1, num_columns)))
    return _Bank(kernels, num_samples, num_columns, margin)


def _hann_spectrum(cycles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the Fourier transform of a centred Hann window, 1 at 0, `cycles` a window's length."""
    # sinc(x) / (1 - x^2) without its 0 / 0 at 1 cycle.
    sidelobes = (np.sinc(cycles - 1) + np.sinc(cycles + 1)) / 2
    return np.asarray(np.sinc(cycles) + sidelobes)


def _frequencies_hz(bins_per_octave: int, octaves: int, low_hz: float) -> npt.NDArray[np.float64]:
    return np.asarray(low_hz * 2 ** (np.arange(bins_per_octave * octaves) / bins_per_octave))


def _relative_width(bins_per_octave: int) -> float:
    """Return 1 / Q: (sample rate / kernel length) / frequency.

    As in librosa 0.11: neighbours lie at frequency * (1 - width) and (1 + width), on average.
    """
    ratio = 2 ** (2 / bins_per_octave)
    return (ratio - 1) / (ratio + 1)
