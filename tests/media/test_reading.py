"""One pass over a file for all views: what is opened, what each gets, what the file says."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.media.clips import Pictures, Sound, chirp, decode, moving, to_int16, write_media
from tests.media.malformed_makers import media, turned, wav, webm
from workbench.errors import MediaError
from workbench.media.facts import Facts
from workbench.media.frame_diff import FrameDiff
from workbench.media.frames import Frames
from workbench.media.image import Image, read_picture
from workbench.media.logspec import Logspec
from workbench.media.mel import Mel
from workbench.media.reading import Reading, read_media
from workbench.media.square import square
from workbench.media.view import Array, Made, View

MEL = Mel(num_mels=32, image_px=32)
FRAMES = Frames(num_frames=3, image_px=32)
NEAREST = Frames(num_frames=3, image_px=32, sampling="nearest")
DIFF = FrameDiff(num_frames=2, image_px=16)
IMAGE = Image(image_px=32)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that FFmpeg is asked to open, in their order."""
    names: list[str] = []
    real = av.open

    def counted(file: str, *args: Any, **named: Any) -> Any:
        names.append(file)
        return real(file, *args, **named)

    monkeypatch.setattr(av, "open", counted)
    return names


def read(path: Path, *, loudness: bool = False, **views: View) -> Reading:
    return read_media(path, views, loudness=loudness)


def array_of(reading: Reading, name: str) -> Array:
    made = reading.made[name]
    assert isinstance(made, Made)
    return made.array


def statuses(reading: Reading) -> dict[str, str | None]:
    return {name: made.status for name, made in reading.made.items()}


def lossless(path: Path, pictures: Pictures) -> Path:
    """Write pictures to an AVI that keeps every value."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "rgb24"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_file_that_counts_its_frames_is_opened_once_for_all_views(
    clip: Path, opened: list[str]
) -> None:
    spectrum = Logspec(image_px=32)
    many = Frames(num_frames=9, image_px=16)
    made = read(clip, loudness=True, mel=MEL, spectrum=spectrum, few=FRAMES, many=many, diff=DIFF)
    assert set(statuses(made).values()) == {"ok"}
    assert opened == [f"file:{clip}"]


def test_a_file_that_does_not_count_its_frames_is_opened_twice(
    tmp_path: Path, opened: list[str]
) -> None:
    path = tmp_path / "x.webm"
    path.write_bytes(webm(options="live=1"))
    opened.clear()
    assert set(statuses(read(path, mel=MEL, frames=FRAMES, diff=DIFF)).values()) == {"ok"}
    assert len(opened) == 2
    # Without a view of the video nobody needs the count.
    opened.clear()
    read(path, loudness=True, mel=MEL)
    assert len(opened) == 1


def test_a_file_of_fewer_frames_than_it_says_is_read_again(
    tmp_path: Path, opened: list[str]
) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "x.mp4"
    options = "movflags=faststart"
    whole.write_bytes(media(".mp4", num_frames=60, sound_s=0, encoder="bf=0", options=options))
    with av.open(str(whole)) as container:
        end = [packet.pos for packet in container.demux(video=0)][40]
    path.write_bytes(whole.read_bytes()[:end])
    opened.clear()
    made = read(path, frames=FRAMES, diff=DIFF)
    assert len(opened) == 2
    # (i + 1/2) 40 / 3 = 6.67, 20, 33.3; of the whole file's frames, each by itself.
    every = decode(Frames(num_frames=60, image_px=32), whole)[0]
    assert np.array_equal(array_of(made, "frames")[0], every[[6, 20, 33]])


def test_nearest_frames_are_read_in_a_pass_of_their_own(clip: Path, opened: list[str]) -> None:
    together = read(clip, mel=MEL, frames=FRAMES, nearest=NEAREST)
    assert len(opened) == 3  # once for all others, once for the frames' times, once for the frames
    assert np.array_equal(array_of(together, "nearest"), decode(NEAREST, clip))
    assert np.array_equal(array_of(together, "frames"), decode(FRAMES, clip))


def test_an_image_view_opens_no_video(clip: Path, opened: list[str]) -> None:
    assert statuses(read(clip, image=IMAGE)) == {"image": "broken"}
    assert opened == []


def test_what_fails_in_one_view_leaves_the_others(tmp_path: Path) -> None:
    silent = write_media(tmp_path / "x.mp4", sound=0 * chirp(1.0), pictures=moving(9))
    made = read(silent, mel=MEL, frames=FRAMES, diff=DIFF, image=IMAGE)
    assert statuses(made) == {"mel": "silent", "frames": "ok", "diff": "ok", "image": "broken"}
    for name, view in (("frames", FRAMES), ("diff", DIFF)):
        assert np.array_equal(array_of(made, name), decode(view, silent))


def test_a_file_that_is_not_there_fails_in_every_view(tmp_path: Path) -> None:
    made = read(tmp_path / "x.mp4", loudness=True, mel=MEL, frames=FRAMES, image=IMAGE)
    assert statuses(made) == dict.fromkeys(("mel", "frames", "image"), "missing")
    assert made.facts == Facts()
    with pytest.raises(MediaError, match="does not exist"):
        decode(MEL, tmp_path / "x.mp4")


def test_without_views_there_are_facts_alone(clip: Path) -> None:
    made = read(clip)
    assert made.made == {}
    assert made.facts.num_frames == 50


def test_a_still_image_is_the_video_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"  # whatever its name
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Pillow.fromarray(moving(1)[0]).save(path, "PNG", exif=exif)
    made = read(path, loudness=True, mel=MEL, frames=FRAMES, nearest=NEAREST, diff=DIFF)
    upright = square(read_picture(path).picture, 32)
    for name in ("frames", "nearest"):
        assert np.array_equal(array_of(made, name), np.stack([upright] * 3)[None])
    assert (array_of(made, "diff") == 128).all()  # nothing moves
    sound = made.made["mel"]
    assert isinstance(sound, MediaError)
    assert (sound.status, str(sound)) == ("no_audio", "it is a still image")


def test_differences_are_those_of_neighbouring_frames(tmp_path: Path) -> None:
    # Grey levels 0, 10, 25, 45, 70, 30: the steps are 10, 15, 20, 25, -40. Of five pairs, those
    # that begin at floor((i + 1/2) 5 / 2) = 1 and 3 are wanted.
    levels = np.array([0, 10, 25, 45, 70, 30], np.uint8)
    pictures = np.broadcast_to(levels[:, None, None, None], (6, 32, 32, 3))
    path = lossless(tmp_path / "x.avi", np.ascontiguousarray(pictures))
    two = decode(FrameDiff(num_frames=2, image_px=16, gain=2), path)
    assert two.shape == (1, 2, 16, 16, 3)
    assert [np.unique(frame).tolist() for frame in two[0]] == [[128 + 2 * 15], [128 + 2 * 25]]
    every = decode(FrameDiff(num_frames=5, image_px=16, gain=3.5), path)
    # 128 + 3.5 * (10, 15, 20, 25, -40) is 163, 180.5, 198, 215.5, -12: rounded to even, then cut.
    assert every[0, :, 0, 0, 0].tolist() == [163, 180, 198, 216, 0]


def test_each_colour_has_its_own_difference(tmp_path: Path) -> None:
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    pictures[0] = (100, 50, 20)
    pictures[1] = (103, 40, 20)
    path = lossless(tmp_path / "x.avi", pictures)
    pixel = decode(FrameDiff(num_frames=1, image_px=16, gain=4), path)[0, 0, 0, 0]
    assert pixel.tolist() == [128 + 4 * 3, 128 - 4 * 10, 128]


def sine(amplitudes: tuple[float, ...], *, rate_hz: int = 44_100) -> Sound:
    """Return one second, (samples, channels): 441 Hz, whole periods, so loud in each channel."""
    wave = np.sin(2 * np.pi * 441 * np.arange(rate_hz) / rate_hz)
    return to_int16(wave[:, None] * np.array(amplitudes))


@pytest.mark.parametrize(
    ("amplitudes", "loudness_db"),
    [
        # The mean square of a sine of height a is a * a / 2.
        ((0.5, 0.5), -9.03),  # 10 log10(0.125)
        ((0.5, 0.0), -15.05),  # the mean of both channels has half the height
        ((0.5,), -12.04),  # FFmpeg spreads one channel over two at sqrt(1/2)
        ((0.05, 0.05), -29.03),
        ((0.0, 0.0), -120.0),
    ],
)
def test_the_loudness_is_that_of_the_mean_of_both_channels(
    amplitudes: tuple[float, ...], loudness_db: float, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(sine(amplitudes), channels=len(amplitudes)))
    assert read(path, loudness=True).facts.loudness_db == pytest.approx(loudness_db, abs=0.01)


def test_the_loudness_is_asked_for_or_comes_with_a_sound_view(clip: Path) -> None:
    assert read(clip, frames=FRAMES).facts.loudness_db is None
    asked = read(clip, loudness=True, frames=FRAMES).facts.loudness_db
    assert asked == read(clip, mel=MEL).facts.loudness_db
    # Sine and noise of 0.5 and 0.05 in both channels, the noises apart: 0.125 + 0.0025 / 2.
    assert asked == pytest.approx(10 * np.log10(0.125 + 0.0025 / 2), abs=0.3)


def test_a_video_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(turned(media(".mp4", num_frames=50, sound_s=2.0)))
    facts = read(path).facts
    assert (facts.container, facts.video_codec, facts.audio_codec) == ("mov", "h264", "aac")
    assert (facts.width, facts.height) == (64, 48)  # as stored, not as shown
    assert (facts.fps, facts.num_frames) == (25, 50)
    assert (facts.sample_rate_hz, facts.channels) == (44_100, 2)
    assert facts.duration_s is not None
    assert facts.duration_s == pytest.approx(2.0, abs=0.05)
    assert facts.bit_rate == pytest.approx(8 * path.stat().st_size / facts.duration_s)
    # Of the picture, of the sound, and what the container adds.
    assert facts.bit_rate is not None
    assert 0 < (facts.video_bit_rate or 0) + (facts.audio_bit_rate or 0) < facts.bit_rate
    assert (facts.loudness_db, facts.jpeg_quantum) == (None, None)


def test_a_sound_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(wav(sine((0.5,), rate_hz=8_000), rate_hz=8_000, channels=1))
    size = path.stat().st_size
    assert read(path).facts == Facts(
        container="wav",
        duration_s=1.0,
        bit_rate=8 * size,
        audio_codec="pcm_s16le",
        sample_rate_hz=8_000,
        channels=1,
        audio_bit_rate=16 * 8_000,
    )


@pytest.mark.parametrize("views", [{"image": IMAGE}, {"frames": FRAMES}, {}], ids=list)
def test_a_still_image_says_what_it_is(views: dict[str, View], tmp_path: Path) -> None:
    picture = Pillow.fromarray(moving(1)[0])
    path = tmp_path / "x"
    picture.save(path, "JPEG", qtables=[list(range(64)), [3] * 64])
    said = read_media(path, views).facts
    # The steps 0 (which is written as 1), 1, 2 ... 63 have the mean 2017 / 64.
    sized = Facts(width=64, height=48, color_mode="RGB")
    assert said == sized.model_copy(update={"container": "JPEG", "jpeg_quantum": 2017 / 64})
    picture.save(path, "PNG")
    assert read_media(path, views).facts == sized.model_copy(update={"container": "PNG"})
    picture.convert("RGBA").save(path, "PNG")
    assert read_media(path, views).facts.color_mode == "RGBA"
