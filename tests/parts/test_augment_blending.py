"""Self-blended images: what a blend is made of, and how blends enter a batch."""

import pytest
import torch
from torch import Generator, Tensor

from tests.parts.declared import MODALITIES
from workbench.parts import augment_blending as blending
from workbench.parts.augment import (
    Augment,
    Pictures,
    change,
    mix,
    with_blends,
)
from workbench.parts.augment_blending import regions, self_blended
from workbench.parts.augment_geometry import resample

REAL = torch.zeros(8, dtype=torch.int64)
ALWAYS = Augment(pictures=Pictures(self_blend=1))


OFF: dict[str, object] = {
    "RATIOS": (1.0,),
    "RGB_CHANCE": 0.0,
    "LIGHT": 0.0,
    "HUE_DEG": 0.0,
    "LEAST_SCALE": 1.0,
    "SHARPEN": (0.0, 0.0),
    "SHIFT_X": 0.0,
    "SHIFT_Y": 0.0,
    "ZOOM": 1.0,
    "CENTRE": (0.5, 0.5),
    "RADIUS": (0.25, 0.25),
    "BEND": 0.0,
    "SOFTNESS": (0.02, 0.02),
}
"""What a blend is made of, each as if it were not there or not drawn."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def clips(batch: int = 8, frames: int = 2, size: tuple[int, int] = (48, 64)) -> Tensor:
    return torch.rand(batch, frames, 3, *size, generator=seeded(7))


def views(batch: int = 8) -> dict[str, Tensor]:
    x = clips(batch)
    return {
        "frames": x,
        "faces": x[:, :1],
        "mel": torch.rand(batch, 1, 1, 48, 64, generator=seeded(8)),
        "values": torch.rand(batch, 5, generator=seeded(9)),
    }


def fixed(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Every draw between two numbers is at this share of the way; the ratio is the last."""
    monkeypatch.setattr(
        blending,
        "between",
        lambda low, high, count, _: torch.full((count,), low + share * (high - low)),
    )
    monkeypatch.setattr(blending, "RATIOS", (1.0,))


def test_shape_range_and_input_are_kept() -> None:
    x = clips()
    x[0], x[1] = 0, 1  # black and white: nothing may go beyond
    before = x.clone()
    for out in self_blended(x, seeded()):
        assert out.shape == x.shape
        assert out.dtype == torch.float32
        assert out.min() >= 0
        assert out.max() <= 1
    assert torch.equal(x, before)


def test_the_generator_alone_decides() -> None:
    x = clips()
    first = self_blended(x, seeded())
    torch.rand(5)
    state = torch.get_rng_state()
    again, other = self_blended(x, seeded()), self_blended(x, seeded(1))
    assert all(map(torch.equal, again, first))
    assert not any(map(torch.equal, other, first))
    assert torch.equal(torch.get_rng_state(), state)


def test_frames_change_alike_and_samples_do_not() -> None:
    x = clips(batch=1, frames=1).expand(8, 3, -1, -1, -1)
    for out in self_blended(x, seeded()):
        torch.testing.assert_close(out, out[:, :1].expand_as(out), atol=1e-6, rtol=0)
        assert len(out.flatten(1).unique(dim=0)) > 2


def test_what_another_sample_holds_does_not_matter() -> None:
    x, other = clips(), clips()
    other[3:] = 1 - other[3:]
    for a, b in zip(self_blended(x, seeded()), self_blended(other, seeded()), strict=True):
        torch.testing.assert_close(a[:3], b[:3], atol=1e-6, rtol=0)


def test_a_blend_is_its_target_outside_a_region_in_the_middle_and_differs_inside() -> None:
    x = clips(batch=40, size=(64, 64))
    target, blend = self_blended(x, seeded())
    differs = (blend != target).any(2)
    assert differs[:, :, 24:40, 24:40].flatten(1).float().mean(1).min() > 0.3
    # The farthest: a centre at 0.6, a radius of 0.35, a bend of 0.05, three deviations of 0.032.
    assert not differs[..., :2, :2].any()
    share = differs.float().mean((1, 2, 3))
    assert 0.03 < share.min() < share.max() < 0.7


def test_one_of_the_two_is_the_clip_as_it_was() -> None:
    x = clips(batch=64, frames=1)
    target, _ = self_blended(x, seeded())
    as_it_was = (target == x).flatten(1).all(1)
    assert 15 <= int(as_it_was.sum()) <= 49  # 32 expected, 4.25 standard deviations either way


@pytest.mark.parametrize("part", OFF)
def test_every_part_reaches_the_pixels(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    x = clips(frames=1)
    _, whole = self_blended(x, seeded())
    monkeypatch.setattr(blending, part, OFF[part])
    _, without = self_blended(x, seeded())
    assert (whole - without).abs().max() > 1e-2


def test_what_nothing_changes_is_blended_into_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in list(OFF)[1:9]:
        monkeypatch.setattr(blending, part, OFF[part])
    x = clips()
    for out in self_blended(x, seeded()):
        torch.testing.assert_close(out, x, atol=1e-5, rtol=0)


def test_either_the_source_or_the_target_has_less_or_more_detail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for part in ("RGB_CHANCE", "LIGHT", "HUE_DEG"):
        monkeypatch.setattr(blending, part, OFF[part])
    x = 0.4 + 0.2 * clips(batch=64, frames=1)
    detail = blending._changed(x, seeded()).flatten(1).std(1) / x.flatten(1).std(1)
    smaller, sharper = detail < 0.99, detail > 1.3
    assert bool((smaller | sharper).all())
    assert 15 <= int(smaller.sum()) <= 49  # 32 expected, 4.25 standard deviations either way


@pytest.mark.parametrize("ratio", [0.25, 1.0])
def test_a_shift_of_colours_and_a_ratio_give_the_level_by_hand(
    monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    fixed(monkeypatch, 1.0)
    monkeypatch.setattr(blending, "RATIOS", (ratio,))
    monkeypatch.setattr(blending, "RGB_CHANCE", 1.0)
    monkeypatch.setattr(blending, "LIGHT", 0.0)
    monkeypatch.setattr(blending, "HUE_DEG", 0.0)
    # One grey all over: neither sharpness nor place shows, only 20 levels more of all colours.
    x = torch.full((16, 1, 3, 48, 48), 0.5)
    target, blend = self_blended(x, seeded())
    to_source = target[:, 0, 0, 0, 0] == 0.5
    assert to_source.any()
    assert not to_source.all()
    changed = 0.5 + 20 / 255
    torch.testing.assert_close(target[~to_source], torch.full_like(target[~to_source], changed))
    middle = blend[:, 0, :, 28, 28]  # the centre is at 0.6 of the sides, 28.8
    expected = torch.where(to_source, 0.5 + ratio * 20 / 255, changed - ratio * 20 / 255)
    torch.testing.assert_close(middle, expected[:, None].expand(-1, 3))
    assert torch.equal(blend[:, 0, :, 0, 0], target[:, 0, :, 0, 0])


def test_a_source_moves_by_shares_of_the_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 1.0)
    monkeypatch.setattr(blending, "ZOOM", 1.0)
    theta = blending._moves(1, seeded())
    x = torch.zeros(1, 1, 3, 200, 100)
    x[..., 100, 50] = 1
    moved = resample(x, theta)
    # 3% of 100 to the right, 1.5% of 200 down.
    assert (moved[0, 0, 0] > 0.99).nonzero().tolist() == [[103, 53]]


def test_a_source_zooms_about_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 1.0)
    monkeypatch.setattr(blending, "SHIFT_X", 0.0)
    monkeypatch.setattr(blending, "SHIFT_Y", 0.0)
    theta = blending._moves(1, seeded())
    torch.testing.assert_close(theta, torch.tensor([[[0.95, 0, 0], [0, 0.95, 0]]]))


def test_a_region_is_the_ellipse_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 0.5)  # the centre in the middle, radii of 0.25, no bend
    region = regions((1, 100, 200), seeded())[0, 0, 0]
    torch.testing.assert_close(region, region.flip(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(region, region.flip(1), atol=1e-5, rtol=0)
    assert [float(region[place]) for place in ((50, 100), (0, 0), (50, 20))] == [1, 0, 0]
    # pi * 25 * 50 pixels; a blur keeps the sum.
    assert float(region.sum()) == pytest.approx(3.14159 * 25 * 50, rel=0.01)
    # The border is half way on the ellipse, and soft: a deviation of 1.9 pixels.
    across = region[50]
    assert across[50] > 0.5 > across[49]
    assert int(((across > 0.05) & (across < 0.95)).sum()) == pytest.approx(
        2 * 2 * 1.64 * 1.9, abs=3
    )


def test_a_region_is_bent_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 1.0)  # the centre at 0.6 of the sides, and all of it bent by 0.05
    monkeypatch.setattr(blending, "RADIUS", (0.2, 0.2))
    region = regions((1, 100, 200), seeded())[0, 0, 0]
    rows, columns = region.sum(1) / region.sum(), region.sum(0) / region.sum()
    assert float(rows @ (torch.arange(100) + 0.5)) == pytest.approx(55, abs=0.1)
    assert float(columns @ (torch.arange(200) + 0.5)) == pytest.approx(110, abs=0.1)


def test_a_region_is_the_same_place_at_every_size() -> None:
    small = regions((20, 64, 64), seeded())
    large = regions((20, 192, 128), seeded())
    shrunk = torch.nn.functional.interpolate(large[:, 0], (64, 64), mode="area")
    assert (small[:, 0] - shrunk).abs().mean() < 0.02


def test_regions_are_soft_and_whole_and_of_many_shapes() -> None:
    region = regions((200, 96, 96), seeded())
    assert region.shape == (200, 1, 1, 96, 96)
    assert region.min() == 0
    assert region.amax((1, 2, 3, 4)).min() > 0.99
    area = region.mean((1, 2, 3, 4))
    assert area.min() < 0.1
    assert area.max() > 0.25
    rim = ((region > 0.01) & (region < 0.99)).float().mean((1, 2, 3, 4))
    assert rim.min() > 0.005


def test_a_batch_gets_a_fake_of_each_real_sample() -> None:
    targets = torch.tensor([0, 1, 0, 1, 1, 0, 0, 1])
    before = views()
    given = {name: x.clone() for name, x in before.items()}
    out, labels = with_blends(before, targets, MODALITIES, ALWAYS, seeded())
    assert labels.tolist() == [0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1]
    assert labels.dtype == targets.dtype
    real, fake = targets == 0, targets == 1
    for name, x in out.items():
        assert x.shape == (12, *before[name].shape[1:])
        assert torch.equal(x[:8][fake], before[name][fake])
        assert torch.equal(before[name], given[name])
    for name in ("mel", "values"):
        assert torch.equal(out[name][:8], before[name])
        assert torch.equal(out[name][8:], before[name][real])
    for name in ("frames", "faces"):
        blends, beside = out[name][8:], out[name][:8][real]
        inside = (blends != beside).flatten(1).float().mean(1)
        assert inside.min() > 0.03
        assert inside.max() < 0.7
        assert torch.equal(blends[..., :2, :2], beside[..., :2, :2])


def test_all_views_of_a_sample_are_blended_alike() -> None:
    x = clips(frames=1)
    out, _ = with_blends(
        {"a": x, "b": x.clone()}, REAL, {"a": "picture", "b": "picture"}, ALWAYS, seeded()
    )
    assert torch.equal(out["a"], out["b"])


def test_a_chance_of_nothing_gives_the_same_tensors_and_draws_nothing() -> None:
    before, generator = views(), seeded()
    state = generator.get_state()
    out, labels = with_blends(before, REAL, MODALITIES, Augment(), generator)
    assert labels is REAL
    assert list(out) == list(before)
    assert all(out[name] is before[name] for name in before)
    assert torch.equal(generator.get_state(), state)


def test_a_batch_without_pictures_gets_no_fakes() -> None:
    before = {name: x for name, x in views().items() if name in ("mel", "values")}
    generator = seeded()
    state = generator.get_state()
    out, labels = with_blends(before, REAL, MODALITIES, ALWAYS, generator)
    assert labels is REAL
    assert all(out[name] is before[name] for name in before)
    assert torch.equal(generator.get_state(), state)


def test_a_batch_of_fakes_stays_as_it_is() -> None:
    before = views()
    out, labels = with_blends(before, 1 - REAL, MODALITIES, ALWAYS, seeded())
    assert labels.tolist() == [1] * 8
    assert all(out[name] is before[name] for name in before)


def test_what_is_drawn_later_does_not_hang_on_the_labels() -> None:
    states = []
    for targets in (REAL, 1 - REAL, torch.arange(8) % 2):
        generator = seeded()
        with_blends(views(), targets, MODALITIES, ALWAYS, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_the_chance_is_of_each_real_sample() -> None:
    x = torch.rand(1, 1, 3, 16, 16).expand(400, -1, -1, -1, -1)
    how = Augment(pictures=Pictures(self_blend=0.25))
    _, labels = with_blends({"x": x}, torch.arange(400) % 2, {"x": "picture"}, how, seeded())
    assert 26 <= len(labels) - 400 <= 74  # 50 expected of 200, 4 standard deviations either way


def test_a_batch_with_blends_can_be_changed_and_mixed() -> None:
    how = Augment(pictures=Pictures(self_blend=0.5, hflip=0.5, rotation_deg=10), mixup_alpha=0.2)
    generator = seeded()
    out, labels = with_blends(views(), REAL, MODALITIES, how, generator)
    mixed = mix(change(out, MODALITIES, how, generator), MODALITIES, how, generator)
    assert 8 < len(labels) < 16
    assert len(mixed.partner) == len(labels)
    assert {len(x) for x in mixed.inputs.values()} == {len(labels)}


@pytest.mark.gpu
def test_the_same_happens_on_a_gpu() -> None:
    here, _ = with_blends(views(), REAL, MODALITIES, ALWAYS, seeded())
    there, _ = with_blends(
        {n: x.cuda() for n, x in views().items()}, REAL, MODALITIES, ALWAYS, seeded()
    )
    for name in here:
        # On the border of a region, a pixel may fall to the other side.
        assert (there[name].cpu() - here[name]).abs().mean() < 1e-4
