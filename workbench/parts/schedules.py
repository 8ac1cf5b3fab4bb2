"""Learning-rate schedules a trial may choose: the factor of the base rate at each step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from workbench.parts.plugins import Kinds
from workbench.values import Part


class Schedule(Part, ABC):
    """A learning rate over a training, as a factor of the base rate."""

    @abstractmethod
    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
        """Return the factor in [0, 1] for one step.

        Args:
            step: The optimizer's step, counted from 0.
            steps_per_epoch: Steps of one epoch.
            num_epochs: Epochs of the whole training.
            history: The objective after each epoch so far, turned so that higher is better.
        """


class Constant(Schedule):
    """The base rate throughout."""

    kind: Literal["constant"] = "constant"

    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
        """Return 1."""
        return 1.0


class StepLR(Schedule):
    """The rate times `gamma` after every `step_epochs` epochs."""

    kind: Literal["step"] = "step"
    step_epochs: int = Field(1, ge=1)
    """Epochs from one fall to the next."""

    gamma: float = Field(0.5, gt=0, le=1)
    """What the rate is multiplied by each time."""

    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
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

    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
        """Return the factor of the warm-up or of the cosine, taken at the step's middle."""
        total = steps_per_epoch * num_epochs
        warmup = self.warmup_share * total
        if step + 0.5 < warmup:
            return (step + 0.5) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step + 0.5 - warmup) / (total - warmup)))


class Poly(Schedule):
    """The base rate times a power of the share of all steps that is left, down to next to nothing.

    The steps are those of `torch.optim.lr_scheduler.PolynomialLR`.

    Source: Chen et al. 2017, arXiv:1606.00915, section 4.1.
    """

    kind: Literal["poly"] = "poly"
    power: float = Field(0.9, gt=0, le=10)
    """Below 1 the rate stays high for longer; 1 is a straight line."""

    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
        """Return the power of the share that is left when the step begins."""
        return float((1 - step / (steps_per_epoch * num_epochs)) ** self.power)


class OneCycle(Schedule):
    """Half a cosine up to the base rate, then half a cosine down to next to nothing.

    The steps and names are those of `torch.optim.lr_scheduler.OneCycleLR`, whose `max_lr` is the
    base rate; momentum stays as it is.

    Source: Smith and Topin 2018, arXiv:1708.07120; the cosines are fastai's.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    pct_start: float = Field(0.3, ge=0, lt=1)
    """Share of all steps that the rise takes; a share, whatever torch's name says."""

    div_factor: float = Field(25.0, ge=1, le=1e4)
    """The first rate is the base rate divided by this."""

    final_div_factor: float = Field(1e4, ge=1, le=1e8)
    """The last rate is the first rate divided by this."""

    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
        """Return the factor of the rise or of the fall."""
        last = steps_per_epoch * num_epochs - 1
        peak = self.pct_start * (last + 1) - 1
        first = 1 / self.div_factor
        if step < peak:
            return _half_cosine(first, 1.0, step / peak)
        return _half_cosine(1.0, first / self.final_div_factor, (step - peak) / (last - peak))


class Plateau(Schedule):
    """The rate times `gamma` whenever the objective has not improved for a while.

    It counts as `torch.optim.lr_scheduler.ReduceLROnPlateau` does without a threshold.
    """

    kind: Literal["plateau"] = "plateau"
    gamma: float = Field(0.1, gt=0, lt=1)
    """What the rate is multiplied by each time."""
    patience_epochs: int = Field(2, ge=0)
    """Epochs in a row without a new best that change nothing; one more lowers the rate."""

    def factor(
        self, step: int, *, steps_per_epoch: int, num_epochs: int, history: Sequence[float] = ()
    ) -> float:
        """Return gamma to the power of the plateaus in `history`."""
        best, waited, plateaus = -math.inf, 0, 0
        for objective in history:
            waited = 0 if objective > best else waited + 1
            best = max(best, objective)
            if waited > self.patience_epochs:
                plateaus, waited = plateaus + 1, 0
        return float(self.gamma**plateaus)


AnySchedule = Annotated[Constant | StepLR | Cosine | Poly | OneCycle | Plateau, Kinds(Schedule)]


def _half_cosine(start: float, end: float, share: float) -> float:
    """Return where half a cosine from `start` to `end` is after `share` of its way."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
