"""A vector of what is commonly measured of a sound, for small models and heads of large ones."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from workbench.media.audio import RATE_HZ
from workbench.media.declared import Modality
from workbench.media.sound_view import SoundView
from workbench.media.source import failure
from workbench.media.view import Made, Sound

Series = npt.NDArray[np.float32]

_WINDOW = 2048
_HOP = 512
_NUM_CHROMA = 12
_NUM_MFCC = 20
# Windows measured at once: librosa takes about ten times the memory of their spectra.
_BLOCK = 1024

_ONE_EACH = (
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "spectral_rolloff",
    "zero_crossing_rate",
)
_MEASURES = (
    *(f"chroma_{number}" for number in range(_NUM_CHROMA)),
    *_ONE_EACH,
    *(f"mfcc_{number}" for number in range(_NUM_MFCC)),
)


class Features(SoundView):
    """Mean and standard deviation over time of 37 measures of the sound, (74,) float32.

    They are `librosa.feature`'s, with its defaults at 22,050 Hz: 12 of `chroma_stft`, one each of
    `rms`, `spectral_centroid`, `spectral_bandwidth` and `spectral_rolloff` (in hertz) and
    `zero_crossing_rate`, and 20 of `mfcc`. A whole sound makes one vector.
    """

    kind: Literal["features"] = "features"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    modality: ClassVar[Modality] = "vector"
    neutral_level: ClassVar[int] = 0
    dtype: ClassVar[type[np.generic]] = np.float32

    @property
    def names(self) -> tuple[str, ...]:
        """What each value is: all means, then all standard deviations."""
        return tuple(f"{name}_{kind}" for kind in ("mean", "std") for name in _MEASURES)

    @property
    def shape(self) -> tuple[int, ...]:
        """(values,)."""
        return (2 * len(_MEASURES),)

    def of_sound(self, sound: Sound) -> Made:
        """Return the vector of one sound.

        Raises:
            MediaError: silent, where the sound never changes.
        """
        if sound.min() == sound.max():
            raise failure("silent", f"its sound never changes ({sound[0]:g} throughout)")
        # In 64 bits: the mean of a long sound would lose digits.
        series = measures(sound).astype(np.float64)
        values = np.concatenate([series.mean(axis=1), series.std(axis=1)])
        return Made(values.astype(np.float32)[None])


def measures(sound: Sound) -> Series:
    """Return (37, windows): chroma, the five single measures, then MFCC.

    Each is what librosa's function makes of the whole sound. They are computed from one spectrum,
    and block by block, so that a long sound takes little more memory than that.

    Source:
        librosa 0.11: `feature.chroma_stft`, `rms`, `spectral_centroid`, `spectral_bandwidth`,
        `spectral_rolloff`, `zero_crossing_rate`, `mfcc` and, for what chroma is tuned to,
        `estimate_tuning`.
    """
    librosa = _librosa()
    feature = librosa.feature
    single, mels, powers, pitches = [], [], [], []
    for part, edged, magnitude in _blocks(sound):
        power = magnitude**2
        powers.append(power)
        pitches.append(_pitches(power))
        mels.append(feature.melspectrogram(S=power, sr=RATE_HZ))
        centroid = feature.spectral_centroid(S=magnitude, sr=RATE_HZ)
        frames: dict[str, Any] = {"frame_length": _WINDOW, "hop_length": _HOP, "center": False}
        single.append(
            np.concatenate(
                [
                    feature.rms(y=part, **frames),
                    centroid,
                    feature.spectral_bandwidth(S=magnitude, sr=RATE_HZ, centroid=centroid),
                    feature.spectral_rolloff(S=magnitude, sr=RATE_HZ),
                    feature.zero_crossing_rate(edged, **frames),
                ]
            )
        )
    tuning = _tuning(np.concatenate(pitches, axis=1))
    chroma = [feature.chroma_stft(S=power, sr=RATE_HZ, tuning=tuning) for power in powers]
    mfcc = feature.mfcc(S=librosa.power_to_db(np.concatenate(mels, axis=1)), n_mfcc=_NUM_MFCC)
    rows = [np.concatenate(chroma, axis=1), np.concatenate(single, axis=1), mfcc]
    return np.concatenate(rows).astype(np.float32)


@cache
def _librosa() -> ModuleType:
    """Import librosa and what of it is compiled, while no other process does.

    Numba keeps what it compiled in two files for each function; those that two processes wrote at
    the same time do not fit each other, and every later process that reads them dies with a
    segmentation fault (numba issue 10128).
    """
    # Else a `.numba_config.yaml` in the folder that the process runs in, which may be a stranger's,
    # says where the files are that Numba loads: they are programs.
    os.environ.setdefault("NUMBA_CACHE_DIR", "")
    with _alone_in("librosa"):
        import librosa
        import librosa.core.pitch  # what is compiled is so when its module is imported
        import librosa.feature.spectral

    return librosa


@contextmanager
def _alone_in(package: str) -> Iterator[None]:
    """Hold the lock of an installed package's folder, if its file system has locks.

    A lock file under a known name in the shared temporary folder could be a link that somebody
    else put there, or held by them for ever.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        yield
        return
    handle = os.open(Path(spec.origin).parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _blocks(sound: Sound) -> Iterator[tuple[Sound, Sound, Series]]:
    """Yield (samples, samples, magnitudes) of blocks of windows centred on multiples of the hop.

    The first samples lie between zeros, the second between repetitions of the first and last one.
    The magnitudes are (frequencies, windows).
    """
    padded, edged = (np.pad(sound, _WINDOW // 2, mode=mode) for mode in ("constant", "edge"))
    num_windows = 1 + len(sound) // _HOP
    for start in range(0, num_windows, _BLOCK):
        last = min(start + _BLOCK, num_windows) - 1
        samples = slice(start * _HOP, last * _HOP + _WINDOW)
        spectrum = _librosa().stft(padded[samples], n_fft=_WINDOW, hop_length=_HOP, center=False)
        yield padded[samples], edged[samples], np.abs(spectrum)


def _pitches(power: Series) -> Series:
    """Return (2, peaks): frequency in hertz and strength of the peaks of power spectra."""
    frequencies_hz, strengths = _librosa().piptrack(S=power, sr=RATE_HZ)
    found = frequencies_hz > 0
    return np.stack([frequencies_hz[found], strengths[found]])


def _tuning(pitches: Series) -> float:
    """Return how far the stronger half of the peaks is from a tuned piano, in semitones."""
    frequencies_hz, strengths = pitches
    if not len(strengths):
        return 0.0
    stronger = frequencies_hz[strengths >= np.median(strengths)]
    return float(_librosa().pitch_tuning(stronger, bins_per_octave=_NUM_CHROMA))
