"""A loss of the pooled features beside that of the logits."""

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from workbench.values import Frozen


class Contrast(Frozen):
    """Supervised contrastive loss: features of one class shall be alike, of two unlike.

    Of the normalised features themselves, without a projection of their own.

    Source: Khosla et al. 2020, arXiv:2004.11362, equation 2.
    """

    weight: float = Field(0.0, ge=0, le=10)
    """How much it counts beside `loss`; 0 is off."""

    temperature: float = Field(0.1, gt=0, le=10)
    """What cosines are divided by; a lower one looks at the nearest samples."""

    def __call__(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the samples that have another of their class, a scalar; else 0.

        Args:
            features: (batch, width) float.
            targets: (batch,) float in [0, 1], the probability of a fake. Two samples are of one
                class with the probability that the targets give.
        """
        unit = F.normalize(features, dim=1)
        alike = unit @ unit.T / self.temperature
        alike.fill_diagonal_(-1e9)  # no sample is compared with itself
        same = targets[:, None] * targets + (1 - targets[:, None]) * (1 - targets)
        same = same.fill_diagonal_(0)
        partners = same.sum(dim=1)
        of_each = -(same * F.log_softmax(alike, dim=1)).sum(dim=1) / partners.clamp(min=1e-6)
        counted = (partners > 0).float()
        return (of_each * counted).sum() / counted.sum().clamp(min=1)
