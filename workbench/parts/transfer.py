"""How pretrained backbones are carried over to a new task."""

import importlib
from typing import Self

from pydantic import Field, model_validator

from workbench.parts.averages import EMA, AnyAveraging, NoAverage
from workbench.parts.model import BackboneReader, MediaModel
from workbench.parts.optimizers import ParamGroup
from workbench.parts.torchvision_fix import import_timm
from workbench.values import Frozen


class Transfer(Frozen):
    """Which of the pretrained weights may change, when, and how fast.

    By default all may, from the first step on, at the same rate.
    """

    frozen_epochs: int = Field(0, ge=0)
    """Epochs at the start in which only the head learns; `frozen` makes that all epochs."""

    layer_decay: float = Field(1.0, gt=0, le=1)
    """A layer's learning rate is that of the layer above times this (Clark et al. 2020,
    arXiv:2003.10555); the top layer and the head have the full rate. The backbone's biases and
    norms then do not decay, as in timm."""

    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Short for `average: {kind: ema, decay: ...}`; 0 is off."""

    average: AnyAveraging = NoAverage()
    """Which average of the weights is scored and kept."""

    @model_validator(mode="after")
    def _of_one_average(self) -> Self:
        """Let both keys say the same: equal recipes must be written alike."""
        if self.ema_decay and isinstance(self.average, NoAverage):
            object.__setattr__(self, "average", EMA(decay=self.ema_decay))
        own = self.average.decay if isinstance(self.average, EMA) else 0.0
        if self.ema_decay not in (0.0, own):
            raise ValueError(
                "`ema_decay` and `average` ask for two averages: leave out `ema_decay`"
            )
        object.__setattr__(self, "ema_decay", own)
        return self

    def groups(self, model: MediaModel, weight_decay: float) -> list[ParamGroup]:
        """Return the parameters of `model` that learn, with their share of the learning rate."""
        if self.layer_decay == 1:
            return [{"params": [p for p in model.parameters() if p.requires_grad]}]
        import_timm()
        optim = importlib.import_module("timm.optim")
        groups: list[ParamGroup] = []
        for reader in model.readers.values():
            if isinstance(reader, BackboneReader):
                groups += optim.param_groups_layer_decay(
                    reader.backbone, weight_decay=weight_decay, layer_decay=self.layer_decay
                )
        known = {id(parameter) for group in groups for parameter in group["params"]}
        rest = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
        return [*groups, {"params": rest}]
