"""RandAugment and TrivialAugment: torchvision's, sample by sample, drawn from one seed each."""

from typing import Any, Literal

import torch
from torch import Generator, Tensor

from workbench.parts.augment_draws import seeds
from workbench.parts.torchvision_fix import ensure_torchvision

Policy = Literal["none", "randaugment", "trivialaugment"]

STRONGEST = 30
"""The largest magnitude of RandAugment; torchvision has 31 of them."""


def apply_policy(
    x: Tensor,
    generator: Generator,
    *,
    policy: Policy,
    num_ops: int,
    magnitude: int,
    magnitude_std: float,
) -> Tensor:
    """Return RGB clips `x`, (batch, frames, 3, height, width), each changed by its own draws.

    Like the pictures that the policies were made for, they are rounded to 255 levels first.

    Source:
        Cubuk et al. 2020, arXiv:1909.13719; Müller and Hutter 2021, arXiv:2103.10158.
    """
    if policy == "none":
        return x
    transform = _transform(policy, num_ops, magnitude, magnitude_std)
    levels = (x * 255).round_().to(torch.uint8)
    changed = []
    # torchvision draws from torch's global generator, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        for clip, seed in zip(levels, seeds(len(x), generator), strict=True):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPU's too
            changed.append(transform(clip))
    return torch.stack(changed).to(x.dtype).div_(255)


def _transform(policy: Policy, num_ops: int, magnitude: int, magnitude_std: float) -> Any:
    ensure_torchvision()
    from torchvision.transforms import v2

    bilinear = v2.InterpolationMode.BILINEAR
    if policy == "trivialaugment":
        return v2.TrivialAugmentWide(interpolation=bilinear)
    if not magnitude_std:
        return v2.RandAugment(num_ops, magnitude, interpolation=bilinear)

    def of_drawn_strengths(clip: Tensor) -> Tensor:
        for strength in torch.normal(magnitude, magnitude_std, (num_ops,)).tolist():
            drawn = min(max(round(strength), 0), STRONGEST)
            clip = v2.RandAugment(1, drawn, interpolation=bilinear)(clip)
        return clip

    return of_drawn_strengths
