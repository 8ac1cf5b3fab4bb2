"""Batches on the device: pixels gathered from the stored views, resized once where they fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.data.store import NEUTRAL_ROW
from workbench.errors import ConfigError, DataError
from workbench.media.view import View
from workbench.parts.pixels import as_input, to_tensor
from workbench.trial.device import is_cuda, memory_of
from workbench.trial.recipe import Sampling

RESIDENT_SHARE = 0.25
"""Share of the device's free memory that resized pixels may take to stay on it."""

HOST_BYTES = 4 * 2**30
"""The same for a CPU device, whose free memory other processes count on too."""


class Split:
    """One split's inputs and targets; a file is one sample, or one for each segment of its sound.

    Args:
        prepared: The data.
        split: `train`, `val` or `test`.
        views: Names of the views to read.
        image_px: Side that every view is resized to.
        device: Where batches are made.
        sampling: Which files to take; all by default.
    """

    def __init__(
        self,
        prepared: Prepared,
        split: str,
        views: Mapping[str, View],
        *,
        image_px: int,
        device: torch.device,
        sampling: Sampling | None = None,
    ) -> None:
        rows = prepared.rows(split)
        if sampling is not None:
            rows = rows.iloc[subset(rows["target"].to_numpy(), sampling)]
        if rows.empty:
            raise DataError(
                f"No file of the {split} split can be decoded. Check that the views "
                f"({', '.join(views)}) are what these files hold."
            )
        self.names: list[str] = rows["name"].tolist()
        """One a file."""

        self.targets = torch.from_numpy(rows["target"].to_numpy(np.int64, copy=True))
        """One a file."""

        self.num_segments = max(view.num_segments for view in views.values())
        """Samples that each file makes, one after the other."""

        self._views = views
        self._image_px, self._device = image_px, device
        self._rows = {name: rows[f"row.{name}"].to_numpy(np.int64) for name in views}
        self.neutral = np.logical_and.reduce([row == NEUTRAL_ROW for row in self._rows.values()])
        """Of each file, whether the model sees nothing but neutral pictures, (files,) bool."""

        self._arrays = {name: prepared.open_array(name) for name in views}
        size = sum(len(self.names) * _resized_bytes(view, image_px) for view in views.values())
        self._resident: dict[str, Tensor] | None = None
        if size <= _budget(device):
            self._resident = {name: self._load_all(name) for name in views}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.names) * self.num_segments

    def targets_of(self, index: Tensor) -> Tensor:
        """Return the targets of samples `index`, (batch,) int64 on the CPU."""
        return self.targets[index // self.num_segments]

    def of_files(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the mean score of each file's samples, from those of all samples in order."""
        means: npt.NDArray[np.float64] = scores.reshape(-1, self.num_segments).mean(axis=1)
        return means

    def inputs(self, index: Tensor) -> dict[str, Tensor]:
        """Return the views of samples `index`, (batch,) int64 on the CPU.

        Each is on the device: pictures (batch, frames, channels, image_px, image_px) float in
        [0, 1], vectors (batch, values) float.
        """
        inputs = {}
        for name, view in self._views.items():
            # A view of the whole file stands beside every segment of the others.
            segments = index % self.num_segments if view.num_segments > 1 else 0 * index
            files = index // self.num_segments
            if self._resident is None:
                x = self._read(name, files.numpy(), segments.numpy())
            else:
                where = files * view.num_segments + segments
                x = self._resident[name][where.to(self._device, non_blocking=True)]
            inputs[name] = as_input(x)
        return inputs

    def _load_all(self, name: str) -> Tensor:
        # In pieces: a whole split of stored pictures can be larger than its resized pixels.
        per_file = self._views[name].num_segments
        every = np.arange(len(self.names) * per_file)
        return torch.cat(
            [
                self._read(name, part // per_file, part % per_file)
                for part in np.array_split(every, len(every) // 256 + 1)
            ]
        )

    def _read(
        self, name: str, files: npt.NDArray[np.int64], segments: npt.NDArray[np.int64]
    ) -> Tensor:
        rows = self._arrays[name][self._rows[name][files], segments]
        return to_tensor(rows, self._image_px, self._device)


@dataclass(frozen=True)
class Batch:
    """Some samples of a split."""

    inputs: dict[str, Tensor]
    targets: Tensor


def subset(targets: npt.NDArray[np.int8], sampling: Sampling) -> npt.NDArray[np.int64]:
    """Return the places of the files that are taken, ascending; of each class the same share.

    Raises:
        ConfigError: more files are asked for than there are, or too few for one of each class.
    """
    wanted = sampling.subset
    share = wanted if isinstance(wanted, float) else wanted / len(targets)
    if share > 1:
        raise ConfigError(
            f"sampling.subset is {wanted}, and {len(targets)} training files can be decoded. "
            "Ask for fewer, or for a share of them such as 0.5."
        )
    random = np.random.default_rng(sampling.seed)
    num_fake = round(share * int((targets == 1).sum()))
    num_real = round(share * len(targets)) - num_fake
    taken = []
    for target, count in ((0, num_real), (1, num_fake)):
        places = random.permutation(np.flatnonzero(targets == target))
        if len(places) and not count:
            raise ConfigError(
                f"sampling.subset is {wanted}: of {len(targets)} training files, that leaves one "
                "class without any. Ask for more."
            )
        taken.append(places[:count])
    return np.sort(np.concatenate(taken))


def shuffled(
    split: Split, batch_size: int, generator: torch.Generator, *, balanced: bool = False
) -> Iterator[Batch]:
    """Yield the split in a random order; a last batch of one sample joins the one before.

    A batch norm cannot learn from one sample.

    Args:
        split: What to yield.
        batch_size: Samples of one batch.
        generator: A CPU generator.
        balanced: As many samples, half of each class: of the rarer class some come again, of the
            other some are left out.
    """
    order = torch.randperm(len(split), generator=generator)
    if balanced:
        targets = split.targets_of(order)
        wanted = (len(order) - len(order) // 2, len(order) // 2)
        halves = [
            _repeated(order[targets == target], count, generator)
            for target, count in enumerate(wanted)
        ]
        order = torch.cat(halves)[torch.randperm(len(order), generator=generator)]
    for index in _pieces(order, batch_size):
        yield Batch(split.inputs(index), split.targets_of(index))


def count_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `shuffled` yields."""
    return len(_pieces(torch.arange(num_samples), batch_size))


def in_order(split: Split, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """Yield the split's inputs in its order."""
    for index in torch.arange(len(split)).split(batch_size):
        yield split.inputs(index)


def _repeated(order: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` of the samples `order`, each again only when all were taken."""
    if not len(order):
        return order
    rounds = [order]
    while sum(map(len, rounds)) < count:
        rounds.append(order[torch.randperm(len(order), generator=generator)])
    return torch.cat(rounds)[:count]


def _pieces(order: Tensor, batch_size: int) -> list[Tensor]:
    pieces = list(order.split(batch_size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        last = pieces.pop()
        pieces[-1] = torch.cat([pieces[-1], last])
    return pieces


def _resized_bytes(view: View, image_px: int) -> int:
    """Return the bytes of one file's view as it is kept on the device."""
    if len(view.shape) == 1:
        return view.num_segments * view.shape[0] * 4
    frames, _, _, channels = view.shape
    return view.num_segments * frames * channels * image_px**2


def _budget(device: torch.device) -> float:
    return RESIDENT_SHARE * memory_of(device).free if is_cuda(device) else HOST_BYTES
