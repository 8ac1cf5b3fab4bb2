"""What the pictures of a sound have in common, on all three of them where it can be."""

import librosa
import numpy as np
import pytest
from pydantic import ValidationError

from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.cqt import Cqt
from workbench.media.logspec import Logspec
from workbench.media.mel import Mel
from workbench.media.source import failure
from workbench.media.spectrogram import (
    BandSpectrogram,
    Grey,
    Spectrogram,
    cut_segments,
    decibels,
    grey_square,
    power_spectra,
)
from workbench.media.view import Sound

Kind = type[Mel] | type[Logspec] | type[Cqt]
KINDS: list[Kind] = [Mel, Logspec, Cqt]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def speechlike(duration_s: float, *, seed: int = 0) -> Sound:
    """Return a sound of harmonics that glide and swell, with some noise."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (150 + 20 * np.sin(3 * time_s)) * time_s
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time_s))
    return np.asarray(0.2 * np.sin(5 * time_s) ** 2 * voice + noise, np.float32)


# Segments


def test_parts_are_evenly_spaced_from_the_first_sample_to_the_last() -> None:
    sound = np.arange(10 * RATE_HZ, dtype=np.float32)
    parts = cut_segments(sound, num_parts=3, part_s=2)
    assert [part[0] / RATE_HZ for part in parts] == [0, 4, 8]
    assert [len(part) for part in parts] == [2 * RATE_HZ] * 3
    assert parts[-1][-1] == sound[-1]


def test_parts_may_overlap() -> None:
    sound = np.arange(3 * RATE_HZ, dtype=np.float32)
    assert [part[0] / RATE_HZ for part in cut_segments(sound, num_parts=3, part_s=2)] == [0, 0.5, 1]


def test_a_single_part_is_the_middle() -> None:
    sound = np.arange(10 * RATE_HZ, dtype=np.float32)
    (part,) = cut_segments(sound, num_parts=1, part_s=2)
    assert part[0] / RATE_HZ == 4


@pytest.mark.parametrize("num_parts", [1, 2, 3])
def test_a_sound_shorter_than_a_part_is_followed_by_silence(num_parts: int) -> None:
    sound = np.ones(RATE_HZ, np.float32)
    for part in cut_segments(sound, num_parts=num_parts, part_s=1.5):
        assert len(part) == 1.5 * RATE_HZ
        assert part[:RATE_HZ].all()
        assert not part[RATE_HZ:].any()


@every_kind
def test_each_segment_is_the_picture_of_its_stretch(kind: Kind) -> None:
    view = kind(image_px=64, segments=3, segment_s=1)
    sound = speechlike(5)
    array = view.of_sound(sound).array
    assert array.shape == view.stored_shape == (3, 1, 64, 64, 1)
    whole = kind(image_px=64)
    for segment, start_s in enumerate([0, 2, 4]):
        stretch = sound[start_s * RATE_HZ :][:RATE_HZ]
        assert np.array_equal(array[segment, 0, :, :, 0], whole.picture(stretch))
    assert not np.array_equal(array[0], array[1])


@every_kind
def test_by_default_the_whole_sound_is_one_segment(kind: Kind) -> None:
    made = kind().of_sound(speechlike(1.5))
    assert made.array.shape == (1, 1, 256, 256, 1)
    assert made.array.dtype == np.uint8
    assert (made.status, made.reason) == ("ok", "")


@every_kind
def test_a_silent_segment_is_black_and_the_others_are_not(kind: Kind) -> None:
    sound = np.concatenate([speechlike(1), np.zeros(RATE_HZ, np.float32), speechlike(1)])
    array = kind(image_px=32, segments=3, segment_s=0.8).of_sound(sound).array
    assert [array[i].max() > 0 for i in range(3)] == [True, False, True]


@every_kind
def test_a_sound_with_silent_segments_alone_is_silent(kind: Kind) -> None:
    sound = np.zeros(3 * RATE_HZ, np.float32)
    sound[RATE_HZ] = 0.5  # between the two segments
    with pytest.raises(MediaError, match=f"too faint for a {kind().kind} picture") as caught:
        kind(segments=2, segment_s=0.5).of_sound(sound)
    assert caught.value.status == "silent"


def test_another_failure_of_a_segment_is_the_files() -> None:
    class Failing(Spectrogram):
        version: int = 1
        kind: str = "failing"

        def picture(self, sound: Sound) -> Grey:
            raise failure("broken", "for a test")

    with pytest.raises(MediaError) as caught:
        Failing().of_sound(speechlike(0.1))
    assert caught.value.status == "broken"


@every_kind
def test_several_segments_need_a_length(kind: Kind) -> None:
    with pytest.raises(ValidationError, match="Set segment_s"):
        kind(segments=2)
    assert kind(segment_s=2).num_segments == 1


@every_kind
@pytest.mark.parametrize("settings", [{"segments": 0}, {"segment_s": 0}, {"segment_s": 601}])
def test_segments_have_bounds(kind: Kind, settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate({"segments": 1, **settings})


@pytest.mark.parametrize("kind", [Mel, Logspec])
@pytest.mark.parametrize("hop", [127, 2049])
def test_a_hop_suits_its_window(kind: type[BandSpectrogram], hop: int) -> None:
    with pytest.raises(ValidationError, match="Choose 128 to 2048"):
        kind.model_validate({"hop": hop})


def test_a_default_written_out_is_the_same_view() -> None:
    # A whole number that stands for a float must not give another uid.
    assert Mel(low_hz=0, high_hz=11_025).uid == Mel().uid
    assert Logspec(low_hz=0, high_hz=11_025).uid == Logspec().uid
    assert Cqt(segment_s=2).uid == Cqt(segment_s=2.0).uid


# Pictures


@every_kind
def test_the_same_sound_makes_the_same_picture(kind: Kind) -> None:
    sound = speechlike(1)
    first = kind().picture(sound)
    kind().picture(speechlike(2.3, seed=1))
    assert np.array_equal(kind().picture(sound.copy()), first)


@every_kind
def test_a_picture_does_not_change_the_sound(kind: Kind) -> None:
    sound = speechlike(1)
    before = sound.copy()
    kind().picture(sound)
    assert np.array_equal(sound, before)


@every_kind
def test_a_louder_copy_has_the_same_picture(kind: Kind) -> None:
    sound = speechlike(2)
    quiet, loud = kind().picture(sound), kind().picture(3 * sound)
    assert np.abs(quiet.astype(int) - loud).max() <= 1
    assert np.mean(quiet != loud) < 0.01


@every_kind
def test_sound_that_comes_four_hops_later_is_four_columns_further_right(kind: Kind) -> None:
    voice = np.pad(speechlike(1), RATE_HZ)
    now, later = kind().level_db(voice), kind().level_db(np.pad(voice, (4 * 512, 0)))
    assert later.shape[1] == now.shape[1] + 4
    audible = now > -60
    assert 0.05 < audible.mean() < 0.9
    np.testing.assert_allclose(later[:, 4:][audible], now[audible], atol=0.02)


@every_kind
def test_columns_are_black_before_the_sound_begins(kind: Kind) -> None:
    # The longest kernel of the constant-Q transform reaches half a second back.
    sound = np.concatenate([np.zeros(3 * RATE_HZ, np.float32), speechlike(1)])
    picture = kind().picture(sound)
    assert picture[:, : 256 * 2 // 4].max() == 0
    assert picture[:, 256 * 3 // 4 + 8 :].max() > 200


@every_kind
def test_a_higher_tone_is_further_down(kind: Kind) -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    rows = []
    for frequency_hz in (150, 600, 2400):
        tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)
        rows.append(int(kind().picture(tone)[:, 128].argmax()))
    assert rows == sorted(rows)
    assert rows[0] < rows[1] < rows[2]


@every_kind
@pytest.mark.parametrize("samples", [2, 300, 2047])
def test_a_sound_shorter_than_one_window_has_a_picture(kind: Kind, samples: int) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    assert kind().picture(sound).max() > 200


# Numbers


@pytest.mark.parametrize(
    ("window", "hop"), [(256, 64), (512, 512), (2048, 512), (2048, 700), (8192, 1024)]
)
def test_power_spectra_are_librosas(window: int, hop: int) -> None:
    sound = speechlike(4)
    expected = np.square(
        np.abs(librosa.stft(sound.astype(np.float64), n_fft=window, hop_length=hop))
    )
    power = np.full(expected.T.shape, np.nan)
    for which, block in power_spectra(sound, window=window, hop=hop):
        power[which] = block
    np.testing.assert_allclose(power.T, expected, rtol=1e-3, atol=1e-9 * expected.max())


def test_decibels_are_ten_times_the_logarithm_below_the_loudest() -> None:
    power = np.array([[200, 20], [2, 2e-9]], np.float32)
    np.testing.assert_allclose(decibels(power), [[0, -10], [-20, -80]], atol=1e-5)


@pytest.mark.parametrize("level", [0, 1e-12, 0.5])
def test_what_is_equally_loud_everywhere_is_silent(level: float) -> None:
    with pytest.raises(MediaError) as caught:
        decibels(np.full((3, 4), level, np.float32))
    assert caught.value.status == "silent"


def test_grey_levels_run_evenly_from_80_db_below_the_loudest() -> None:
    level_db = np.array([[-80, -64], [-16, 0]], np.float32)
    assert grey_square(level_db, 2).tolist() == [[0, 51], [204, 255]]


def test_a_side_that_shrinks_is_averaged_and_one_that_grows_is_interpolated() -> None:
    level_db = np.array([[-80, 0], [-64, 0], [0, -80], [-16, -80]], np.float32)
    # Rows: the means of 0 and 51, and of 255 and 204, rounded.
    assert np.abs(grey_square(level_db, 2).astype(int) - [[25.5, 255], [229.5, 0]]).max() <= 0.5
    wide = grey_square(np.array([[-80, 0]] * 4, np.float32), 4)
    # Pixel centres lie at -1/4, 1/4, 3/4 and 5/4 of the way from one column to the other.
    assert wide.tolist() == [[0, 64, 191, 255]] * 4
