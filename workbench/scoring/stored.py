"""Views of prepared data on the device, read from their stores and resized once where they fit."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import DataError
from workbench.media.view import View
from workbench.parts.pixels import to_tensor
from workbench.scoring.evaluator import ViewSource
from workbench.scoring.slices import Slice


class StoredViews(ViewSource):
    """The stored views of a slice, with its targets.

    Args:
        image_px: Side that every view is resized to.
        most_kept_bytes: Resized pixels of so many bytes are kept on it; those of more are read
            from their store each time.
    """

    def __init__(
        self,
        part: Slice,
        views: Mapping[str, View],
        *,
        image_px: int,
        device: torch.device,
        most_kept_bytes: float,
    ) -> None:
        rows = part.rows
        if rows.empty:
            raise DataError(
                f"No file of {part.name} can be decoded. Check that the views "
                f"({', '.join(views)}) suit these files."
            )
        super().__init__(views, len(rows))
        self.part = part
        self.name = part.name
        self.names: list[str] = rows["name"].tolist()
        """One a file."""

        self.targets = torch.from_numpy(rows["target"].to_numpy(np.int64, copy=True))
        """One a file."""

        self._image_px, self._device = image_px, device
        self._rows = {name: rows[f"row.{name}"].to_numpy(np.int64) for name in views}
        self.neutral = np.logical_and.reduce([row == NEUTRAL_ROW for row in self._rows.values()])
        """Of each file, whether the model sees nothing but neutral pictures, (files,) bool."""

        self._arrays = {name: part.prepared.open_array(name) for name in views}
        size = sum(self.num_files * _resized_bytes(view, image_px) for view in views.values())
        self._resident: dict[str, Tensor] | None = None
        if size <= most_kept_bytes:
            self._resident = {name: self._load_all(name) for name in views}

    def targets_of(self, index: Tensor) -> Tensor:
        """Return the targets of samples `index`, (batch,) int64 on the CPU."""
        return self.targets[index // self.num_segments]

    def table(self, scores: npt.NDArray[np.float64]) -> pd.DataFrame:
        """Return `slice`, `name`, `score`, `target`, `neutral` of each file, a row each."""
        return pd.DataFrame(
            {
                "slice": self.name,
                "name": self.names,
                "score": scores,
                "target": self.targets.numpy().astype(np.int8),
                "neutral": self.neutral,
            }
        )

    def read(self, view: str, files: Tensor, segments: Tensor) -> Tensor:
        """See `ViewSource.read`."""
        if self._resident is None:
            return self._load(view, files.numpy(), segments.numpy())
        where = files * self.views[view].num_segments + segments
        return self._resident[view][where.to(self._device, non_blocking=True)]

    def _load_all(self, view: str) -> Tensor:
        # In pieces: a whole split of stored pictures can be larger than its resized pixels.
        per_file = self.views[view].num_segments
        every = np.arange(self.num_files * per_file)
        return torch.cat(
            [
                self._load(view, some // per_file, some % per_file)
                for some in np.array_split(every, len(every) // 256 + 1)
            ]
        )

    def _load(
        self, view: str, files: npt.NDArray[np.int64], segments: npt.NDArray[np.int64]
    ) -> Tensor:
        rows = self._arrays[view][self._rows[view][files], segments]
        return to_tensor(rows, self._image_px, self._device)


def _resized_bytes(view: View, image_px: int) -> int:
    """Return the bytes of one file's view as it is kept on the device."""
    if len(view.shape) == 1:
        return view.num_segments * view.shape[0] * np.dtype(view.dtype).itemsize
    frames, _, _, channels = view.shape
    return view.num_segments * frames * channels * image_px**2
