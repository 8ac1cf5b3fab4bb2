"""What one reader of a model makes of its view, and what a head makes of that, apart."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workbench.parts.model_spec import TTA
from workbench.scoring.evaluator import (
    ViewSource,
    full_precision,
    mean_of_samples,
    mean_probability,
    per_sample,
    variants,
)

HEAD_ROWS = 4096
"""Samples whose features go through a head at once: boosted trees keep several numbers for each
sample and tree."""


@torch.inference_mode()
def features_of(
    reader: nn.Module,
    source: ViewSource,
    tta: TTA,
    *,
    batch_size: int,
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return what one reader of a model makes of its view, as a head is handed it in scoring.

    Args:
        reader: In evaluation mode, on the source's device.
        source: Files with that view alone.
        tta: What is scored of each sample; it changes pictures alone.
        batch_size: Samples that are read at once.
        step: Called after every batch.

    Returns:
        (files, segments, variants, width) float32 on the CPU, where views that are no pictures have
        one variant.
    """
    [(name, view)] = source.views.items()
    modalities = {name: view.modality}
    shown: TTA = tta if view.modality == "picture" else "none"

    def read(inputs: dict[str, Tensor]) -> Tensor:
        seen = [reader(each[name]).float() for each in variants(inputs, modalities, shown)]
        return torch.stack(seen, dim=1).cpu()

    with full_precision():
        rows = per_sample(source, read, batch_size=batch_size, step=step)
    return rows.unflatten(0, (-1, source.num_segments))


@torch.inference_mode()
def scores_of_features(head: nn.Module, features: Tensor) -> npt.NDArray[np.float64]:
    """Return the probability of each file to be fake by the features of its samples, (files,).

    It is what `Evaluator.scores` returns of a model with this head and such features.

    Args:
        head: In evaluation mode, on the features' device; it gives (batch, 2) logits.
        features: (files, segments, variants, width), of all views end to end.
    """
    samples = features.flatten(0, 1)
    by_sample = torch.cat(
        [
            mean_probability(head(some[:, n]) for n in range(some.shape[1]))
            for some in samples.split(HEAD_ROWS)
        ]
    )
    scores: npt.NDArray[np.float64] = mean_of_samples(by_sample, features.shape[1]).cpu().numpy()
    return scores
