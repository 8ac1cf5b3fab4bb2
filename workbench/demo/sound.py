"""The sound of a demo clip: voiced, speech-like, one voice an identity."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from workbench.values import Frozen

DEMO_RATE_HZ = 16_000

Samples = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

_CONTROL_HZ = 250
_WINDOW = 512
_HOP = 128

# The first three formants of American English vowels spoken by men, in Hz, and how far the jaw
# drops and the lips spread, both in [0, 1].
# Source: Peterson and Barney, "Control methods used in a study of the vowels", 1952, table II.
_VOWELS = (
    ((270, 2290, 3010), 0.25, 1.0),
    ((390, 1990, 2550), 0.40, 0.8),
    ((530, 1840, 2480), 0.60, 0.7),
    ((660, 1720, 2410), 0.85, 0.7),
    ((730, 1090, 2440), 1.00, 0.4),
    ((570, 840, 2410), 0.75, 0.1),
    ((300, 870, 2240), 0.30, 0.0),
    ((640, 1190, 2390), 0.80, 0.4),
    ((490, 1350, 1690), 0.50, 0.3),
)
_BANDWIDTHS_HZ = (70.0, 95.0, 130.0, 190.0, 260.0)
# Centre and width of a fricative's noise in Hz, and its level.
_FRICATIVES = ((5600.0, 1300.0, 0.55), (3300.0, 1000.0, 0.6), (4800.0, 2600.0, 0.25))


class Voice(Frozen):
    """What makes one speaker sound like nobody else."""

    f0_hz: float
    intonation: float
    tract_scale: float
    breath: float
    open_quotient: float
    jitter: float
    shimmer: float
    syllable_s: float


class Room(Frozen):
    """Where and how a clip was recorded; a real clip and its fake twin share it."""

    reverb_s: float
    reverb_db: float
    noise_db: float
    noise_color: float
    tilt_db: float
    level_db: float


class Utterance(NamedTuple):
    """Speech in the clear (samples,), and what the mouth does meanwhile (frames,), in [0, 1]."""

    wave: Samples
    opening: Samples
    spread: Samples


def draw_voice(rng: np.random.Generator) -> Voice:
    """Return the voice of a new identity."""
    high = rng.random() < 0.5
    return Voice(
        f0_hz=float(rng.uniform(165, 245) if high else rng.uniform(85, 150)),
        intonation=float(rng.uniform(0.08, 0.25)),
        tract_scale=float(rng.uniform(1.08, 1.24) if high else rng.uniform(0.9, 1.06)),
        breath=float(rng.uniform(0.02, 0.10)),
        open_quotient=float(rng.uniform(0.5, 0.75)),
        jitter=float(rng.uniform(0.004, 0.015)),
        shimmer=float(rng.uniform(0.03, 0.10)),
        syllable_s=float(rng.uniform(0.15, 0.24)),
    )


def draw_room(rng: np.random.Generator) -> Room:
    """Return one recording condition."""
    return Room(
        reverb_s=float(rng.uniform(0.12, 0.45)),
        reverb_db=float(rng.uniform(-24, -10)),
        noise_db=float(rng.uniform(-48, -28)),
        noise_color=float(rng.uniform(0.0, 1.0)),
        tilt_db=float(rng.uniform(-4, 4)),
        level_db=float(rng.uniform(-34, -20)),
    )


def stft(wave: Samples, window: int, hop: int) -> Spectrum:
    """Return the short-time spectrum (frames, window / 2 + 1) of `wave`, with padded ends."""
    padded = np.pad(wave, (window // 2, window // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return np.fft.rfft(frames * signal.get_window("hann", window), axis=1)


def istft(spectrum: Spectrum, num_samples: int, window: int, hop: int) -> Samples:
    """Return the wave (num_samples,) whose short-time spectrum is closest to `spectrum`."""
    shape = signal.get_window("hann", window)
    frames = np.fft.irfft(spectrum, window, axis=1) * shape
    wave = np.zeros(hop * len(frames) + window)
    weight = np.zeros_like(wave)
    for i, frame in enumerate(frames):
        wave[i * hop : i * hop + window] += frame
        weight[i * hop : i * hop + window] += shape**2
    wave /= np.maximum(weight, 1e-3)
    return wave[window // 2 : window // 2 + num_samples]


def speak(voice: Voice, rng: np.random.Generator, num_frames: int, fps: int) -> Utterance:
    """Return `num_frames` / `fps` seconds of speech, with the mouth's opening at each frame."""
    num_samples = num_frames * DEMO_RATE_HZ // fps
    score = _score(voice, rng, num_samples / DEMO_RATE_HZ)
    at = np.arange(num_samples) / DEMO_RATE_HZ * _CONTROL_HZ
    grid = np.arange(score.shape[1])

    pitch = _pitch(voice, rng, score.shape[1])
    source, noise = _source(voice, rng, np.interp(at, grid, pitch))
    source *= np.interp(at, grid, score[0])
    # White noise feeds the fricatives and the breath behind the voice alike.
    breath = noise * np.interp(at, grid, score[0]) * voice.breath

    spectrum = stft(source + breath, _WINDOW, _HOP)
    when = np.minimum(np.arange(len(spectrum)) * _HOP / DEMO_RATE_HZ * _CONTROL_HZ, grid[-1])
    tracks = np.stack([np.interp(when, grid, track) for track in score[1:4]])
    spectrum *= _tract(voice, tracks)
    hiss = stft(rng.standard_normal(num_samples), _WINDOW, _HOP)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / DEMO_RATE_HZ)
    for (center, width, level), gain in zip(_FRICATIVES, score[4:7], strict=True):
        band = np.exp(-0.5 * ((hertz - center * voice.tract_scale**0.5) / width) ** 2)
        spectrum += 0.16 * level * np.interp(when, grid, gain)[:, None] * band * hiss
    frames = np.arange(num_frames) / fps * _CONTROL_HZ
    return Utterance(
        wave=istft(spectrum, num_samples, _WINDOW, _HOP),
        opening=np.interp(frames, grid, score[7]),
        spread=np.interp(frames, grid, score[8]),
    )


def reverberate(clear: Samples, room: Room, rng: np.random.Generator) -> Samples:
    """Return `clear` as it sounds in `room`, before any noise."""
    length = int(room.reverb_s * DEMO_RATE_HZ)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= 10 ** (room.reverb_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return signal.fftconvolve(clear, tail)[: len(clear)]


def record(heard: Samples, room: Room, rng: np.random.Generator) -> Samples:
    """Return `heard` with the noise, the microphone's tilt and the level of `room`.

    It comes after any forgery, so that the noise floor is the same over a whole clip.
    """
    spectrum = np.fft.rfft(rng.standard_normal(len(heard)))
    hertz = np.maximum(np.fft.rfftfreq(len(heard), 1 / DEMO_RATE_HZ), 40.0)
    noise = np.fft.irfft(spectrum * (hertz / 1000) ** (-0.8 * room.noise_color), len(heard))
    noise *= rms(heard) / rms(noise) * 10 ** (room.noise_db / 20)
    tilt = 10 ** (room.tilt_db / 20 * np.log2(hertz / 1000) / 3)
    wave = np.fft.irfft(np.fft.rfft(heard + noise) * tilt, len(heard))
    return set_level(wave, room.level_db)


def set_level(wave: Samples, level_db: float) -> Samples:
    """Return `wave` at an RMS of `level_db` dB below full scale, its rare peaks kept in range."""
    return np.clip(wave * (10 ** (level_db / 20) / rms(wave)), -0.99, 0.99)


def rms(wave: Samples) -> float:
    """Return the root mean square of `wave`, never zero."""
    return float(np.sqrt(np.mean(wave**2)) + 1e-12)


def _score(voice: Voice, rng: np.random.Generator, duration_s: float) -> Samples:
    """Return (9, steps): voicing, three formants, three fricatives, jaw and lips over time."""
    steps = int(np.ceil(duration_s * _CONTROL_HZ)) + 1
    score = np.zeros((9, steps))
    score[1:4] = np.array([500.0, 1500.0, 2500.0])[:, None]
    score[8] = 0.4
    now = float(rng.uniform(0.02, 0.15))
    while now < duration_s - 0.1:
        onset = str(rng.choice(["fricative", "stop", "nasal", "none"], p=[0.3, 0.25, 0.2, 0.25]))
        now = _onset(score, rng, onset, now)
        length_s = voice.syllable_s * float(rng.uniform(0.7, 1.4))
        first, second = rng.integers(len(_VOWELS), size=2)
        glide = rng.random() < 0.4
        low, high = _steps(now, now + length_s, steps)
        way = np.linspace(0, 1, high - low)[None] if glide else np.zeros((1, high - low))
        start, stop = (np.array(_VOWELS[i][0], float)[:, None] for i in (first, second))
        score[0, low:high] = rng.uniform(0.6, 1.0)
        score[1:4, low:high] = start + (stop - start) * way
        score[7, low:high] = _VOWELS[first][1] * rng.uniform(0.8, 1.0)
        score[8, low:high] = _VOWELS[first][2]
        now += length_s
        if rng.random() < 0.12:
            now += float(rng.uniform(0.08, 0.25))
    for row, sigma_s in zip(score, (0.012, *[0.022] * 3, *[0.008] * 3, 0.03, 0.04), strict=True):
        ndimage.gaussian_filter1d(row, sigma_s * _CONTROL_HZ, output=row, mode="nearest")
    return score


def _onset(score: Samples, rng: np.random.Generator, kind: str, now: float) -> float:
    """Write a syllable's first consonant at `now` seconds; return when its vowel begins."""
    steps = score.shape[1]
    if kind == "fricative":
        until = now + float(rng.uniform(0.06, 0.14))
        low, high = _steps(now, until, steps)
        score[4 + rng.integers(3), low:high] = rng.uniform(0.5, 1.0)
        score[7, low:high] = 0.15
        return until
    if kind == "stop":
        until = now + float(rng.uniform(0.04, 0.08))
        low, high = _steps(until, until + 0.015, steps)
        score[4 + rng.integers(3), low:high] = rng.uniform(0.8, 1.4)
        return until + 0.015
    if kind == "nasal":
        until = now + float(rng.uniform(0.05, 0.09))
        low, high = _steps(now, until, steps)
        score[0, low:high] = 0.3
        score[1:4, low:high] = np.array([260.0, 1150.0, 2300.0])[:, None]
        return until
    return now


def _steps(start_s: float, stop_s: float, steps: int) -> tuple[int, int]:
    low, high = (min(int(when * _CONTROL_HZ), steps) for when in (start_s, stop_s))
    return low, high


def _pitch(voice: Voice, rng: np.random.Generator, steps: int) -> Samples:
    """Return the fundamental (steps,) in Hz: falling over the phrase, with accents."""
    accents = ndimage.gaussian_filter1d(rng.standard_normal(steps), 0.12 * _CONTROL_HZ)
    accents /= np.std(accents) + 1e-9
    fall = np.linspace(0.5, -0.5, steps) * rng.uniform(0.5, 1.5)
    flutter = ndimage.gaussian_filter1d(rng.standard_normal(steps), 1.0) * voice.jitter
    return voice.f0_hz * np.exp(voice.intonation * (0.6 * accents + fall) + flutter)


def _source(voice: Voice, rng: np.random.Generator, pitch_hz: Samples) -> tuple[Samples, Samples]:
    """Return the glottal pulses and the noise of the open glottis, both (samples,)."""
    # Twice the rate, since the closing edge of a pulse has energy far above the band.
    phase = np.cumsum(np.repeat(pitch_hz, 2)) / (2 * DEMO_RATE_HZ)
    cycle = phase.astype(np.int64)
    phase -= cycle
    gains = 1 + voice.shimmer * rng.standard_normal(int(cycle[-1]) + 1)
    opening, closing = 0.66 * voice.open_quotient, 0.34 * voice.open_quotient
    rise = 0.5 * (1 - np.cos(np.pi * np.minimum(phase / opening, 1)))
    fall = np.cos(0.5 * np.pi * np.clip((phase - opening) / closing, 0, 1))
    flow = np.where(phase < opening, rise, fall) * gains[cycle]
    pulses = signal.resample_poly(np.diff(flow, prepend=flow[0]), 1, 2) * 6
    noise = rng.standard_normal(len(pulses)) * (0.3 + flow[::2][: len(pulses)])
    return pulses, noise


def _tract(voice: Voice, formants: Samples) -> Spectrum:
    """Return the response (frames, bins) of a vocal tract with `formants` (3, frames) in Hz."""
    upper = np.broadcast_to(np.array([[3500.0], [4500.0]]), (2, formants.shape[1]))
    hertz = np.concatenate([formants, upper]) * voice.tract_scale
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(_WINDOW, 1.0))[None]
    response = np.ones((formants.shape[1], z.shape[1]), complex)
    for track, width in zip(hertz, _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width / DEMO_RATE_HZ)
        pole = (radius * np.exp(2j * np.pi * np.minimum(track, 7600.0) / DEMO_RATE_HZ))[:, None]
        unity = np.abs((1 - pole) * (1 - pole.conj()))
        response *= unity / ((1 - pole * z) * (1 - pole.conj() * z))
    return response
