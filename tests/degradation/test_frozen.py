"""Videos of which some frames stay, come again or are left out."""

from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import greys, write_media
from workbench.degradation.degraded_views import read_copies
from workbench.degradation.frozen import frozen
from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.view import Array


def kind_of(shown: Array) -> str:
    if (np.diff(shown) < 0).any():
        return "again"
    return "stays" if np.bincount(shown).max() >= 20 else "left out"


def test_a_fifth_to_two_thirds_are_not_shown_in_their_place_in_one_of_three_ways() -> None:
    kinds = set()
    for seed in range(40):
        shown = frozen(100, np.random.default_rng(seed))
        assert shown.shape == (100,) and shown.min() >= 0 and shown.max() <= 99
        wrong = int((shown != np.arange(100)).sum())
        kind = kind_of(shown)
        kinds.add(kind)
        if kind == "stays":
            start = int(np.bincount(shown).argmax())
            assert 19 <= wrong <= 66
            # The sound's time goes on, and the picture comes back to it.
            expected = np.r_[: start + 1, [start] * wrong, start + wrong + 1 : 100]
            np.testing.assert_array_equal(shown, expected)
        elif kind == "again":
            (back,) = np.flatnonzero(np.diff(shown) < 0)
            assert 20 <= wrong <= 50
            assert shown[back + 1] == back + 1 - wrong
        else:
            assert 33 <= len(set(shown.tolist())) <= 80
            assert np.diff(shown).max() > 20
    assert kinds == {"stays", "again", "left out"}


def test_a_video_of_any_length_has_a_frame_in_each_place() -> None:
    for count in range(1, 12):
        for seed in range(20):
            shown = frozen(count, np.random.default_rng(seed))
            assert shown.shape == (count,) and 0 <= shown.min() <= shown.max() < count


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("clip") / "greys.mp4", pictures=greys(30))


@pytest.mark.parametrize("copy", ["freeze", "freeze_sent-h264"])
def test_what_is_seen_of_a_copy_hangs_on_its_content_alone(clip: Path, copy: str) -> None:
    """Frame i is grey 8 i."""
    view, seen = Frames(num_frames=10, image_px=16), []
    for content in ("one", "two", "one"):
        made = read_copies(clip, {"itself": ("", view), "copy": (copy, view)}, content=content).made
        both = [made[name].array.mean(axis=(0, 2, 3, 4)) for name in ("itself", "copy")]  # type: ignore[union-attr]
        assert both[0] == pytest.approx(8 * (3 * np.arange(10) + 1), abs=3)
        seen.append(both[1])
    assert np.abs(seen[0] - both[0]).max() > 20
    assert np.abs(seen[0] - seen[1]).max() > 20
    np.testing.assert_array_equal(seen[0], seen[2])


def failed(made: object) -> bool:
    return isinstance(made, MediaError)


def test_a_view_that_sees_the_same_frames_has_no_such_copy(clip: Path, tmp_path: Path) -> None:
    one = write_media(tmp_path / "one.mp4", pictures=greys(1))
    view = Frames(num_frames=2, image_px=16)
    made = read_copies(one, {"itself": ("", view), "copy": ("freeze", view)}, content="a").made
    assert not failed(made["itself"])
    assert failed(made["copy"])
