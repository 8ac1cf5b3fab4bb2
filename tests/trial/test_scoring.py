"""What is scored of a file: test-time augmentation, alike wherever a score is made."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tests.parts.declared import MODALITIES
from workbench.parts.model_spec import TTA
from workbench.trial.scoring import score, variants
from workbench.trial.served import FlatModel


class Left(nn.Module):
    """Its P(fake) is the level of the first column of the first picture."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        level = inputs["frames"][:, 0, 0, 0, 0].clamp(0.01, 0.99)
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


def ramp() -> Tensor:
    """One picture whose columns go from 0.1 to 0.8 in eight equal steps, (1, 1, 3, 8, 8)."""
    return torch.linspace(0.1, 0.8, 8).expand(1, 1, 3, 8, 8).contiguous()


@pytest.mark.parametrize(("tta", "expected"), [("none", 0.1), ("hflip", (0.1 + 0.8) / 2)])
def test_probabilities_are_averaged_over_what_is_shown(tta: TTA, expected: float) -> None:
    assert float(score(Left(), {"frames": ramp()}, MODALITIES, tta)) == pytest.approx(expected)


def test_six_views_are_three_sizes_and_their_mirror_images() -> None:
    seen = [x["frames"] for x in variants({"frames": ramp()}, MODALITIES, "six")]
    assert len(seen) == 6
    assert all(x.shape == (1, 1, 3, 8, 8) for x in seen)
    for plain, mirrored in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(plain.flip(-1), mirrored)
    assert torch.equal(seen[0], ramp())
    # 0.8 of 8 columns leaves out one on each side, from 0.2 to 0.7; 0.9 of 8 rounds to none.
    assert float(seen[4][0, 0, 0, 4, 0]) == pytest.approx(0.2, abs=0.02)
    assert float(seen[4][0, 0, 0, 4, 7]) == pytest.approx(0.7, abs=0.02)


def test_sounds_and_vectors_stay_as_they_are() -> None:
    inputs = {"frames": ramp(), "mel": torch.rand(1, 1, 1, 8, 8), "values": torch.rand(1, 4)}
    for seen in variants(inputs, MODALITIES, "six"):
        assert seen["mel"] is inputs["mel"]
        assert seen["values"] is inputs["values"]


@pytest.mark.parametrize("tta", ["none", "hflip", "six"])
def test_a_served_model_scores_the_same(tta: TTA) -> None:
    pixels = (ramp() * 255).round()
    served = FlatModel(Left(), {"frames": (1, 1, 8, 8, 3)}, MODALITIES, tta=tta)
    row = pixels.movedim(2, -1).reshape(1, -1)
    expected = float(score(Left(), {"frames": pixels / 255}, MODALITIES, tta))
    assert float(served(row)) == pytest.approx(expected, abs=1e-6)
