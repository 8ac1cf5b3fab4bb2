"""The score of each frame: what a file that shows it alone gets, and when it is on screen."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.media.clips import chirp, decode, greys, moving, write_media
from tests.scoring.views import Numbers, spec_of
from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.view import Array
from workbench.parts.model_spec import ModelSpec
from workbench.parts.weights import RANDOM
from workbench.scoring.evaluator import DecodedViews, Evaluator
from workbench.scoring.frame_scores import (
    frames_of,
    score_frames,
    scores_by_frame,
    seconds_of,
)

CPU = torch.device("cpu")


class Bright(nn.Module):
    """Its P(fake) is the mean level of all frames of both views, and of the sound's number."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        levels = [inputs[name].flatten(1).mean(1) for name in ("frames", "faces", "it")]
        level = torch.stack(levels).mean(0)
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


class Level(nn.Module):
    """Its P(fake) is the mean level of the frames."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        level = inputs["frames"].flatten(1).mean(1).clamp(0.01, 0.99)
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


def test_each_frame_is_shown_alone_and_other_views_show_its_moment() -> None:
    views = {
        "frames": Numbers(shape_=(4, 8, 8, 3)),
        "faces": Numbers(shape_=(2, 8, 8, 3)),
        "it": Numbers(shape_=(1,)),
    }
    spec = spec_of(views, image_px=8)
    levels = np.array([51, 102, 153, 204], np.uint8).reshape(1, 1, 4, 1, 1, 1)
    arrays: dict[str, Array] = {
        "frames": np.broadcast_to(levels, (1, 1, 4, 8, 8, 3)).copy(),
        "faces": np.broadcast_to(levels[:, :, :2], (1, 1, 2, 8, 8, 3)).copy(),
        "it": np.full((1, 1, 1), 0.6, np.float32),
    }
    assert frames_of(views) == {"frames": 4, "faces": 2}
    found = scores_by_frame(spec, Bright(), arrays, device=CPU)
    # Frames 0.2, 0.4, 0.6, 0.8; the first face beside the first two, the second beside the others.
    expected = [(0.2 + 0.2 + 0.6), (0.4 + 0.2 + 0.6), (0.6 + 0.4 + 0.6), (0.8 + 0.4 + 0.6)]
    assert found.shape == (1, 4)
    assert found[0] == pytest.approx(np.array(expected) / 3, abs=1e-6)


def test_the_log_odds_of_a_file_are_the_mean_of_its_frames() -> None:
    torch.manual_seed(0)
    views = {"mel": Mel(num_mels=32, image_px=32), "frames": Frames(num_frames=3, image_px=32)}
    spec = ModelSpec(views=views, backbone="test_resnet", weights=RANDOM, image_px=32)
    model = spec.build().eval()
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 256, (2, *view.stored_shape)).astype(np.uint8)
        for name, view in views.items()
    }
    whole = Evaluator(spec, model).scores(DecodedViews(spec, arrays, device=CPU), batch_size=2)
    each = scores_by_frame(spec, model, arrays, device=CPU)
    odds = np.log(each / (1 - each))
    assert odds.std(axis=1).min() > 1e-3  # frames differ
    assert odds.mean(axis=1) == pytest.approx(np.log(whole / (1 - whole)), abs=1e-5)


def test_the_seconds_are_the_middles_of_equal_parts_of_the_pictures(tmp_path: Path) -> None:
    # Ten pictures at 25 a second; the sound goes on for longer.
    clip = write_media(tmp_path / "a.mp4", sound=chirp(1.0), pictures=moving(10))
    assert seconds_of(clip, 4) == pytest.approx([0.05, 0.15, 0.25, 0.35])
    cv2.imwrite(str(tmp_path / "a.png"), moving(1)[0])
    assert seconds_of(tmp_path / "a.png", 2) == [0.0, 0.0]
    assert seconds_of(tmp_path / "none.mp4", 1) == [0.0]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_seconds_are_those_at_which_a_view_of_frames_takes_its_pictures(
    tmp_path: Path, ending: str
) -> None:
    # A grey tells which frame was taken. The sound is longer; the pictures begin later, and one
    # of them is held for 3 s.
    times_ms = [*range(2000, 2400, 40), *range(5400, 5800, 40)]
    clip = tmp_path / f"a.{ending}"
    write_media(clip, sound=chirp(7.0), pictures=greys(20), times_ms=times_ms)
    taken = np.rint(decode(Frames(num_frames=5, image_px=16), clip).mean((0, 2, 3, 4)) / 8)
    shown = np.array([*times_ms, 5800])[taken.astype(int)] / 1000
    gone = np.array([*times_ms, 5800])[taken.astype(int) + 1] / 1000
    seconds = np.array(seconds_of(clip, 5))
    assert taken.tolist() == [9, 9, 9, 9, 10]
    assert (seconds >= shown - 0.03).all() and (seconds <= gone + 0.03).all()


def test_the_seconds_are_read_in_the_fence_that_decodes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_media(tmp_path / "a.mp4", pictures=moving(10))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    spec = spec_of({"frames": Frames(num_frames=2, image_px=16)}, image_px=16)

    def crash(path: Path) -> None:
        raise AssertionError(f"{path} was opened outside of the fence")

    monkeypatch.setattr("workbench.scoring.frame_scores.scan_packets", crash)
    good, bad = score_frames(spec, Level(), [clip, tmp_path / "b.mp4"], device=CPU)
    assert not isinstance(good, MediaError)
    assert [second for second, _ in good] == pytest.approx([0.1, 0.3])
    assert isinstance(bad, MediaError)
