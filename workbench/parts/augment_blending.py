"""Self-blended images: fakes made of a real picture laid over itself, changed a little.

A forged face is another picture than the one it lies in: its colours, its sharpness and its place
differ a little, and it ends at a border. Here one picture is both, so that these traces are all
that is left to learn.

Source:
    Shiohara and Yamasaki 2022, arXiv:2204.08376, section 3; numbers called official are those of
    the authors' code, github.com/mapooon/SelfBlendedImages (`sbi.py`, `blend.py`, `funcs.py`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from workbench.parts import augment_damage as damage
from workbench.parts import augment_geometry as geometry
from workbench.parts.augment_colour import recolour
from workbench.parts.augment_draws import between, chance, replace

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""How much of the source shows inside the region, each as likely: the paper's."""

RGB_CHANCE, RGB_LEVELS = 0.3, 20
"""Red, green and blue are shifted apart, by up to so many levels of 255: official."""

LIGHT = 0.1
"""Of brightness and contrast, official. Also of saturation: the official changes of saturation and
hue, 0.3 levels of 255 and of 180, cannot be seen."""

HUE_DEG = 3.0
"""Ours, for the same reason; the shifts of red, green and blue turn hues farther."""

LEAST_SCALE = 0.5
"""Down and up again, to any share from this to 1. Officially to a half or a quarter, but of the
video's pixels, which are about two to one of the model's: a quarter there is a half here."""

SHARPEN_PX, SHARPEN = 0.8, (0.6, 1.6)
"""The official filter adds 9 * [0.2, 0.5] times what the mean of 3 x 3 pixels takes away, also of
the video's pixels; this adds as much to the middle frequencies of half as many."""

SHIFT_X, SHIFT_Y, ZOOM = 0.03, 0.015, 1 / 0.95
"""Largest move of the source, as shares of the sides, and largest zoom or its inverse: official."""

CENTRE, RADIUS = (0.4, 0.6), (0.15, 0.35)
"""Of the region, as shares of the sides. The paper takes the hull of a face's landmarks, or a part
of it. In a face crop with the usual margin of 0.3 the face's box is the middle 62% of each side:
these ellipses lie on it, from a mouth's to the whole head's size."""

BENDS, BEND = 5, 0.05
"""The ellipse is bent by moves of up to this share of the sides, drawn at 5 x 5 places and smooth
between them. The official deformation is finer, and starts from outlines that are no ellipses."""

SOFTNESS = (0.0065, 0.032)
"""Deviation of the Gaussian that softens the region's border, as a share of the shorter side. The
official kernels, of 5 to 25 pixels in about 224, are nearly boxes: these are their deviations."""


def self_blended(x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the target and the blend of each of the RGB clips `x`, all its frames alike.

    A blend is its target outside a region and mostly its source inside. One of the two, by a coin,
    is the clip as it was and the other has other colours and another sharpness. So a target is the
    real picture to learn beside its blend, as officially: beside the clip as it was, every change
    of the target would tell the fake, and the border nothing.

    Args:
        x: (batch, frames, 3, height, width) in [0, 1].
        generator: A CPU generator. What is drawn does not depend on the size of the pictures.
    """
    count = len(x)
    other = _changed(x, generator)
    to_source = chance(0.5, count, generator).to(x.device, non_blocking=True)[
        :, None, None, None, None
    ]
    source, target = torch.where(to_source, other, x), torch.where(to_source, x, other)
    source = geometry.resample(source, _moves(count, generator))
    ratio = torch.tensor(RATIOS)[torch.randint(len(RATIOS), (count,), generator=generator)]
    height, width = x.shape[-2:]
    weight = regions((count, height, width), generator, x.device)
    weight = weight * ratio.to(x, non_blocking=True)[:, None, None, None, None]
    return target, target.lerp(source, weight)


def regions(
    size: tuple[int, int, int], generator: Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Return (count, 1, 1, height, width) soft regions: 1 inside, 0 outside.

    `size` is the count of samples, their height and width in pixels.
    """
    count, height, width = size
    centre = between(*CENTRE, 2 * count, generator).view(2, count, 1, 1)
    radius = between(*RADIUS, 2 * count, generator).view(2, count, 1, 1)
    bend = between(-BEND, BEND, 2 * count * BENDS**2, generator).view(count, 2, BENDS, BENDS)
    softness = between(*SOFTNESS, count, generator) * min(height, width)

    bend = F.interpolate(
        bend.to(device, non_blocking=True), (height, width), mode="bicubic", align_corners=True
    )
    across = (torch.arange(width, device=device) + 0.5) / width
    along = (torch.arange(height, device=device) + 0.5)[:, None] / height
    centre, radius = centre.to(device, non_blocking=True), radius.to(device, non_blocking=True)
    away_x = (across + bend[:, 0] - centre[0]) / radius[0]
    away_y = (along + bend[:, 1] - centre[1]) / radius[1]
    inside = (away_x**2 + away_y**2 < 1).float()[:, None, None]
    largest = SOFTNESS[1] * min(height, width)
    return damage.blurred(inside, softness, largest_px=largest).clamp_(0, 1)


def _changed(x: Tensor, generator: Generator) -> Tensor:
    """Return `x` in other colours, and either less or more sharp."""
    count = len(x)
    shift = between(-RGB_LEVELS / 255, RGB_LEVELS / 255, 3 * count, generator).view(count, 3)
    shift = shift * chance(RGB_CHANCE, count, generator)[:, None]
    x = (x + shift.to(x, non_blocking=True)[:, None, :, None, None]).clamp_(0, 1)
    x = recolour(
        x,
        generator,
        brightness=LIGHT,
        contrast=LIGHT,
        saturation=LIGHT,
        hue_deg=HUE_DEG,
        grayscale=0.0,
    )
    share = between(LEAST_SCALE, 1, count, generator)
    amount = between(*SHARPEN, count, generator)
    smaller = chance(0.5, count, generator)
    return replace(replace(x, smaller, damage.rescaled, share), ~smaller, _sharpened, amount)


def _sharpened(x: Tensor, amount: Tensor) -> Tensor:
    soft = damage.blurred(x, torch.full((len(x),), SHARPEN_PX), largest_px=SHARPEN_PX)
    return (x + amount.to(x, non_blocking=True)[:, None, None, None, None] * (x - soft)).clamp_(
        0, 1
    )


def _moves(count: int, generator: Generator) -> Tensor:
    """Return (count, 2, 3) maps of places, as `geometry.maps`: each zooms and moves a picture."""
    right = between(-SHIFT_X, SHIFT_X, count, generator)
    down = between(-SHIFT_Y, SHIFT_Y, count, generator)
    zoom = between(-math.log(ZOOM), math.log(ZOOM), count, generator).exp()
    return torch.stack([1 / zoom, 0 * zoom, -2 * right, 0 * zoom, 1 / zoom, -2 * down], 1).view(
        count, 2, 3
    )
