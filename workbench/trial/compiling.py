"""`torch.compile` of the training pass, where the user asks for it.

A compiled pass is faster on some devices and rounds otherwise, and making it takes as long as
hundreds of steps.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from workbench.parts.model import MediaModel
from workbench.trial.recipe import Recipe
from workbench.trial.rehearsal import rehearse

Compile = Literal["on", "off"]
"""Whether the training pass is compiled."""

BACKEND = "inductor"


def compiled_model(
    model: MediaModel, recipe: Recipe, *, samples_at_once: int
) -> "CompiledModel | None":
    """Return a model compiled, on its device; nothing where it cannot be, which the log says.

    Args:
        model: Its weights are shared with what is compiled.
        recipe: What is trained.
        samples_at_once: Samples of a whole batch that go through the model at once.
    """
    # Blends make batches of any size, of which hardly one is that which was compiled. What is
    # compiled gives no features. Pictures that grow would be compiled anew in each epoch.
    blends, grows = recipe.training.most_of_a_sample > 1, len(set(recipe.train_sides)) > 1
    if blends or grows or recipe.training.contrast.weight > 0:
        return None
    # As many threads as the trial may use: torch would start a process for each core.
    torch._inductor.config.compile_threads = torch.get_num_threads()
    compiled = CompiledModel(model, samples_at_once)
    seconds, why = rehearse(compiled, model, recipe, samples_at_once)
    print(f"not compiled: {why}" if why else f"compiled in {seconds:.0f} s")
    return None if why else compiled


class CompiledModel(nn.Module):
    """A model, compiled for the one size of its batches; others go through it as it is.

    For a size of which there is one batch an epoch it would be compiled anew, or into something
    slower that takes all sizes.
    """

    def __init__(self, model: nn.Module, num_samples: int) -> None:
        super().__init__()
        self._model, self._num_samples = model, num_samples
        self._compiled = torch.compile(model, backend=BACKEND, dynamic=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what the model returns."""
        size = len(next(iter(inputs.values())))
        logits: Tensor
        if size == self._num_samples and torch.is_grad_enabled():
            # In one layout: another one is compiled anew.
            logits = self._compiled({name: x.contiguous() for name, x in inputs.items()})
        else:
            logits = self._model(inputs)
        return logits
