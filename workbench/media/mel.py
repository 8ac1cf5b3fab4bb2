"""The mel picture of a sound, grey level for grey level as the competition's public baseline."""

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
from workbench.media.view import Sound
from workbench.opencv import cv2

Filters = npt.NDArray[np.float32]
# Filters multiplied at once: a group reads only the frequencies between its first and its last.
_GROUP = 16


class Mel(BandSpectrogram):
    """The mel picture of the sound, by default as the competition's public baseline makes it.

    Rows run from low to high frequency, columns with time. Grey levels span the picture's own
    range of decibels (80 at most) and are rounded down before the picture is resized: the baseline
    does it in that order. Sound that begins later than the picture stands at the left edge, and
    the time that it came late is silence at the right one: that, too, the baseline does; `align`
    puts it where it is heard.
    """

    kind: Literal["mel"] = "mel"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    num_mels: int = Field(128, ge=16, le=256)
    """Frequency bands, evenly spaced in mel."""

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        filters = mel_filters(self.num_mels, self.window, self.low_hz, self.high_hz)
        empty = np.flatnonzero(~filters.any(axis=1))
        if len(empty):
            raise ValueError(
                f"{len(empty)} of {self.num_mels} mel bands are empty: they fall between "
                f"two frequencies of window {self.window}. Choose fewer num_mels, a longer "
                "window or a wider band"
            )
        return self

    def picture(self, sound: Sound) -> Grey:
        """Return the (image_px, image_px) picture; MediaError (silent) says why there is none."""
        level_db = self.level_db(sound)
        grey = cv2.normalize(level_db, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        size = (self.image_px, self.image_px)
        return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)

    def level_db(self, sound: Sound) -> Levels:
        """Return (num_mels, spectra) decibels below the loudest, at least -80.

        Raises:
            MediaError: silent, where all is equally loud or too faint to tell.

        Source:
            librosa 0.11: `melspectrogram`, then `power_to_db` with `ref=np.max`.
        """
        groups = _groups(self.num_mels, self.window, self.low_hz, self.high_hz)
        power = np.empty((self.num_mels, num_spectra(len(sound), self.hop)), np.float32)
        for which, spectra in power_spectra(sound, window=self.window, hop=self.hop):
            for bands, bins, filters in groups:
                power[bands, which] = filters @ spectra[:, bins].T
        return decibels(power)


@lru_cache(maxsize=8)
def mel_filters(num_mels: int, window: int, low_hz: float, high_hz: float) -> Filters:
    """Return (num_mels, window // 2 + 1) triangular filters of equal area, evenly spaced in mel.

    Source:
        Slaney, "Auditory Toolbox", Interval Research report 1998-010: mel is linear to 1 kHz
        (15 mel) and logarithmic above, 27 mel to each factor 6.4.
    """
    mels = np.linspace(_mel(low_hz), _mel(high_hz), num_mels + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins_hz = np.fft.rfftfreq(window, 1 / RATE_HZ)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters = (triangles * 2 / (high - low)).astype(np.float32)
    filters.flags.writeable = False
    return filters


def _mel(frequency_hz: float) -> float:
    if frequency_hz < 1000:
        return frequency_hz * 3 / 200
    return float(15 + 27 * np.log(frequency_hz / 1000) / np.log(6.4))


@lru_cache(maxsize=8)
def _groups(
    num_mels: int, window: int, low_hz: float, high_hz: float
) -> list[tuple[slice, slice, Filters]]:
    """Return (bands, bins, filters) of neighbouring filters, cut to the frequencies they read."""
    filters = mel_filters(num_mels, window, low_hz, high_hz)
    groups = []
    for start in range(0, num_mels, _GROUP):
        rows = filters[start : start + _GROUP]
        read = np.flatnonzero(rows.any(axis=0))
        bins = slice(int(read[0]), int(read[-1]) + 1)
        groups.append((slice(start, start + len(rows)), bins, np.ascontiguousarray(rows[:, bins])))
    return groups
