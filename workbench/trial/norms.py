"""Batch norms of averaged weights: what they keep of their inputs fits no weights but their own.

So it is estimated anew, on the training files as they are: not augmented, mixed or blended. So do
files look that are scored; and nothing is drawn that training would draw, which goes on as it would
have. Batches are made as in training: as large, as balanced, and shuffled, since a batch of one
class has other statistics.

Source: Izmailov et al. 2018, arXiv:1803.05407, section 3.2.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.parts.model import MediaModel
from workbench.scoring.stored import StoredViews
from workbench.trial.batches import shuffled
from workbench.trial.memory import Plan
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import ViewTensors, parts_of


def estimate_norms(model: MediaModel, inputs: Iterable[ViewTensors]) -> None:
    """Let the batch norms of `model` keep the mean and variance of what they see of `inputs`.

    They are the means over the batches of each batch's own, weighed by its samples. Norms that
    training leaves as they are, those of frozen backbones, stay; without others nothing is read.

    Args:
        model: On its device.
        inputs: Batches of views by name, each (batch, ...), there too.
    """
    model.train()
    model.dropout.eval()
    norms = [
        layer
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    seen = 0
    try:
        with torch.no_grad():
            for views in inputs if norms else ():
                num = len(next(iter(views.values())))
                seen += num
                for norm in norms:
                    norm.momentum = num / seen
                model(views)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def training_files(
    train: StoredViews,
    recipe: Recipe,
    plan: Plan,
    step: Callable[[], None] = lambda: None,
    *,
    num_ranks: int = 1,
) -> Iterator[ViewTensors]:
    """Yield the training files as they are, in batches as training makes them, each time the same.

    Args:
        train: What `recipe` is trained on.
        recipe: How batches are made.
        plan: In how many parts a batch goes: batch norms see the parts in training, too.
        step: Called after every batch.
        num_ranks: How many share each batch in training.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    balanced = recipe.training.sampling.balanced
    for batch in shuffled(train, recipe.training.batch_size, generator, balanced=balanced):
        num_parts = plan.num_parts(len(batch.targets), num_ranks)
        for views, _ in parts_of(batch.inputs, batch.targets, num_parts):
            yield views
        step()
