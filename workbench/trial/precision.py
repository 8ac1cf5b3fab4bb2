"""Bfloat16 arithmetic in training, where a device has it.

Weights, their gradients, the optimizer and the loss stay float32, and so does all scoring: what a
trial measures is what its bundle will say.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from workbench.trial.device import gpu_has_bfloat16, is_cuda
from workbench.trial.recipe import Precision


def has_bfloat16(device: str) -> bool:
    """Say whether `device` computes bfloat16 natively; where it does not, it is slower by far."""
    if is_cuda(device):
        return gpu_has_bfloat16(device)
    has = torch.cpu.get_capabilities()
    return torch.device(device).type == "cpu" and bool(
        has.get("avx512_bf16") or has.get("amx_bf16")
    )


def logits_of(model: nn.Module, inputs: Mapping[str, Tensor], precision: Precision) -> Tensor:
    """Return what `model` says of `inputs`, float32, computed in `precision`."""
    if precision == "float32":
        logits: Tensor = model(inputs)
        return logits
    device = next(iter(inputs.values())).device.type
    with torch.autocast(device, torch.bfloat16):
        logits = model(inputs)
    return logits.float()
