"""Batches on the device: pixels gathered from the stored views, resized once where they fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.media.views import View
from workbench.parts.pixels import to_pixels

RESIDENT_SHARE = 0.25
"""Share of the device's free memory that resized pixels may take to stay on it."""

HOST_BYTES = 4 * 2**30
"""The same for a CPU device, whose free memory other processes count on too."""


class Split:
    """One split's inputs and targets.

    Args:
        prepared: The data.
        split: `train`, `val` or `test`.
        views: Names of the views to read.
        image_px: Side that every view is resized to.
        device: Where batches are made.
    """

    def __init__(
        self,
        prepared: Prepared,
        split: str,
        views: Mapping[str, View],
        *,
        image_px: int,
        device: torch.device,
    ) -> None:
        rows = prepared.rows(split)
        if rows.empty:
            raise DataError(
                f"No file of the {split} split can be decoded. Check that the views "
                f"({', '.join(views)}) are what these files hold."
            )
        self.names: list[str] = rows["name"].tolist()
        self.targets = torch.from_numpy(rows["target"].to_numpy(np.int64, copy=True))
        self._image_px, self._device = image_px, device
        self._rows = {name: rows[f"row.{name}"].to_numpy(np.int64) for name in views}
        self._arrays = {name: prepared.open_array(name) for name in views}
        size = sum(
            len(self.names) * view.shape[0] * view.shape[3] * image_px**2 for view in views.values()
        )
        self._resident: dict[str, Tensor] | None = None
        if size <= _budget(device):
            self._resident = {name: self._load_all(name) for name in views}

    def __len__(self) -> int:
        return len(self.names)

    def inputs(self, index: Tensor) -> dict[str, Tensor]:
        """Return the views of samples `index`, (batch,) int64 on the CPU.

        Each is (batch, frames, channels, image_px, image_px) float in [0, 1] on the device.
        """
        if self._resident is not None:
            where = index.to(self._device)
            return {name: x[where].float().div_(255) for name, x in self._resident.items()}
        return {name: self._read(name, index.numpy()).float().div_(255) for name in self._rows}

    def _load_all(self, name: str) -> Tensor:
        # In pieces: a whole split of stored pictures can be larger than its resized pixels.
        every = np.arange(len(self.names))
        return torch.cat(
            [self._read(name, part) for part in np.array_split(every, len(every) // 256 + 1)]
        )

    def _read(self, name: str, index: npt.NDArray[np.int64]) -> Tensor:
        rows = self._arrays[name][self._rows[name][index]]
        return to_pixels(rows, self._image_px, self._device)


@dataclass(frozen=True)
class Batch:
    """Some samples of a split."""

    inputs: dict[str, Tensor]
    targets: Tensor


def shuffled(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield the split in a random order; a last batch of one sample joins the one before.

    A batch norm cannot learn from one sample.
    """
    order = torch.randperm(len(split), generator=generator)
    for index in _pieces(order, batch_size):
        yield Batch(split.inputs(index), split.targets[index])


def count_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `shuffled` yields."""
    return len(_pieces(torch.arange(num_samples), batch_size))


def in_order(split: Split, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """Yield the split's inputs in its order."""
    for index in torch.arange(len(split)).split(batch_size):
        yield split.inputs(index)


def _pieces(order: Tensor, batch_size: int) -> list[Tensor]:
    pieces = list(order.split(batch_size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        last = pieces.pop()
        pieces[-1] = torch.cat([pieces[-1], last])
    return pieces


def _budget(device: torch.device) -> float:
    if device.type == "cuda":
        return RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
    return HOST_BYTES
