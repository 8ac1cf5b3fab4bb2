"""The joint of a pack: how the probabilities of its members become one."""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from workbench.parts.temperature import FINE_LOGIT, REST
from workbench.values import Frozen

SUREST_LOGIT = 30.0
"""Logits are kept within this of 0, those of 0 and 1 too: no member can decide alone."""

_MOST = 1e9
"""Of a weight: sums of such are numbers, too."""

Weight = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]


class MeanOfProbabilities(Frozen):
    """The weighted mean of the members' probabilities."""

    kind: Literal["mean"] = "mean"
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)]
    """One for each member; they sum to 1."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if abs(math.fsum(self.weights) - 1) > 1e-6:
            raise ValueError(f"`weights` sum to {math.fsum(self.weights)}, not to 1")
        return self


class LinearOfLogits(Frozen):
    """The logistic function of a weighted sum of the members' logits.

    Logits that are each divided by a temperature and then averaged are such a sum, and so is a
    logistic regression on them.
    """

    kind: Literal["logits"] = "logits"
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)]
    bias: Annotated[float, Field(ge=-_MOST, le=_MOST, allow_inf_nan=False)] = 0.0


Joint = MeanOfProbabilities | LinearOfLogits
AnyJoint = Annotated[Joint, Field(discriminator="kind")]


class JointLayer(nn.Module):
    """A joint as a layer, so that both counts of parameters see its numbers."""

    def __init__(self, joint: Joint) -> None:
        super().__init__()
        self._is_of_logits = isinstance(joint, LinearOfLogits)
        self.linear = nn.Linear(
            len(joint.weights), 1, bias=self._is_of_logits, dtype=torch.float64
        ).requires_grad_(False)
        self.linear.weight.copy_(torch.tensor([joint.weights], dtype=torch.float64))
        if isinstance(joint, LinearOfLogits):
            self.linear.bias.fill_(joint.bias)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Return one probability a row, (rows,) float64, of (rows, members) float64."""
        if not self._is_of_logits:
            return self.linear(probabilities).squeeze(1).clamp(0, 1)
        logits = torch.logit(probabilities).clamp(-SUREST_LOGIT, SUREST_LOGIT)
        total = self.linear(logits).squeeze(1)
        return torch.where(total > FINE_LOGIT, 1 - REST / total, torch.sigmoid(total))
