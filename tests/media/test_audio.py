from pathlib import Path

import av
import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import soxr

from tests.media.clips import chirp, moving, read_sound, tone, write_media
from workbench.errors import MediaError
from workbench.media import audio
from workbench.media.audio import RATE_HZ


def wav(path: Path, sound: np.ndarray, *, rate_hz: int = 44_100) -> Path:
    return write_media(path, sound=sound, rate_hz=rate_hz, sound_codec="pcm_s16le")


def test_sound_is_mono_at_22050_hz(tmp_path: Path) -> None:
    sound = read_sound(wav(tmp_path / "x.wav", tone(441, 1.0)))
    assert sound.dtype == np.float32
    assert sound.shape == (RATE_HZ,)
    # 441 Hz has a period of exactly 50 samples; half of full scale was asked for.
    middle = sound[5_000:15_000]
    expected = 0.5 * np.sin(2 * np.pi * np.arange(5_000, 15_000) / 50)
    np.testing.assert_allclose(middle, expected, atol=2e-3)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    both = tone(441, 1.0)
    left = both.copy()
    left[:, 1] = 0
    whole, half = (read_sound(wav(tmp_path / f"{i}.wav", s)) for i, s in enumerate((both, left)))
    np.testing.assert_allclose(half, whole / 2, atol=1e-4)


def test_mono_is_3_db_lower_as_ffmpeg_spreads_it_over_two_channels(tmp_path: Path) -> None:
    both = tone(441, 1.0)
    stereo = read_sound(wav(tmp_path / "2.wav", both))
    mono = read_sound(wav(tmp_path / "1.wav", np.ascontiguousarray(both[:, :1])))
    np.testing.assert_allclose(mono, stereo * np.sqrt(0.5), atol=1e-4)


def test_the_eight_planes_of_surround_sound_are_mixed_as_ffmpeg_does(tmp_path: Path) -> None:
    # PyAV takes what lies behind the eighth plane for a ninth, and whoever reads it is dead.
    surround = chirp(0.5, channels=8, loud=0.2)
    path = write_media(tmp_path / "x.m4a", sound=surround)
    mixer = av.AudioResampler(format="s16", layout="stereo", rate=44_100)
    with av.open(str(path)) as container:
        mixed = [part.to_ndarray() for f in container.decode(audio=0) for part in mixer.resample(f)]
    mono = np.concatenate(mixed, axis=1).reshape(-1, 2).mean(1, dtype=np.float32) / 2**15
    expected = soxr.resample(mono, 44_100, RATE_HZ, quality="HQ")[:10_000]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(read_sound(path)[:10_000], expected, atol=1e-4)


def test_sound_shorter_than_the_picture_is_followed_by_silence(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mp4", sound=chirp(1.0), pictures=moving(50))
    sound = read_sound(path)
    assert len(sound) == 2 * RATE_HZ
    assert np.abs(sound[int(1.1 * RATE_HZ) :]).max() < 1e-4
    assert np.abs(sound[: int(0.9 * RATE_HZ)]).max() > 0.3


def test_sound_past_the_limit_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wav(tmp_path / "x.wav", chirp(2.5))
    whole = read_sound(path)
    monkeypatch.setattr(audio, "MAX_DURATION_S", 1)
    start = read_sound(path)
    assert (len(whole), len(start)) == (round(2.5 * RATE_HZ), RATE_HZ)
    np.testing.assert_allclose(start[:21_000], whole[:21_000], atol=1e-3)


def test_a_header_that_claims_hours_asks_for_no_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "MAX_DURATION_S", 5)
    path = wav(tmp_path / "x.wav", chirp(0.5, channels=1), rate_hz=8_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert len(read_sound(path)) <= 5 * RATE_HZ


def test_a_container_without_a_duration_gives_what_was_decoded(tmp_path: Path) -> None:
    # A WAV written to a pipe does not know its length when the header is written.
    path = wav(tmp_path / "x.wav", chirp(0.5))
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    assert len(read_sound(path)) == pytest.approx(0.5 * RATE_HZ, abs=2)


@pytest.mark.parametrize("level", [0, 9_000])
def test_a_sound_that_never_changes_is_silent(level: int, tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", np.full((44_100, 2), level, np.int16))
    with pytest.raises(MediaError, match="never changes") as caught:
        read_sound(path)
    assert caught.value.status == "silent"


def test_channels_that_cancel_out_are_silent(tmp_path: Path) -> None:
    sound = tone(441, 1.0)
    sound[:, 1] = -sound[:, 0]
    with pytest.raises(MediaError) as caught:
        read_sound(wav(tmp_path / "x.wav", sound))
    assert caught.value.status == "silent"


def test_a_video_without_sound_has_no_audio(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mp4", pictures=moving(5))
    with pytest.raises(MediaError, match="no sound stream") as caught:
        read_sound(path)
    assert caught.value.status == "no_audio"


def test_a_sound_stream_without_samples_is_no_audio(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", chirp(0.1))
    content = path.read_bytes()
    at = content.index(b"data")
    path.write_bytes(content[:at] + b"data\0\0\0\0")
    with pytest.raises(MediaError, match="no samples") as caught:
        read_sound(path)
    assert caught.value.status == "no_audio"


@pytest.mark.parametrize("rate_hz", [10, 1_000_000_000])
def test_an_absurd_sample_rate_is_broken(rate_hz: int, tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", chirp(0.1))
    content = bytearray(path.read_bytes())
    at = content.index(b"fmt ") + 12
    content[at : at + 4] = rate_hz.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(MediaError, match=f"{rate_hz} samples a second") as caught:
        read_sound(path)
    assert caught.value.status == "broken"


def test_a_scratch_in_the_file_does_not_lose_the_rest(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\x55" * 200
    scratched = tmp_path / "x.mp4"
    scratched.write_bytes(bytes(content))
    sound, whole = read_sound(scratched), read_sound(clip)
    assert len(sound) == len(whole)
    np.testing.assert_allclose(sound[:4_000], whole[:4_000], atol=1e-3)


@pytest.mark.parametrize("rate_hz", [44_100, 16_000])
@pytest.mark.parametrize("peak", [1e4, 2e5, 1e20, np.inf])
def test_samples_far_above_full_scale_are_clipped_and_do_not_wrap(
    tmp_path: Path, rate_hz: int, peak: float
) -> None:
    samples = np.full(rate_hz, peak, np.float32)
    samples[: rate_hz // 2] = 0
    soundfile.write(tmp_path / "loud.wav", samples, rate_hz, subtype="FLOAT")
    heard = read_sound(tmp_path / "loud.wav")
    # Away from the edge, where the filter rings.
    np.testing.assert_allclose(heard[-8_000:-2_000], 0.99, atol=1e-3)
