"""How long a sound is where its container guesses, or says what nobody can know yet."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import Sound, chirp, decode, moving, read_sound, to_int16, write_media
from tests.media.malformed_makers import sine, wav
from workbench.media.audio import RATE_HZ
from workbench.media.frames import Frames
from workbench.media.logspec import Logspec
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.view import Made, View

# A codec's padding at both ends, and rounding.
CLOSE_S = 0.08


def length_s(path: Path) -> float:
    return len(read_sound(path)) / RATE_HZ


def hiss(duration_s: float, *, loud: float = 0.3) -> Sound:
    """Return (samples, 1) at 44.1 kHz: what takes the most bits of a codec, or none at all."""
    noise = np.random.default_rng(0).normal(0, 1, (round(duration_s * 44_100), 1))
    return to_int16(loud * noise)


def encoded(
    path: Path,
    sound: Sound,
    codec: str,
    *,
    bit_rate: int | None = None,
    container: dict[str, str] | None = None,
) -> bytes:
    """Return the bytes of a file of sound alone, (samples, 1) at 44.1 kHz."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=44_100, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", "mono")
        frame.sample_rate = 44_100
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path.read_bytes()


def test_bare_aac_is_as_long_as_it_sounds(tmp_path: Path) -> None:
    # FFmpeg takes the bit rate of the quiet start for that of the whole: minutes.
    sound = np.concatenate([hiss(4, loud=0), hiss(4)])
    path = tmp_path / "x.aac"
    encoded(path, sound, "aac", bit_rate=128_000)
    with av.open(str(path)) as container:
        assert container.duration > 30e6
    assert length_s(path) == pytest.approx(8, abs=CLOSE_S)


@pytest.mark.parametrize("rates", [(320_000, 32_000), (32_000, 320_000)])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp3", "libmp3lame"), (".ac3", "ac3")])
def test_a_bit_rate_that_changes_without_a_header_is_no_measure(
    suffix: str, codec: str, rates: tuple[int, int], tmp_path: Path
) -> None:
    options = {"write_xing": "0", "id3v2_version": "0"} if suffix == ".mp3" else {}
    path = tmp_path / f"x{suffix}"
    halves = [encoded(path, hiss(4), codec, bit_rate=r, container=options) for r in rates]
    path.write_bytes(b"".join(halves))
    with av.open(str(path)) as container:
        assert abs(container.duration / 1e6 - 8) > 1.5
    assert length_s(path) == pytest.approx(8, abs=2 * CLOSE_S)


@pytest.mark.parametrize("header", ["0", "1"])
def test_a_constant_bit_rate_is_what_it_was(header: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    encoded(path, hiss(3), "libmp3lame", bit_rate=64_000, container={"write_xing": header})
    with av.open(str(path)) as container:
        hundredths = round(container.duration / 1e4)
    # In hundredths of a second, as the baseline reads it.
    assert len(read_sound(path)) == -(-int(44_100 * hundredths / 100) // 2)


def test_speech_with_pauses_as_amr(tmp_path: Path) -> None:
    # Frames of 20 ms: 50 of the best quality (31 bytes), then 150 of the smallest (12).
    frames = (bytes([7 << 3 | 4]) + bytes(range(31))) * 50 + (b"\x04" + bytes(range(12))) * 150
    path = tmp_path / "x.amr"
    path.write_bytes(b"#!AMR\n" + frames)
    with av.open(str(path)) as container:
        assert abs((container.duration or 0) / 1e6 - 4) > 0.5
    assert length_s(path) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize("announced", [0, (1 << 36) - 1])
def test_flac_that_does_not_know_or_lies(announced: int, tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    data = bytearray(encoded(path, hiss(1.5), "flac"))
    (word,) = struct.unpack(">Q", data[18:26])  # rate, channels, bits and 36 bits of samples
    data[18:26] = struct.pack(">Q", word >> 36 << 36 | announced)
    path.write_bytes(bytes(data))
    assert length_s(path) == pytest.approx(1.5, abs=0.001)


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 0x7FFFFFF0, 10 * 88_200])
def test_a_wav_whose_header_was_written_first(claimed: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(sine(22_050), claimed=claimed))
    assert len(read_sound(path)) == pytest.approx(11_025, abs=1)


def test_a_wav_that_was_cut_off_is_as_long_as_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(sine(88_200))[: 44 + 4 * 44_100])
    assert len(read_sound(path)) == pytest.approx(RATE_HZ, abs=1)


def test_every_link_of_a_chained_ogg_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "x.opus"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libopus", rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(chirp(2, rate_hz=48_000).reshape(1, -1), "s16", "stereo")
        frame.sample_rate = 48_000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    path.write_bytes(2 * path.read_bytes())
    assert length_s(path) == pytest.approx(4, abs=CLOSE_S)


def test_a_matroska_that_was_never_finished(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    # It has no length, and between the small blocks of sound much that is none.
    encoded(path, hiss(5), "libmp3lame", bit_rate=32_000, container={"live": "1"})
    assert length_s(path) == pytest.approx(5, abs=CLOSE_S)


def test_a_transport_stream_whose_time_begins_anew_is_heard_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    encoded(path, hiss(1.5), "aac", bit_rate=64_000)
    path.write_bytes(2 * path.read_bytes())
    assert length_s(path) == pytest.approx(3, abs=2 * CLOSE_S)


def test_the_first_version_of_a_view_believes_the_container(tmp_path: Path) -> None:
    # Half a second of 30 announced: the studies that began with it have these arrays.
    path = tmp_path / "x.flac"
    data = bytearray(encoded(path, hiss(0.5), "flac"))
    (word,) = struct.unpack(">Q", data[18:26])
    data[18:26] = struct.pack(">Q", word >> 36 << 36 | 30 * 44_100)
    path.write_bytes(bytes(data))
    views: dict[str, View] = {
        "first": Logspec(image_px=60, version=1),
        "now": Logspec(image_px=60),
    }
    reading = read_media(path, views)
    columns = {
        name: np.flatnonzero(decode(view, path)[0, 0, :, :, 0].max(axis=0) > 50).max()
        for name, view in views.items()
    }
    assert columns["first"] <= 2  # two columns are a second
    assert columns["now"] > 55
    for name, view in views.items():  # each as if it were alone
        one = reading.made[name]
        assert isinstance(one, Made)
        assert np.array_equal(one.array, decode(view, path))


def test_the_facts_tell_what_was_heard_where_the_length_was_a_guess(
    clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.aac"
    encoded(path, np.concatenate([hiss(4, loud=0), hiss(4)]), "aac", bit_rate=128_000)
    facts = read_media(path, {}, loudness=True).facts
    assert facts.duration_s == pytest.approx(8, abs=CLOSE_S)
    assert facts.bit_rate == pytest.approx(path.stat().st_size * 8 / 8, rel=0.02)
    # Elsewhere they are what the header says, whether anyone listens or not.
    plain, heard = (read_media(clip, {}, loudness=loudness).facts for loudness in (False, True))
    assert heard.model_copy(update={"loudness_db": None}) == plain


def test_beside_a_picture_the_containers_length_rules(tmp_path: Path) -> None:
    pictures = np.zeros((50, 48, 64, 3), np.uint8)
    path = write_media(tmp_path / "x.mp4", sound=chirp(0.5), pictures=pictures)
    assert length_s(path) == pytest.approx(2, abs=0.02)


# What FFmpeg looks at before it believes that it knows every stream: 5 MB, and a bit.
PROBED = 6_000_000


def late_flv(folder: Path) -> bytes:
    """Return an FLV whose pictures begin behind what FFmpeg looks at."""
    samples = PROBED // 4
    sound = write_media(folder / "a.flv", sound=sine(samples), sound_codec="pcm_s16le")
    picture = write_media(folder / "v.flv", pictures=moving(5), video_codec="flv")
    return sound.read_bytes() + picture.read_bytes()[13:]  # without its header


def late_mpg(folder: Path) -> bytes:
    """Return an MPEG program stream whose sound begins behind what FFmpeg looks at."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 240, 320, 3), np.uint8)
    picture = write_media(folder / "v.mpg", pictures=noise, video_codec="mpeg2video").read_bytes()
    sound = write_media(folder / "a.mpg", sound=chirp(1.0), sound_codec="mp2").read_bytes()
    return picture * (1 + PROBED // len(picture)) + sound


@pytest.mark.parametrize(
    ("make", "ends"),
    [
        (late_flv, {"mel": ("ok",), "frames": ("ok", "no_video")}),
        (late_mpg, {"mel": ("ok",), "frames": ("ok",)}),
    ],
)
def test_a_stream_that_turns_up_late_ends_nothing_but_itself(
    make: Callable[[Path], bytes], ends: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(make(tmp_path))
    views = {"mel": Mel(num_mels=32, image_px=32), "frames": Frames(num_frames=1, image_px=32)}
    made = read_media(path, views, loudness=True).made
    assert all(made[name].status in among for name, among in ends.items()), made
