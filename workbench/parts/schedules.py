"""Learning-rate schedules a trial may choose: the factor of the base rate at each step."""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from workbench.values import Part


class Schedule(Part, ABC):
    """A learning rate over a training, as a factor of the base rate."""

    @abstractmethod
    def factor(self, step: int, *, steps_per_epoch: int, num_epochs: int) -> float:
        """Return the factor in [0, 1] for optimizer step `step`, counted from 0."""


class Constant(Schedule):
    """The base rate throughout."""

    kind: Literal["constant"] = "constant"

    def factor(self, step: int, *, steps_per_epoch: int, num_epochs: int) -> float:
        """Return 1."""
        return 1.0


class StepLR(Schedule):
    """The rate times `gamma` after every `step_epochs` epochs."""

    kind: Literal["step"] = "step"
    step_epochs: int = Field(1, ge=1)
    gamma: float = Field(0.5, gt=0, le=1)

    def factor(self, step: int, *, steps_per_epoch: int, num_epochs: int) -> float:
        """Return gamma to the power of the whole `step_epochs` passed."""
        epoch = step // steps_per_epoch
        return float(self.gamma ** (epoch // self.step_epochs))


class Cosine(Schedule):
    """A linear warm-up, then half a cosine from the base rate down to zero.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5, without restarts.
    """

    kind: Literal["cosine"] = "cosine"
    warmup_share: float = Field(0.0, ge=0, lt=1)
    """Share of all steps that the warm-up takes."""

    def factor(self, step: int, *, steps_per_epoch: int, num_epochs: int) -> float:
        """Return the factor of the warm-up or of the cosine, taken at the step's middle."""
        total = steps_per_epoch * num_epochs
        warmup = self.warmup_share * total
        if step + 0.5 < warmup:
            return (step + 0.5) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step + 0.5 - warmup) / (total - warmup)))


AnySchedule = Annotated[Constant | StepLR | Cosine, Field(discriminator="kind")]
