"""Linear-frequency cepstral coefficients of the sound, with their changes, as a picture."""

from functools import lru_cache
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from workbench.media.audio import RATE_HZ
from workbench.media.spectrogram import (
    BandSpectrogram,
    Grey,
    Levels,
    decibels,
    num_spectra,
    power_spectra,
)
from workbench.media.square import square
from workbench.media.view import Sound

_MIDDLE_DB = 40.0
_GREYS_PER_DB, _GREYS_PER_CHANGE = 3.0, 16.0


class Lfcc(BandSpectrogram):
    """The cepstrum of the sound by filters of one width, its first and its second differences.

    From the first row on: the coefficients, 0 first, then their differences from spectrum to
    spectrum, then those of the differences. 128 is no coefficient and no change, a grey level a
    third of a decibel, or a sixteenth of one a spectrum; the mean level, coefficient 0, is 128 at
    40 dB below the loudest band.

    Source: Sahidullah et al. 2015, "A comparison of features for synthetic speech detection",
    section 3.1: 20 filters, 20 coefficients, differences of both orders.
    """

    kind: Literal["lfcc"] = "lfcc"
    version: Literal[2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    window: Literal[256, 512, 1024, 2048, 4096, 8192] = 512
    """Samples in one spectrum."""

    hop: int = Field(256, ge=32, le=8192)
    """Samples from one spectrum to the next."""

    num_filters: int = Field(20, ge=8, le=128)
    """Frequency bands, evenly spaced in hertz."""

    num_coefficients: int = Field(20, ge=4, le=128)
    """Coefficients that are kept of as many as there are bands."""

    @model_validator(mode="after")
    def _check_filters(self) -> Self:
        if self.num_coefficients > self.num_filters:
            raise ValueError(
                f"{self.num_filters} filters have no {self.num_coefficients} coefficients. "
                "Set num_coefficients lower, or num_filters higher"
            )
        if not self._filters.any(axis=1).all():
            raise ValueError(
                f"some of {self.num_filters} filters fall between two frequencies of window "
                f"{self.window}. Choose fewer num_filters, a longer window or a wider band"
            )
        return self

    @property
    def _filters(self) -> Levels:
        return linear_filters(self.num_filters, self.window, self.low_hz, self.high_hz)

    def picture(self, sound: Sound) -> Grey:
        """Return the (image_px, image_px) picture; MediaError (silent) says why there is none."""
        cepstrum = self.cepstrum(sound)
        cepstrum[0] += _MIDDLE_DB
        first = differences(cepstrum)
        changes = np.concatenate([first, differences(first)])
        rows = np.concatenate([_GREYS_PER_DB * cepstrum, _GREYS_PER_CHANGE * changes])
        return square(np.rint(128 + rows).clip(0, 255).astype(np.uint8), self.image_px)

    def cepstrum(self, sound: Sound) -> Levels:
        """Return (num_coefficients, spectra): amplitudes of cosines over the bands, in decibels.

        The loudest band of the sound is at 0, and none is below -80.

        Raises:
            MediaError: silent, where all is equally loud or too faint to tell.
        """
        power = np.empty((num_spectra(len(sound), self.hop), self.num_filters), np.float32)
        for which, spectra in power_spectra(sound, window=self.window, hop=self.hop):
            power[which] = spectra @ self._filters.T
        centres = (np.arange(self.num_filters) + 0.5) / self.num_filters
        cosines = np.cos(np.pi * np.arange(self.num_coefficients)[:, None] * centres)
        cosines *= 2 / self.num_filters
        cosines[0] /= 2  # the mean
        return cosines.astype(np.float32) @ decibels(power).T


def differences(series: Levels) -> Levels:
    """Return the slope at each column, by least squares over it and two to either side.

    Beyond the ends the first and the last column go on.
    """
    ahead = np.pad(series, ((0, 0), (2, 2)), mode="edge")
    slope = 2 * (ahead[:, 4:] - ahead[:, :-4]) + ahead[:, 3:-1] - ahead[:, 1:-3]
    return np.asarray(slope / 10, np.float32)


@lru_cache(maxsize=8)
def linear_filters(
    num_filters: int, window: int, low_hz: float, high_hz: float
) -> npt.NDArray[np.float32]:
    """Return (num_filters, window // 2 + 1) triangles of height 1, evenly spaced in hertz."""
    edges_hz = np.linspace(low_hz, high_hz, num_filters + 2)
    width_hz = edges_hz[1] - edges_hz[0]
    bins_hz = np.fft.rfftfreq(window, 1 / RATE_HZ)
    away = np.abs(bins_hz - edges_hz[1:-1, None]) / width_hz
    filters = np.maximum(0, 1 - away).astype(np.float32)
    filters.flags.writeable = False
    return filters
