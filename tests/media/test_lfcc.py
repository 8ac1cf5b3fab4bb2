"""Linear-frequency cepstral coefficients, by hand and against another way to them."""

import librosa
import numpy as np
import pytest
from pydantic import ValidationError

from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.lfcc import Lfcc, differences, linear_filters

NOISE = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)


def test_filters_are_triangles_of_one_width() -> None:
    # Of 0 to 11,025 Hz, 4 filters: centres at 2,205, 4,410, 6,615 and 8,820 Hz.
    filters = linear_filters(4, 512, 0, RATE_HZ / 2)
    bins_hz = np.fft.rfftfreq(512, 1 / RATE_HZ)
    assert [bins_hz[row.argmax()] for row in filters] == pytest.approx(
        [2_205, 4_410, 6_615, 8_820], abs=RATE_HZ / 1024
    )
    inside = (bins_hz >= 2_205) & (bins_hz <= 8_820)
    np.testing.assert_allclose(filters.sum(axis=0)[inside], 1, atol=1e-6)
    quarter = np.interp(2_205 / 4, bins_hz, filters[0])
    assert quarter == pytest.approx(0.25, abs=1e-6)


def test_coefficients_are_the_cosines_of_librosas_levels() -> None:
    power = np.abs(librosa.stft(NOISE, n_fft=512, hop_length=256)) ** 2
    bands = linear_filters(20, 512, 0, RATE_HZ / 2) @ power
    levels = librosa.power_to_db(bands, ref=np.max)
    expected = [
        (1 if k == 0 else 2) * np.mean(levels.T * np.cos(np.pi * k * (np.arange(20) + 0.5) / 20), 1)
        for k in range(12)
    ]
    found = Lfcc(num_coefficients=12).cepstrum(NOISE)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_difference_is_the_slope_over_five_columns() -> None:
    ramp = np.arange(6, dtype=np.float32)[None]
    # At the ends the first and the last value go on: (2 * (2 - 0) + 1 - 0) / 10, and so on.
    np.testing.assert_allclose(differences(ramp), [[0.5, 0.8, 1, 1, 0.8, 0.5]])


def test_the_picture_has_coefficients_above_their_differences() -> None:
    view = Lfcc(image_px=60)  # a row for each of 20 coefficients, differences, second differences
    picture = view.picture(NOISE)
    assert picture.shape == (60, 60)
    # The spectrum of noise is even: apart from the mean level, all is about the middle grey.
    assert np.abs(picture[1:20].mean() - 128) < 4
    assert np.abs(picture[20:].mean() - 128) < 1
    level_db = view.cepstrum(NOISE)[0].mean()
    assert picture[0].mean() == pytest.approx(128 + 3 * (level_db + 40), abs=1)


def test_a_louder_sound_has_the_same_picture() -> None:
    np.testing.assert_array_equal(Lfcc().picture(NOISE), Lfcc().picture(4 * NOISE))


def test_silence_and_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MediaError, match="too faint"):
        Lfcc().of_sound(np.full(RATE_HZ, 1e-9, np.float32))
    with pytest.raises(ValidationError, match="20 filters have no 30 coefficients"):
        Lfcc(num_coefficients=30)
    with pytest.raises(ValidationError, match="fall between two frequencies of window 256"):
        Lfcc(window=256, hop=64, num_filters=128, high_hz=4_000)
