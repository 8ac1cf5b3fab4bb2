"""The constant-Q transform against its definition, librosa, and by hand."""

import librosa
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.cqt import Cqt
from workbench.media.view import Sound

TIME_S = np.arange(4 * RATE_HZ) / RATE_HZ


def tone(frequency_hz: float) -> Sound:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * TIME_S)).astype(np.float32)


def noise(samples: int = len(TIME_S)) -> Sound:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def chirp() -> Sound:
    rising = 0.5 * np.sin(2 * np.pi * (100 + 400 * TIME_S) * TIME_S)
    return (rising + 0.1 * noise()).astype(np.float32)


def direct_db(
    view: Cqt, sound: Sound, *, bins: list[int], columns: list[int]
) -> npt.NDArray[np.float64]:
    """Return (bins, columns) decibels by the transform's definition, one sum after the other.

    Source:
        Brown, "Calculation of a constant Q spectral transform", JASA 89 (1991), equation 5, with a
        centred Hann window and the square root of its length as scale.
    """
    ratio = 2 ** (2 / view.bins_per_octave)
    quality = (ratio + 1) / (ratio - 1)
    power = np.empty((len(bins), len(columns)))
    for row, number in enumerate(bins):
        frequency_hz = view.low_hz * 2 ** (number / view.bins_per_octave)
        length = quality * RATE_HZ / frequency_hz
        reach = int(length / 2)
        sample = np.arange(-reach, reach + 1)
        window = (0.5 + 0.5 * np.cos(2 * np.pi * sample / length)) / (length / 2)
        kernel = np.sqrt(length) * window * np.exp(-2j * np.pi * frequency_hz / RATE_HZ * sample)
        padded = np.pad(sound.astype(np.float64), reach + view.hop)
        for column, frame in enumerate(columns):
            start = frame * view.hop + view.hop
            power[row, column] = np.abs(padded[start : start + len(kernel)] @ kernel) ** 2
    return np.asarray(10 * np.log10(power))


@pytest.mark.parametrize(
    "view",
    [
        Cqt(),
        Cqt(bins_per_octave=12, octaves=8, low_hz=40, hop=256),
        Cqt(bins_per_octave=48, octaves=3, low_hz=500, hop=2048),
        Cqt(bins_per_octave=36, octaves=2, low_hz=16, hop=1024),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["noise", "chirp", "tone"])
def test_levels_are_those_of_the_definition(view: Cqt, name: str) -> None:
    sound = {"noise": noise(), "chirp": chirp(), "tone": tone(2.1 * view.low_hz)}[name]
    level_db = view.level_db(sound)
    assert level_db.shape == (view.bins_per_octave * view.octaves, 1 + len(sound) // view.hop)
    loudest = np.unravel_index(level_db.argmax(), level_db.shape)
    bins = [*range(0, len(level_db), 7), int(loudest[0])]
    columns = [*range(0, level_db.shape[1], 5), level_db.shape[1] - 1, int(loudest[1])]
    direct = direct_db(view, sound, bins=bins, columns=columns)
    expected = direct - direct[-1, -1]  # below the loudest, which is the last
    ours = level_db[np.ix_(bins, columns)]
    # A kernel's spectrum is cut off where it is below -82 dB, so that what is 40 dB below the
    # loudest is right to 10 ^ (-42 / 20) = 0.8%, 0.07 dB.
    audible = expected > -40
    assert audible.sum() >= 10
    assert np.abs(ours - expected)[audible].max() < 0.07
    assert ours[expected < -80].max(initial=-80) < -74


@pytest.mark.parametrize(
    ("sound", "tolerance_db"), [(noise(), 1.3), (chirp(), 0.5), (tone(440), 0.3)]
)
def test_levels_are_librosas(sound: Sound, tolerance_db: float) -> None:
    # librosa sets each kernel's centre to a whole sample of an octave's lower rate, up to half of
    # one off. Noise has changed by 3% of its power's root until then: the difference from the
    # definition, 36 dB below the loudest, is librosa's. At 20 dB below it is 10 ^ (-16 / 20) = 16%.
    magnitudes = np.abs(
        librosa.cqt(
            sound, sr=RATE_HZ, fmin=32.70, n_bins=168, bins_per_octave=24, tuning=0.0, sparsity=0
        )
    )
    expected = librosa.amplitude_to_db(magnitudes, ref=np.max)
    level_db = Cqt().level_db(sound)
    assert level_db.shape == expected.shape
    audible = expected > -20
    difference_db = np.abs(level_db - expected)[audible]
    assert difference_db.max() < tolerance_db
    assert np.median(difference_db) < 0.06


@pytest.mark.parametrize("bins_per_octave", [12, 24, 36])
@pytest.mark.parametrize("row", [30, 71])
def test_a_tone_is_loudest_in_its_bin_and_an_octave_up_in_its_octave(
    bins_per_octave: int, row: int
) -> None:
    view = Cqt(bins_per_octave=bins_per_octave, low_hz=55)
    frequency_hz = 55 * 2 ** (row / bins_per_octave)
    middle = [view.level_db(tone(factor * frequency_hz))[:, 80].argmax() for factor in (1, 2)]
    assert middle == [row, row + bins_per_octave]


def test_the_frequencies_of_the_bins_are_evenly_spaced_in_pitch() -> None:
    frequencies_hz = Cqt(low_hz=55).frequencies_hz
    assert len(frequencies_hz) == 7 * 24
    np.testing.assert_allclose(frequencies_hz[[0, 12, 24, 48]], [55, 77.782, 110, 220], rtol=1e-5)


def test_white_noise_is_equally_loud_at_all_pitches() -> None:
    power = 10 ** (Cqt().level_db(noise(20 * RATE_HZ)) / 10)
    by_octave = power.mean(axis=1).reshape(7, 24).mean(axis=1)[2:]
    assert by_octave.max() / by_octave.min() < 1.3


def test_a_long_sound_is_computed_in_blocks_without_seams() -> None:
    # Blocks are 210 columns long. Moved by 100 columns, the same sound is cut elsewhere.
    sound = np.pad(noise(20 * RATE_HZ), (RATE_HZ, RATE_HZ))
    now, later = Cqt().level_db(sound), Cqt().level_db(np.pad(sound, (100 * 512, 0)))
    audible = now > -40
    assert audible.mean() > 0.5
    np.testing.assert_allclose(later[:, 100:][audible], now[audible], atol=0.07)


def test_the_pictures_rows_are_the_bins() -> None:
    # Bin 84 of 168 is in the middle of the picture.
    picture = Cqt().picture(tone(32.70 * 2 ** (84 / 24)))
    assert picture[:, 128].argmax() == pytest.approx(128, abs=2)


def test_silence_is_silent() -> None:
    with pytest.raises(MediaError) as caught:
        Cqt().picture(np.zeros(RATE_HZ, np.float32))
    assert caught.value.status == "silent"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"octaves": 9}, "9 octaves from 32.7 Hz reach up to 166.. Hz"),
        ({"low_hz": 100}, "over half the sample rate, 11025 Hz"),
        ({"hop": 500}, "128, 256, 512, 1024 or 2048"),
        ({"low_hz": 5}, "greater than or equal to 16"),
    ],
)
def test_bins_that_the_sound_cannot_hold_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Cqt.model_validate(settings)


def test_eight_octaves_fit() -> None:
    assert Cqt(octaves=8).frequencies_hz[-1] == pytest.approx(8133, abs=1)
