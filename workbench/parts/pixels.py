"""From a stored view to what a model reads."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


def to_pixels(rows: npt.NDArray[np.uint8], image_px: int, device: torch.device) -> Tensor:
    """Return stored rows as a backbone wants them, still uint8.

    The one way from a stored view to a model's input: training, scoring and a bundle share it.

    Args:
        rows: (batch, frames, height, width, channels) uint8.
        image_px: Side of the square result.
        device: Where the result is.

    Returns:
        (batch, frames, channels, image_px, image_px) uint8, resized bilinearly, with antialiasing.
    """
    x = torch.from_numpy(np.ascontiguousarray(rows)).to(device)
    x = x.movedim(-1, 2)
    if x.shape[-2:] == (image_px, image_px):
        return x.contiguous()
    flat = x.flatten(0, 1).float()
    flat = F.interpolate(flat, (image_px, image_px), mode="bilinear", antialias=True)
    return flat.round_().clamp_(0, 255).to(torch.uint8).unflatten(0, x.shape[:2])
