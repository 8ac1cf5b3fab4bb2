"""Inputs of a model for counting, tracing and measuring."""

from collections.abc import Mapping

import torch
from torch import Tensor

from workbench.media.declared import PICTURED, ViewLike


def example_inputs(
    views: Mapping[str, ViewLike], batch: int, device: str | torch.device = "cpu"
) -> dict[str, Tensor]:
    """Return inputs of one level throughout, of the shapes that a model of `views` reads."""
    inputs = {}
    for name, view in views.items():
        shape = view.shape
        if view.modality in PICTURED:
            frames, height, width, channels = shape
            shape = (frames, channels, height, width)
        inputs[name] = torch.full((batch, *shape), 0.5, device=device)
    return inputs
