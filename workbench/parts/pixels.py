"""From a stored view to what a model reads: the one way, for training, scoring and a bundle."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


def to_tensor(rows: npt.NDArray[Any], image_px: int, device: torch.device) -> Tensor:
    """Return stored rows as they are kept on a device.

    Args:
        rows: (batch, frames, height, width, channels) uint8, or (batch, values) float32.
        image_px: Side of the square pictures.
        device: Where the result is.

    Returns:
        Pictures (batch, frames, channels, image_px, image_px) uint8, resized bilinearly, with
        antialiasing; vectors as they are.
    """
    x = torch.from_numpy(np.ascontiguousarray(rows))
    if device.type == "cuda":
        x = x.pin_memory()  # else the copy would wait for all that the GPU still has to do
    x = x.to(device, non_blocking=True)
    if x.dim() == 2:
        return x
    x = x.movedim(-1, 2)
    if x.shape[-2:] == (image_px, image_px):
        return x.contiguous()
    flat = x.flatten(0, 1).float()
    flat = F.interpolate(flat, (image_px, image_px), mode="bilinear", antialias=True)
    return flat.round_().clamp_(0, 255).to(torch.uint8).unflatten(0, x.shape[:2])


def as_input(x: Tensor) -> Tensor:
    """Return what `to_tensor` made as floats: grey levels in [0, 1], vectors as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x
