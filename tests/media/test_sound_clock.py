"""Sound on the clock of its clip (`align`), and sound of every sample type."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import Sound, decode, moving, read_sound, tone, write_media
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.logspec import Logspec
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.view import View

# A block of AAC, in which a sound swells.
BLOCK_S = 0.06


def placed(
    path: Path,
    sounds: Sequence[tuple[float, Sound]],
    *,
    picture_s: float = 0.0,
    num_frames: int = 75,
    codec: str = "aac",
) -> Path:
    """Write a clip whose sounds begin at these times, and its picture (25 frames a second) too."""
    rate_hz = 48_000
    with av.open(str(path), "w") as file:
        if num_frames:
            video = file.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = file.add_stream(codec, rate=rate_hz, layout="stereo")
        for index, picture in enumerate(moving(num_frames)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(1000 * picture_s) + 40 * index, Fraction(1, 1000)
            file.mux(video.encode(frame))
        for start_s, sound in sounds:
            size = audio.codec_context.frame_size or 1024
            for first in range(0, len(sound) - size + 1, size):
                part = sound[first : first + size].reshape(1, -1)
                block = av.AudioFrame.from_ndarray(part, "s16", "stereo")
                block.sample_rate, block.time_base = rate_hz, Fraction(1, rate_hz)
                block.pts = round(start_s * rate_hz) + first
                file.mux(audio.encode(block))
        if num_frames:
            file.mux(video.encode(None))
        file.mux(audio.encode(None))
    return path


def hum(frequency_hz: float, duration_s: float = 1.0) -> Sound:
    return tone(frequency_hz, duration_s, rate_hz=48_000)


def heard(sound: np.ndarray, start_s: float, end_s: float) -> tuple[float, float]:
    """Return the loudness (root mean square) and the strongest frequency of a stretch."""
    part = sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    strongest = int(np.argmax(np.abs(np.fft.rfft(part))))
    return float(np.sqrt(np.mean(part**2))), strongest / (end_s - start_s)


CONTAINERS = [
    ("mp4", "aac"),
    ("mkv", "aac"),
    ("mkv", "pcm_s16le"),
    ("ts", "mp2"),
    ("mov", "pcm_s16le"),
]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_sound_that_starts_late_is_heard_late(suffix: str, codec: str, tmp_path: Path) -> None:
    path = placed(tmp_path / f"x.{suffix}", [(1.5, hum(600))], codec=codec)
    # As the public baseline has it: at 0, and what it came late is silence at the end.
    plain = read_sound(path)
    assert heard(plain, 0.1, 0.9)[1] == pytest.approx(600, abs=3)
    assert heard(plain, 1.2, 2.9)[0] < 0.01
    aligned = read_sound(path, align=True)
    assert len(aligned) == len(plain)
    assert heard(aligned, 0, 1.5 - BLOCK_S)[0] < 0.01
    loud, frequency_hz = heard(aligned, 1.5 + BLOCK_S, 2.5 - BLOCK_S)
    assert loud == pytest.approx(0.354, abs=0.02)
    assert frequency_hz == pytest.approx(600, abs=3)
    assert heard(aligned, 2.5 + BLOCK_S, 2.9)[0] < 0.01


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "pcm_s16le"), ("ts", "mp2")])
def test_what_is_heard_before_the_first_frame_is_cut(
    suffix: str, codec: str, tmp_path: Path
) -> None:
    sounds = [(0.0, hum(400)), (1.0, hum(800, 2.0))]
    path = placed(tmp_path / f"x.{suffix}", sounds, picture_s=1.0, codec=codec)
    assert heard(read_sound(path), 0.1, 0.9)[1] == pytest.approx(400, abs=3)
    aligned = read_sound(path, align=True)
    assert heard(aligned, BLOCK_S, 1.0)[1] == pytest.approx(800, abs=3)
    assert heard(aligned, 1.0, 1.9)[1] == pytest.approx(800, abs=3)


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "pcm_s16le"), ("ts", "mp2")])
def test_a_gap_is_silence(suffix: str, codec: str, tmp_path: Path) -> None:
    path = placed(tmp_path / f"x.{suffix}", [(0.0, hum(400)), (2.0, hum(800))], codec=codec)
    assert heard(read_sound(path), 1.1, 1.9)[1] == pytest.approx(800, abs=3)
    aligned = read_sound(path, align=True)
    assert heard(aligned, 0.1, 0.9)[1] == pytest.approx(400, abs=3)
    assert heard(aligned, 1 + BLOCK_S, 2 - BLOCK_S)[0] < 0.01
    assert heard(aligned, 2.1, 2.9)[1] == pytest.approx(800, abs=3)


def test_a_sound_that_is_over_before_the_picture_is_silent(tmp_path: Path) -> None:
    path = placed(tmp_path / "x.mkv", [(0.0, hum(400))], picture_s=2.0, codec="pcm_s16le")
    assert len(read_sound(path))
    with pytest.raises(MediaError, match="while there is a picture") as caught:
        read_sound(path, align=True)
    assert caught.value.status == "silent"


def test_sound_that_is_in_time_is_the_same_either_way(clip: Path, tmp_path: Path) -> None:
    alone = placed(tmp_path / "x.mka", [(0.5, hum(400))], num_frames=0, codec="pcm_s16le")
    for path in (clip, alone):
        assert np.array_equal(read_sound(path, align=True), read_sound(path))


def test_aligned_and_plain_views_of_one_file_are_made_in_one_pass(tmp_path: Path) -> None:
    path = placed(tmp_path / "x.mp4", [(1.5, hum(600))])
    views: dict[str, View] = {
        "mel": Mel(num_mels=32, image_px=60),
        "aligned": Mel(num_mels=32, image_px=60, align=True),
        "logspec": Logspec(image_px=60, align=True),
    }
    made = read_media(path, views, loudness=True)
    arrays = {name: one.array for name, one in made.made.items() if not isinstance(one, MediaError)}
    assert arrays.keys() == views.keys()
    for name, view in views.items():
        assert np.array_equal(arrays[name], decode(view, path)), name
    # Three seconds are 60 columns: sound in the first third, or from the middle on.
    brightest = {name: array[0, 0, :, :, 0].max(axis=0) for name, array in arrays.items()}
    assert brightest["mel"][2:18].min() > 200
    assert brightest["mel"][25:].max() < 100
    assert brightest["aligned"][:27].max() < 100
    assert brightest["aligned"][33:48].min() > 200
    assert made.facts.loudness_db == read_media(path, {}, loudness=True).facts.loudness_db


@pytest.mark.parametrize(
    ("suffix", "codec", "off"),
    [
        ("wav", "pcm_u8", 0.01),
        ("wav", "pcm_s16le", 0.002),
        ("wav", "pcm_s24le", 0.002),
        ("wav", "pcm_s32le", 0.002),
        ("wav", "pcm_s64le", 0.002),
        ("wav", "pcm_f32le", 0.002),
        ("wav", "pcm_f64le", 0.002),
        ("wav", "pcm_alaw", 0.02),
        ("wav", "pcm_mulaw", 0.02),
        ("wav", "adpcm_ms", 0.02),
        ("wav", "adpcm_ima_wav", 0.02),
        ("w64", "pcm_s64le", 0.002),
        ("aiff", "pcm_s16be", 0.002),
        ("aiff", "pcm_s24be", 0.002),
        ("aiff", "pcm_s32be", 0.002),
        ("aiff", "pcm_s8", 0.01),
        ("caf", "pcm_s24be", 0.002),
        ("caf", "pcm_f64be", 0.002),
        ("au", "pcm_f32be", 0.002),
        ("mov", "pcm_s24be", 0.002),
        ("mov", "alac", 0.002),
        ("flac", "flac", 0.002),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_sample_type_has_its_values(
    suffix: str, codec: str, off: float, channels: int, tmp_path: Path
) -> None:
    # 441 Hz has a period of 50 samples; of one channel FFmpeg gives each of two its half power.
    path = tmp_path / f"x.{suffix}"
    try:
        write_media(path, sound=tone(441, 0.5)[:, :channels].copy(), sound_codec=codec)
    except (ValueError, av.FFmpegError) as error:
        pytest.skip(f"this FFmpeg writes no {codec} into {suffix}: {error}")
    sound = read_sound(path)
    assert len(sound) == pytest.approx(RATE_HZ // 2, abs=RATE_HZ * 0.05)
    scale = 0.5 if channels == 2 else np.sqrt(0.125)
    expected = scale * np.sin(2 * np.pi * np.arange(2_000, 8_000) / 50)
    np.testing.assert_allclose(sound[2_000:8_000], expected, atol=off)
