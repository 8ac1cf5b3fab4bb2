"""Brightness, contrast, saturation, hue and loss of colour."""

import cv2
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from workbench.parts import augment_colour
from workbench.parts.augment import Augment, Pictures, change


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def clips(batch: int = 4, frames: int = 2, size: int = 12) -> Tensor:
    return torch.rand(batch, frames, 3, size, size, generator=seeded(7))


def changed(x: Tensor, how: Pictures) -> Tensor:
    return change({"x": x}, {"x": "picture"}, Augment(pictures=how), seeded())["x"]


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw between two numbers is the higher."""
    monkeypatch.setattr(
        augment_colour, "between", lambda low, high, count, _: torch.full((count,), float(high))
    )


def pixels(*colours: tuple[float, float, float]) -> Tensor:
    """One frame of one row of these colours."""
    return torch.tensor(colours).T[None, None, :, None, :]


def test_grey_is_the_luma_of_television() -> None:
    x = torch.zeros(1, 1, 3, 1, 3)
    for colour in range(3):
        x[0, 0, colour, 0, colour] = 1
    grey = changed(x, Pictures(grayscale=1))
    assert grey[0, 0, 0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114])  # ITU-R BT.601
    picture = clips()
    grey = changed(picture, Pictures(grayscale=1))
    expected = cv2.cvtColor(picture[0, 0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    for channel in range(3):
        np.testing.assert_allclose(grey[0, 0, channel].numpy(), expected, atol=1e-5)


def test_some_samples_lose_their_colour_and_others_nothing() -> None:
    x = clips(batch=100, frames=1, size=4)
    grey = changed(x, Pictures(grayscale=0.5))
    lost = (grey[:, :, 0] == grey[:, :, 1]).all(-1).all(-1).all(-1)
    assert 25 <= int(lost.sum()) <= 75
    assert torch.equal(grey[~lost], x[~lost])


@pytest.mark.usefixtures("largest")
def test_brightness_multiplies_and_is_cut_at_white() -> None:
    out = changed(pixels((0.1, 0.4, 0.9)), Pictures(brightness=0.5))
    assert out.flatten().tolist() == pytest.approx([0.15, 0.6, 1.0])


@pytest.mark.usefixtures("largest")
def test_contrast_spreads_about_the_mean_grey_of_the_clip() -> None:
    # Two frames of one grey each: the mean of both is 0.4, and 1.5 times as far is 0.1 and 0.7.
    x = torch.tensor([0.2, 0.6]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 4, 4)
    out = changed(x, Pictures(contrast=0.5))
    assert out[0, :, 0, 0, 0].tolist() == pytest.approx([0.1, 0.7])
    # Of brightness and contrast: 0.3 and 0.9 about 0.6.
    out = changed(x, Pictures(brightness=0.5, contrast=0.5))
    assert out[0, :, 0, 0, 0].tolist() == pytest.approx([0.15, 1.0])


@pytest.mark.usefixtures("largest")
def test_saturation_moves_away_from_grey_and_keeps_it() -> None:
    out = changed(pixels((0.6, 0.4, 0.4), (0.5, 0.5, 0.5)), Pictures(saturation=1.0))
    grey = 0.299 * 0.6 + 0.701 * 0.4
    expected = [2 * 0.6 - grey, 2 * 0.4 - grey, 2 * 0.4 - grey]
    assert out[0, 0, :, 0, 0].tolist() == pytest.approx(expected)
    assert out[0, 0, :, 0, 1].tolist() == pytest.approx([0.5] * 3)


@pytest.mark.usefixtures("largest")
def test_a_third_of_a_turn_makes_green_of_red_as_any_wheel_of_hues_does() -> None:
    x = pixels((0.9, 0.2, 0.1), (0.5, 0.5, 0.5))
    out = changed(x, Pictures(hue_deg=120))
    assert out[0, 0, :, 0, 0].tolist() == pytest.approx([0.1, 0.9, 0.2], abs=1e-6)
    assert out[0, 0, :, 0, 1].tolist() == pytest.approx([0.5] * 3)
    hsv = cv2.cvtColor(x[0, 0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 120) % 360
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    np.testing.assert_allclose(out[0, 0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_strengths_are_drawn_evenly_from_both_sides() -> None:
    x = torch.full((1000, 1, 3, 2, 2), 0.5)
    factor = changed(x, Pictures(brightness=0.4))[:, 0, 0, 0, 0] / 0.5
    assert factor.min() == pytest.approx(0.6, abs=0.01)
    assert factor.max() == pytest.approx(1.4, abs=0.01)
    assert factor.mean() == pytest.approx(1.0, abs=0.03)
