"""A recipe's model, and the probabilities it gives: the same in a trial and in a bundle."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.parts.model import MediaModel
from workbench.parts.model_spec import TTA
from workbench.trial.recipe import Recipe


def build_model(recipe: Recipe, *, load: bool, store: Path | None = None) -> MediaModel:
    """Return the model of `recipe`; `load` says whether to read the pretrained weights."""
    return MediaModel(
        recipe.model.backbone,
        recipe.model.shapes,
        image_px=recipe.model.image_px,
        weights=recipe.model.weights,
        frozen=recipe.training.frozen,
        dropout=recipe.model.dropout,
        load=load,
        store=store,
    )


@torch.inference_mode()
def score(model: nn.Module, inputs: Mapping[str, Tensor], tta: TTA = "none") -> Tensor:
    """Return the probability of a fake for each sample of a batch, (batch,) float64 there.

    Args:
        model: In evaluation mode.
        inputs: Each view by its name, (batch, frames, channels, height, width) float in [0, 1], or
            (batch, values).
        tta: What is scored of each sample; the probabilities are averaged.
    """
    with _full_precision():
        scores = [fake_probability(model(seen)) for seen in variants(inputs, tta)]
        return torch.stack(scores).mean(dim=0)


def variants(inputs: Mapping[str, Tensor], tta: TTA) -> Iterator[dict[str, Tensor]]:
    """Yield the inputs as test-time augmentation shows them; see `recipe.TTA`.

    Pictures have three channels: spectrograms, which have no other way round, and vectors stay.
    """
    for side in (1.0, 0.9, 0.8) if tta == "six" else (1.0,):
        for mirrored in (False, True) if tta != "none" else (False,):
            yield {
                name: _shown(x, side, mirrored) if x.dim() == 5 and x.shape[2] == 3 else x
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
