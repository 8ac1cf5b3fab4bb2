"""A model as other programs call it: one row of values per file in, one probability out."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.errors import ConfigError
from workbench.media.declared import Modalities
from workbench.parts.model_spec import TTA
from workbench.trial.scoring import variants

Shape = tuple[int, ...]
"""Of one file's view: (segments, frames, height, width, channels), or (1, values) of a vector."""


class FlatModel(nn.Module):
    """A model of several views behind one input array, which is what serving tools hand over.

    A row holds the values of every view of one file laid end to end, in the order of `shapes`,
    each view raveled.

    Args:
        model: Maps {view: (batch, frames, channels, image_px, image_px) float in [0, 1], or
            (batch, values)} to logits (batch, 2), class 1 being fake.
        shapes: The shape of each view, in the order of a row.
        modalities: Of the views, by name.
        image_px: Side to which frames are resized before the model sees them; none keeps theirs.
        tta: What is scored of each file.
    """

    def __init__(
        self,
        model: nn.Module,
        shapes: Mapping[str, Shape],
        modalities: Modalities,
        *,
        image_px: int | None = None,
        tta: TTA = "none",
    ) -> None:
        super().__init__()
        if not shapes:
            raise ConfigError("A served model needs at least one view, and `shapes` is empty.")
        self.model = model
        self.shapes, self.modalities = dict(shapes), dict(modalities)
        self.image_px = image_px
        self.tta = tta
        self.num_segments = max(shape[0] for shape in shapes.values())

    @property
    def num_values(self) -> int:
        """Values in one row, all views together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def takes_bytes(self) -> bool:
        """Whether a row of bytes can hold every view; the values of vectors need floats."""
        return all(len(shape) == 5 for shape in self.shapes.values())

    def forward(self, rows: Tensor) -> Tensor:
        """Return P(fake) of each row: the mean over what is scored of its file.

        Args:
            rows: (batch, num_values), grey levels from 0 to 255 as uint8 or float, vectors as
                floats.

        Returns:
            (batch,) float32 in [0, 1].
        """
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = torch.split(rows, sizes, dim=1)
        views = {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        scores = []
        for number in range(self.num_segments):
            inputs = {
                # A view of the whole file stands beside every segment of the others.
                name: self._input(view[:, number if view.shape[1] > 1 else 0])
                for name, view in views.items()
            }
            for seen in variants(inputs, self.modalities, self.tta):
                logits: Tensor = self.model(seen)
                scores.append(torch.softmax(logits.float(), dim=1)[:, 1])
        return torch.stack(scores).mean(dim=0)

    def _input(self, view: Tensor) -> Tensor:
        """Return (batch, values) as they are; pictures as (batch, frames, channels, H, W)."""
        if view.dim() == 2:
            return view.float()
        _, frames, height, width, channels = view.shape
        images = view.reshape(-1, height, width, channels).permute(0, 3, 1, 2).float()
        side = self.image_px
        if side is not None and (height, width) != (side, side):
            # Rounded to whole levels, as `parts.pixels` does on the way to training.
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
            images = images.round().clamp(0, 255)
        images = images / 255
        return images.reshape(-1, frames, channels, *images.shape[-2:])
