"""The evaluator: a model and the views of some files in, the probability of each file out.

Nothing else in the package scores files: a trial, the model registry, a bundle and the screening
all call it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.media.declared import Modalities, modalities_of
from workbench.media.view import Array, View
from workbench.parts.model_spec import TTA, ModelSpec
from workbench.parts.pixels import as_input, to_tensor


class ViewSource(ABC):
    """The views of some files; a file is one sample, or one for each segment of its sound.

    Args:
        views: Every view that a model reads.
        num_files: Files, in an order of their own.
    """

    def __init__(self, views: Mapping[str, View], num_files: int) -> None:
        self.views, self.num_files = views, num_files
        self.num_segments = max(view.num_segments for view in views.values())
        """Samples that each file makes, one after the other."""

    @property
    def num_samples(self) -> int:
        """Samples of all files."""
        return self.num_files * self.num_segments

    @abstractmethod
    def read(self, view: str, files: Tensor, segments: Tensor) -> Tensor:
        """Return one view of some samples, as `pixels.as_pixels` makes them, on the device.

        Args:
            view: Its name.
            files: (batch,) int64, the number of each sample's file.
            segments: (batch,) int64, the number of its segment.
        """

    def inputs(self, index: Tensor) -> dict[str, Tensor]:
        """Return the views of samples `index`, (batch,) int64 on the CPU.

        Each is on the device: pictures (batch, frames, channels, image_px, image_px) float in
        [0, 1], waveforms (batch, samples) in [-1, 1], vectors (batch, values) float.
        """
        files, segments = index // self.num_segments, index % self.num_segments
        return {
            # A view of the whole file stands beside every segment of the others.
            name: as_input(self.read(name, files, segments if view.num_segments > 1 else 0 * files))
            for name, view in self.views.items()
        }


class DecodedViews(ViewSource):
    """Views that were just decoded.

    Args:
        arrays: Each view by its name, (files, *stored_shape).
    """

    def __init__(
        self, spec: ModelSpec, arrays: Mapping[str, Array], *, device: torch.device
    ) -> None:
        super().__init__(spec.views, len(next(iter(arrays.values()))))
        self._arrays, self._image_px, self._device = arrays, spec.image_px, device

    def read(self, view: str, files: Tensor, segments: Tensor) -> Tensor:
        """See `ViewSource.read`."""
        rows = self._arrays[view][files.numpy(), segments.numpy()]
        return to_tensor(rows, self._image_px, self._device)


class Evaluator:
    """The probabilities that a model gives, on its device."""

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        self._spec, self._model = spec, model

    def scores(
        self, source: ViewSource, *, batch_size: int, step: Callable[[], None] = lambda: None
    ) -> npt.NDArray[np.float64]:
        """Return the probability of each file of `source` to be fake, (files,).

        Its views are those of the spec; see `per_file`.
        """
        self._model.eval()
        with full_precision():
            scored = per_file(source, self._of_samples, batch_size=batch_size, step=step)
        scores: npt.NDArray[np.float64] = scored.cpu().numpy()
        return scores

    def _of_samples(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return fake_probability(self._model, inputs, self._spec)


@torch.inference_mode()
def per_file(
    source: ViewSource,
    compute: Callable[[dict[str, Tensor]], Tensor],
    *,
    batch_size: int,
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return what is computed of each file, the mean over its samples, (files, ...).

    `compute` turns the views of at most `batch_size` samples into a row for each; `step` is called
    after every batch.
    """
    rows = per_sample(source, compute, batch_size=batch_size, step=step)
    return mean_of_samples(rows, source.num_segments)


def per_sample(
    source: ViewSource,
    compute: Callable[[dict[str, Tensor]], Tensor],
    *,
    batch_size: int,
    step: Callable[[], None],
) -> Tensor:
    """Return what is computed of each sample, (samples, ...); see `per_file`."""
    rows = []
    for index in torch.arange(source.num_samples).split(batch_size):
        rows.append(compute(source.inputs(index)))
        step()
    return torch.cat(rows)


def mean_of_samples(rows: Tensor, num_segments: int) -> Tensor:
    """Return the mean over each file's samples, (files, ...), of (samples, ...) rows in order."""
    return rows.unflatten(0, (-1, num_segments)).mean(dim=1)


def fake_probability(model: nn.Module, inputs: Mapping[str, Tensor], spec: ModelSpec) -> Tensor:
    """Return the probability of a fake for each sample of a batch, (batch,) float64.

    In float64, since float32 runs out of numbers below 1 and would tie the surest samples.

    Args:
        model: In evaluation mode; it gives logits (batch, 2), real before fake.
        inputs: Each view by its name, (batch, frames, channels, height, width) float in [0, 1], or
            (batch, values).
        spec: What is scored of each sample; the probabilities are averaged.
    """
    shown = variants(inputs, modalities_of(spec.views), spec.tta)
    return mean_probability(model(seen) for seen in shown)


def mean_probability(logits: Iterable[Tensor]) -> Tensor:
    """Return the mean over several (batch, 2) logits of the probability of a fake, (batch,)."""
    scores = [torch.sigmoid((both[:, 1] - both[:, 0]).double()) for both in logits]
    return torch.stack(scores).mean(dim=0)


def variants(
    inputs: Mapping[str, Tensor], modalities: Modalities, tta: TTA
) -> Iterator[dict[str, Tensor]]:
    """Yield the inputs as test-time augmentation shows them; see `model_spec.TTA`.

    Spectrograms and waveforms, which have no other way round, and vectors stay.
    """
    for side in (1.0, 0.9, 0.8) if tta == "six" else (1.0,):
        for mirrored in (False, True) if tta != "none" else (False,):
            yield {
                name: _shown(x, side, mirrored) if modalities[name] == "picture" else x
                for name, x in inputs.items()
            }


def _shown(pictures: Tensor, side: float, mirrored: bool) -> Tensor:
    """Return the middle of each picture, `side` of its width and height, in the full size."""
    if side < 1:
        height, width = pictures.shape[-2:]
        top, left = round(height * (1 - side) / 2), round(width * (1 - side) / 2)
        middle = pictures[..., top : height - top, left : width - left]
        flat = F.interpolate(middle.flatten(0, 1), (height, width), mode="bilinear", antialias=True)
        pictures = flat.unflatten(0, pictures.shape[:2])
    return pictures.flip(-1) if mirrored else pictures


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep cuDNN from TF32: its 10 bits would give a bundle on a CPU other scores than a GPU's."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
