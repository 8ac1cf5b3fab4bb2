"""Optimizers a trial may choose. To add one: write its class, then name it in `AnyOptimizer`."""

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from workbench.errors import ConfigError
from workbench.parts.plugins import Kinds
from workbench.parts.torchvision_fix import import_timm
from workbench.values import Part

Steps = Literal["torch", "foreach", "fused"]
"""How a step goes over the parameters: as torch chooses, operation by operation over all of them,
or in one kernel."""

ParamGroup = dict[str, Any]
"""Parameters under `params`, and settings of their own: `weight_decay`, `lr_scale`."""


class Optimizer(Part, ABC):
    """An optimizer with its base learning rate, which a schedule then scales."""

    lr: float = Field(gt=0, le=10)
    """The base learning rate."""

    weight_decay: float = Field(0.0, ge=0, le=1)
    """How strongly weights are drawn towards zero."""

    decay_norms: bool = True
    """Whether biases and the scales of norms decay too: all parameters of one dimension."""

    def build(
        self,
        parameters: Iterable[torch.nn.Parameter] | Iterable[ParamGroup],
        *,
        steps: Steps = "torch",
    ) -> torch.optim.Optimizer:
        """Return the optimizer of `parameters`, or of groups of them.

        A group keeps its settings. Its `lr_scale`, timm's word for layer-wise decay, is for
        `set_lr`.

        Args:
            parameters: What learns.
            steps: How a step goes over them, where the optimizer can. All ways compute the same but
                for rounding.

        Raises:
            ConfigError: no such optimizer can be had.
        """
        groups = _groups(parameters)
        return self._of_groups(groups if self.decay_norms else _apart(groups), steps)

    def set_lr(self, optimizer: torch.optim.Optimizer, factor: float) -> None:
        """Set each group's learning rate to the base rate times `factor` and its `lr_scale`."""
        for group in optimizer.param_groups:
            group["lr"] = self.lr * factor * group.get("lr_scale", 1.0)

    @abstractmethod
    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        """Return the optimizer of `groups`."""


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); its decay is an L2 penalty."""

    kind: Literal["adam"] = "adam"

    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, lr=self.lr, weight_decay=self.weight_decay, **_way(steps))


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"

    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay, **_way(steps))


class RAdam(Optimizer):
    """Rectified Adam (Liu et al. 2020, arXiv:1908.03265), which needs no warm-up.

    Its decay is an L2 penalty, as in torch; timm's `radamw` decouples it.
    """

    kind: Literal["radam"] = "radam"

    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        return torch.optim.RAdam(
            groups, lr=self.lr, weight_decay=self.weight_decay, foreach=_foreach(steps)
        )


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; its decay is an L2 penalty."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    """Share of the last step that the next one keeps."""

    nesterov: bool = False
    """Whether the gradient is taken to be that after the momentum's step (Nesterov)."""

    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov and self.momentum > 0,
            # Never one kernel: it fails where layers that learn late join others, since they have
            # no momentum yet. On an H100 it would save 0.1 ms of a step of 20.
            foreach=_foreach(steps),
        )


class Timm(Optimizer):
    """Any optimizer of timm's factory by its name, with timm's defaults for all else.

    Those that need second derivatives, or packages beside torch, are refused.
    """

    kind: Literal["timm"] = "timm"
    name: str = "lion"
    """As in `timm.optim.list_optimizers()`: lion, lamb, muon, nadamw, ..."""

    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        import_timm()  # first: it mends what the next line would stumble over
        factory = importlib.import_module("timm.optim")
        every = factory.list_optimizers()
        obstacle = (
            _obstacle(factory.get_optimizer_info(self.name))
            if self.name in every
            else "timm has no optimizer of this name"
        )
        if obstacle:
            usable = [n for n in every if not _obstacle(factory.get_optimizer_info(n))]
            near = ", ".join(get_close_matches(self.name, usable, n=3, cutoff=0))
            raise ConfigError(f"`optimizer.name` is {self.name!r}: {obstacle}. Near it: {near}.")
        takes = inspect.signature(factory.get_optimizer_info(self.name).opt_class)
        built: torch.optim.Optimizer = factory.create_optimizer_v2(
            groups,
            opt=self.name,
            lr=self.lr,
            weight_decay=self.weight_decay,
            foreach=_foreach(steps) if "foreach" in takes.parameters else None,
        )
        return built


class NoOptimizer(Optimizer):
    """For a head that is fitted on features, without steps of an optimizer."""

    kind: Literal["none"] = "none"
    lr: float = Field(0.0, ge=0, le=0)

    def _of_groups(self, groups: list[ParamGroup], steps: Steps) -> torch.optim.Optimizer:
        raise ValueError("a model that is fitted takes no steps")


AnyOptimizer = Annotated[Adam | AdamW | RAdam | SGD | Timm, Kinds(Optimizer)]

OptimizerOrNone = Annotated[Adam | AdamW | RAdam | SGD | Timm | NoOptimizer, Kinds(Optimizer)]


def _groups(parameters: Iterable[torch.nn.Parameter] | Iterable[ParamGroup]) -> list[ParamGroup]:
    """Return `parameters` as groups, each with a list of its own."""
    groups: list[ParamGroup] = []
    loose = []
    for item in parameters:
        if isinstance(item, dict):
            groups.append({**item, "params": list(item["params"])})
        else:
            loose.append(item)
    return [*groups, {"params": loose}] if loose else groups


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give `optimizer` the `state_dict` of one of the same recipe.

    It may have been made on another device, or by an older version: how a step goes over the
    parameters stays as `optimizer` was built, and what is kept of each lies as the parameter does,
    which one kernel for all relies on.
    """
    groups = [
        {**saved, **{key: built[key] for key in _HOW if key in built}}
        for saved, built in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    lay_out_as_parameters(optimizer)


def lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Let what is kept of each parameter lie in memory as the parameter does."""
    for parameter, kept in optimizer.state.items():
        for key, value in kept.items():
            if (
                isinstance(value, torch.Tensor)
                and value.shape == parameter.shape
                and value.stride() != parameter.stride()
            ):
                kept[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


_HOW = ("foreach", "fused", "capturable", "differentiable")
"""Of a group of torch's or timm's: how a step is done, not what it does."""


def _way(steps: Steps) -> dict[str, Any]:
    """Return what tells torch how to step; nothing leaves it to torch.

    On an H100 one kernel saves Adam 1 ms of a step of 20. On a CPU it gains half of Adam's step,
    which is under 1% of training's.
    """
    return {} if steps == "torch" else {steps: True}


def _foreach(steps: Steps) -> bool | None:
    """Return the same for an optimizer that has no one kernel."""
    return None if steps == "torch" else True


def _apart(groups: list[ParamGroup]) -> list[ParamGroup]:
    """Return `groups` with each one's biases and norms in a group without weight decay."""
    apart = []
    for group in groups:
        decaying = [p for p in group["params"] if p.ndim > 1]
        others = [p for p in group["params"] if p.ndim <= 1]
        apart += [{**group, "params": decaying}, {**group, "params": others, "weight_decay": 0.0}]
    return [group for group in apart if group["params"]]


def _obstacle(info: Any) -> str:
    """Return why an optimizer of timm cannot be used here; empty if it can."""
    if info.second_order:
        return "it needs second derivatives, which training does not make"
    if isinstance(info.opt_class, str):  # the path of a class that timm has not imported
        return f"it needs the package {info.opt_class.partition('.')[0]}"
    return ""
