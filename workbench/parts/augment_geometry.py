"""Flips, crops, rotation, shear and translation: one affine map a sample, resampled once."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from workbench.parts.augment_draws import between, chance


def maps(
    size: tuple[int, int, int],
    generator: Generator,
    *,
    hflip: float = 0.0,
    vflip: float = 0.0,
    rotation_deg: float = 0.0,
    shear_deg: float = 0.0,
    translation: float = 0.0,
    crop_scale: float = 1.0,
    crop_aspect: float = 1.0,
    centre_crop: float = 1.0,
) -> Tensor | None:
    """Return (count, 2, 3) maps of places in the result to places in the picture.

    Places are in [-1, 1], x before y. Seen from the picture, a window is cropped, moved, turned,
    sheared and flipped, and of what came of it the centre is kept.

    `size` is the count of samples, their height and width in pixels; the settings are those of
    `Pictures`. Nothing is drawn, and None returned, if nothing can move.
    """
    still = (hflip, vflip, rotation_deg, shear_deg, translation) == (0,) * 5
    if still and (crop_scale, crop_aspect, centre_crop) == (1,) * 3:
        return None
    count, height, width = size
    flip_x = 1 - 2 * chance(hflip, count, generator).float()
    flip_y = 1 - 2 * chance(vflip, count, generator).float()
    angle = torch.deg2rad(between(-rotation_deg, rotation_deg, count, generator))
    lean = torch.deg2rad(between(-shear_deg, shear_deg, count, generator)).tan()
    right = between(-translation, translation, count, generator)
    down = between(-translation, translation, count, generator)
    area = between(crop_scale, 1.0, count, generator)
    aspect = between(-math.log(crop_aspect), math.log(crop_aspect), count, generator).exp()
    wide, tall = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left = (1 - wide) * between(-1, 1, count, generator)
    top = (1 - tall) * between(-1, 1, count, generator)
    # Angles are angles between pixels, not between shares of unequal sides.
    ratio = height / width
    crop = _map(wide, 0, left, 0, tall, top)
    move = _map(1, 0, -2 * right, 0, 1, -2 * down)
    turn = _map(angle.cos(), -angle.sin() * ratio, 0, angle.sin() / ratio, angle.cos(), 0)
    shear = _map(1, lean * ratio, 0, 0, 1, 0)
    flip = _map(flip_x * centre_crop, 0, 0, 0, flip_y * centre_crop, 0)
    return (crop @ move @ turn @ shear @ flip)[:, :2]


def resample(x: Tensor, theta: Tensor) -> Tensor:
    """Return `x`, (batch, frames, channels, height, width), with each sample moved by its map.

    It is read bilinearly; what comes into view from outside is the picture reflected.
    """
    flat = x.flatten(1, 2)
    grid = F.affine_grid(theta.to(x, non_blocking=True), list(flat.shape), align_corners=False)
    moved = F.grid_sample(flat, grid, padding_mode="reflection", align_corners=False)
    return moved.clamp_(0, 1).view(x.shape)  # weights add up to 1 but for the last digit


def _map(*entries: Tensor | float) -> Tensor:
    """Return (count, 3, 3) matrices of the first two rows of each, given by row."""
    drawn = torch.broadcast_tensors(*(torch.as_tensor(e) for e in (*entries, 0.0, 0.0, 1.0)))
    rows = torch.stack([each.float() for each in drawn], -1)
    return rows.unflatten(-1, (3, 3))
