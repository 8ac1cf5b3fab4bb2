import subprocess
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from moviepy.config import FFMPEG_BINARY

from tests.media.clips import Pictures, chirp, decode, greys, moving, write_media
from workbench.errors import MediaError
from workbench.media import video_scan
from workbench.media.frame_diff import FrameDiff
from workbench.media.frames import Frames
from workbench.media.square import square
from workbench.media.timing import Timeline

SAMPLINGS: tuple[Literal["exact", "nearest"], ...] = ("exact", "nearest")


def opencv_frames(path: Path) -> list[Pictures]:
    """Return every frame that OpenCV reads, RGB."""
    capture = cv2.VideoCapture(str(path))
    frames: list[Pictures] = []
    while True:
        is_read, frame = capture.read()
        if not is_read:
            return frames
        frames.append(np.ascontiguousarray(frame[..., ::-1]))


def read_frames(
    path: Path, *, num_frames: int, image_px: int, sampling: Literal["exact", "nearest"] = "exact"
) -> Pictures:
    view = Frames(num_frames=num_frames, image_px=image_px, sampling=sampling)
    frames: Pictures = decode(view, path)[0]
    return frames


def levels(frames: npt.NDArray[np.uint8]) -> list[int]:
    """Return the grey level of each frame of a video of `greys`, to the nearest step of 8."""
    return [8 * round(frame.mean() / 8) for frame in frames]


@pytest.mark.parametrize(
    ("suffix", "video_codec"), [(".mp4", "libx264"), (".webm", "libvpx"), (".avi", "mpeg4")]
)
def test_the_frames_are_those_of_reading_every_frame_with_opencv(
    suffix: str, video_codec: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    write_media(path, pictures=moving(37), video_codec=video_codec)
    every = opencv_frames(path)
    assert len(every) == 37
    # (i + 1/2) * 37 / 5 = 3.7, 11.1, 18.5, 25.9, 33.3
    expected = np.stack([square(every[index], 32) for index in (3, 11, 18, 25, 33)])
    frames = read_frames(path, num_frames=5, image_px=32)
    assert np.array_equal(frames, expected)


def test_each_frame_is_the_one_with_its_index(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mp4", pictures=greys(30))
    frames = read_frames(path, num_frames=3, image_px=16)
    assert frames.shape == (3, 16, 16, 3)
    assert levels(frames) == [8 * 5, 8 * 15, 8 * 25]


def test_a_video_of_fewer_frames_repeats_them(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mp4", pictures=greys(2, step=200))
    assert levels(read_frames(path, num_frames=4, image_px=16)) == [0, 0, 200, 200]


def test_frames_are_counted_by_decoding_and_not_by_the_header(tmp_path: Path) -> None:
    # Breaking the file off behind its index leaves a header that still announces 30 frames.
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    whole = write_media(tmp_path / "x.mp4", pictures=noise, video_codec="mpeg4")
    path = tmp_path / "fast.mp4"
    _ffmpeg("-i", whole, "-c", "copy", "-movflags", "faststart", path)
    content = path.read_bytes()
    start = content.index(b"mdat")
    path.write_bytes(content[: start + (len(content) - start) // 2])
    every = opencv_frames(path)
    assert 2 < len(every) < 28
    expected = np.stack([square(every[i], 16) for i in Timeline.even(len(every)).at_even_times(3)])
    frames = read_frames(path, num_frames=3, image_px=16)
    assert np.abs(frames.astype(int) - expected).max() <= 1


def test_frames_that_an_edit_list_cuts_off_are_not_counted(tmp_path: Path) -> None:
    whole = write_media(tmp_path / "x.mp4", pictures=greys(30))
    path = tmp_path / "cut.mp4"
    _ffmpeg("-ss", "0.4", "-i", whole, "-c", "copy", path)  # 10 frames of 25 a second
    assert levels(read_frames(path, num_frames=2, image_px=16)) == [8 * 15, 8 * 25]


# Ten frames in the first second, then one each second.
UNEVEN_MS = (*range(0, 1000, 100), *range(1000, 10_001, 1000))


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx264"), (".webm", "libvpx")]
)
@pytest.mark.parametrize("sampling", ["exact", "nearest"])
def test_frames_at_even_times_are_those_on_screen_then(
    suffix: str, codec: str, sampling: Literal["exact", "nearest"], tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    write_media(path, pictures=greys(20), video_codec=codec, times_ms=UNEVEN_MS)
    # The last frame comes at 10 s and is gone, as the writers say, at 10.04 or 11 s: the middles of
    # five equal parts are at 1.0 or 1.1, 3.0 or 3.3, 5.0 or 5.5, 7.0 or 7.7, 9.0 or 9.9 s.
    frames = read_frames(path, num_frames=5, image_px=16, sampling=sampling)
    assert levels(frames) == [8 * 10, 8 * 12, 8 * 14, 8 * 16, 8 * 18]
    first = Frames(num_frames=5, image_px=16, version=1)  # which goes by their count
    assert levels(decode(first, path)[0]) == [8 * 2, 8 * 6, 8 * 10, 8 * 14, 8 * 18]


def test_pairs_of_frames_are_at_even_times_too(tmp_path: Path) -> None:
    # Steps of 2 grey levels in the first second, of 8 afterwards: pairs are at 1.25, 3.75, 6.25 and
    # 8.75 s, and there all have the larger step.
    pictures = np.concatenate([greys(10, step=2), 20 + greys(11)])
    path = write_media(tmp_path / "x.mp4", pictures=pictures, times_ms=(*UNEVEN_MS, 10_500))
    diffs = decode(FrameDiff(num_frames=4, image_px=16, gain=4), path)[0]
    assert np.abs(diffs.mean(axis=(1, 2, 3)) - (128 + 4 * 8)).max() <= 8
    first = decode(FrameDiff(num_frames=4, image_px=16, gain=4, version=1), path)[0]
    assert np.abs(first[0].mean() - (128 + 4 * 2)) <= 8


def test_the_nearest_frames_of_a_trimmed_video_are_of_the_part_that_is_shown(
    tmp_path: Path,
) -> None:
    whole = write_media(tmp_path / "x.mp4", pictures=greys(30))
    path = tmp_path / "cut.mp4"
    _ffmpeg("-ss", "0.4", "-i", whole, "-c", "copy", path)
    nearest = read_frames(path, num_frames=2, image_px=16, sampling="nearest")
    assert np.abs(np.subtract(levels(nearest), (8 * 15, 8 * 25))).max() <= 8


@pytest.mark.parametrize(("suffix", "codec"), [(".h264", "libx264"), (".hevc", "libx265")])
def test_a_bare_stream_without_timestamps_is_decoded_whole(
    suffix: str, codec: str, tmp_path: Path
) -> None:
    path = write_media(tmp_path / f"x{suffix}", pictures=greys(30), video_codec=codec)
    for sampling in SAMPLINGS:
        frames = read_frames(path, num_frames=3, image_px=16, sampling=sampling)
        assert levels(frames) == [8 * 5, 8 * 15, 8 * 25]


def test_a_clock_that_begins_anew_in_the_middle_leaves_the_frames_in_their_order(
    tmp_path: Path,
) -> None:
    first = write_media(tmp_path / "1.ts", pictures=greys(15))
    second = write_media(tmp_path / "2.ts", pictures=greys(30)[15:])
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    for sampling in SAMPLINGS:
        frames = read_frames(path, num_frames=3, image_px=16, sampling=sampling)
        assert levels(frames) == [8 * 5, 8 * 15, 8 * 25]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_upright(degrees: int, tmp_path: Path) -> None:
    whole = write_media(tmp_path / "x.mp4", pictures=moving(4))
    path = tmp_path / "turned.mp4"
    _ffmpeg("-display_rotation", str(degrees), "-i", whole, "-c", "copy", path)
    upright = read_frames(whole, num_frames=1, image_px=48)[0].astype(int)
    turned = read_frames(path, num_frames=1, image_px=48)[0]
    # The display matrix turns counter-clockwise.
    assert np.abs(np.rot90(upright, degrees // 90) - turned).max() <= 1
    assert np.abs(upright - turned).max() > 50


def test_the_nearest_frame_is_at_most_a_few_away_and_often_the_one_itself(tmp_path: Path) -> None:
    # Of x264's usual groups of three B-frames one is referred to by others: never are more than
    # two neighbours skipped.
    path = write_media(tmp_path / "x.mp4", pictures=greys(32))
    exact = read_frames(path, num_frames=32, image_px=16)
    nearest = read_frames(path, num_frames=32, image_px=16, sampling="nearest")
    away = np.subtract(levels(nearest), levels(exact)) // 8
    # Of the frames before and after a skipped one, which are equally near, the later; the first
    # version took the earlier.
    assert set(away) == {0, 1}
    first = Frames(num_frames=32, image_px=16, sampling="nearest", version=1)
    assert set(np.subtract(levels(decode(first, path)[0]), levels(exact)) // 8) == {0, -1}


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "libvpx"), (".avi", "mpeg4")])
def test_where_no_frame_can_be_skipped_the_nearest_is_the_frame(
    suffix: str, codec: str, tmp_path: Path
) -> None:
    path = write_media(tmp_path / f"x{suffix}", pictures=moving(20), video_codec=codec)
    exact = read_frames(path, num_frames=6, image_px=32)
    nearest = read_frames(path, num_frames=6, image_px=32, sampling="nearest")
    assert np.array_equal(nearest, exact)


def test_frames_past_the_limit_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_media(tmp_path / "x.mp4", pictures=greys(30))
    monkeypatch.setattr(video_scan, "MAX_FRAMES", 10)
    assert levels(read_frames(path, num_frames=2, image_px=16)) == [8 * 2, 8 * 7]
    monkeypatch.setattr(video_scan, "MAX_VIDEO_PIXELS", 64 * 48 * 4)
    assert levels(read_frames(path, num_frames=2, image_px=16)) == [8 * 1, 8 * 3]


def test_a_video_with_too_many_pixels_is_too_large(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.media.still.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError, match="64 x 48 pixels") as caught:
        read_frames(clip, num_frames=1, image_px=16)
    assert caught.value.status == "too_large"


def test_a_sound_has_no_video(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.wav", sound=chirp(0.2), sound_codec="pcm_s16le")
    with pytest.raises(MediaError, match="no video stream") as caught:
        read_frames(path, num_frames=1, image_px=16)
    assert caught.value.status == "no_video"


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    sound = write_media(tmp_path / "x.wav", sound=chirp(0.2), sound_codec="pcm_s16le")
    cover = tmp_path / "cover.png"
    cv2.imwrite(str(cover), moving(1)[0])
    path = tmp_path / "x.m4a"
    mapping = ("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic")
    _ffmpeg("-i", sound, "-i", cover, *mapping, path)
    with pytest.raises(MediaError) as caught:
        read_frames(path, num_frames=1, image_px=16)
    assert caught.value.status == "no_video"


def _ffmpeg(*arguments: str | Path) -> None:
    program = [FFMPEG_BINARY, "-y", "-loglevel", "error"]
    subprocess.run([*program, *map(str, arguments)], check=True)
