"""Copies of real little media, encoded again and again, and pictures made by hand."""

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.checks.made import blobs, coded_again
from tests.media.clips import decode, to_int16, write_media
from workbench.checks.copies import (
    ALIKE,
    near_copy_pairs,
    picture_likeness,
    sound_likeness,
)
from workbench.checks.thumbnails import Medium, Thumbnails, grey
from workbench.media.frames import Frames
from workbench.media.mel import Mel

Small = npt.NDArray[np.uint8]


def write_clip(path: Path, seed: int) -> Path:
    """Write a second of a face-like blob that moves before a scene, and a voice-like sound."""
    rng = np.random.default_rng(seed)
    scene = np.stack([blobs(rng, 96, 96, cells=12) for _ in range(3)], axis=-1)
    frames = np.stack([scene] * 25)
    row, column = rng.integers(20, 50, 2)
    for index, frame in enumerate(frames):
        cv2.circle(frame, (int(column) + index // 2, int(row)), 18, (200, 160, 140), -1)
    time_s = np.arange(22_050) / 22_050
    loud = np.interp(time_s, np.linspace(0, 1, 9), rng.uniform(0, 0.5, 9))
    pitch_hz = np.interp(time_s, np.linspace(0, 1, 5), rng.uniform(90, 250, 5))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / 22_050
    voice = sum(np.sin(k * phase) / k for k in range(1, 20)) * loud
    sound = to_int16(np.stack([voice, voice], axis=1) + rng.normal(0, 0.002, (22_050, 2)))
    return write_media(path, pictures=frames, sound=sound, rate_hz=22_050)


def encode_again(path: Path, copy: Path, *, crf: int, width: int) -> Path:
    """Write `path` again as H.264 at `crf`, `width` x `width` pixels, with AAC at 48 kbit/s."""
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        video = target.add_stream("libx264", rate=25, options={"crf": str(crf)})
        video.width, video.height, video.pix_fmt = width, width, "yuv420p"
        sound = target.add_stream("aac", rate=22_050, layout="stereo")
        sound.bit_rate = 48_000
        for frame in source.decode():
            if isinstance(frame, av.VideoFrame):
                target.mux(video.encode(frame.reformat(width, width, "yuv420p")))
            else:
                target.mux(sound.encode(frame))
        target.mux(video.encode(None))
        target.mux(sound.encode(None))
    return copy


def small(paths: list[Path]) -> dict[str, Thumbnails]:
    there = np.ones(len(paths), np.bool_)
    frames = [decode(Frames(num_frames=3, image_px=96), path)[0] for path in paths]
    sounds = [decode(Mel(image_px=128), path)[0, 0] for path in paths]
    pictures = np.stack(
        [[cv2.resize(grey(f), (32, 32), interpolation=cv2.INTER_AREA) for f in fs] for fs in frames]
    )
    heard = np.stack(
        [[cv2.resize(grey(s), (64, 32), interpolation=cv2.INTER_AREA)] for s in sounds]
    )
    return {
        "frames": Thumbnails("picture", pictures, there),
        "mel": Thumbnails("sound", heard, there),
    }


def unknown(number: int) -> npt.NDArray[np.float64]:
    return np.full(number, np.nan)


def test_clips_that_are_encoded_again_are_found_and_no_others(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{seed}.mp4", seed) for seed in range(12)]
    again = [
        encode_again(clips[0], tmp_path / "a.mp4", crf=23, width=96),
        encode_again(clips[5], tmp_path / "b.mp4", crf=35, width=96),
        encode_again(clips[9], tmp_path / "c.mp4", crf=28, width=64),
    ]
    views = small(clips + again)
    expected = [[0, 12], [5, 13], [9, 14]]
    assert near_copy_pairs(views, unknown(15)).tolist() == expected
    assert near_copy_pairs({"frames": views["frames"]}, unknown(15)).tolist() == expected
    assert near_copy_pairs({"mel": views["mel"]}, unknown(15)).tolist() == expected


def many(number: int) -> tuple[Thumbnails, Thumbnails]:
    """Return frames and sounds of files of which the last ten are copies of the first ten."""
    rng = np.random.default_rng(0)
    pictures = np.stack([[blobs(rng, 32, 32, cells=8)] * 2 for _ in range(number)])
    sounds = np.stack([[blobs(rng, 32, 64, cells=16)] for _ in range(number)])
    pictures[-10:] = coded_again(pictures[:10], rng)
    sounds[-10:] = coded_again(sounds[:10], rng)
    there = np.ones(number, np.bool_)
    return Thumbnails("picture", pictures, there), Thumbnails("sound", sounds, there.copy())


COPIES_OF_600 = [[index, 590 + index] for index in range(10)]


def test_copies_among_many_are_found_without_comparing_all() -> None:
    frames, mel = many(600)
    assert near_copy_pairs({"frames": frames, "mel": mel}, unknown(600)).tolist() == COPIES_OF_600
    assert near_copy_pairs({"mel": mel}, unknown(600)).tolist() == COPIES_OF_600


@pytest.mark.parametrize("number", [40, 600])
@pytest.mark.parametrize("medium", ["picture", "face"])
def test_a_mirrored_copy_is_one(number: int, medium: Medium) -> None:
    frames, mel = many(number)
    seen = Thumbnails(medium, frames.pictures, frames.is_there)
    copies = [[index, number - 10 + index] for index in range(10)]
    seen.pictures[-10:-5] = seen.pictures[-10:-5, ..., ::-1]
    seen.pictures[20] = seen.pictures[20] // 2 + seen.pictures[20, ..., ::-1] // 2  # is its mirror
    for views in ({"frames": seen, "mel": mel}, {"frames": seen}):
        assert near_copy_pairs(views, unknown(number)).tolist() == copies
    mel.pictures[-10] = mel.pictures[15]  # what it sounds like is another
    found = near_copy_pairs({"frames": seen, "mel": mel}, unknown(number)).tolist()
    assert found == copies[1:]
    mel.pictures[-9] = mel.pictures[1, ..., ::-1]  # played backwards is no mirrored picture
    found = near_copy_pairs({"frames": seen, "mel": mel}, unknown(number)).tolist()
    assert found == copies[2:]


def test_copies_agree_in_every_view_that_both_have() -> None:
    frames, mel = many(600)
    mel.pictures[590] = mel.pictures[300]  # another sound under the same picture
    frames.pictures[591] = frames.pictures[300]  # another picture over the same sound
    mel.is_there[592] = False  # nothing to hear
    found = near_copy_pairs({"frames": frames, "mel": mel}, unknown(600)).tolist()
    assert found == COPIES_OF_600[2:]


def test_copies_last_equally_long() -> None:
    frames, mel = many(600)
    duration_s = np.full(600, 4.0)
    duration_s[590], duration_s[591], duration_s[592] = 4.2, 4.5, np.nan
    found = near_copy_pairs({"frames": frames, "mel": mel}, duration_s).tolist()
    assert found == [pair for pair in COPIES_OF_600 if pair[1] != 591]


@pytest.mark.parametrize("number", [40, 600])
def test_black_pictures_and_silence_are_no_evidence(number: int) -> None:
    frames, mel = many(number)
    frames.pictures[20:30] = 0
    mel.pictures[25:30] = 7
    found = near_copy_pairs({"frames": frames, "mel": mel}, unknown(number)).tolist()
    assert found == [[index, number - 10 + index] for index in range(10)]


def test_likeness_of_pictures_is_the_worst_of_the_frames() -> None:
    rng = np.random.default_rng(0)
    one = np.stack([blobs(rng, 32, 32, cells=8) for _ in range(3)])
    other = one.copy()
    other[1] = blobs(rng, 32, 32, cells=8)
    pictures = np.stack([one, other, one // 2 + 60])
    likeness, num_told = picture_likeness(pictures, np.array([[0, 0], [0, 1], [0, 2]]))
    assert likeness[0] == pytest.approx(1)
    assert likeness[1] < 0.5
    assert likeness[2] > ALIKE["picture"]
    assert num_told.tolist() == [3, 3, 3]


def test_a_sound_that_begins_a_little_later_is_alike() -> None:
    rng = np.random.default_rng(0)
    long = blobs(rng, 32, 70, cells=18)
    sounds = np.stack([long[None, :, start : start + 64] for start in (0, 2, 6)])
    (later, much_later), _ = sound_likeness(sounds, np.array([[0, 1], [0, 2]]))
    assert later > ALIKE["sound"] > much_later


def test_a_band_that_is_louder_all_the_time_does_not_count() -> None:
    rng = np.random.default_rng(0)
    one = blobs(rng, 32, 64, cells=16)[None] // 2
    louder = one.copy()
    louder[:, :10] += 60
    likeness, _ = sound_likeness(np.stack([one, louder]), np.array([[0, 1]]))
    assert likeness[0] == pytest.approx(1, abs=1e-5)


def test_faces_alone_must_be_nearly_the_same_and_with_a_sound_only_much_alike() -> None:
    frames, mel = many(600)
    # The detector framed each face half a pixel further right.
    faces = Thumbnails("face", frames.pictures.copy(), frames.is_there)
    right = np.roll(faces.pictures[590:], 1, axis=-1)
    faces.pictures[590:] = faces.pictures[590:] // 2 + right // 2
    assert near_copy_pairs({"faces": faces, "mel": mel}, unknown(600)).tolist() == COPIES_OF_600
    assert near_copy_pairs({"faces": faces}, unknown(600)).tolist() == []
    faces.pictures[590:, 1] = frames.pictures[:10, 1]
    assert near_copy_pairs({"faces": faces}, unknown(600)).tolist() == COPIES_OF_600


def test_faces_of_the_same_person_under_another_sound_are_no_copies() -> None:
    frames, mel = many(600)
    faces = Thumbnails("face", frames.pictures, frames.is_there)
    mel.pictures[590:] = mel.pictures[100:110]
    assert near_copy_pairs({"faces": faces, "mel": mel}, unknown(600)).tolist() == []
