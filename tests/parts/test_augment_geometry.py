"""Where pixels go: flips, turns, shifts, shear and crops."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from workbench.parts import augment_geometry
from workbench.parts.augment import Augment, Pictures, change


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def clips(
    batch: int = 4, frames: int = 2, channels: int = 3, height: int = 12, width: int = 12
) -> Tensor:
    return torch.rand(batch, frames, channels, height, width, generator=seeded(7))


def moved(x: Tensor, how: Pictures, seed: int = 0) -> Tensor:
    return change({"x": x}, {"x": "picture"}, Augment(pictures=how), seeded(seed))["x"]


def draw_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every draw between two numbers be the higher: turned by +degrees, nothing cropped."""
    monkeypatch.setattr(
        augment_geometry, "between", lambda low, high, count, _: torch.full((count,), float(high))
    )


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


@pytest.mark.parametrize("width", [12, 17])
def test_flips_mirror(width: int) -> None:
    x = clips(width=width)
    for how, axes in (
        (Pictures(hflip=1), [4]),
        (Pictures(vflip=1), [3]),
        (Pictures(hflip=1, vflip=1), [3, 4]),
    ):
        torch.testing.assert_close(moved(x, how), x.flip(axes), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(31, 31), (31, 43), (43, 31)])
@pytest.mark.parametrize("degrees", [30.0, 90.0])
def test_a_rotation_turns_a_dot_about_the_middle(
    height: int, width: int, degrees: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_the_largest(monkeypatch)
    turned = moved(dot(height, width, down=0, right=4), Pictures(rotation_deg=degrees))
    angle = math.radians(degrees)
    # From the right of the middle upwards: counter-clockwise.
    expected = torch.tensor([[-4 * math.sin(angle), 4 * math.cos(angle)]])
    torch.testing.assert_close(place(turned), expected, atol=0.1, rtol=0)


def test_a_rotation_agrees_with_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_the_largest(monkeypatch)
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


def test_a_quarter_turn_of_a_small_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_the_largest(monkeypatch)
    picture = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    turned = moved(picture.expand(1, 1, 3, 3, 3), Pictures(rotation_deg=90))
    # Counter-clockwise: the right column becomes the top row.
    expected = torch.tensor([[0.3, 0.6, 0.9], [0.2, 0.5, 0.8], [0.1, 0.4, 0.7]])
    torch.testing.assert_close(turned[0, 0, 0], expected, atol=1e-5, rtol=0)


def test_a_translation_moves_right_and_down_by_its_share_of_the_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw_the_largest(monkeypatch)
    x = clips(height=10, width=20)
    shifted = moved(x, Pictures(translation=0.2))
    torch.testing.assert_close(shifted[..., 2:, 4:], x[..., :-2, :-4], atol=1e-5, rtol=0)
    # What comes in is the picture reflected.
    torch.testing.assert_close(shifted[..., 2:, :4], x[..., :-2, :4].flip(-1), atol=1e-5, rtol=0)


def test_a_shear_leans_by_its_angle_whatever_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_the_largest(monkeypatch)
    for height, width in ((41, 41), (41, 61)):
        for down in (-8.0, 0.0, 8.0):
            sheared = moved(dot(height, width, down=down, right=0), Pictures(shear_deg=45))
            expected = torch.tensor([[down, -down]])  # tan 45 degrees is 1
            torch.testing.assert_close(place(sheared), expected, atol=0.1, rtol=0)


def test_a_centre_crop_keeps_the_middle_of_what_the_turns_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw_the_largest(monkeypatch)
    for height, width in ((41, 41), (41, 61)):
        cropped = moved(dot(height, width, down=5, right=8), Pictures(centre_crop=0.8))
        torch.testing.assert_close(
            place(cropped), torch.tensor([[5 / 0.8, 8 / 0.8]]), atol=0.1, rtol=0
        )
    # Of a picture that was shifted by a tenth of its sides before.
    both = moved(dot(41, 61, down=0, right=5), Pictures(translation=0.1, centre_crop=0.8))
    expected = torch.tensor([[4.1 / 0.8, (5 + 6.1) / 0.8]])
    torch.testing.assert_close(place(both), expected, atol=0.1, rtol=0)
    both = moved(dot(41, 61, down=0, right=8), Pictures(rotation_deg=90, centre_crop=0.8))
    torch.testing.assert_close(place(both), torch.tensor([[-10.0, 0.0]]), atol=0.1, rtol=0)


def test_a_crop_may_be_wider_or_taller_within_its_bounds() -> None:
    size = (2000, 30, 50)
    maps = augment_geometry.maps(size, seeded(), crop_scale=0.5, crop_aspect=2.0)
    assert maps is not None
    assert maps[:, [0, 1], [1, 0]].abs().max() == 0  # nothing turns
    wide, tall = maps[:, 0, 0], maps[:, 1, 1]
    assert max(wide.max(), tall.max()) <= 1
    inside = (wide < 1) & (tall < 1)
    area, aspect = (wide * tall)[inside], (wide / tall)[inside]
    assert area.min() >= 0.5
    assert aspect.min() >= 0.5
    assert aspect.max() <= 2
    assert aspect.log().mean().abs() < 0.05
    assert aspect.max() > 1.5
    # The window stays in the picture: its middle is off by no more than the room beside it.
    assert (maps[:, :, 2].abs() <= 1 - torch.stack([wide, tall], 1) + 1e-6).all()
