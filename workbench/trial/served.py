"""A model as other programs call it: one row of bytes per sample in, one probability out."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.errors import ConfigError

Shape = tuple[int, int, int, int]


class FlatModel(nn.Module):
    """A model of several views behind one input array, which is what serving tools hand over.

    A row holds the pixels of every view of one sample laid end to end, in the order of `shapes`,
    each view raveled from (frames, height, width, channels).

    Args:
        model: Maps {view: (batch, frames, channels, image_px, image_px) float in [0, 1]} to
            logits (batch, 2), class 1 being fake.
        shapes: (frames, height, width, channels) of each view, in the order of a row.
        image_px: Side to which frames are resized before the model sees them; none keeps theirs.
    """

    def __init__(
        self, model: nn.Module, shapes: Mapping[str, Shape], *, image_px: int | None = None
    ) -> None:
        super().__init__()
        if not shapes:
            raise ConfigError("A served model needs at least one view, and `shapes` is empty.")
        self.model = model
        self.shapes = dict(shapes)
        self.image_px = image_px

    @property
    def num_values(self) -> int:
        """Values in one row: the pixels of all views."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def forward(self, rows: Tensor) -> Tensor:
        """Return P(fake) of each row.

        Args:
            rows: (batch, num_values) uint8, or float of the same values in [0, 255].

        Returns:
            (batch,) float32 in [0, 1].
        """
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = torch.split(rows, sizes, dim=1)
        inputs = {
            view: self._frames(part, shape)
            for (view, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        logits: Tensor = self.model(inputs)
        return torch.softmax(logits.float(), dim=1)[:, 1]

    def _frames(self, rows: Tensor, shape: Shape) -> Tensor:
        """Return one view's rows (batch, pixels) as (batch, frames, channels, H, W) in [0, 1]."""
        frames, height, width, channels = shape
        images = rows.reshape(-1, height, width, channels).permute(0, 3, 1, 2).float()
        side = self.image_px
        if side is not None and (height, width) != (side, side):
            # Rounded to whole levels, as `parts.pixels` does on the way to training.
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
            images = images.round().clamp(0, 255)
        images = images / 255
        return images.reshape(-1, frames, channels, *images.shape[-2:])
