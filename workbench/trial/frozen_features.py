"""Features of frozen backbones, each view of each file once: kept on disk for the next trial.

They are what `scoring.evaluator` hands a head, view by view, so that trials of one study that
differ in their heads alone compute none of them again. What random weights make is not kept.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from workbench.data.prepare import Prepared
from workbench.files import finished
from workbench.parts.model import BackboneReader, MediaModel
from workbench.parts.model_spec import ModelSpec
from workbench.parts.plugins import own_versions
from workbench.parts.suited import about
from workbench.parts.weights import Weights
from workbench.scoring.features import features_of
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.trial.device import called
from workbench.trial.metrics import DivergedError

_FORMAT = 2
_SUM_BYTES = 32

Compute = Callable[[Callable[[int], Tensor], int], Tensor]
"""Calls its first argument with the number of samples that are read at once, of so many."""


class FrozenFeatures:
    """Reads the features of a model's views.

    Args:
        spec: The model's.
        model: In evaluation mode, on `device`.
        device: Where it is.
        cache: Folder in which they are kept; None keeps none.
        compute: Runs a pass with as many samples at once as fit.
        step: Called after every batch that was read.
    """

    def __init__(
        self,
        spec: ModelSpec,
        model: MediaModel,
        device: torch.device,
        *,
        cache: Path | None,
        compute: Compute,
        step: Callable[[], None],
    ) -> None:
        self._spec, self._model, self._device = spec, model, device
        self._folder = None if cache is None else cache / "features"
        self._compute, self._step = compute, step

    def of(self, part: Slice, *, augmented: bool = True) -> Tensor:
        """Return the features of some files as a head reads them, all views end to end.

        Args:
            part: The files.
            augmented: Whether to read each sample as test-time augmentation shows it; else as it
                is.

        Returns:
            (files, segments, variants, width) float32 on the CPU.

        Raises:
            DivergedError: some are no numbers.
        """
        found = [self._of_view(name, part, augmented) for name in self._spec.views]
        segments, variants = (max(each.shape[axis] for each in found) for axis in (1, 2))
        # A view of the whole file stands beside every segment of the others, and one that has no
        # other way round beside every variant.
        whole = [each.expand(-1, segments, variants, -1) for each in found]
        return torch.cat(whole, dim=3)

    def _of_view(self, name: str, part: Slice, augmented: bool) -> Tensor:
        reader = self._model.readers[name]
        kept = isinstance(reader, BackboneReader) and self._folder is not None
        key = self._key(name, part, augmented) if kept else ""
        file = self._folder / f"{key}.npy" if key and self._folder is not None else None
        if file is not None and (known := _read(file)) is not None:
            return known
        found = self._read_out(name, reader, part, augmented)
        if not torch.isfinite(found).all():
            raise DivergedError(f"the features of the view {name} are NaN or infinite")
        if file is not None:
            _write(file, found)
        return found

    def _read_out(self, name: str, reader: nn.Module, part: Slice, augmented: bool) -> Tensor:
        source = StoredViews(
            part,
            {name: self._spec.views[name]},
            image_px=self._spec.image_px,
            device=self._device,
            most_kept_bytes=0,
        )

        def read(batch_size: int) -> Tensor:
            return features_of(
                reader,
                source,
                self._spec.tta if augmented else "none",
                batch_size=batch_size,
                step=self._step,
            )

        return self._compute(read, source.num_samples)

    def _key(self, name: str, part: Slice, augmented: bool) -> str:
        """Return what the features of a view depend on as hex digits; empty if that is not known.

        Where and by how many threads they were computed counts too: it changes how they round.
        """
        weights: Weights = self._spec.weights_of[name]
        rows = _rows_of(name, part)
        if weights.source == "none" or rows is None:
            return ""
        key_of: Mapping[str, object] = {
            "format": _FORMAT,
            "backbone": self._spec.backbone_of[name],
            "weights": weights.model_dump(),
            **own_versions([self._spec.backbone_of[name]]),
            **about(self._spec.reading),
            "view": self._spec.views[name].uid,
            "image_px": self._spec.image_px,
            "tta": self._spec.tta if augmented else "none",
            "device": called(self._device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        key = hashlib.sha256(json.dumps(key_of, sort_keys=True).encode())
        key.update(rows)
        return key.hexdigest()[:24]


def _rows_of(view: str, part: Slice) -> bytes | None:
    """Return what names the pixels of a slice's files, in order; None where nothing does.

    That is the store of the view and, of each file, its row there with the row's sum.
    """
    prepared: Prepared = part.prepared
    columns = [f"row.{view}", f"sum.{view}"]
    store = prepared.stores.get(view, "")
    if not store or not set(columns) <= set(part.rows.columns):
        return None
    return f"{store}\n{part.rows[columns].to_csv(index=False)}".encode()


def _write(file: Path, found: Tensor) -> None:
    """Store features: a SHA-256, then the array that it is of, in NumPy's format."""
    data = io.BytesIO()
    np.save(data, found.numpy(), allow_pickle=False)
    with finished(file) as partly:
        partly.write_bytes(_digest(file, data.getvalue()) + data.getvalue())


def _digest(file: Path, data: bytes) -> bytes:
    """Return what tells stored features from damaged ones, and from those of another name."""
    return hashlib.sha256(file.stem.encode() + data).digest()


def _read(file: Path) -> Tensor | None:
    """Return stored features; None if there are none, or the file was damaged or is another's."""
    if not file.exists():
        return None
    try:
        whole = file.read_bytes()
        if whole[:_SUM_BYTES] != _digest(file, whole[_SUM_BYTES:]):
            return None
        found = np.load(io.BytesIO(whole[_SUM_BYTES:]), allow_pickle=False)
    except Exception:  # noqa: BLE001 (NumPy reads the header as Python: it raises anything)
        return None
    is_whole = found.ndim == 4 and found.dtype == np.float32
    return torch.from_numpy(found) if is_whole else None
