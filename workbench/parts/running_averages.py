"""Averages of weights that follow a training step by step, and what of them is scored."""

import copy
import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.parts.model import MediaModel
from workbench.parts.torchvision_fix import import_timm


class Average:
    """The model that is scored: the trained one, as here, or an average of its weights."""

    def __init__(self, model: MediaModel) -> None:
        self._trained = model

    @property
    def model(self) -> MediaModel:
        """The model to score and to keep."""
        return self._trained

    @property
    def models(self) -> tuple[MediaModel, ...]:
        """All models that there are; the trained one comes first."""
        return (self._trained,)

    def after_step(self, step: int) -> None:
        """Take in the weights after optimizer step `step`, counted from 1."""

    def wants_loss(self, batch: int, num_batches: int) -> bool:
        """Return whether the loss is to be measured after a batch of an epoch, counted from 1."""
        return False

    def after_loss(self, loss: float) -> None:
        """Take in the loss of the trained weights on held-out data."""

    def after_epoch(self, epoch: int) -> bool:
        """Take in the weights after `epoch`, counted from 1.

        Returns:
            Whether `model` has new weights, to which its batch norms do not fit yet.
        """
        return False

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, after an epoch: tensors and plain values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


class MovingAverage(Average):
    """See `EMA`."""

    def __init__(self, model: MediaModel, decay: float) -> None:
        super().__init__(model)
        import_timm()
        utils = importlib.import_module("timm.utils")
        self._ema = utils.ModelEmaV3(model, decay=decay, use_warmup=True)

    @property
    def model(self) -> MediaModel:
        """The average."""
        averaged: MediaModel = self._ema.module
        return averaged

    @property
    def models(self) -> tuple[MediaModel, ...]:
        """The trained model, and the average."""
        return self._trained, self.model

    def after_step(self, step: int) -> None:
        """See `Average.after_step`."""
        self._ema.update(self._trained, step=step)

    def state(self) -> dict[str, Any]:
        """See `Average.state`."""
        return self.model.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """See `Average.restore`."""
        self.model.load_state_dict(state)


class EpochAverage(Average):
    """See `SWA`.

    Args:
        first_epoch: The first that is averaged, counted from 1.
    """

    def __init__(self, model: MediaModel, *, first_epoch: int) -> None:
        super().__init__(model)
        self._averaged = copy.deepcopy(model)
        self._first_epoch, self._num = first_epoch, 0

    @property
    def model(self) -> MediaModel:
        """The average, from the first epoch on that is averaged."""
        return self._averaged if self._num else self._trained

    @property
    def models(self) -> tuple[MediaModel, ...]:
        """The trained model, and the average."""
        return self._trained, self._averaged

    def after_epoch(self, epoch: int) -> bool:
        """See `Average.after_epoch`."""
        if epoch < self._first_epoch:
            return False
        self._num += 1
        draw_to(list(self._averaged.parameters()), weights_of(self._trained), 1 / self._num)
        copy_buffers(self._trained, self._averaged)
        return True

    def state(self) -> dict[str, Any]:
        """See `Average.state`."""
        return {"num": self._num, "averaged": self._averaged.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Average.restore`."""
        self._num = state["num"]
        self._averaged.load_state_dict(state["averaged"])


class MeanWeights:
    """The mean of the weights after some steps."""

    def __init__(self) -> None:
        self.num = 0
        """Steps that it is of."""

        self.values: list[Tensor] = []
        """Of each parameter; empty before the first step."""

    def add(self, values: Sequence[Tensor], num: int = 1) -> None:
        """Take in the weights after a step, or the mean after `num` of them."""
        self.num += num
        if self.values:
            draw_to(self.values, values, num / self.num)
        else:
            self.values = [value.detach().clone() for value in values]

    def merge(self, other: "MeanWeights") -> None:
        """Take in all steps of another mean."""
        if other.num:
            self.add(other.values, other.num)

    def state(self) -> dict[str, Any]:
        """Return what `of` makes an equal one of."""
        return {"num": self.num, "values": self.values}

    @classmethod
    def of(cls, state: dict[str, Any], model: MediaModel) -> "MeanWeights":
        """Return the mean that `state` was of, laid out as the parameters of `model`."""
        mean = cls()
        mean.num = state["num"]
        if state["values"]:
            pairs = zip(weights_of(model), state["values"], strict=True)
            mean.values = [torch.empty_like(like).copy_(value) for like, value in pairs]
        return mean


def draw_to(means: Sequence[Tensor], values: Sequence[Tensor], share: float) -> None:
    """Move each of `means` by `share` of the way to its one of `values`, in place."""
    with torch.no_grad():
        # As `torch.optim.swa_utils` and timm do it: one kernel for all on a GPU.
        torch._foreach_lerp_(list(means), list(values), share)


def weights_of(model: MediaModel) -> list[Tensor]:
    """Return the parameters of a model, that learn or not; they are not copied."""
    return [parameter.detach() for parameter in model.parameters()]


def copy_buffers(source: MediaModel, target: MediaModel) -> None:
    """Copy what is kept and not learned; batch norms that stay as they were fit all weights."""
    for own, other in zip(target.buffers(), source.buffers(), strict=True):
        own.copy_(other)
