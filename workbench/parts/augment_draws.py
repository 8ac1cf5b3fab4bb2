"""Random draws for the samples of a batch; all come from one CPU generator.

Each draw is made for every sample, used or not: what happens to one says nothing of another.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor


def chance(p: float, count: int, generator: Generator) -> Tensor:
    """Return (count,) bool, each true with probability `p`."""
    return torch.rand(count, generator=generator) < p


def between(low: float, high: float, count: int, generator: Generator) -> Tensor:
    """Return (count,) numbers drawn evenly from [low, high]."""
    return low + (high - low) * torch.rand(count, generator=generator)


def seeds(count: int, generator: Generator) -> list[int]:
    """Return `count` seeds for other generators."""
    drawn: list[int] = torch.randint(2**62, (count,), generator=generator).tolist()
    return drawn


def replace(x: Tensor, chosen: Tensor, new: Callable[..., Tensor], *drawn: Tensor) -> Tensor:
    """Return `x` with its `chosen` samples, (batch,) bool on the CPU, replaced by new ones.

    Args:
        x: (batch, ...).
        chosen: Which samples.
        new: Makes them of the chosen samples and what was drawn for them.
        drawn: (batch,), one number a sample.
    """
    where = chosen.nonzero()[:, 0]
    if not len(where):
        return x
    there = where.to(x.device, non_blocking=True)
    kept = x.clone()
    kept[there] = new(x[there], *(values[where] for values in drawn))
    return kept
