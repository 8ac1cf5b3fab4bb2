"""A head of two outputs that is trained by gradients: is the sound fake, and is the picture."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from workbench.parts.fitted_heads import noisy_or
from workbench.parts.heads import Head


class TwoLabelsHead(Head):
    """Two linear layers, of the sound's features and of the picture's, joined by "or"."""

    is_fitted: ClassVar[bool] = False
    kind: Literal["two-labels"] = "two-labels"

    def build(self, width: int) -> nn.Module:
        """Return the module of one view, which both layers see."""
        return TwoLabels(torch.ones(2, width))

    def build_for(self, widths: Sequence[int], are_sounds: Sequence[bool]) -> nn.Module:
        """See `Head.build_for`; each layer sees the features of its own views."""
        pairs = zip(widths, are_sounds, strict=True)
        of_sound = [float(is_sound) for width, is_sound in pairs for _ in range(width)]
        return TwoLabels(torch.tensor([of_sound, [1 - of for of in of_sound]]))


class TwoLabels(nn.Module):
    """Is the sound fake (a), is the picture (b), and so is the file: 1 - (1 - a) (1 - b).

    Args:
        seen: (2, width), 1 where the sound's and the picture's layer see a feature, 0 elsewhere.
    """

    seen: Tensor

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self.register_buffer("seen", seen, persistent=False)  # of the views, not learnt
        self.linear = nn.Linear(seen.shape[1], 2)
        nn.init.constant_(self.linear.bias, math.log(math.sqrt(2) - 1))  # either is 1 - sqrt(1/2)

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, 2) logits of the file, that of a real one always 0.

        In training (batch, 4): behind them the log-odds of a fake sound and of a fake picture.
        """
        # The layer itself is called, or thop would not count it: each output sees its own features.
        each = self.linear(features[..., None, :] * self.seen)
        odds = each.diagonal(dim1=-2, dim2=-1).float()
        logits = noisy_or(odds)
        return torch.cat([logits, odds], dim=-1) if self.training else logits
