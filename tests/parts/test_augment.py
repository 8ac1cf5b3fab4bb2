import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from workbench.parts import augment as module
from workbench.parts.augment import Augment, Pictures, change, mix


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def clips(
    batch: int = 4, frames: int = 2, channels: int = 3, height: int = 12, width: int = 12
) -> Tensor:
    return torch.rand(batch, frames, channels, height, width, generator=seeded(7))


def moved(x: Tensor, how: Pictures, seed: int = 0) -> Tensor:
    return change({"x": x}, Augment(pictures=how), seeded(seed))["x"]


def dot(height: int, width: int, *, down: float, right: float, batch: int = 1) -> Tensor:
    """Pictures of a soft dot that lies `down` and `right` of the middle, in pixels."""
    y = torch.arange(height) - (height - 1) / 2 - down
    x = torch.arange(width) - (width - 1) / 2 - right
    blob = torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / 4)
    return blob.expand(batch, 1, 3, height, width).clone()


def place(pictures: Tensor) -> Tensor:
    """Return where the dot is, (batch, 2): pixels down and right of the middle."""
    height, width = pictures.shape[-2:]
    weight = pictures[:, 0, 0] / pictures[:, 0, 0].sum((1, 2), keepdim=True)
    y = (weight.sum(2) * (torch.arange(height) - (height - 1) / 2)).sum(1)
    x = (weight.sum(1) * (torch.arange(width) - (width - 1) / 2)).sum(1)
    return torch.stack([y, x], 1)


def test_nothing_is_touched_at_zero_strength() -> None:
    views = {"frames": clips(), "mel": clips(channels=1)}
    changed = change(views, Augment(), seeded())
    assert all(changed[name] is views[name] for name in views)
    mixed = mix(views, Augment(), seeded())
    assert all(mixed.inputs[name] is views[name] for name in views)
    assert mixed.share == 1.0
    assert mixed.partner.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("width", [12, 17])
def test_flips_mirror(width: int) -> None:
    x = clips(width=width)
    for how, axes in (
        (Pictures(hflip=1), [4]),
        (Pictures(vflip=1), [3]),
        (Pictures(hflip=1, vflip=1), [3, 4]),
    ):
        torch.testing.assert_close(moved(x, how), x.flip(axes), atol=1e-5, rtol=0)


def test_a_chance_is_a_chance_of_each_sample() -> None:
    x = clips(batch=400, frames=1)
    flipped = (moved(x, Pictures(hflip=0.25)) - x).abs().amax((1, 2, 3, 4)) > 1e-3
    assert 60 <= int(flipped.sum()) <= 140  # 100 expected, 4.6 standard deviations either way


@pytest.mark.parametrize(("height", "width"), [(31, 31), (31, 43), (43, 31)])
@pytest.mark.parametrize("degrees", [30.0, 90.0])
def test_a_rotation_turns_a_dot_about_the_middle(
    height: int, width: int, degrees: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The largest draw: turned by +degrees, nothing cropped.
    monkeypatch.setattr(module, "_between", lambda low, high, count, _: torch.full((count,), high))
    turned = moved(dot(height, width, down=0, right=4), Pictures(rotation_deg=degrees))
    angle = math.radians(degrees)
    # From the right of the middle upwards: counter-clockwise.
    expected = torch.tensor([[-4 * math.sin(angle), 4 * math.cos(angle)]])
    torch.testing.assert_close(place(turned), expected, atol=0.1, rtol=0)


def test_a_rotation_agrees_with_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_between", lambda low, high, count, _: torch.full((count,), high))
    picture = cv2.GaussianBlur(clips(1, 1, 3, 41, 61)[0, 0].permute(1, 2, 0).numpy(), (0, 0), 2)
    matrix = cv2.getRotationMatrix2D((30.0, 20.0), 20.0, 1.0)
    expected = cv2.warpAffine(picture, matrix, (61, 41), flags=cv2.INTER_LINEAR)
    x = torch.from_numpy(picture).permute(2, 0, 1)[None, None]
    turned = moved(x, Pictures(rotation_deg=20))[0, 0].permute(1, 2, 0).numpy()
    inner = np.s_[12:29, 16:45]
    np.testing.assert_allclose(turned[inner], expected[inner], atol=0.02)


def test_angles_are_drawn_evenly_from_both_sides() -> None:
    places = place(moved(dot(41, 61, down=0, right=9, batch=500), Pictures(rotation_deg=90)))
    radius, angle = places.norm(dim=1), torch.rad2deg(torch.atan2(-places[:, 0], places[:, 1]))
    torch.testing.assert_close(radius, torch.full((500,), 9.0), atol=0.2, rtol=0)
    assert angle.abs().max() < 91
    assert angle.mean().abs() < 10
    assert angle.std() == pytest.approx(90 / math.sqrt(3), abs=5)


def test_what_comes_into_view_is_reflected() -> None:
    grey = torch.full((3, 1, 3, 12, 20), 0.25)
    turned = moved(grey, Pictures(rotation_deg=180, crop_scale=0.5))
    torch.testing.assert_close(turned, grey)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 48)])
def test_a_crop_is_a_window_of_the_picture(height: int, width: int) -> None:
    down = (torch.arange(height) + 0.5) / height
    right = (torch.arange(width) + 0.5) / width
    channels = [down[:, None].expand(height, width), right[None].expand(height, width)]
    x = torch.stack([*channels, torch.zeros(height, width)]).expand(300, 1, 3, height, width)
    cropped = moved(x, Pictures(crop_scale=0.25))
    assert cropped.shape == x.shape
    assert cropped.min() >= 0
    assert cropped.max() <= 1
    # Sides of the window in shares of the picture's, from the slope at its middle.
    middle, third = (height // 2, width // 2), (height // 4, width // 4)
    tall = (cropped[:, 0, 0, middle[0], 5] - cropped[:, 0, 0, third[0], 5]) * 4
    wide = (cropped[:, 0, 1, 5, middle[1]] - cropped[:, 0, 1, 5, third[1]]) * 4
    torch.testing.assert_close(tall, wide, atol=1e-3, rtol=0)
    area = tall * wide
    assert area.min() >= 0.25 - 1e-3
    assert area.max() <= 1 + 1e-3
    assert area.mean() == pytest.approx(0.625, abs=0.05)  # drawn evenly from [0.25, 1]
    # Its middle stays where the window fits, and wanders.
    centre = cropped[:, 0, 1, 5, width // 2 - 1 : width // 2 + 1].mean(1)
    assert ((centre - 0.5).abs() <= (1 - wide) / 2 + 1e-3).all()
    assert centre.std() > 0.05


def test_grey_is_the_luma_of_television() -> None:
    x = torch.zeros(1, 1, 3, 1, 3)
    for colour in range(3):
        x[0, 0, colour, 0, colour] = 1
    grey = moved(x, Pictures(grayscale=1))
    assert grey[0, 0, 0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114])  # ITU-R BT.601
    picture = clips()
    grey = moved(picture, Pictures(grayscale=1))
    expected = cv2.cvtColor(picture[0, 0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    for channel in range(3):
        np.testing.assert_allclose(grey[0, 0, channel].numpy(), expected, atol=1e-5)


def test_some_samples_lose_their_colour_and_others_nothing() -> None:
    x = clips(batch=100, frames=1, height=4, width=4)
    grey = moved(x, Pictures(grayscale=0.5))
    lost = (grey[:, :, 0] == grey[:, :, 1]).all(-1).all(-1).all(-1)
    assert 25 <= int(lost.sum()) <= 75
    assert torch.equal(grey[~lost], x[~lost])


EVERYTHING = Pictures(hflip=0.5, vflip=0.5, rotation_deg=40, crop_scale=0.5, grayscale=0.5)


def test_all_frames_of_a_clip_move_alike_and_clips_do_not() -> None:
    one = clips(batch=1, frames=1)
    x = one.expand(6, 3, -1, -1, -1)
    out = moved(x, EVERYTHING)
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in pairwise(out[:, 0]))


def test_spectrogram_settings_are_for_one_channel_alone() -> None:
    views = {"frames": clips(), "mel": clips(channels=1)}
    heard = change(views, Augment(spectrograms=EVERYTHING), seeded())
    assert heard["frames"] is views["frames"]
    assert not torch.allclose(heard["mel"], views["mel"])
    seen = change(views, Augment(pictures=EVERYTHING), seeded())
    assert seen["mel"] is views["mel"]
    assert not torch.allclose(seen["frames"], views["frames"])


def test_the_inputs_stay_as_they_were() -> None:
    x = clips()
    before = x.clone()
    changed = change({"x": x}, Augment(pictures=EVERYTHING), seeded())
    mix(changed, Augment(cutmix_alpha=1), seeded())
    mix({"x": x}, Augment(cutmix_alpha=1), seeded())
    assert torch.equal(x, before)


@pytest.mark.parametrize("how", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}])
def test_one_seed_gives_one_result(how: dict[str, float]) -> None:
    augment = Augment(pictures=EVERYTHING, spectrograms=EVERYTHING, **how)
    views = {"frames": clips(), "mel": clips(channels=1)}

    def run(seed: int) -> tuple[dict[str, Tensor], list[int], float]:
        generator = seeded(seed)
        mixed = mix(change(views, augment, generator), augment, generator)
        return mixed.inputs, mixed.partner.tolist(), mixed.share

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(first[0][name], again[0][name]) for name in views)
    assert first[1:] == again[1:]
    assert first[2] != other[2]


def numbered(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Pictures whose every pixel is the number of the sample."""
    x = torch.arange(batch, dtype=torch.float32)
    return x.view(-1, 1, 1, 1, 1).expand(batch, 2, channels, height, width).clone()


@pytest.mark.parametrize("seed", range(5))
def test_mixup_shares_pixels_as_it_shares_labels_alike_in_every_view(seed: int) -> None:
    views = {"frames": numbered(8, 6, 6), "mel": numbered(8, 4, 4, channels=1)}
    mixed = mix(views, Augment(mixup_alpha=1.0), seeded(seed))
    own = torch.arange(8)
    assert sorted(mixed.partner.tolist()) == list(range(8))
    expected = mixed.share * own + (1 - mixed.share) * mixed.partner
    for x in mixed.inputs.values():
        torch.testing.assert_close(x, expected.view(-1, 1, 1, 1, 1).expand_as(x).float())


def test_cutmix_shares_pixels_as_it_shares_labels() -> None:
    for seed in range(40):
        x = numbered(8, 30, 20)
        mixed = mix({"x": x}, Augment(cutmix_alpha=1.0), seeded(seed))
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
    mixed = mix(views, Augment(cutmix_alpha=1.0), seeded(3))
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
    mixed = mix({"x": x}, Augment(mixup_alpha=1.0), seeded())
    assert mixed.inputs["x"] is x
    assert mixed.share == 1.0


def test_both_mixings_take_turns() -> None:
    x = numbered(4, 16, 16)
    is_cut = []
    for seed in range(60):
        mixed = mix({"x": x}, Augment(mixup_alpha=1.0, cutmix_alpha=1.0), seeded(seed))
        is_cut.append(bool((mixed.inputs["x"] == mixed.inputs["x"].round()).all()))
    assert 15 <= sum(is_cut) <= 45


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    generator = seeded()
    draws = torch.tensor([module._beta(alpha, generator) for _ in range(3000)])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert draws.mean() == pytest.approx(0.5, abs=0.04)
    assert draws.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
