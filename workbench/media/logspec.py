"""The logarithmic spectrogram: decibels of the Fourier transform, on a linear frequency axis."""

from typing import Literal, Self

import numpy as np
from pydantic import model_validator

from workbench.media.audio import RATE_HZ
from workbench.media.spectrogram import (
    BandSpectrogram,
    Grey,
    Levels,
    decibels,
    grey_square,
    num_spectra,
    power_spectra,
)
from workbench.media.view import Sound

_MIN_BINS = 8


class Logspec(BandSpectrogram):
    """The log-magnitude picture of the sound.

    Rows run evenly from `low_hz` to `high_hz`, columns with time. Black (0) is 80 dB or more below
    the loudest point of the picture, white (255) is that point.
    """

    kind: Literal["logspec"] = "logspec"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        num_bins = self._bins.stop - self._bins.start
        if num_bins < _MIN_BINS:
            raise ValueError(
                f"window {self.window} has only {num_bins} frequencies from "
                f"{self.low_hz:g} to {self.high_hz:g} Hz, and {_MIN_BINS} are needed. "
                "Choose a wider band or a longer window"
            )
        return self

    @property
    def _bins(self) -> slice:
        """Return which of the spectrum's frequencies lie between `low_hz` and `high_hz`."""
        bins_hz = np.fft.rfftfreq(self.window, 1 / RATE_HZ)
        inside = np.flatnonzero((bins_hz >= self.low_hz) & (bins_hz <= self.high_hz))
        return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)

    def picture(self, sound: Sound) -> Grey:
        """Return the (image_px, image_px) picture; MediaError (silent) says why there is none."""
        # Turned when it is small.
        return np.ascontiguousarray(grey_square(self.level_db(sound).T, self.image_px).T)

    def level_db(self, sound: Sound) -> Levels:
        """Return (frequencies, spectra) decibels below the loudest of them, at least -80.

        Raises:
            MediaError: silent, where all is equally loud or too faint to tell.

        Source:
            librosa 0.11: `amplitude_to_db` of the magnitude of `stft`, with `ref=np.max`.
        """
        bins = self._bins
        shape = (num_spectra(len(sound), self.hop), bins.stop - bins.start)
        power = np.empty(shape, np.float32)
        for which, spectra in power_spectra(sound, window=self.window, hop=self.hop):
            power[which] = spectra[:, bins]
        return decibels(power).T
