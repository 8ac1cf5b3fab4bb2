"""A stretch of another clip, at the same place in the pictures and the sound."""

from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import greys, write_media
from workbench.degradation.degradations import FORGERIES
from workbench.degradation.degraded_views import read_copies
from workbench.degradation.forgeries import stretch, with_stretch
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.frames import Frames
from workbench.media.view import Array, Sound

INSERT = FORGERIES["insert"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Frame i of `own` is grey 8 i; `other` is black, and has half as many frames."""
    folder = tmp_path_factory.mktemp("clips")
    black = np.zeros_like(greys(15))
    return {
        "own": write_media(folder / "own.mp4", pictures=greys(30)),
        "other": write_media(folder / "other.mp4", pictures=black),
    }


def sweep(duration_s: float) -> Sound:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return np.asarray(0.5 * np.sin(2 * np.pi * (200 + 700 * time_s) * time_s), np.float32)


def seen(clips: dict[str, Path], copy: str, content: str, view: Frames) -> Array:
    """Return the mean level of each frame that a view has of a copy."""
    made = read_copies(
        clips["own"], {"copy": (copy, view)}, content=content, others={copy: clips["other"]}
    ).made["copy"]
    assert not isinstance(made, MediaError), made
    return np.asarray(made.array.mean(axis=(0, 2, 3, 4)))


@pytest.mark.parametrize("copy", ["insert", "insert_jpeg50"])
def test_frames_inside_the_stretch_are_the_others_and_all_else_stays(
    clips: dict[str, Path], copy: str
) -> None:
    view = Frames(num_frames=10, image_px=16)
    for content in "abcde":
        start, end = stretch(INSERT.drawn(content))
        places = (3 * np.arange(10) + 1.5) / 30  # frames 1, 4, ... of 30
        inside = (start <= places) & (places < end)
        inside[np.abs(places - (start + end) / 2).argmin()] = True
        levels = seen(clips, copy, content, view)
        assert levels == pytest.approx(np.where(inside, 0, 8 * (3 * np.arange(10) + 1)), abs=6)
        assert 1 <= inside.sum() <= 7


def test_both_clips_are_sent_before_one_stands_in_the_other(clips: dict[str, Path]) -> None:
    for content in "abc":
        levels = seen(clips, "insert_sent-h264", content, Frames(num_frames=10, image_px=16))
        black = levels < 6
        assert 1 <= black.sum() <= 8
        assert (np.diff(levels[~black]) > 0).all()


def test_of_two_frames_one_is_the_others(clips: dict[str, Path]) -> None:
    for content in "abcdefgh":
        levels = seen(clips, "insert", content, Frames(num_frames=2, image_px=16))
        assert (levels < 5).sum() == 1, levels


def test_one_frame_alone_is_not_forged(clips: dict[str, Path]) -> None:
    view = {"copy": ("insert", Frames(num_frames=1, image_px=16))}
    made = read_copies(clips["own"], view, content="a", others={"insert": clips["other"]}).made
    assert isinstance(made["copy"], MediaError)


def test_the_sound_is_the_others_over_the_same_share_of_time() -> None:
    own, other = sweep(2.0), sweep(3.0)[::-1].copy()
    for content in "abcde":
        start, end = stretch(INSERT.drawn(content))
        forged = INSERT.heard(own, other, content)
        assert forged.shape == own.shape
        outside = np.ones(len(own), bool)
        outside[int(start * len(own)) : int(end * len(own))] = False
        # Level and peak are kept, so what stays is itself but for a gain and the soft clipper.
        assert np.corrcoef(forged[outside], own[outside])[0, 1] > 0.99
        length = int(np.count_nonzero(~outside))
        taken = min(int(start * len(other)), len(other) - length)
        assert np.corrcoef(forged[~outside], other[taken : taken + length])[0, 1] > 0.9
        assert 0.2 <= end - start <= 2 / 3 and start >= 0 and end <= 1


def test_what_is_heard_of_a_longer_clip_is_of_the_moment_that_is_seen() -> None:
    second = np.arange(RATE_HZ) / RATE_HZ
    tones = [np.sin(2 * np.pi * (300 + 200 * at) * second) for at in range(10)]
    other = np.asarray(0.1 * np.concatenate(tones), np.float32)
    forged = with_stretch(sweep(5.0), other, (0.4, 0.6))
    # Frames of these two fifths show the other's seconds 4 to 6; its fourth has 1100 Hz.
    heard = forged[int(2.25 * RATE_HZ) : int(2.75 * RATE_HZ)]
    assert 2 * np.abs(np.fft.rfft(heard)).argmax() == pytest.approx(1100, abs=4)


def test_of_a_shorter_sound_its_end_is_heard_and_of_a_blip_nothing() -> None:
    own, other = sweep(2.0), sweep(1.0)[::-1].copy()
    forged = with_stretch(own, other, (0.5, 0.75))
    half, length = len(own) // 2, len(own) // 4
    heard = forged[half : half + length]
    assert np.corrcoef(heard, other[-length:])[0, 1] > 0.9
    with pytest.raises(MediaError, match="too short"):
        with_stretch(own, other[: RATE_HZ // 100], (0.5, 0.75))
