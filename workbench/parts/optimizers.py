"""Optimizers a trial may choose. To add one: write its class, then name it in `AnyOptimizer`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field

from workbench.values import Part


class Optimizer(Part, ABC):
    """An optimizer with its base learning rate, which a schedule then scales."""

    lr: float = Field(gt=0, le=10)
    weight_decay: float = Field(0.0, ge=0, le=1)

    @abstractmethod
    def build(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `params`."""


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); its decay is an L2 penalty."""

    kind: Literal["adam"] = "adam"

    def build(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `params`."""
        return torch.optim.Adam(params, lr=self.lr, weight_decay=self.weight_decay)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"

    def build(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `params`."""
        return torch.optim.AdamW(params, lr=self.lr, weight_decay=self.weight_decay)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False

    def build(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `params`."""
        return torch.optim.SGD(
            params,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov and self.momentum > 0,
        )


AnyOptimizer = Annotated[Adam | AdamW | SGD, Field(discriminator="kind")]
