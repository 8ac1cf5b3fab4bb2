"""Pictures that are smaller in training than where they are scored."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from workbench.media.declared import PICTURED, Modalities
from workbench.parts.model import MediaModel, PictureReader
from workbench.values import Frozen


class TrainSize(Frozen):
    """The side of the pictures in training, as a share of `image_px`, in which they are scored.

    It goes from `first` to `last` in even steps, an epoch each, rounded to 8 pixels. Both below 1:
    smaller throughout (Touvron et al. 2019, arXiv:1906.06423); `first` below `last`: growing, which
    costs less (Tan and Le 2021, arXiv:2104.00298, section 4). Not for backbones of one size.
    """

    first: float = Field(1.0, ge=0.5, le=1)
    """Share of the side in the first epoch."""

    last: float = Field(1.0, ge=0.5, le=1)
    """Share of the side in the last one."""

    def sides(self, image_px: int, num_epochs: int) -> list[int]:
        """Return the side of each epoch, in pixels."""
        steps = max(1, num_epochs - 1)
        shares = [self.first + (self.last - self.first) * n / steps for n in range(num_epochs)]
        return [image_px if s == 1 else 8 * round(image_px * s / 8) for s in shares]


@contextmanager
def read_at(model: MediaModel, side: int) -> Iterator[None]:
    """Let the backbones read pictures of another side in the body, in pixels."""
    readers = [r for r in model.readers.values() if isinstance(r, PictureReader)]
    usual = [reader.image_px for reader in readers]
    try:
        for reader in readers:
            reader.image_px = side
        yield
    finally:
        for reader, image_px in zip(readers, usual, strict=True):
            reader.image_px = image_px


def resized(inputs: Mapping[str, Tensor], modalities: Modalities, side: int) -> dict[str, Tensor]:
    """Return views by name with their pictures of another side.

    Args:
        inputs: Pictures (batch, frames, channels, height, width) float; others stay as they are.
        modalities: Of the views, by name.
        side: In pixels.
    """
    return {
        name: F.interpolate(
            x.flatten(0, 1), (side, side), mode="bilinear", antialias=True
        ).unflatten(0, x.shape[:2])
        if modalities[name] in PICTURED and x.shape[-1] != side
        else x
        for name, x in inputs.items()
    }
