from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import correlate

from workbench.degradation.degradations import DEGRADATIONS, Degradation
from workbench.degradation.sounds import (
    as_amr,
    as_g711,
    as_g726,
    as_mp3,
    as_opus,
    clipped,
    in_room,
    quiet,
    through_telephone,
    trimmed,
    with_noise,
)
from workbench.media.audio import RATE_HZ
from workbench.media.view import Sound

Coded = Callable[[Sound, np.random.Generator], Sound]
OF_SOUNDS = [
    each
    for each in DEGRADATIONS.values()
    if each.of_sound and each.name != "trimmed"  # no worse, and see below
]


def tone(frequency_hz: float, duration_s: float = 1.0) -> Sound:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return np.asarray(0.3 * np.sin(2 * np.pi * frequency_hz * time_s), np.float32)


def babble() -> Sound:
    """Noise that swells and fades, of an odd length."""
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ + 7)
    swelling = np.sin(np.arange(len(noise)) / 2000) ** 2
    return np.asarray(noise * swelling, np.float32)


def power_db(sound: Sound) -> float:
    return 10 * float(np.log10(np.mean(np.square(sound, dtype=np.float64))))


@pytest.mark.parametrize("degradation", OF_SOUNDS, ids=lambda each: each.name)
def test_a_sound_gets_worse_keeps_its_length_and_is_the_same_twice(
    degradation: Degradation,
) -> None:
    sound = babble()
    before = sound.copy()
    assert degradation.of_sound
    worse, again = (degradation.of_sound(sound, degradation.random(sound)) for _ in range(2))
    assert worse.shape == sound.shape
    assert worse.dtype == np.float32
    np.testing.assert_array_equal(worse, again)
    np.testing.assert_array_equal(sound, before)
    assert np.abs(worse).max() <= 1
    assert power_db(worse - sound) > -50


@pytest.mark.parametrize("degradation", OF_SOUNDS, ids=lambda each: each.name)
def test_a_hundredth_of_a_second_is_enough(degradation: Degradation) -> None:
    sound = tone(1000, 0.01)
    assert degradation.of_sound
    assert len(degradation.of_sound(sound, degradation.random(sound))) == len(sound)


@pytest.mark.parametrize(("frequency_hz", "least_db", "most_db"), [
    (100, -200, -25), (1000, -1, 1), (2500, -1, 1), (5000, -200, -40),
])  # fmt: skip
def test_a_telephone_carries_its_band_alone(
    frequency_hz: float, least_db: float, most_db: float
) -> None:
    sound = tone(frequency_hz)
    middle = slice(RATE_HZ // 4, -RATE_HZ // 4)
    change = power_db(through_telephone(sound)[middle]) - power_db(sound[middle])
    assert least_db < change < most_db


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("coded", [as_g711, as_g726, as_amr])
def test_a_call_is_its_band_in_its_place_and_coded(coded: Coded, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sound = (babble() + 0.2 * tone(700, 2)[: RATE_HZ + 7]).astype(np.float32)
    heard = coded(sound, rng)
    band = through_telephone(sound)
    lag = int(np.argmax(correlate(heard, band, mode="full"))) - (len(band) - 1)
    assert abs(lag) <= 1  # a sample of the 8000 a second is 2.8 of these
    assert power_db(coded(tone(700), rng)) == pytest.approx(power_db(tone(700)), abs=2)
    for frequency_hz in (100, 5000):
        lost = coded(tone(frequency_hz, 0.5), rng)[2000:-2000]
        assert np.sqrt(np.mean(lost**2)) < 0.3 / np.sqrt(2) / 30


def test_g711_has_finer_steps_for_what_is_fainter() -> None:
    # Both laws have 16 even steps in each octave: the error of half a step, evenly spread, lies
    # 20 log10(16..32 / sqrt(2) * sqrt(12)) = 32 to 38 dB below a sine whose peak is in that octave,
    # and a little deeper, since in lower octaves the sine has finer steps. 8 even bits would put a
    # peak of 0.01 at 20 log10(0.01 * 128 / sqrt(2) * sqrt(12)) = 10 dB.
    middle = slice(RATE_HZ // 4, -RATE_HZ // 4)
    for peak in (0.3, 0.1, 0.01):
        sound = tone(997) * np.float32(peak / 0.3)
        plain = through_telephone(sound)[middle]
        for seed in (0, 1):
            heard = as_g711(sound, np.random.default_rng(seed))[middle]
            assert 32 < power_db(plain) - power_db(heard - plain) < 42


def test_g726_and_amr_lose_more_than_g711() -> None:
    sound = through_telephone(babble())
    loss = {}
    for coded in (as_g711, as_g726, as_amr):
        heard = coded(sound, np.random.default_rng(0))
        loss[coded] = power_db(heard - through_telephone(sound))
    assert loss[as_g711] + 3 < loss[as_g726] < loss[as_amr]


def test_noise_is_20_db_below_the_sound() -> None:
    sound = tone(500)
    noise = with_noise(sound, np.random.default_rng(0)) - sound
    assert power_db(sound) - power_db(noise) == pytest.approx(20, abs=0.2)


def test_a_room_answers_for_half_a_second_and_is_no_louder() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[100] = 0.5
    heard = in_room(click, np.random.default_rng(0))
    assert power_db(heard) == pytest.approx(power_db(click), abs=0.01)
    direct, echo = heard[100], heard[101:]
    # The echo has half of the direct sound's power, less what falls onto the click itself.
    assert np.sum(echo**2) / direct**2 == pytest.approx(0.5, abs=0.01)
    # 60 dB in 0.5 s: 24 dB between tenths of a second that begin 0.2 s apart.
    tenth = RATE_HZ // 10
    early, late = heard[101 : 101 + tenth], heard[101 + 2 * tenth : 101 + 3 * tenth]
    assert power_db(early) - power_db(late) == pytest.approx(24, abs=1)
    assert np.abs(heard[:100]).max() < 1e-6


def test_quiet_is_30_db_less_in_whole_steps() -> None:
    sound = tone(500)
    faint = quiet(sound)
    assert power_db(sound) - power_db(faint) == pytest.approx(30, abs=0.1)
    steps = faint.astype(np.float64) * 32_767
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_clipped_is_four_times_too_loud() -> None:
    loud = clipped(tone(500))
    # A sine of 3.98 is beyond 1 in 1 - 2 asin(1 / 3.98) / pi = 0.838 of the time.
    assert np.mean(np.abs(loud) == 1) == pytest.approx(0.838, abs=0.01)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_an_mp3_or_opus_is_the_same_sound_in_its_place_but_not_bit_by_bit(
    seed: int | None,
) -> None:
    sound = (babble() + 0.2 * tone(700, 2)[: RATE_HZ + 7]).astype(np.float32)
    packed = as_mp3(sound) if seed is None else as_opus(sound, np.random.default_rng(seed))
    lag = int(np.argmax(correlate(packed, sound, mode="full"))) - (len(sound) - 1)
    assert lag == 0
    assert 3 < power_db(sound) - power_db(packed - sound) < 40


def test_a_trimmed_sound_begins_and_goes_on_where_something_is_heard() -> None:
    said = tone(500)
    silence = np.full(RATE_HZ // 2, 1e-4, np.float32)
    sound = np.concatenate([silence, said, silence])
    heard = trimmed(sound)
    assert len(heard) == len(sound)
    for part in np.array_split(heard, 20):
        assert np.sqrt(np.mean(part**2)) > 0.1
    block = RATE_HZ // 50
    start = int(np.argmax(heard[:block] > 0.01))
    np.testing.assert_array_equal(heard[start : start + 5000], said[: 5000 + start][-5000:])
    for nothing in (np.zeros(900, np.float32), said):
        np.testing.assert_array_equal(trimmed(nothing), nothing)
