"""Mixup and CutMix: pairs of samples, alike in every view."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Mixed:
    """A batch after Mixup or CutMix: sample i is `share` itself and the rest sample partner[i]."""

    inputs: dict[str, Tensor]
    partner: Tensor
    share: float


