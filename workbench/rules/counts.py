"""How many parameters a model has: as thop counts them, and truly."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import distributions, packages_distributions, version
from typing import TypeVar

import torch
from torch import Tensor, nn

from workbench.rules.subject import Counts

ModelInputs = TypeVar("ModelInputs", Tensor, Mapping[str, Tensor])


@cache
def counted_by() -> str:
    """Return the package that brings thop with its version: forks of it count differently."""
    declared = {
        d.name for d in distributions() if "thop" in (d.read_text("top_level.txt") or "").split()
    }
    # The slow way lists the files of every package: for one that does not declare its modules.
    packages = sorted(declared or set(packages_distributions().get("thop", ())))
    return " and ".join(f"{package} {version(package)}" for package in packages)


def count(build: Callable[[], nn.Module], inputs: ModelInputs) -> Counts:
    """Count the parameters of the model that `build` returns, on throw-away copies of it.

    thop leaves buffers behind in the modules of a model, so it never sees one that is trained. The
    model is built on the meta device, where no weight has memory and nothing is computed; where an
    operator of it does not exist there, on the CPU.

    Args:
        build: Makes the model; it is called once or twice.
        inputs: What the model's forward takes, a batch of one.
    """
    try:
        with torch.device("meta"):
            model = build()
        return _counts(model, _on_meta(inputs))
    except RuntimeError:  # an operator without a meta kernel, or one that reads a value
        model = build()
        true = _true(model)
    try:
        return _counts(model, inputs)
    except RuntimeError:
        return true


def _counts(model: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> Counts:
    true = _true(model)  # first: thop adds buffers of its own
    macs, parameters = _profile(model, inputs)
    return true.model_copy(update={"thop": parameters, "macs": macs})


def _true(model: nn.Module) -> Counts:
    stored: dict[int, int] = {}
    made: dict[int, int] = {}
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if not _is_statistic(module, name, buffer):
                kept = name not in module._non_persistent_buffers_set
                (stored if kept else made)[id(buffer)] = buffer.numel()
    in_buffers = sum(stored.values())
    return Counts(
        thop=None,
        true=sum(parameter.numel() for parameter in model.parameters()) + in_buffers,
        in_buffers=in_buffers,
        made_by_code=sum(made[one] for one in made.keys() - stored.keys()),
    )


def _is_statistic(module: nn.Module, name: str, buffer: Tensor) -> bool:
    """Say whether a buffer is what a norm keeps of the data that it saw: a number for a channel."""
    weight = getattr(module, "weight", None)
    num = getattr(module, "num_features", weight.numel() if isinstance(weight, Tensor) else 0)
    most = {"num_batches_tracked": 1, "running_mean": num, "running_var": num}
    return buffer.numel() <= most.get(name, 0)


def _profile(model: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> tuple[int, int]:
    with warnings.catch_warnings():
        # thop imports distutils, which Python 3.12 has only through setuptools: hence imported
        # here, where it is used, and its deprecation warnings kept quiet.
        warnings.simplefilter("ignore")
        from thop import profile

        macs, parameters = profile(model, inputs=(inputs,), verbose=False)
    return int(macs), int(parameters)


def _on_meta(inputs: Tensor | Mapping[str, Tensor]) -> Tensor | Mapping[str, Tensor]:
    if isinstance(inputs, Tensor):
        return inputs.to("meta")
    return {name: tensor.to("meta") for name, tensor in inputs.items()}
