"""Mixup and CutMix share pixels as they share labels."""

import pytest
import torch
from torch import Generator, Tensor

from tests.parts.declared import MODALITIES
from workbench.parts.augment import Augment, mix
from workbench.parts.augment_mixing import beta


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def clips(batch: int = 4) -> Tensor:
    return torch.rand(batch, 2, 3, 12, 12, generator=seeded(7))


@pytest.mark.parametrize("how", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}])
def test_one_seed_gives_one_result(how: dict[str, float]) -> None:
    def run(seed: int) -> tuple[Tensor, list[int], float]:
        mixed = mix({"x": clips()}, {"x": "picture"}, Augment(**how), seeded(seed))
        return mixed.inputs["x"], mixed.partner.tolist(), mixed.share

    first, again, other = run(1), run(1), run(2)
    assert torch.equal(first[0], again[0])
    assert first[1:] == again[1:]
    assert first[2] != other[2]


def test_nothing_is_mixed_at_zero_strength() -> None:
    views = {"frames": clips(), "values": torch.rand(4, 5)}
    mixed = mix(views, MODALITIES, Augment(), seeded())
    assert all(mixed.inputs[name] is views[name] for name in views)
    assert mixed.share == 1.0
    assert mixed.partner.tolist() == [0, 1, 2, 3]


def test_the_inputs_stay_as_they_were() -> None:
    x = clips()
    before = x.clone()
    mix({"x": x}, {"x": "picture"}, Augment(mixup_alpha=1), seeded())
    mix({"x": x}, {"x": "picture"}, Augment(cutmix_alpha=1), seeded())
    assert torch.equal(x, before)


def numbered(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Pictures whose every pixel is the number of the sample."""
    x = torch.arange(batch, dtype=torch.float32)
    return x.view(-1, 1, 1, 1, 1).expand(batch, 2, channels, height, width).clone()


@pytest.mark.parametrize("seed", range(5))
def test_mixup_shares_pixels_as_it_shares_labels_alike_in_every_view(seed: int) -> None:
    views = {"frames": numbered(8, 6, 6), "mel": numbered(8, 4, 4, channels=1)}
    mixed = mix(views, MODALITIES, Augment(mixup_alpha=1.0), seeded(seed))
    own = torch.arange(8)
    assert sorted(mixed.partner.tolist()) == list(range(8))
    expected = mixed.share * own + (1 - mixed.share) * mixed.partner
    for x in mixed.inputs.values():
        torch.testing.assert_close(x, expected.view(-1, 1, 1, 1, 1).expand_as(x).float())


def test_cutmix_shares_pixels_as_it_shares_labels() -> None:
    for seed in range(40):
        x = numbered(8, 30, 20)
        mixed = mix({"x": x}, {"x": "picture"}, Augment(cutmix_alpha=1.0), seeded(seed))
        out, partner = mixed.inputs["x"], mixed.partner.view(-1, 1, 1, 1, 1)
        own = out == x
        assert (own | (out == partner)).all()
        other = mixed.partner != torch.arange(8)
        kept = own[other].float().mean((1, 2, 3, 4))
        torch.testing.assert_close(kept, torch.full_like(kept, mixed.share))
        # One box, the same in every sample and frame.
        boxes = ~own[other][:, :, 0]
        assert (boxes == boxes[0, 0]).all()
        rows, columns = boxes[0, 0].any(1), boxes[0, 0].any(0)
        assert torch.equal(boxes[0, 0], rows[:, None] & columns[None])


def test_cutmix_cuts_the_same_part_and_partner_in_every_view() -> None:
    views = {"frames": numbered(8, 40, 40), "mel": numbered(8, 20, 20, channels=1)}
    mixed = mix(views, MODALITIES, Augment(cutmix_alpha=1.0), seeded(3))
    large, small = mixed.inputs["frames"][:, 0, 0], mixed.inputs["mel"][:, 0, 0]
    same = (large[:, ::2, ::2] == small).float().mean()
    assert same > 0.9  # but for the rounding of the box's rim
    shares = []
    other = mixed.partner != torch.arange(8)
    for name, x in mixed.inputs.items():
        shares.append((x == views[name])[other].float().mean().item())
    assert mixed.share == pytest.approx(sum(shares) / 2, abs=1e-6)


def test_a_batch_of_one_has_nobody_to_mix_with() -> None:
    x = clips(batch=1)
    mixed = mix({"x": x}, {"x": "picture"}, Augment(mixup_alpha=1.0), seeded())
    assert mixed.inputs["x"] is x
    assert mixed.share == 1.0


def test_both_mixings_take_turns() -> None:
    x = numbered(4, 16, 16)
    is_cut = []
    for seed in range(60):
        mixed = mix(
            {"x": x}, {"x": "picture"}, Augment(mixup_alpha=1.0, cutmix_alpha=1.0), seeded(seed)
        )
        is_cut.append(bool((mixed.inputs["x"] == mixed.inputs["x"].round()).all()))
    assert 15 <= sum(is_cut) <= 45


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    generator = seeded()
    draws = torch.tensor([beta(alpha, generator) for _ in range(3000)])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert draws.mean() == pytest.approx(0.5, abs=0.04)
    assert draws.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
