"""Mixup and CutMix: pairs of samples, alike in every view."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from workbench.media.declared import PICTURED, Modalities


@dataclass(frozen=True)
class Mixed:
    """A batch after Mixup or CutMix: sample i is `share` itself and the rest sample partner[i]."""

    inputs: dict[str, Tensor]
    partner: Tensor
    share: float


def mixed(
    views: Mapping[str, Tensor],
    modalities: Modalities,
    generator: Generator,
    mixup_alpha: float,
    cutmix_alpha: float,
) -> Mixed:
    """Return the batch after Mixup or CutMix; one of them by chance where both are on."""
    size = len(next(iter(views.values())))
    use_cutmix = cutmix_alpha > 0
    if use_cutmix and mixup_alpha > 0:
        use_cutmix = bool(torch.rand((), generator=generator) < 0.5)
    alpha = cutmix_alpha if use_cutmix else mixup_alpha
    if alpha == 0 or size < 2:
        return Mixed(dict(views), torch.arange(size), 1.0)
    partner = torch.randperm(size, generator=generator)
    share = beta(alpha, generator)
    if use_cutmix:
        pictures = {name: x for name, x in views.items() if modalities[name] in PICTURED}
        return _cutmix(views, pictures, partner, share, generator)
    blended = {
        n: x * share + x[partner.to(x.device, non_blocking=True)] * (1 - share)
        for n, x in views.items()
    }
    return Mixed(blended, partner, share)


def _cutmix(
    views: Mapping[str, Tensor],
    pictures: Mapping[str, Tensor],
    partner: Tensor,
    share: float,
    generator: Generator,
) -> Mixed:
    # The same box in every view, in shares of its sides; a box over the rim is cut at it.
    side = (1 - share) ** 0.5
    centre_y, centre_x = torch.rand(2, generator=generator).tolist()
    cut, kept = {}, []
    for name, x in pictures.items():
        height, width = x.shape[-2:]
        top, bottom = _span(centre_y, side, height)
        left, right = _span(centre_x, side, width)
        y = x.clone()
        y[..., top:bottom, left:right] = x[partner.to(x.device, non_blocking=True)][
            ..., top:bottom, left:right
        ]
        cut[name] = y
        kept.append(1 - (bottom - top) * (right - left) / (height * width))
    # Vectors have no box to cut: they are mixed by as much.
    share = sum(kept) / len(kept) if kept else share
    for name, x in views.items():
        if name not in pictures:
            cut[name] = x * share + x[partner.to(x.device, non_blocking=True)] * (1 - share)
    return Mixed(cut, partner, share)


def _span(centre: float, side: float, size: int) -> tuple[int, int]:
    return (
        max(0, round((centre - side / 2) * size)),
        min(size, round((centre + side / 2) * size)),
    )


def beta(alpha: float, generator: Generator) -> float:
    """Return a draw of Beta(alpha, alpha), as a ratio of two Gamma draws."""
    pair = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=generator)
    # With a tiny alpha both draws can be too small for a float: the distribution is then a coin.
    if float(pair.max()) <= torch.finfo(torch.float64).tiny:
        return float(torch.rand((), generator=generator) < 0.5)
    return float(pair[0] / pair.sum())
