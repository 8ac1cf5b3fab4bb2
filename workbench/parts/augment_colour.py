"""Brightness, contrast, saturation, hue and loss of colour: one affine map of colours a sample."""

import torch
from torch import Generator, Tensor

from workbench.parts.augment_draws import between, chance

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey (ITU-R BT.601, as OpenCV and PIL use)."""


def recolour(
    x: Tensor,
    generator: Generator,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue_deg: float,
    grayscale: float,
) -> Tensor:
    """Return RGB clips `x`, (batch, frames, 3, height, width), each with its colours mapped.

    In this order, as in `Pictures`; all are linear in the colour, so they are one matrix and one
    offset a sample, and levels are cut to [0, 1] once.
    """
    if not any((brightness, contrast, saturation, hue_deg, grayscale)):
        return x
    count = len(x)
    bright = between(1 - brightness, 1 + brightness, count, generator)
    apart = between(1 - contrast, 1 + contrast, count, generator)
    vivid = between(1 - saturation, 1 + saturation, count, generator)
    angle = torch.deg2rad(between(-hue_deg, hue_deg, count, generator))
    vivid = torch.where(chance(grayscale, count, generator), 0.0, vivid)

    luma = torch.tensor(LUMA).expand(3, 3)
    eye = torch.eye(3)
    saturate = vivid[:, None, None] * eye + (1 - vivid)[:, None, None] * luma
    matrix = (saturate @ _about_grey(angle) * (bright * apart)[:, None, None]).to(
        x, non_blocking=True
    )
    flat = x.transpose(1, 2).flatten(2)  # (batch, 3, pixels of all frames)
    if contrast:
        # About the mean grey of all frames at once, so that each of them changes alike. The other
        # maps leave a grey as it is, so it does not matter that they come after.
        mean = flat.mean(2) @ torch.tensor(LUMA).to(x, non_blocking=True)
        offset = (mean * (bright * (1 - apart)).to(x, non_blocking=True))[:, None, None]
        mapped = torch.baddbmm(offset, matrix, flat)
    else:
        mapped = torch.bmm(matrix, flat)
    return mapped.clamp_(0, 1).unflatten(2, (x.shape[1], *x.shape[3:])).transpose(1, 2)


def _about_grey(angle: Tensor) -> Tensor:
    """Return (count, 3, 3) rotations of (red, green, blue) about the axis of greys.

    By 120 degrees, red becomes green, green blue, and blue red.

    Source:
        Rodrigues' formula about (1, 1, 1) / sqrt(3).
    """
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5
    return cos * torch.eye(3) + sin * cross + (1 - cos) / 3
