"""How the frames of a view become one. Further kinds are in `any_over_frames`."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from workbench.values import Part


class OverFrames(Part, ABC):
    """A way from several frames to one; what is built takes any number of them."""

    of_logits: ClassVar[bool] = False
    """Whether the head makes logits of each frame, and these become one; else their features do,
    in each view for itself."""

    @abstractmethod
    def build(self, width: int) -> nn.Module:
        """Return what makes (batch, width) of (batch, frames, width) features, or logits."""


class MeanOfFrames(OverFrames):
    """The mean of the frames' features."""

    kind: Literal["mean"] = "mean"

    def build(self, width: int) -> nn.Module:
        """See `OverFrames.build`."""
        return Mean()


class Mean(nn.Module):
    """The mean over the frames."""

    def forward(self, frames: Tensor) -> Tensor:
        """Return (batch, width) of (batch, frames, width)."""
        return frames.mean(dim=1)


MEAN = MeanOfFrames()
