"""Voices that are forged by signal processing; as `forgeries`: of the same level and length."""

import importlib
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from workbench.degradation.forgeries import Wave, as_loud, require
from workbench.errors import ConfigError
from workbench.media.audio import RATE_HZ
from workbench.media.view import Sound, View

_WINDOW, _HOP = 1024, 256
_SEMITONES = (1.0, 4.0)
_FORMANT_SHIFT = (1.08, 1.25)
_ENVELOPE_BINS = RATE_HZ * 2 // 1000
"""Quefrencies of the spectral envelope: all below 2 ms, so no pitch under 500 Hz is in it."""

_MOST_GAIN = np.log(10.0)
_BAND_HZ, _BITS = (4_000, 8_000), (6, 8)
_WORLD_PITCH = (0.94, 1.06)

Spectrum = npt.NDArray[np.complex64]


def pitch_shifted(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound 1 to 4 semitones higher or lower, formants and all, at the same speed.

    Source: the phase vocoder (Flanagan and Golden 1966, "Phase vocoder"; its steps as in Laroche
    and Dolson 1999, section II), then played faster or slower.
    """
    require(sound, _WINDOW)
    factor = 2 ** (float(rng.choice([-1, 1])) * rng.uniform(*_SEMITONES) / 12)
    spectrum = _spectrum(sound)
    times = np.arange(0, spectrum.shape[1] - 1, 1 / factor)
    first = times.astype(int)
    share = (times - first).astype(np.float32)
    size = np.abs(spectrum)
    size = size[:, first] * (1 - share) + size[:, first + 1] * share
    expected = 2 * np.pi * _HOP * np.arange(len(spectrum))[:, None] / _WINDOW
    phase = np.angle(spectrum)
    turn = phase[:, first + 1] - phase[:, first] - expected
    advance = expected + turn - 2 * np.pi * np.rint(turn / (2 * np.pi))
    run = phase[:, :1] + np.cumsum(np.hstack([np.zeros_like(advance[:, :1]), advance[:, :-1]]), 1)
    stretched = _wave(size * np.exp(1j * run))
    played = soxr.resample(stretched, factor * RATE_HZ, RATE_HZ)
    return as_loud(_fitted(played, len(sound)), sound)


def formant_shifted(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound of the same pitch with its formants 8 to 25% higher or lower.

    Its spectral envelope is stretched along the frequencies, and its phases stay. The envelope is
    that of the cepstrum below 2 ms (Oppenheim and Schafer 1968).
    """
    require(sound, _WINDOW)
    factor = rng.uniform(*_FORMANT_SHIFT) ** float(rng.choice([-1, 1]))
    spectrum = _spectrum(sound)
    log_size = np.log(np.abs(spectrum) + 1e-6)
    cepstrum = np.fft.irfft(log_size, axis=0)
    cepstrum[_ENVELOPE_BINS : len(cepstrum) - _ENVELOPE_BINS + 1] = 0
    envelope = np.fft.rfft(cepstrum, axis=0).real
    place = np.minimum(np.arange(len(envelope)) / factor, len(envelope) - 1)
    first = np.minimum(place.astype(int), len(envelope) - 2)
    share = (place - first)[:, None]
    moved = envelope[first] * (1 - share) + envelope[first + 1] * share
    gain = np.exp((moved - envelope).clip(-_MOST_GAIN, _MOST_GAIN))
    return as_loud(_fitted(_wave(spectrum * gain), len(sound)), sound)


def through_vocoder(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound with the marks of early neural vocoders: a narrow band, in few mu-law steps.

    A low-pass at 4 to 8 kHz, then 6 to 8 bits (van den Oord et al. 2016, arXiv:1609.03499,
    section 2.2).
    """
    from scipy import signal  # a second to load: only where it is needed

    require(sound, _WINDOW)
    low_pass = signal.butter(8, rng.uniform(*_BAND_HZ), fs=RATE_HZ, output="sos")
    wave = signal.sosfilt(low_pass, sound - np.mean(sound, dtype=np.float64))
    wave /= max(float(np.abs(wave).max()), 1e-9)
    steps = 2 ** int(rng.integers(_BITS[0], _BITS[1] + 1)) - 1
    packed = np.sign(wave) * np.log1p(steps * np.abs(wave)) / np.log1p(steps)
    packed = (np.floor(packed * steps / 2) + 0.5) * 2 / steps  # no step is silence
    wave = np.sign(packed) * np.expm1(np.abs(packed) * np.log1p(steps)) / steps
    return as_loud(wave, sound)


def through_world(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound taken apart and made anew by WORLD, its pitch up to 6% higher or lower.

    Source: Morise et al. 2016, "WORLD: a vocoder-based high-quality speech synthesis system".
    """
    require(sound, _WINDOW)
    world = _world()
    wave = sound.astype(np.float64)
    pitch, times = world.harvest(wave, RATE_HZ)
    envelope = world.cheaptrick(wave, pitch, times, RATE_HZ)
    noise = world.d4c(wave, pitch, times, RATE_HZ)
    made = world.synthesize(pitch * rng.uniform(*_WORLD_PITCH), envelope, noise, RATE_HZ)
    return as_loud(_fitted(made, len(sound)), sound)


def require_world(views: Iterable[View]) -> None:
    """Make sure that `through_world` can be called.

    Raises:
        ConfigError: pyworld cannot be loaded.
    """
    try:
        _world()
    except ImportError as error:
        raise ConfigError(
            f"copies.world needs the package pyworld, which cannot be loaded ({error}): install it "
            'with `pip install -e ".[world]"`, which takes a C++ compiler, or leave copies.world '
            "out."
        ) from error


def _world() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for its own version in an old way
        return importlib.import_module("pyworld")


def _spectrum(sound: Sound) -> Spectrum:
    from scipy import signal  # a second to load: only where it is needed

    return np.asarray(signal.stft(sound, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)[2])


def _wave(spectrum: npt.NDArray[np.complexfloating]) -> npt.NDArray[np.float64]:
    from scipy import signal

    wave = signal.istft(spectrum, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)[1]
    return np.asarray(wave, np.float64)


def _fitted(wave: Wave, length: int) -> Wave:
    return np.pad(wave[:length], (0, max(0, length - len(wave))))
