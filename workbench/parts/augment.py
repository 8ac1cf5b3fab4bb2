"""Augmentations of whole batches on the device; all randomness comes from one generator.

Flips, rotation and crop of one sample are one affine map, so a picture is resampled once. All
frames of a clip move alike. Mixup and CutMix pair samples, alike in every view.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from workbench.values import Frozen

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey (ITU-R BT.601, as OpenCV and PIL use)."""


class Pictures(Frozen):
    """How each sample of one kind of view may be changed; the defaults change nothing."""

    hflip: float = Field(0.0, ge=0, le=1)
    """Chance of a mirrored picture."""

    vflip: float = Field(0.0, ge=0, le=1)
    """Chance of a picture upside down."""

    rotation_deg: float = Field(0.0, ge=0, le=180)
    """Rotation by an angle drawn evenly from [-this, this]; what comes into view is reflected."""

    crop_scale: float = Field(1.0, gt=0, le=1)
    """Least share of the area that a random crop keeps, blown up to the full size."""

    grayscale: float = Field(0.0, ge=0, le=1)
    """Chance of losing colour; one-channel views have none to lose."""

    @property
    def moves(self) -> bool:
        """Whether a pixel can change its place."""
        return self.hflip > 0 or self.vflip > 0 or self.rotation_deg > 0 or self.crop_scale < 1


class Augment(Frozen):
    """All augmentations of a recipe."""

    pictures: Pictures = Pictures()
    """For views of the seen: frames, images."""

    spectrograms: Pictures = Pictures()
    """For views of the heard. A flip turns time or pitch around: rarely what is wanted."""

    mixup_alpha: float = Field(0.0, ge=0, le=10)
    """Mixup's Beta parameter; 0 is off. Zhang et al. 2018, arXiv:1710.09412."""

    cutmix_alpha: float = Field(0.0, ge=0, le=10)
    """CutMix's Beta parameter; 0 is off. Yun et al. 2019, arXiv:1905.04899."""


@dataclass(frozen=True)
class Mixed:
    """A batch after Mixup or CutMix: sample i is `share` itself and the rest sample partner[i]."""

    inputs: dict[str, Tensor]
    partner: Tensor
    share: float


def change(
    views: Mapping[str, Tensor], augment: Augment, generator: Generator
) -> dict[str, Tensor]:
    """Return each view with every sample flipped, turned, cropped and greyed as drawn.

    Args:
        views: By name, (batch, frames, channels, height, width) float in [0, 1]. One-channel views
            are spectrograms. Vectors, (batch, values), stay as they are.
        augment: What may happen.
        generator: A CPU generator, so that the draws are the same on every device.
    """
    changed = {}
    for name, x in views.items():
        if x.dim() == 2:
            changed[name] = x
            continue
        how = augment.spectrograms if x.shape[2] == 1 else augment.pictures
        if how.moves:
            x = _move(x, how, generator)
        if how.grayscale > 0 and x.shape[2] == 3:
            grey = _chance(how.grayscale, len(x), generator).to(x.device)[:, None, None, None, None]
            luma = (x * x.new_tensor(LUMA)[:, None, None]).sum(2, keepdim=True)
            x = torch.where(grey, luma, x)
        changed[name] = x
    return changed


def mix(views: Mapping[str, Tensor], augment: Augment, generator: Generator) -> Mixed:
    """Return the batch after Mixup or CutMix; one of them by chance where both are on.

    Args:
        views: By name, (batch, frames, channels, height, width) or (batch, values) float.
        augment: Which are on.
        generator: A CPU generator.
    """
    size = len(next(iter(views.values())))
    use_cutmix = augment.cutmix_alpha > 0
    if use_cutmix and augment.mixup_alpha > 0:
        use_cutmix = bool(torch.rand((), generator=generator) < 0.5)
    alpha = augment.cutmix_alpha if use_cutmix else augment.mixup_alpha
    if alpha == 0 or size < 2:
        return Mixed(dict(views), torch.arange(size), 1.0)
    partner = torch.randperm(size, generator=generator)
    share = _beta(alpha, generator)
    if use_cutmix:
        return _cutmix(views, partner, share, generator)
    mixed = {name: x * share + x[partner.to(x.device)] * (1 - share) for name, x in views.items()}
    return Mixed(mixed, partner, share)


def _cutmix(
    views: Mapping[str, Tensor], partner: Tensor, share: float, generator: Generator
) -> Mixed:
    # The same box in every view, in shares of its sides; a box over the rim is cut at it.
    side = (1 - share) ** 0.5
    centre_y, centre_x = torch.rand(2, generator=generator).tolist()
    mixed, kept = {}, []
    pictures = {name: x for name, x in views.items() if x.dim() > 2}
    for name, x in pictures.items():
        height, width = x.shape[-2:]
        top, bottom = _span(centre_y, side, height)
        left, right = _span(centre_x, side, width)
        y = x.clone()
        y[..., top:bottom, left:right] = x[partner.to(x.device)][..., top:bottom, left:right]
        mixed[name] = y
        kept.append(1 - (bottom - top) * (right - left) / (height * width))
    # Vectors have no box to cut: they are mixed by as much.
    share = sum(kept) / len(kept) if kept else share
    for name, x in views.items():
        if name not in pictures:
            mixed[name] = x * share + x[partner.to(x.device)] * (1 - share)
    return Mixed(mixed, partner, share)


def _span(centre: float, side: float, size: int) -> tuple[int, int]:
    return (
        max(0, round((centre - side / 2) * size)),
        min(size, round((centre + side / 2) * size)),
    )


def _move(x: Tensor, how: Pictures, generator: Generator) -> Tensor:
    """Return `x`, (batch, frames, channels, height, width), with each sample moved by its map."""
    batch, frames, channels, height, width = x.shape
    flip_x = 1 - 2 * _chance(how.hflip, batch, generator).float()
    flip_y = 1 - 2 * _chance(how.vflip, batch, generator).float()
    angle = torch.deg2rad(_between(-how.rotation_deg, how.rotation_deg, batch, generator))
    scale = _between(how.crop_scale, 1.0, batch, generator).sqrt()
    shift_x = (1 - scale) * _between(-1, 1, batch, generator)
    shift_y = (1 - scale) * _between(-1, 1, batch, generator)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    # Output place to input place, in [-1, 1] a side: turn (by pixels, not sides), shrink, shift.
    theta = torch.stack(
        [
            torch.stack([cos * flip_x, -sin * flip_y * height / width, shift_x], -1),
            torch.stack([sin * flip_x * width / height, cos * flip_y, shift_y], -1),
        ],
        1,
    ).to(x)
    flat = x.reshape(batch, frames * channels, height, width)
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    moved = F.grid_sample(flat, grid, padding_mode="reflection", align_corners=False)
    return moved.reshape(x.shape)


def _chance(p: float, count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < p


def _between(low: float, high: float, count: int, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _beta(alpha: float, generator: Generator) -> float:
    """Return a draw of Beta(alpha, alpha), as a ratio of two Gamma draws."""
    pair = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=generator)
    # With a tiny alpha both draws can be too small for a float: the distribution is then a coin.
    if float(pair.max()) <= torch.finfo(torch.float64).tiny:
        return float(torch.rand((), generator=generator) < 0.5)
    return float(pair[0] / pair.sum())
