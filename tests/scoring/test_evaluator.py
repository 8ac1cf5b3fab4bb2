"""What is scored of a file: segments and test-time augmentation, alike wherever a score is made."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.scoring.views import Numbers, spec_of
from workbench.media.declared import Modalities
from workbench.media.view import Array
from workbench.parts.joint import LinearOfLogits
from workbench.parts.model_spec import TTA, ModelSpec
from workbench.parts.pack import PackModel
from workbench.parts.pack_spec import PackSpec
from workbench.scoring.any_model import scores_of
from workbench.scoring.evaluator import (
    DecodedViews,
    Evaluator,
    fake_probability,
    variants,
)

CPU = torch.device("cpu")


class Left(nn.Module):
    """Its P(fake) is the level of the first column of the first picture."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        level = inputs["frames"][:, 0, 0, 0, 0].clamp(0.01, 0.99)
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


class Logits(nn.Module):
    """Gives the vectors of `it` back as logits."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return inputs["it"]


def ramp() -> Tensor:
    """One picture whose columns go from 0.1 to 0.8 in eight equal steps, (1, 1, 3, 8, 8)."""
    return torch.linspace(0.1, 0.8, 8).expand(1, 1, 3, 8, 8).contiguous()


@pytest.mark.parametrize(("tta", "expected"), [("none", 0.1), ("hflip", (0.1 + 0.8) / 2)])
def test_probabilities_are_averaged_over_what_is_shown(tta: TTA, expected: float) -> None:
    spec = spec_of({"frames": Numbers(shape_=(1, 8, 8, 3))}, image_px=8, tta=tta)
    assert float(fake_probability(Left(), {"frames": ramp()}, spec)) == pytest.approx(expected)


def test_six_views_are_three_sizes_and_their_mirror_images() -> None:
    seen = [x["frames"] for x in variants({"frames": ramp()}, {"frames": "picture"}, "six")]
    assert len(seen) == 6
    assert all(x.shape == (1, 1, 3, 8, 8) for x in seen)
    for plain, mirrored in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(plain.flip(-1), mirrored)
    assert torch.equal(seen[0], ramp())
    # 0.8 of 8 columns leaves out one on each side, from 0.2 to 0.7; 0.9 of 8 rounds to none.
    assert float(seen[4][0, 0, 0, 4, 0]) == pytest.approx(0.2, abs=0.02)
    assert float(seen[4][0, 0, 0, 4, 7]) == pytest.approx(0.7, abs=0.02)


def test_sounds_and_vectors_stay_as_they_are() -> None:
    inputs = {"frames": ramp(), "mel": torch.rand(1, 1, 1, 8, 8), "features": torch.rand(1, 4)}
    modalities: Modalities = {"frames": "picture", "mel": "spectrogram", "features": "vector"}
    for seen in variants(inputs, modalities, "six"):
        assert seen["mel"] is inputs["mel"]
        assert seen["features"] is inputs["features"]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_a_file_gets_the_mean_of_its_segments_however_they_are_batched(batch_size: int) -> None:
    views = {"frames": Numbers(shape_=(1, 1, 1, 3), segments=2)}
    # Levels 51 / 255 = 0.2, 153 / 255 = 0.6; 102 / 255 = 0.4 twice; 204 / 255 = 0.8, 0.2.
    levels = np.array([[51, 153], [102, 102], [204, 51]], np.uint8)
    arrays = {"frames": np.repeat(levels.reshape(3, 2, 1, 1, 1, 1), 3, axis=-1)}
    spec = spec_of(views, image_px=1)
    steps: list[int] = []
    scores = Evaluator(spec, Left()).scores(
        DecodedViews(spec, arrays, device=CPU),
        batch_size=batch_size,
        step=lambda: steps.append(1),
    )
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, [0.4, 0.4, 0.5], atol=1e-6)
    assert len(steps) == -(-6 // batch_size)


def test_the_surest_files_are_still_told_apart() -> None:
    # In float32 each would be 1.
    spec = spec_of({"it": Numbers(shape_=(2,))}, image_px=1)
    arrays = {"it": np.array([[[0, 20]], [[0, 21]], [[0, 22]]], np.float32)}
    scores = Evaluator(spec, Logits()).scores(DecodedViews(spec, arrays, device=CPU), batch_size=3)
    np.testing.assert_allclose(1 - scores, np.exp([-20.0, -21.0, -22.0]), rtol=1e-6)


def test_a_model_in_training_mode_is_scored_in_evaluation_mode() -> None:
    spec = spec_of({"it": Numbers(shape_=(2,))}, image_px=1)
    arrays = {"it": np.array([[[0, 1]]] * 50, np.float32)}
    model = nn.Sequential(Logits(), nn.Dropout(0.5)).train()
    scores = Evaluator(spec, model).scores(DecodedViews(spec, arrays, device=CPU), batch_size=9)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-1)), rtol=1e-6)


def test_members_of_a_pack_are_joined_by_files_each_with_its_own_segments_and_augmentation() -> (
    None
):
    views = {
        "frames": Numbers(shape_=(1, 1, 2, 3), segments=2),
        "it": Numbers(shape_=(2,)),
    }
    # Of each segment the left column: 0.2 and 0.6; the right one: 0.6 and 0.6.
    pixels = np.array([[[51, 153], [153, 153]]], np.uint8).reshape(1, 2, 1, 1, 2, 1)
    arrays: dict[str, Array] = {
        "frames": np.repeat(pixels, 3, axis=-1),
        "it": np.array([[[0.0, np.log(9.0)]]], np.float32),
    }
    segments = spec_of({"frames": views["frames"]}, image_px=2)
    mirrored = spec_of({"frames": views["frames"]}, image_px=2, tta="hflip")
    vector = spec_of({"it": views["it"]}, image_px=1)
    joint = LinearOfLogits(weights=(1.0, 1.0, 0.5))
    spec = PackSpec.model_construct(members=(segments, mirrored, vector), joint=joint)
    model = PackModel([Left(), Left(), Logits()], joint)  # type: ignore[list-item]

    def source_for(member: ModelSpec) -> DecodedViews:
        return DecodedViews(member, {name: arrays[name] for name in member.views}, device=CPU)

    # (0.2 + 0.6) / 2 = 0.4; (0.2 + 0.6 + 0.6 + 0.6) / 4 = 0.5; 0.9. The joint is of the files'
    # values: log(0.4 / 0.6) + 0 + 0.5 log 9 = log 2.
    scores = scores_of(spec, model, source_for, batch_size=1)
    np.testing.assert_allclose(scores, [2 / 3], atol=1e-6)
