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
        rows: (batch, frames, height, width, channels) uint8, or (batch, values) float32, or
            (batch, samples) int16.
        image_px: Side of the square pictures.
        device: Where the result is.

    Returns:
        Pictures as `as_pixels` makes them; vectors and waveforms as they are.
    """
    x = torch.from_numpy(np.ascontiguousarray(rows))
    if device.type == "cuda":
        x = x.pin_memory()  # else the copy would wait for all that the GPU still has to do
    x = x.to(device, non_blocking=True)
    return x if x.dim() == 2 else as_pixels(x, image_px)


def as_pixels(pictures: Tensor, image_px: int) -> Tensor:
    """Return pictures (batch, frames, channels, image_px, image_px) uint8, of whole grey levels.

    Args:
        pictures: (batch, frames, height, width, channels), grey levels from 0 to 255 as uint8 or
            float; those of another size are resized bilinearly, with antialiasing.
        image_px: Side of the square pictures.
    """
    x = pictures.movedim(-1, 2)
    if x.dtype == torch.uint8 and x.shape[-2:] == (image_px, image_px):
        return x.contiguous()
    flat = x.flatten(0, 1).float()
    if x.shape[-2:] != (image_px, image_px):
        flat = F.interpolate(flat, (image_px, image_px), mode="bilinear", antialias=True)
    return flat.round().clamp_(0, 255).to(torch.uint8).unflatten(0, x.shape[:2])


def as_input(x: Tensor) -> Tensor:
    """Return what `to_tensor` made as floats: vectors as they are, levels in [0, 1] or [-1, 1]."""
    full = {torch.uint8: 255, torch.int16: 1 << 15}.get(x.dtype)
    return x.float().div_(full) if full else x
