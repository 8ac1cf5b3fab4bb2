"""The samples of a sound, by hand."""

from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import chirp, decode, write_media
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.view import Sound
from workbench.media.waveform import Waveform


def ramp(seconds: float) -> Sound:
    """A sound that says of each sample when it is heard: it rises from 0 to 1 in ten seconds."""
    return (np.arange(round(seconds * RATE_HZ)) / (10 * RATE_HZ)).astype(np.float32)


def tone(hz: float, seconds: float = 2.0) -> Sound:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ, dtype=np.float32)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, RATE_HZ])
def test_it_has_so_many_samples_a_second(rate_hz: int) -> None:
    (samples,) = Waveform(rate_hz=rate_hz, num_samples=8_000).of_sound(tone(1_000)).array
    strengths = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert strengths.argmax() * rate_hz / 8_000 == pytest.approx(1_000, abs=rate_hz / 8_000)


def test_levels_are_16_bits_of_full_scale() -> None:
    sound = np.array([0.5, -1.0, 2.0, 0.25] * 1_000, np.float32)
    (samples,) = Waveform(rate_hz=RATE_HZ, num_samples=4_000).of_sound(sound).array
    assert samples.dtype == np.int16
    assert samples[:4].tolist() == [16_384, -32_767, 32_767, 8_192]


def test_one_stretch_begins_with_the_sound_and_several_are_spread_over_it() -> None:
    view = Waveform(rate_hz=RATE_HZ, num_samples=RATE_HZ, segments=3)
    starts = view.of_sound(ramp(5)).array[:, 0] / 32_767 * 10
    np.testing.assert_allclose(starts, [0, 2, 4], atol=1e-3)
    (only,) = view.model_copy(update={"segments": 1}).of_sound(ramp(5)).array
    assert only[0] == 0


def test_a_short_sound_is_repeated_until_it_fills_the_stretch() -> None:
    sound = tone(440, 0.1)
    made = Waveform(rate_hz=RATE_HZ, num_samples=5_000, segments=2).of_sound(sound).array
    once = np.rint(sound * 32_767).astype(np.int16)
    np.testing.assert_array_equal(made[0], np.tile(once, 3)[:5_000])
    np.testing.assert_array_equal(made[1], made[0])


def test_what_16_bits_cannot_hold_is_silence() -> None:
    with pytest.raises(MediaError, match="too faint for 16 bits") as caught:
        Waveform(num_samples=4_000).of_sound(tone(440) * 1e-6)
    assert caught.value.status == "silent"


def test_a_file_becomes_its_samples(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.wav", sound=chirp(1.0))
    view = Waveform(num_samples=20_000)
    assert decode(view, path).shape == view.stored_shape == (1, 20_000)
    assert not view.neutral().any()
    assert view.neutral().dtype == np.int16
