"""A recipe's model, and the probabilities it gives: the same in a trial and in a bundle."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from workbench.parts.model import MediaModel
from workbench.trial.recipe import Recipe


def build_model(recipe: Recipe, *, load: bool, store: Path | None = None) -> MediaModel:
    """Return the model of `recipe`; `load` says whether to read the pretrained weights."""
    return MediaModel(
        recipe.backbone,
        {name: view.shape for name, view in recipe.views.items()},
        image_px=recipe.image_px,
        weights=recipe.weights,
        frozen=recipe.frozen,
        dropout=recipe.dropout,
        load=load,
        store=store,
    )


@torch.inference_mode()
def score(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the probability of a fake for each sample of a batch, (batch,) float64 on the CPU.

    Args:
        model: In evaluation mode.
        inputs: Each view by its name, (batch, frames, channels, height, width) float in [0, 1].
    """
    with _full_precision():
        return fake_probability(model(inputs)).cpu()


def fake_probability(logits: Tensor) -> Tensor:
    """Return (batch,) float64 probabilities of class 1 from (batch, 2) logits.

    In float64, since float32 runs out of numbers below 1 and would tie the surest samples.
    """
    return torch.sigmoid((logits[:, 1] - logits[:, 0]).double())


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep cuDNN from TF32: its 10 bits would give a bundle on a CPU other scores than a GPU's."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
