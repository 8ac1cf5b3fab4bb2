"""Voices forged by signal processing: what of the real one changes, and what does not."""

import numpy as np
import numpy.typing as npt
import pytest

from workbench.degradation.forgeries import transplanted
from workbench.degradation.voices import (
    formant_shifted,
    pitch_shifted,
    through_vocoder,
    through_world,
)
from workbench.media.audio import RATE_HZ
from workbench.media.view import Sound

TIME_S = np.arange(RATE_HZ) / RATE_HZ


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def buzz(pitch_hz: float, formant_hz: float) -> Sound:
    """Return all overtones of a pitch, those around a formant 26 dB louder at most."""
    overtones = np.arange(1, int(RATE_HZ / 2 / pitch_hz))
    loud = 0.05 + np.exp(-(((overtones * pitch_hz - formant_hz) / 300) ** 2))
    phases = seeded().uniform(0, 2 * np.pi, len(overtones))
    waves = loud[:, None] * np.sin(
        2 * np.pi * pitch_hz * overtones[:, None] * TIME_S + phases[:, None]
    )
    wave = waves.sum(axis=0)
    return np.asarray(0.3 * wave / np.abs(wave).max(), np.float32)


def spectrum(sound: Sound) -> npt.NDArray[np.float64]:
    """Return the size of each whole frequency in hertz."""
    return np.asarray(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))


def test_a_shifted_pitch_moves_a_tone_by_1_to_4_semitones_either_way_at_the_same_speed() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 1000 * TIME_S)).astype(np.float32)
    tone[: RATE_HZ // 2] *= 0.1  # what is soft and loud tells the speed
    moved = []
    for seed in range(8):
        fake = pitch_shifted(tone, seeded(seed))
        moved.append(12 * np.log2(spectrum(fake).argmax() / 1000))
        early, late = (np.mean(np.square(half)) for half in np.split(fake[: RATE_HZ // 2 * 2], 2))
        assert early < 0.05 * late
    assert min(np.abs(moved)) > 0.95 and max(np.abs(moved)) < 4.05
    assert min(moved) < -1 and max(moved) > 1


def test_shifted_formants_move_the_envelope_and_leave_the_pitch() -> None:
    voice = buzz(120, 1500)
    ways = set()
    for seed in range(6):
        bins = spectrum(formant_shifted(voice, seeded(seed)))
        overtones = bins[np.arange(1, 40) * 120]
        between = bins[np.arange(1, 40) * 120 + 60]
        assert np.median(overtones / between) > 10
        loudest = 120 * (1 + int(overtones.argmax()))
        shift = max(loudest, 1500) / min(loudest, 1500)
        assert 1.04 < shift < 1.33  # in steps of an overtone
        ways.add(loudest > 1500)
    assert ways == {True, False}


def test_a_vocoder_leaves_neither_high_pitches_nor_many_steps() -> None:
    noise = seeded().uniform(-0.3, 0.3, RATE_HZ).astype(np.float32)
    for seed in range(4):
        fake = through_vocoder(noise, seeded(seed))
        assert len(np.unique(fake)) <= 2**8
        bins = spectrum(fake)
        assert np.mean(bins[9500:] ** 2) < 0.05 * np.mean(bins[500:3500] ** 2)


def test_a_transplant_has_one_stretch_twice_and_all_else_once() -> None:
    sound = seeded(1).uniform(-0.5, 0.5, RATE_HZ).astype(np.float32)
    for seed in range(4):
        fake = transplanted(sound, seeded(seed))
        parts = [np.array_split(each, 100) for each in (sound, fake)]
        alike = [float(np.corrcoef(*each)[0, 1]) for each in zip(*parts, strict=True)]
        inside = np.flatnonzero(np.array(alike) < 0.9)
        assert 8 <= len(inside) <= 36
        assert inside[-1] - inside[0] + 1 == len(inside)
        middle = parts[1][int(inside.mean())]
        found = np.correlate(sound, middle, "valid")
        found /= np.sqrt(np.convolve(sound**2, np.ones(len(middle)), "valid")) * np.sqrt(
            np.sum(middle**2)
        )
        assert found.max() > 0.99  # it is heard elsewhere in the real one


def test_world_keeps_the_pitch_to_6_percent_and_no_sample() -> None:
    pytest.importorskip("pyworld")
    voice = buzz(150, 900)
    fake = through_world(voice, seeded(2))
    heard = np.fft.irfft(spectrum(fake) ** 2)
    pitch_hz = RATE_HZ / (100 + int(heard[100:200].argmax()))
    assert 0.93 < pitch_hz / 150 < 1.07
    assert abs(float(np.corrcoef(voice, fake)[0, 1])) < 0.9
