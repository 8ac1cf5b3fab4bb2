"""Averages of a model's weights along one training: which there are, and what is scored of each.

At the end of each epoch the average is scored, where there is one by then, and else the trained
weights; so the best epoch may be of either.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.parts.loss_valley import ValleyAverage
from workbench.parts.model import MediaModel
from workbench.parts.running_averages import Average, EpochAverage, MovingAverage
from workbench.values import Part


class Averaging(Part, ABC):
    """How weights are averaged along a training."""

    @property
    @abstractmethod
    def num_copies(self) -> int:
        """Copies of the weights that it keeps at most, besides the trained ones."""

    @abstractmethod
    def begin(self, model: MediaModel, *, num_epochs: int) -> Average:
        """Return the average of a training that begins, of a model on its device."""


class NoAverage(Averaging):
    """The trained weights as they are."""

    kind: Literal["none"] = "none"

    @property
    def num_copies(self) -> int:
        """None."""
        return 0

    def begin(self, model: MediaModel, *, num_epochs: int) -> Average:
        """Return the trained weights."""
        return Average(model)


class EMA(Averaging):
    """An exponential moving average of the weights, and of the batch norms' statistics.

    Its decay warms up, so that the random start has no part in it after a few steps (timm's
    ModelEmaV3).
    """

    kind: Literal["ema"] = "ema"
    decay: float = Field(0.99, gt=0, lt=1)
    """Share of the average that is kept at each step."""

    @property
    def num_copies(self) -> int:
        """The average."""
        return 1

    def begin(self, model: MediaModel, *, num_epochs: int) -> Average:
        """Return the moving average."""
        return MovingAverage(model, self.decay)


class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at the end of each of the last epochs.

    Such epochs should still move: a schedule that falls to zero leaves little to average.

    Source: Izmailov et al. 2018, arXiv:1803.05407, algorithm 1, with a cycle of one epoch.
    """

    kind: Literal["swa"] = "swa"
    last_share: float = Field(0.25, gt=0, le=1)
    """Share of the epochs that are averaged, the last ones; at least two of them."""

    @property
    def num_copies(self) -> int:
        """The average."""
        return 1

    def begin(self, model: MediaModel, *, num_epochs: int) -> Average:
        """Return the mean over epochs."""
        num_last = max(2, math.ceil(self.last_share * num_epochs))
        return EpochAverage(model, first_epoch=max(1, num_epochs - num_last + 1))


class SWAD(Averaging):
    """Stochastic weight averaging, densely: the mean over all steps of the valley of the loss.

    The loss is the log-loss of the trained weights on the objective's slices, measured several
    times in an epoch. The valley begins with the first loss that is the lowest of `start_patience`
    in a row, counted from itself. It ends before the first of `end_patience` losses in a row that
    are all above the limit, which is `tolerance` times the mean of the losses at its beginning; if
    there are none, it ends with the last step. The steps from one loss to the next belong to the
    latter. Until a valley begins, the trained weights are scored; after its end the average stays
    as it is.

    Source: Cha et al. 2021, arXiv:2102.08604, algorithm 1; the names there are N_s, N_e and r.
    """

    kind: Literal["swad"] = "swad"
    start_patience: int = Field(3, ge=1, le=100)
    """The valley begins with a loss that is the lowest of this many in a row, counted from itself.
    """

    end_patience: int = Field(6, ge=1, le=100)
    """The valley ends before this many losses in a row above the limit that `tolerance` sets."""

    tolerance: float = Field(1.3, ge=1, le=100)
    """Limit of the valley: this many times the mean of the losses at its beginning."""

    losses_per_epoch: int = Field(4, ge=1, le=100)
    """How often the loss is measured in an epoch, at most once after each step."""

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.end_patience < self.start_patience:
            raise ValueError("`end_patience` is below `start_patience`: make it at least that")
        return self

    @property
    def num_copies(self) -> int:
        """What is scored, the steps since the last loss, and the parts of the valley."""
        return 2 + max(self.start_patience, 2)

    def begin(self, model: MediaModel, *, num_epochs: int) -> Average:
        """Return the mean over the valley."""
        return ValleyAverage(
            model,
            start_patience=self.start_patience,
            end_patience=self.end_patience,
            tolerance=self.tolerance,
            losses_per_epoch=self.losses_per_epoch,
        )


AnyAveraging = Annotated[NoAverage | EMA | SWA | SWAD, Field(discriminator="kind")]
