"""The log spectrogram against librosa, and by hand."""

import librosa
import numpy as np
import pytest
from pydantic import ValidationError

from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.logspec import Logspec
from workbench.media.view import Sound

TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ


def sweep() -> Sound:
    noise = np.random.default_rng(0).normal(0, 0.01, len(TIME_S))
    return np.asarray(0.5 * np.sin(2 * np.pi * (200 + 1500 * TIME_S) * TIME_S) + noise, np.float32)


@pytest.mark.parametrize(
    ("window", "hop", "low_hz", "high_hz"),
    [(2048, 512, 0, 11_025), (256, 64, 0, 11_025), (8192, 1000, 50, 4_000), (1024, 256, 4e3, 8e3)],
)
def test_levels_are_librosas(window: int, hop: int, low_hz: float, high_hz: float) -> None:
    sound = sweep()
    magnitudes = np.abs(librosa.stft(sound, n_fft=window, hop_length=hop))
    bins_hz = librosa.fft_frequencies(sr=RATE_HZ, n_fft=window)
    inside = magnitudes[(bins_hz >= low_hz) & (bins_hz <= high_hz)]
    expected = librosa.amplitude_to_db(inside, ref=np.max)
    view = Logspec(window=window, hop=hop, low_hz=low_hz, high_hz=high_hz)
    np.testing.assert_allclose(view.level_db(sound), expected, atol=0.01)


def test_the_picture_is_librosas_to_a_grey_level() -> None:
    sound = sweep()
    level_db = librosa.amplitude_to_db(np.abs(librosa.stft(sound)), ref=np.max)
    # 1025 x 87: each of 205 rows is the mean of five, and columns are interpolated; here both are
    # done in floating point, and rounding comes last.
    grey = (level_db + 80) * 255 / 80
    rows = grey.reshape(205, 5, -1).mean(axis=1)
    centres = (np.arange(205) + 0.5) * rows.shape[1] / 205 - 0.5
    expected = [np.interp(centres, np.arange(rows.shape[1]), row) for row in rows]
    picture = Logspec(image_px=205).picture(sound)
    assert np.ptp(picture) > 200
    assert np.abs(picture - np.array(expected)).max() <= 1.5


@pytest.mark.parametrize(("frequency_hz", "row"), [(1_000, 23), (5_000, 116), (10_000, 232)])
def test_rows_run_evenly_from_low_to_high_frequency(frequency_hz: float, row: int) -> None:
    # 11,025 Hz on 256 rows: 43.07 Hz each.
    sound = np.sin(2 * np.pi * frequency_hz * TIME_S).astype(np.float32)
    assert Logspec().picture(sound)[:, 128].argmax() == pytest.approx(row, abs=1)


def test_a_band_fills_the_picture_and_is_measured_by_its_own_loudest() -> None:
    # From 4 to 8 kHz, 5 kHz is a quarter down; the louder tone at 500 Hz does not count.
    tones = np.sin(2 * np.pi * 500 * TIME_S) + 0.01 * np.sin(2 * np.pi * 5_000 * TIME_S)
    picture = Logspec(low_hz=4_000, high_hz=8_000).picture(tones.astype(np.float32))
    assert picture[:, 128].argmax() == pytest.approx(64, abs=1)
    assert picture[64, 128] > 220


def test_both_edges_of_a_band_are_part_of_it() -> None:
    # Frequencies of a window of 256 lie 22,050 / 256 = 86.13 Hz apart; these are numbers 10 to 30.
    view = Logspec(window=256, hop=64, low_hz=861.328125, high_hz=2583.984375)
    assert len(view.level_db(sweep())) == 21


def test_a_tone_one_tenth_as_strong_is_20_db_darker() -> None:
    # Both lie on a frequency of the transform: 100 and 300 times 22,050 / 2048 Hz.
    strong, weak = (np.sin(2 * np.pi * n * RATE_HZ / 2048 * TIME_S) for n in (100, 300))
    level_db = Logspec().level_db((strong + 0.1 * weak).astype(np.float32))
    assert level_db[100, 40] == pytest.approx(0, abs=1e-3)
    assert level_db[300, 40] == pytest.approx(-20, abs=1e-3)


def test_a_sound_without_content_in_the_band_is_silent() -> None:
    with pytest.raises(MediaError) as caught:
        Logspec().picture(np.zeros(RATE_HZ, np.float32))
    assert caught.value.status == "silent"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low_hz": 5_000, "high_hz": 4_000}, "not below high_hz"),
        ({"low_hz": 5_000, "high_hz": 5_070}, "only 6 frequencies from 5000 to 5070 Hz"),
        ({"low_hz": 5_001, "high_hz": 5_002}, "only 0 frequencies"),
        ({"window": 16_384}, "256, 512, 1024, 2048, 4096 or 8192"),
    ],
)
def test_bands_that_hold_next_to_nothing_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Logspec.model_validate(settings)
