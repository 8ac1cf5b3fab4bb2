"""The mel picture of a sound, grey level for grey level as the competition's public baseline."""

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from workbench.media.audio import RATE_HZ
from workbench.media.source import failure

WINDOW = 2048
"""Samples in one spectrum."""

HOP = 512
"""Samples from one spectrum to the next."""

_FLOOR = 1e-10
_RANGE_DB = 80.0
# Spectra computed at once: bounds the memory that a long sound takes.
_BLOCK = 1024


def mel_picture(
    sound: npt.NDArray[np.float32], *, num_mels: int, image_px: int
) -> npt.NDArray[np.uint8]:
    """Return the (image_px, image_px) mel picture of a mono sound at 22,050 Hz.

    Rows run from low to high frequency, columns with time. Grey levels span the picture's own
    range of decibels (80 at most) and are rounded down before the picture is resized: the baseline
    does it in that order.

    Raises:
        MediaError: silent, where every part of the sound is equally loud or too faint to tell.
    """
    level_db = mel_db(sound, num_mels=num_mels)
    if level_db.min() == level_db.max():
        raise failure("silent", "its sound is too faint for a mel picture")
    grey = cv2.normalize(level_db, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return cv2.resize(grey, (image_px, image_px), interpolation=cv2.INTER_LINEAR)


def mel_db(sound: npt.NDArray[np.float32], *, num_mels: int) -> npt.NDArray[np.float32]:
    """Return (num_mels, spectra) decibels below the loudest, at least -80.

    Source:
        The conventions of librosa 0.11: `melspectrogram` (centred Hann windows over a sound with
        zeros around it, power spectra) and `power_to_db` with `ref=np.max`.
    """
    padded = np.pad(sound, WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    filters = mel_filters(num_mels)
    power = np.empty((num_mels, len(windows)), np.float32)
    for start in range(0, len(windows), _BLOCK):
        # In 32 bits; NumPy's takes 8 times as long.
        spectra = scipy.fft.rfft(windows[start : start + _BLOCK] * _hann())
        energy = np.square(spectra.real) + np.square(spectra.imag)
        power[:, start : start + _BLOCK] = filters @ energy.T
    level_db = 10 * np.log10(np.maximum(power, _FLOOR))
    level_db -= level_db.max()
    return np.maximum(level_db, -_RANGE_DB)


@lru_cache(maxsize=8)
def mel_filters(num_mels: int) -> npt.NDArray[np.float32]:
    """Return (num_mels, WINDOW // 2 + 1) triangular filters of equal area, evenly spaced in mel.

    Source:
        Slaney, "Auditory Toolbox", Interval Research report 1998-010: mel is linear to 1 kHz
        (15 mel) and logarithmic above, 27 mel to each factor 6.4.
    """
    top_mel = 15 + 27 * np.log(RATE_HZ / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top_mel, num_mels + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins_hz = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters = (triangles * 2 / (high - low)).astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=1)
def _hann() -> npt.NDArray[np.float32]:
    """Return the periodic Hann window."""
    phase = 2 * np.pi * np.arange(WINDOW) / WINDOW
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
