"""`torch.compile` of the training pass, where it pays within what is left of a trial.

A compiled pass is faster on most GPUs and rounds otherwise, and making it takes as long as hundreds
of steps. So a trial begins as it is, and compiles once what that costs is little beside what it
should save; what it cost and saved is kept for the trials after it. On a CPU it happens only where
it was asked for: there a trial's numbers are the same each time, and must not depend on a clock.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from workbench.data.measured import Measured
from workbench.parts.model import MediaModel
from workbench.trial.device import called, random_state, set_random_state, wait_for
from workbench.trial.memory import Plan, is_out_of_memory
from workbench.trial.precision import logits_of
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import buffers_kept
from workbench.values import Frozen

Compile = Literal["auto", "on", "off"]
"""When the training pass is compiled: where it pays, always, never."""

BACKEND = "inductor"

MEASURED_EPOCHS = 2
"""Epochs after which a trial knows its own pace: the first one warms the device up."""

USUAL_COST_S, USUAL_GAIN = 60.0, 0.2
"""What is expected of a model that was never compiled here: seconds, and the share of an epoch."""

MARGIN = 2.0
"""What is expected to be saved is this many times the cost: a trial may be pruned on its way."""


def decides_on(device: torch.device) -> bool:
    """Say whether it is decided by the clock on `device`."""
    return device.type == "cuda"


class Worth(Frozen):
    """What compiling a model did to a training on this device."""

    cost_s: float
    saved_s: float
    """Per sample; none or less where it made nothing faster, or could not be done."""


class Passes:
    """The training passes of a model: as it is, or compiled.

    Args:
        model: On its device. Its weights are shared with what is compiled.
        recipe: What is trained.
        plan: How batches go through the model.
        when: When to compile.
        num_samples: Samples of an epoch.
        cache: Folder in which the worth of compiling is kept for other trials; None keeps nothing.
    """

    def __init__(
        self,
        model: MediaModel,
        recipe: Recipe,
        *,
        plan: Plan,
        when: Compile,
        num_samples: int,
        cache: Path | None,
    ) -> None:
        self._model, self._recipe, self._when = model, recipe, when
        self._device = next(model.parameters()).device
        self._num_samples, self._known = num_samples, Measured(cache, "compiling")
        batch = min(recipe.batch_size, num_samples)
        self._at_once = -(-batch // plan.num_parts(batch))
        self._compiled: _OfOneSize | None = None
        # Blends make batches of any size, of which hardly one is that which was compiled.
        blends = recipe.augment.pictures.self_blend > 0
        self._closed = when == "off" or blends or (when == "auto" and not decides_on(self._device))
        """Whether no more is to be decided."""

        self._cost_s: float | None = None
        self._paces: dict[bool, list[float]] = {False: [], True: []}
        """Seconds a sample of each epoch, as it is and compiled."""

    @property
    def model(self) -> nn.Module:
        """What a step calls."""
        return self._compiled or self._model

    @property
    def compiled(self) -> bool:
        """Whether steps are compiled by now."""
        return self._compiled is not None

    @property
    def channels_last(self) -> bool:
        """Whether channels are the innermost dimension by now."""
        return self._model.channels_last

    def before_epoch(self, epoch: int) -> None:
        """Compile before `epoch`, counted from 1, if that pays in the rest of the trial."""
        recipe = self._recipe
        if self._closed or self.compiled or epoch <= recipe.transfer.frozen_epochs:
            return
        if self._when == "auto":
            left = self._num_samples * (recipe.num_epochs - epoch + 1)
            worth = self._worth()
            if worth is None or left * worth.saved_s < MARGIN * worth.cost_s:
                return
        self._compile()

    def after_epoch(self, epoch: int, seconds: float) -> None:
        """Note how long the steps of `epoch` took; go back where compiling made them no faster."""
        if self._closed or epoch <= self._recipe.transfer.frozen_epochs:
            return
        self._paces[self.compiled].append(seconds / self._num_samples)
        before, since = self._paces[False], self._paces[True]
        if self._when != "auto" or self._cost_s is None or not before or not since:
            return
        saved_s = min(before) - min(since)
        self._keep(Worth(cost_s=self._cost_s, saved_s=saved_s))
        self._closed = True
        print(
            f"compiled in {self._cost_s:.0f} s: from {1e3 * min(before):.2f} to "
            f"{1e3 * min(since):.2f} ms a sample"
        )
        if saved_s <= 0:
            self._compiled = None

    def _worth(self) -> Worth | None:
        """Return what compiling should cost and save; None while that cannot be said."""
        if (known := self._known.get(self._about())) is not None:
            return Worth(**known)
        paces = self._paces[False]
        if len(paces) < MEASURED_EPOCHS:
            return None
        return Worth(cost_s=USUAL_COST_S, saved_s=USUAL_GAIN * min(paces))

    def _compile(self) -> None:
        """Compile, by one pass there and back that changes neither model nor random numbers."""
        # As many threads as the trial may use: torch would start a process for each core.
        torch._inductor.config.compile_threads = torch.get_num_threads()
        began = time.monotonic()
        compiled = _OfOneSize(self._model, self._at_once)
        state = random_state(self._device)
        inputs = self._model.example_inputs(self._at_once, self._device)
        try:
            with buffers_kept(self._model):
                logits_of(compiled, inputs, self._recipe.precision).sum().backward()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            # What compiles is large and fails in many ways; a trial needs it in none of them. A
            # fault of the model itself comes again with the first step.
            said = " ".join(str(error).split("\n\n")[0].split())
            print(f"not compiled: {type(error).__name__}: {said}")
            self._closed = True
            self._keep(Worth(cost_s=time.monotonic() - began, saved_s=0.0))
            return
        finally:
            self._model.zero_grad(set_to_none=True)
            set_random_state(self._device, state)
        wait_for(self._device)
        self._compiled, self._cost_s = compiled, time.monotonic() - began

    def _keep(self, worth: Worth) -> None:
        self._known.keep(self._about(), worth.model_dump())

    def _about(self) -> dict[str, object]:
        """Return what the worth of compiling depends on."""
        recipe = self._recipe
        return {
            "backbone": recipe.backbone,
            "views": list(self._model.views.values()),
            "image_px": recipe.image_px,
            "frozen": recipe.frozen,
            "precision": recipe.precision,
            "at_once": self._at_once,
            "device": called(self._device),
            "torch": torch.__version__,
        }


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
