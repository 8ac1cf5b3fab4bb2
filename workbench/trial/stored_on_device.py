"""The stored views of a slice as a model reads them, kept on its device where they fit."""

import torch

from workbench.parts.model_spec import ModelSpec
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.trial.device import most_kept_bytes


def stored_for(part: Slice, spec: ModelSpec, device: torch.device) -> StoredViews:
    """Return the views of a slice's files that a model of `spec` reads."""
    return StoredViews(
        part,
        spec.views,
        image_px=spec.image_px,
        device=device,
        most_kept_bytes=most_kept_bytes(device),
    )
