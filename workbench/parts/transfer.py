"""How pretrained backbones are carried over to a new task."""

import importlib
from typing import Any

import torch
from pydantic import Field

from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.optimizers import ParamGroup
from workbench.parts.torchvision_fix import import_timm
from workbench.values import Frozen


class Transfer(Frozen):
    """What of the pretrained weights may change, when, and how fast; by default all, at once."""

    frozen_epochs: int = Field(0, ge=0)
    """Epochs at the start in which the head alone learns. `frozen` is for all of them."""

    layer_decay: float = Field(1.0, gt=0, le=1)
    """A layer's learning rate is that of the layer above times this (Clark et al. 2020,
    arXiv:2003.10555); the top layer and the head have the full rate. The backbone's biases and
    norms then do not decay, as in timm."""

    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Score and keep an exponential moving average of the weights; 0 is off. The average warms up,
    so that the first steps are not the random start's (timm's ModelEmaV3)."""

    def groups(self, model: MediaModel, weight_decay: float) -> list[ParamGroup]:
        """Return the parameters of `model` that learn, with their share of the learning rate."""
        if self.layer_decay == 1:
            return [{"params": [p for p in model.parameters() if p.requires_grad]}]
        import_timm()
        optim = importlib.import_module("timm.optim")
        groups: list[ParamGroup] = []
        for reader in model.readers.values():
            if isinstance(reader, PictureReader):
                groups += optim.param_groups_layer_decay(
                    reader.backbone, weight_decay=weight_decay, layer_decay=self.layer_decay
                )
        known = {id(parameter) for group in groups for parameter in group["params"]}
        rest = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
        return [*groups, {"params": rest}]


class Average:
    """The model that is scored: the trained one, or a moving average of its weights.

    Args:
        model: The model that is trained, on its device.
        decay: See `Transfer.ema_decay`.
    """

    def __init__(self, model: MediaModel, decay: float) -> None:
        self._model = model
        self._ema: Any = None
        if decay:
            import_timm()
            utils = importlib.import_module("timm.utils")
            self._ema = utils.ModelEmaV3(model, decay=decay, use_warmup=True)

    def update(self, step: int) -> None:
        """Take in the weights after optimizer step `step`, counted from 1."""
        if self._ema is not None:
            self._ema.update(self._model, step=step)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the averaged weights; none where they are the model's own."""
        return {} if self._ema is None else self._ema.module.state_dict()

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned."""
        if self._ema is not None:
            self._ema.module.load_state_dict(state)

    @property
    def model(self) -> MediaModel:
        """The model to score and to keep."""
        model: MediaModel = self._model if self._ema is None else self._ema.module
        return model
