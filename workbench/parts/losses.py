"""Losses a trial may choose. To add one: write its class, then name it in `AnyLoss`."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from workbench.values import Part


class Loss(Part, ABC):
    """A loss of (batch, classes) logits against one class index a row."""

    @abstractmethod
    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss in nats, a scalar.

        Args:
            logits: (batch, classes) float, unnormalised.
            targets: (batch,) int64 class indices.
        """


class CrossEntropy(Loss):
    """Cross-entropy, with label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7)."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss in nats, a scalar."""
        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)


class Focal(Loss):
    """Focal loss: cross-entropy that fades on samples already right."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, le=5)
    """How fast easy samples fade; 0 is plain cross-entropy."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss in nats, a scalar."""
        return focal_loss(logits, targets, gamma=self.gamma)


AnyLoss = Annotated[CrossEntropy | Focal, Field(discriminator="kind")]


def focal_loss(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Return the mean focal loss in nats, a scalar.

    Args:
        logits: (batch, classes) float, unnormalised.
        targets: (batch,) int64 class indices in [0, classes).
        gamma: How fast easy samples fade.

    Raises:
        ValueError: `targets` is not one index per row of `logits`.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, arXiv:1708.02002,
        equation 4, without the alpha balance of equation 5.
    """
    if targets.shape != logits.shape[:1]:
        raise ValueError(
            f"focal_loss needs one class index per row: logits {tuple(logits.shape)}, "
            f"targets {tuple(targets.shape)}. Pass class indices, not one-hot rows."
        )
    log_p = F.log_softmax(logits, dim=-1).gather(-1, targets[:, None]).squeeze(-1)
    # 1 - p can round to 0 just where p is 1; its power's gradient is then infinite for gamma < 1.
    rest = (-log_p.expm1()).clamp(min=1e-7)
    return (-(rest**gamma) * log_p).mean()
