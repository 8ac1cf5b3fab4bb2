"""A model as other programs call it: one row of values per file in, one probability out."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from workbench.media.view import View
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack import PackModel
from workbench.parts.pack_spec import PackSpec, members_of
from workbench.parts.pixels import as_pixels
from workbench.scoring.any_model import models_within
from workbench.scoring.evaluator import ViewSource, fake_probability, mean_of_samples


class FlatModel(nn.Module):
    """A model of several views behind one input array, which is what serving tools hand over.

    A row holds the values of every view of one file laid end to end, in the order of the spec's
    views, each view's `stored_shape` raveled. `torch.export` makes one graph of it.

    Args:
        spec: What the model reads, and what is scored of each file.
        model: The model itself, or a pack of several.
    """

    def __init__(self, spec: ModelSpec | PackSpec, model: nn.Module) -> None:
        super().__init__()
        self.model, self._spec = model, spec

    @property
    def num_values(self) -> int:
        """Values in one row, all views together."""
        return sum(_sizes(self._spec.views))

    @property
    def takes_bytes(self) -> bool:
        """Whether a row of bytes can hold every view; vectors and waveforms need floats."""
        return all(len(view.shape) > 1 for view in self._spec.views.values())

    def forward(self, rows: Tensor) -> Tensor:
        """Return the probability of each row's file to be fake.

        Args:
            rows: (batch, num_values), grey levels from 0 to 255 as uint8 or float, vectors and
                16-bit samples of waveforms as floats.

        Returns:
            (batch,) float64 in [0, 1]; NaN for a row with a value that is no finite number, which
            the views of it would pass for some grey level or sample.
        """
        parts = _parted(self._spec.views, rows)
        columns = []
        for member, network in zip(members_of(self._spec), models_within(self.model), strict=True):
            source = _Rows(member, parts)
            inputs = source.inputs(torch.arange(source.num_samples, device=rows.device))
            scores = fake_probability(network, inputs, member)
            columns.append(mean_of_samples(scores, source.num_segments))
        found = columns[0]
        if isinstance(self.model, PackModel):
            found = self.model.joint(torch.stack(columns, dim=1))
        return torch.where(rows.isfinite().all(dim=1), found, torch.nan)


class _Rows(ViewSource):
    """The views of a model among those that rows of values hold; see `FlatModel`."""

    def __init__(self, spec: ModelSpec, parts: Mapping[str, Tensor]) -> None:
        super().__init__(spec.views, next(iter(parts.values())).shape[0])
        self._image_px, self._parts = spec.image_px, parts

    def read(self, view: str, files: Tensor, segments: Tensor) -> Tensor:
        """See `ViewSource.read`."""
        those = self._parts[view][files, segments]
        if those.dim() > 2:
            return as_pixels(those, self._image_px)
        return those.to(torch.int16 if self.views[view].modality == "waveform" else torch.float32)


def _parted(views: Mapping[str, View], rows: Tensor) -> dict[str, Tensor]:
    """Return each view of rows of values, (batch, *stored_shape)."""
    parts = torch.split(rows, _sizes(views), dim=1)
    return {
        name: part.reshape(-1, *view.stored_shape)
        for (name, view), part in zip(views.items(), parts, strict=True)
    }


def _sizes(views: Mapping[str, View]) -> list[int]:
    return [math.prod(view.stored_shape) for view in views.values()]
