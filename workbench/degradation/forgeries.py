"""Sounds that are forged: each function takes what was recorded, and returns a fake of its length.

Nothing but the forging is to tell a fake from what it was made of: level, peak and length stay as
they were. Sounds are mono at `audio.RATE_HZ`, float32 in [-1, 1].
"""

import numpy as np
import numpy.typing as npt

from workbench.media.audio import RATE_HZ
from workbench.media.mel import mel_filters
from workbench.media.source import failure
from workbench.media.view import Sound

_WINDOW, _HOP = 1024, 256
_NUM_MELS, _ITERATIONS = (60, 80, 100), 16
_FADE = RATE_HZ * 12 // 1000
"""Samples over which one sound becomes another, so that no click tells the place."""

_TRIES = 4
Wave = npt.NDArray[np.floating]


def resynthesised(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound rebuilt from nothing but its mel spectrogram, of 60, 80 or 100 bands.

    Raises:
        MediaError: silent: it is too short to be forged, or nothing is heard; so in all of these.

    Source: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier transform",
    with the momentum of Perraudin et al. 2013, "A fast Griffin-Lim algorithm".
    """
    from scipy import signal  # a second to load: only where it is needed

    require(sound, _WINDOW)
    window = {"nperseg": _WINDOW, "noverlap": _WINDOW - _HOP}

    def spectrum_of(wave: Wave) -> npt.NDArray[np.complex64]:
        return np.asarray(signal.stft(wave, **window)[2])

    def wave_of(spectrum: npt.NDArray[np.complex64]) -> Wave:
        return np.asarray(signal.istft(spectrum, **window)[1][: len(sound)])

    filters = mel_filters(int(rng.choice(_NUM_MELS)), _WINDOW, 0.0, RATE_HZ / 2)
    of_band = filters @ np.abs(spectrum_of(sound)) ** 2 / filters.sum(axis=1, keepdims=True)
    power = filters.T @ of_band / np.maximum(filters.sum(axis=0)[:, None], 1e-12)
    size = np.sqrt(power)
    spectrum = (size * np.exp(2j * np.pi * rng.random(size.shape))).astype(np.complex64)
    before = np.zeros_like(spectrum)
    for _ in range(_ITERATIONS):
        after = spectrum_of(wave_of(spectrum))
        leap = after + 0.9 * (after - before)
        spectrum, before = size * leap / np.maximum(np.abs(leap), 1e-12), after
    return as_loud(wave_of(spectrum), sound)


def spliced(sound: Sound, other: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound with a stretch of another one, as loud, over a fifth to two thirds of it."""
    length = int(len(sound) * rng.uniform(0.2, 2 / 3))
    length = min(length, len(other))
    require(other[:length], 2 * _FADE)
    start = int(rng.integers(len(sound) - length + 1))
    place = slice(start, start + length)
    taken = int(rng.integers(len(other) - length + 1))
    return as_loud(_laid_over(sound, other[taken : taken + length], place), sound)


def stretch(rng: np.random.Generator) -> tuple[float, float]:
    """Return where a stretch of a fifth to two thirds starts and ends, as shares of the whole."""
    length = rng.uniform(0.2, 2 / 3)
    start = rng.uniform(0, 1 - length)
    return start, start + length


def with_stretch(sound: Sound, other: Sound, place: tuple[float, float]) -> Sound:
    """Return a sound in which another one, as loud, is heard from a share of it to another one.

    The other one begins at the same share of its own length, as its frames do, so that what is
    seen and heard of it belongs together; where too little is left of it, its end is heard.
    """
    start, end = (int(share * len(sound)) for share in place)
    taken = max(0, min(int(place[0] * len(other)), len(other) - (end - start)))
    heard = other[taken : taken + end - start]
    require(heard, 2 * _FADE)
    return as_loud(_laid_over(sound, heard, slice(start, start + len(heard))), sound)


def transplanted(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound with a stretch of its own, over a tenth to a third of it, in another place."""
    length = int(len(sound) * rng.uniform(0.1, 1 / 3))
    require(sound[:length], 2 * _FADE)
    # The two stretches may touch, and never overlap. Of some draws the one that changes the
    # loudest place: a pause that was replaced by a pause is no fake.
    found = []
    for _ in range(_TRIES):
        pair = np.sort(rng.integers(len(sound) - 2 * length + 1, size=2)) + np.array([0, length])
        taken, put = (slice(start, start + length) for start in rng.permutation(pair))
        found.append((_power(sound[put]), taken, put))
    _, taken, put = max(found, key=lambda each: each[0])
    return as_loud(_laid_over(sound, sound[taken], put), sound)


def mismatched(sound: Sound, other: Sound, rng: np.random.Generator) -> Sound:
    """Return what does not belong to the picture: another sound, or this one moved in time.

    Of the other sound the beginning, again and again if it is shorter. What is moved, by a quarter
    to three quarters, begins with its end.
    """
    if rng.random() < 0.5 and len(other) >= 2 * _FADE:
        times = -(-len(sound) // len(other))
        return np.tile(other, times)[: len(sound)]
    require(sound, 8 * _FADE)
    cut = int(len(sound) * rng.uniform(0.25, 0.75))
    moved = np.roll(sound, -cut)
    place = slice(len(sound) - cut - _FADE, len(sound) - cut)  # where the end meets the beginning
    moved[place] *= _rise()[::-1]
    place = slice(len(sound) - cut, len(sound) - cut + _FADE)
    moved[place] *= _rise()
    return moved


def _laid_over(sound: Sound, stretch: Sound, place: slice) -> Sound:
    """Return a sound with a stretch at a place, made as loud as what was there."""
    stretch = stretch * np.sqrt(_power(sound[place]) / max(_power(stretch), 1e-12)).clip(0.1, 10)
    share = np.ones(len(stretch), np.float32)
    share[:_FADE] = _rise()
    share[-_FADE:] = _rise()[::-1]
    forged = sound.copy()
    forged[place] += share * (stretch - sound[place])
    return forged


def as_loud(forged: Wave, sound: Sound) -> Sound:
    """Return what was forged with the power and mean of `sound`, and its peak as far as may be.

    Source: the cubic soft clipper, y = x + c x^3 of a peak of 1; a positive c raises the peak.
    """
    peak, wanted = float(np.abs(sound).max(initial=0)), np.sqrt(_power(sound))
    if not np.ptp(sound) or not np.ptp(forged):
        raise failure("silent", "there is no sound to forge")
    wave = forged - _mean(forged)
    wave /= np.abs(wave).max()
    power, cross, cubes = (float(np.mean(wave**n)) for n in (2, 4, 6))
    low, high = -1 / 3, 4.0
    for _ in range(20):
        bend = (low + high) / 2
        # A higher bend has a higher peak for the same power.
        if (1 + bend) / np.sqrt(power + 2 * bend * cross + bend**2 * cubes) < peak / wanted:
            low = bend
        else:
            high = bend
    bent = wave + low * wave**3
    bent *= wanted / np.sqrt(_power(bent))
    return (bent + (_mean(sound) - _mean(bent))).clip(-1, 1).astype(np.float32)


def require(sound: Sound, length: int) -> None:
    """Make sure that a sound has at least `length` samples.

    Raises:
        MediaError: silent.
    """
    if len(sound) < length:
        raise failure("silent", f"a sound of {len(sound)} samples is too short to be forged")


def _rise() -> npt.NDArray[np.float32]:
    # From half a step on: a sample that is exactly 0 would tell the place.
    return (np.sin(np.pi / 2 * (np.arange(_FADE) + 0.5) / _FADE) ** 2).astype(np.float32)


def _power(wave: Wave) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def _mean(wave: Wave) -> float:
    return float(np.mean(wave, dtype=np.float64))
