"""The mel picture against librosa, moviepy and OpenCV themselves."""

from pathlib import Path

import cv2
import librosa
import numpy as np
import numpy.typing as npt
import pytest
from librosa.filters import mel as librosa_filters
from moviepy import AudioFileClip, VideoFileClip
from pydantic import ValidationError

from tests.media.clips import Sound, chirp, moving, read_sound, tone, write_media
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.mel import Mel, mel_filters
from workbench.media.view import Sound as MonoSound

MAX_LEVELS_OFF = 1


def baseline(path: Path, wav: Path, *, with_picture: bool = True) -> npt.NDArray[np.uint8]:
    """Return the picture that the competition's public baseline makes."""
    if with_picture:
        with VideoFileClip(str(path)) as video:
            video.audio.write_audiofile(str(wav), logger=None)
    else:
        with AudioFileClip(str(path)) as sound:
            sound.write_audiofile(str(wav), logger=None)
    y, sr = librosa.load(wav)
    level_db = librosa.power_to_db(
        librosa.feature.melspectrogram(y=y, sr=sr, n_mels=128), ref=np.max
    )
    grey = cv2.normalize(level_db, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    resized: npt.NDArray[np.uint8] = cv2.resize(grey, (256, 256), interpolation=cv2.INTER_LINEAR)
    return resized


def levels_off(path: Path, tmp_path: Path, *, with_picture: bool = True) -> int:
    expected = baseline(path, tmp_path / "x.wav", with_picture=with_picture)
    assert np.ptp(expected) > 200  # the comparison is not of empty pictures
    return int(np.abs(picture_of(path).astype(int) - expected).max())


def picture_of(path: Path) -> npt.NDArray[np.uint8]:
    array = Mel().of_sound(read_sound(path)).array
    assert array.shape == (1, 1, 256, 256, 1)
    assert array.dtype == np.uint8
    return array[0, 0, :, :, 0]


@pytest.mark.parametrize(
    ("rate_hz", "channels", "sound_s", "num_frames"),
    [
        (44_100, 2, 2.0, 50),
        (44_100, 2, 2.37, 50),  # the sound is longer than the picture
        (44_100, 2, 1.1, 76),  # and shorter
        (44_100, 1, 3.04, 76),
        (16_000, 1, 2.0, 50),
        (16_000, 1, 2.37, 76),
        (48_000, 2, 3.04, 76),
        (22_050, 1, 5.5, 25),  # moviepy fills its buffer twice
    ],
)
def test_a_videos_picture_is_the_baselines(
    rate_hz: int, channels: int, sound_s: float, num_frames: int, tmp_path: Path
) -> None:
    sound = chirp(sound_s, rate_hz=rate_hz, channels=channels)
    pictures = moving(num_frames)
    path = write_media(tmp_path / "x.mp4", sound=sound, rate_hz=rate_hz, pictures=pictures)
    assert levels_off(path, tmp_path) <= MAX_LEVELS_OFF


@pytest.mark.parametrize(
    ("suffix", "sound_codec", "video_codec"),
    [(".webm", "libopus", "libvpx"), (".avi", "pcm_s16le", "mpeg4"), (".mkv", "aac", "libx264")],
)
def test_so_is_that_of_other_containers(
    suffix: str, sound_codec: str, video_codec: str, tmp_path: Path
) -> None:
    path = write_media(
        tmp_path / f"x{suffix}",
        sound=chirp(2.37, rate_hz=48_000),
        rate_hz=48_000,
        sound_codec=sound_codec,
        pictures=moving(50),
        video_codec=video_codec,
    )
    assert levels_off(path, tmp_path) <= MAX_LEVELS_OFF


@pytest.mark.parametrize(
    ("suffix", "codec", "rate_hz", "channels"),
    [
        (".wav", "pcm_s16le", 44_100, 2),
        (".wav", "pcm_s16le", 16_000, 1),
        (".mp3", "libmp3lame", 44_100, 2),
        (".m4a", "aac", 32_000, 1),
        (".flac", "flac", 48_000, 2),
    ],
)
def test_so_is_that_of_files_with_sound_alone(
    suffix: str, codec: str, rate_hz: int, channels: int, tmp_path: Path
) -> None:
    sound = chirp(1.53, rate_hz=rate_hz, channels=channels)
    path = write_media(tmp_path / f"in{suffix}", sound=sound, rate_hz=rate_hz, sound_codec=codec)
    assert levels_off(path, tmp_path, with_picture=False) <= MAX_LEVELS_OFF


@pytest.mark.parametrize(
    ("sound_s", "loud"),
    [
        (1.5, 0.5),
        (1.5, 2.0),  # at full scale, where moviepy clips
        (1.15, 0.5),  # 1.15 * 44100 is below a whole number in floating point
    ],
)
def test_the_sound_is_sample_for_sample_that_of_moviepy_and_librosa(
    sound_s: float, loud: float, tmp_path: Path
) -> None:
    sound = chirp(sound_s, loud=loud)
    path = write_media(tmp_path / "in.wav", sound=sound, sound_codec="pcm_s16le")
    baseline(path, tmp_path / "x.wav", with_picture=False)
    expected, _ = librosa.load(tmp_path / "x.wav")
    np.testing.assert_allclose(read_sound(path), expected, atol=1e-6)


@pytest.mark.parametrize("samples", [2_205, 4_000])
def test_so_is_that_of_sound_shorter_than_one_window(samples: int, tmp_path: Path) -> None:
    path = write_media(tmp_path / "in.wav", sound=chirp(0.1)[:samples], sound_codec="pcm_s16le")
    assert levels_off(path, tmp_path, with_picture=False) <= MAX_LEVELS_OFF


@pytest.mark.parametrize("samples", [1, 100, 441])
def test_a_sound_too_short_for_moviepy_still_has_a_picture(samples: int, tmp_path: Path) -> None:
    # moviepy reads nothing where the duration rounds to 0.00 s, and stumbles up to 0.02 s.
    sound = np.zeros((samples + 1, 2), np.int16)
    sound[0] = 9_000
    path = write_media(tmp_path / "in.wav", sound=sound, sound_codec="pcm_s16le")
    assert picture_of(path).max() > 200


@pytest.mark.parametrize(
    "view",
    [
        Mel(num_mels=40),
        Mel(),
        Mel(num_mels=256),
        Mel(num_mels=64, low_hz=300, high_hz=3400),
        Mel(num_mels=80, low_hz=4000),
        Mel(num_mels=32, window=512, hop=128),
        Mel(num_mels=200, window=8192, hop=2000),
    ],
    ids=str,
)
def test_every_setting_is_librosas(view: Mel) -> None:
    band = {"n_mels": view.num_mels, "fmin": view.low_hz, "fmax": view.high_hz}
    filters = mel_filters(view.num_mels, view.window, view.low_hz, view.high_hz)
    expected = librosa_filters(sr=RATE_HZ, n_fft=view.window, **band)
    np.testing.assert_allclose(filters, expected, rtol=2e-5, atol=1e-8)

    sound = mono(chirp(1.2))
    power = librosa.feature.melspectrogram(
        y=sound, sr=RATE_HZ, n_fft=view.window, hop_length=view.hop, **band
    )
    expected_db = librosa.power_to_db(power, ref=np.max)
    np.testing.assert_allclose(view.level_db(sound), expected_db, atol=2e-3)


def test_a_long_sound_is_computed_in_blocks_without_seams() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 512 * 1100).astype(np.float32)
    expected = librosa.power_to_db(
        librosa.feature.melspectrogram(y=sound, sr=RATE_HZ, n_mels=32), ref=np.max
    )
    np.testing.assert_allclose(Mel(num_mels=32).level_db(sound), expected, atol=1e-3)


@pytest.mark.parametrize(("frequency_hz", "row"), [(500, 7.5), (1_000, 15)])
def test_rows_run_from_low_to_high_frequency(frequency_hz: float, row: float) -> None:
    # Below 1 kHz there are 15 mel to the 1000 Hz. 11,025 Hz lie at 15 + 27 ln(11.025) / ln(6.4) =
    # 49.91 mel; 128 bands have their centres every 49.91 / 129 = 0.387 mel, the first at 0.387.
    level_db = Mel().level_db(mono(tone(frequency_hz, 1.0)))
    assert level_db[:, 20].argmax() == pytest.approx(row / 0.387 - 1, abs=1)


def test_a_bands_edges_are_the_first_and_the_last_row() -> None:
    # 300 to 940 Hz is linear in mel: 32 bands are 640 / 33 = 19.4 Hz apart. Row 15 is 610 Hz.
    view = Mel(num_mels=32, low_hz=300, high_hz=940, window=8192)
    assert view.level_db(mono(tone(610, 1.0)))[:, 20].argmax() == 15


def test_columns_run_with_time() -> None:
    sound = np.concatenate([np.zeros(22_050), mono(tone(500, 2.0))[:22_050]]).astype(np.float32)
    picture = Mel(num_mels=64, image_px=64).picture(sound)
    assert picture[:, :28].max() == 0
    assert picture[:, 36:].max() == 255


def test_levels_span_80_db_below_the_loudest_band() -> None:
    level_db = Mel().level_db(mono(tone(500, 1.0)))
    assert level_db.max() == 0
    assert level_db.min() == -80


def test_a_sound_too_faint_for_any_band_is_silent() -> None:
    sound = np.zeros(22_050, np.float32)
    sound[::7_000] = 1 / 32_768
    with pytest.raises(MediaError, match="too faint") as caught:
        Mel(image_px=32).picture(sound)
    assert caught.value.status == "silent"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 256, "hop": 128}, "mel bands are empty: they fall between two"),
        ({"num_mels": 256, "low_hz": 1000, "high_hz": 1100}, "256 mel bands are empty"),
        ({"low_hz": 5000, "high_hz": 5000}, "not below high_hz"),
        ({"high_hz": 11_026}, "less than or equal to 11025"),
        ({"window": 2000}, "256, 512, 1024, 2048"),
    ],
)
def test_bands_that_hold_nothing_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Mel.model_validate(settings)


def mono(sound: Sound) -> MonoSound:
    """Return the first channel at 22,050 Hz: every other sample, as the tones here are low."""
    return sound[::2, 0].astype(np.float32) / np.float32(32_768)
