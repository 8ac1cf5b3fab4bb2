"""How pretrained backbones are carried over to a new task."""

import importlib
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import nn

from workbench.parts.averages import EMA, AnyAveraging, NoAverage
from workbench.parts.backbones import build_backbone
from workbench.parts.model import BackboneReader, MediaModel, PictureReader
from workbench.parts.optimizers import ParamGroup
from workbench.parts.torchvision_fix import import_timm
from workbench.values import Frozen


class Transfer(Frozen):
    """Which of the pretrained weights may change, when, and how fast.

    By default all may, from the first step on, at the same rate.
    """

    frozen_epochs: int = Field(0, ge=0)
    """Epochs at the start in which only the head learns; `frozen` makes that all epochs."""

    scope: Literal["all", "norms", "last_block"] = "all"
    """Which of the backbones' weights learn besides the head, where they are not frozen: all,
    those of their norms (Frankle et al. 2021, arXiv:2003.00152), or those of the last block and of
    what follows it, as timm groups layers. Norms of what stays keep their running averages."""

    layer_decay: float = Field(1.0, gt=0, le=1)
    """A layer's learning rate is that of the layer above times this (Clark et al. 2020,
    arXiv:2003.10555); the top layer and the head have the full rate. The backbone's biases and
    norms then do not decay, as in timm."""

    stochastic_depth: float = Field(0.0, ge=0, lt=1)
    """Chance with which a sample skips the last block of a backbone in training; it falls evenly to
    0 at the first one (Huang et al. 2016, arXiv:1603.09382). 0 is off. Backbones that timm makes
    without it are trained without."""

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

    def skip_blocks(self, model: MediaModel, backbone_of: Mapping[str, str]) -> None:
        """Let samples skip blocks of the model's backbones in training; its weights stay the same.

        Args:
            model: As it was built.
            backbone_of: The backbone of each view that goes through one.
        """
        for view, name in backbone_of.items() if self.stochastic_depth else ():
            reader = model.readers[view]
            if not isinstance(reader, PictureReader):
                continue  # no network on waveforms has blocks to skip
            try:
                skipping = build_backbone(
                    name,
                    in_chans=reader.in_chans,
                    image_px=reader.image_px,
                    drop_path_rate=self.stochastic_depth,
                )
            except TypeError:  # how Python says that there is no such argument
                print(f"{name} is trained without stochastic depth: timm has none for it")
                continue
            skipping.load_state_dict(reader.backbone.state_dict())
            reader.backbone = skipping
            reader.lay_out(channels_last=reader.channels_last)

    def freeze(self, model: MediaModel, frozen: bool) -> None:
        """Let the backbones stay as they are, or those of their weights learn that may."""
        model.freeze(frozen)
        for reader in model.readers.values():
            if frozen or self.scope == "all" or not isinstance(reader, BackboneReader):
                continue
            learned = {id(p) for p in self._learned(reader.backbone)}
            for parameter in reader.backbone.parameters():
                parameter.requires_grad_(id(parameter) in learned)
            if self.scope == "last_block":
                model.still += [m for m in reader.backbone.modules() if _stays(m)]

    def _learned(self, backbone: nn.Module) -> list[nn.Parameter]:
        if self.scope == "norms":
            norms = (m for m in backbone.modules() if "norm" in type(m).__name__.lower())
            return [p for norm in norms for p in norm.parameters(recurse=False)]
        import_timm()
        optim = importlib.import_module("timm.optim")
        groups = optim.param_groups_layer_decay(backbone, layer_decay=0.5)
        learned: list[nn.Parameter] = []
        # From the top on; some backbones end in a norm that stands alone.
        for scale in sorted({group["lr_scale"] for group in groups}, reverse=True):
            learned += [p for g in groups if g["lr_scale"] == scale for p in g["params"]]
            if any(p.ndim > 1 for p in learned):
                break
        return learned

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


def _stays(module: nn.Module) -> bool:
    """Say whether a module has weights and none learns: those that skip or drop have none."""
    learns = [p.requires_grad for p in module.parameters()]
    return bool(learns) and not any(learns)
