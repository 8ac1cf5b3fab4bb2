"""Blur, noise, scaling, JPEG and covered parts: values by hand and by other libraries."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from workbench.parts import augment_damage as damage


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def flat(level: float, batch: int = 3, size: int = 40) -> Tensor:
    return torch.full((batch, 2, 3, size, size), level)


def textured(batch: int = 3, size: int = 48) -> Tensor:
    """Pictures with edges and shading, as a codec meets them."""
    y, x = np.mgrid[:size, :size] / size
    picture = np.stack([x, y, (np.hypot(x - 0.5, y - 0.5) < 0.3).astype(float)])
    picture = picture + 0.1 * np.sin(40 * x * y)
    return torch.from_numpy(picture).float().clamp(0, 1).expand(batch, 2, 3, size, size).clone()


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw between two numbers is the higher."""
    monkeypatch.setattr(
        damage, "between", lambda low, high, count, _: torch.full((count,), float(high))
    )


@pytest.mark.usefixtures("largest")
def test_a_blur_agrees_with_opencv() -> None:
    x = torch.rand(2, 1, 3, 30, 41, generator=seeded(7))
    blurred = damage.blur(x, seeded(), p=1, sigma_px=1.5)
    for before, after in zip(x[:, 0], blurred[:, 0], strict=True):
        # 1.5 px: a radius of ceil(4.5); OpenCV's default border is the same reflection.
        expected = cv2.GaussianBlur(before.permute(1, 2, 0).numpy(), (11, 11), 1.5)
        np.testing.assert_allclose(after.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_a_blur_wider_than_the_picture_is_cut_at_it() -> None:
    x = torch.rand(2, 1, 3, 5, 5, generator=seeded(7))
    blurred = damage.blur(x, seeded(), p=1, sigma_px=8)
    assert blurred.var() < x.var()
    torch.testing.assert_close(damage.blur(flat(0.3), seeded(), p=1, sigma_px=8), flat(0.3))


@pytest.mark.usefixtures("largest")
def test_noise_has_the_deviation_that_was_asked_for() -> None:
    noise = damage.add_noise(flat(0.5, batch=4, size=100), seeded(), p=1, levels=10) - 0.5
    for each in noise[:, 0]:
        assert each.std() == pytest.approx(10 / 255, rel=0.02)
        assert each.mean().abs() < 1e-3
        assert each[0].flatten().corrcoef() == pytest.approx(1)
        assert torch.corrcoef(each.flatten(1))[0, 1].abs() < 0.05  # colours apart
    # Pixel by pixel, no sample has the noise of another.
    between = torch.corrcoef(noise[:, 0].flatten(1)) - torch.eye(4)
    assert between.abs().max() < 0.05


def test_scaling_down_and_up_loses_what_is_fine_and_keeps_what_is_coarse() -> None:
    stripes = (torch.arange(64) % 2).float().expand(8, 1, 3, 64, 64)
    assert damage.rescale(stripes, seeded(), p=1, least=0.25).var() < stripes.var() / 2
    wave = 0.5 + 0.5 * torch.sin(torch.arange(64) * 2 * math.pi / 64).expand(8, 1, 3, 64, 64)
    scaled = damage.rescale(wave, seeded(), p=1, least=0.25)
    inner = np.s_[..., 4:-4]  # at the rim there is nothing beyond to average with
    torch.testing.assert_close(scaled[inner], wave[inner], atol=0.03, rtol=0)
    torch.testing.assert_close(damage.rescale(flat(0.3), seeded(), p=1, least=0.1), flat(0.3))


def test_a_flat_picture_stays_flat_in_a_jpeg() -> None:
    for level in (0, 100, 255):
        x = flat(level / 255)
        torch.testing.assert_close(
            damage.compress(x, seeded(), p=1, worst=10), x, atol=4 / 255, rtol=0
        )


def test_a_jpeg_keeps_its_colours_in_their_order() -> None:
    x = flat(0.0)
    x[:, :, 0], x[:, :, 1] = 200 / 255, 50 / 255
    out = damage._through_jpeg(x, torch.full((3,), 95))
    torch.testing.assert_close(out, x, atol=3 / 255, rtol=0)


def test_a_worse_quality_does_more_harm() -> None:
    x = textured()
    harm = [
        (damage._through_jpeg(x, torch.full((3,), quality)) - x).abs().mean()
        for quality in (95, 60, 30, 10)
    ]
    assert harm == sorted(harm)
    assert harm[-1] > 2 * harm[0]


def test_each_sample_has_a_quality_of_its_own_in_the_range() -> None:
    x = textured(batch=40)
    out = damage.compress(x, seeded(), p=1, worst=85)
    at = {
        quality: damage._through_jpeg(x[:1], torch.tensor([quality]))[0]
        for quality in range(85, 96)
    }
    found = [[q for q, each in at.items() if torch.equal(sample, each)] for sample in out]
    assert all(found)
    assert len({qualities[0] for qualities in found}) > 5


def test_a_jpeg_is_the_same_with_any_number_of_threads() -> None:
    x, quality = textured(batch=5), torch.tensor([10, 30, 50, 70, 90])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = damage._through_jpeg(x, quality)
        torch.set_num_threads(3)
        three = damage._through_jpeg(x, quality)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, three)


def test_what_is_erased_is_one_box_of_one_colour() -> None:
    x = flat(2.0, batch=200, size=50)  # a level that no colour has
    x = damage.erase(x, seeded(), p=1, share=0.3)
    hit = (x[:, 0, 0] < 2).any(0)
    assert hit.any(0).all()  # every row and column is in some box, those at the rims too
    assert hit.any(1).all()
    areas, ratios, colours = [], [], []
    for clip in x:
        covered = clip[0, 0] < 2
        rows, columns = covered.any(1), covered.any(0)
        assert torch.equal(covered, rows[:, None] & columns[None])
        tall, wide = int(rows.sum()), int(columns.sum())
        assert int(rows.nonzero().max() - rows.nonzero().min()) == tall - 1
        assert int(columns.nonzero().max() - columns.nonzero().min()) == wide - 1
        inside = clip[0][:, covered]
        assert (inside == inside[:, :1]).all()
        areas.append(tall * wide / 2500)
        ratios.append(tall / wide)
        colours.append(float(inside[0, 0]))
    # Sides are rounded to whole pixels: the smallest box, 0.02 of 2500, has sides of 4 and 13.
    assert min(areas) > 0.015
    assert 0.25 < max(areas) < 0.32
    assert min(ratios) > 0.25
    assert max(ratios) < 4
    assert len(set(colours)) == 200


def test_a_box_too_long_is_cut_at_the_picture() -> None:
    x = damage.erase(flat(2.0, batch=100), seeded(), p=1, share=0.5)
    assert x.shape == (100, 2, 3, 40, 40)
    assert ((x < 2).float().mean((1, 2, 3, 4)) <= 0.53).all()
