"""`torch.compile` of the training pass, where it pays within what is left of a trial.

A compiled pass is faster on most GPUs and rounds otherwise, and making it takes as long as hundreds
of steps; see `passes`. On a CPU it happens only where it was asked for.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from workbench.parts.model import MediaModel
from workbench.trial.passes import Usual, rehearse
from workbench.trial.recipe import Recipe

Compile = Literal["auto", "on", "off"]
"""When the training pass is compiled: where it pays, always, never."""

BACKEND = "inductor"

USUAL = Usual(cost_s=60.0, gain=0.2)
"""What is expected of a model that was never compiled here."""


def may_be_compiled(recipe: Recipe, when: Compile, *, by_clock: bool) -> bool:
    """Say whether a trial's passes may be compiled, where the clock decides or does not."""
    # Blends make batches of any size, of which hardly one is that which was compiled.
    blends = recipe.training.augment.pictures.self_blend > 0
    return not blends and (when == "on" or (when == "auto" and by_clock))


class Compiled:
    """A model whose training pass is compiled for whole batches.

    Args:
        model: On its device. Its weights are shared with what is compiled.
        recipe: What is trained.
        samples_at_once: Samples of a whole batch that go through the model at once.
        asked: Whether it is compiled in any case.
    """

    name, said = "compiling", "compiled"
    usual, warm_up_epochs, is_last = USUAL, 0, True

    def __init__(
        self, model: MediaModel, recipe: Recipe, *, samples_at_once: int, asked: bool
    ) -> None:
        self._model, self._recipe, self._samples = model, recipe, samples_at_once
        self.asked = asked
        self._compiled: _OfOneSize | None = None

    @property
    def model(self) -> nn.Module:
        """What a step calls."""
        return self._compiled or self._model

    @property
    def is_taken(self) -> bool:
        """Whether steps are compiled by now."""
        return self._compiled is not None

    def take(self) -> float | None:
        """Compile; see `passes.Alternative`."""
        # As many threads as the trial may use: torch would start a process for each core.
        torch._inductor.config.compile_threads = torch.get_num_threads()
        compiled = _OfOneSize(self._model, self._samples)
        seconds, why = rehearse(compiled, self._model, self._recipe, self._samples)
        if why:
            print(f"not compiled: {why}")
            return None
        self._compiled = compiled
        return seconds

    def undo(self) -> None:
        """Let steps call the model itself."""
        self._compiled = None


class _OfOneSize(nn.Module):
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
