"""The training passes of a model, and what of them is done otherwise where that pays.

A pass may be compiled (`compiling`), and on a GPU weights and pictures may lie with their channels
innermost (`layout`). Each is faster for some models on some devices, rounds otherwise, and costs
something once: as long as hundreds of steps. So a trial begins plainly, and takes such an
alternative once what it costs is little beside what it should save in the steps that are left. What
it cost and saved is kept for trials of equal shapes; what saves nothing is undone, and not tried
again. On a CPU the clock decides nothing: there a trial's numbers are the same each time.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from workbench.data.measured import Measured
from workbench.parts.model import MediaModel
from workbench.trial.device import called, random_state, set_random_state, wait_for
from workbench.trial.memory import Plan, is_out_of_memory
from workbench.trial.precision import logits_of
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import buffers_kept
from workbench.values import Frozen

MEASURED_EPOCHS = 2
"""Epochs after which a trial knows its own pace: the first one warms the device up."""

MARGIN = 2.0
"""What is expected to be saved is this many times the cost: a trial may be pruned on its way."""


class Worth(Frozen):
    """What an alternative did to a training on this device."""

    cost_s: float
    saved_s: float
    """Per sample; none or less where it made nothing faster, or could not be done."""


class Usual(Frozen):
    """What is expected of an alternative that was never taken for such a model here."""

    cost_s: float
    gain: float
    """Of the time of a sample, the share that it saves."""


class Alternative(Protocol):
    """Another way of a model's passes."""

    name: str
    """Names the file of what it was worth."""

    said: str
    """What was done, for the trial's log."""

    usual: Usual
    asked: bool
    """Whether it is taken in any case."""

    warm_up_epochs: int
    """Epochs that it slows down itself; that counts as its cost."""

    is_last: bool
    """Whether no other one can be taken after it."""

    def take(self) -> float | None:
        """Take it; return the seconds that took, or None if it cannot be done.

        It changes neither the model's numbers nor the random ones.
        """

    def undo(self) -> None:
        """Go back."""


class Passes:
    """The training passes of a model, as the clock has them.

    Args:
        model: On its device. Its weights are shared with all alternatives.
        recipe: What is trained.
        plan: How batches go through the model.
        alternatives: What may be done otherwise, in the order in which it is tried.
        num_samples: Samples of an epoch.
        cache: Folder in which the worth of alternatives is kept for other trials; None keeps
            nothing.
    """

    def __init__(
        self,
        model: MediaModel,
        recipe: Recipe,
        *,
        plan: Plan,
        alternatives: Sequence[Alternative],
        num_samples: int,
        cache: Path | None,
    ) -> None:
        self._recipe, self._num_samples, self._cache = recipe, num_samples, cache
        self._about = about(model, recipe, at_once(recipe, plan, num_samples))
        self._waiting = list(alternatives)
        self._tried: tuple[Alternative, float] | None = None
        """What was taken and is not judged yet, with its cost."""

        self._before: list[float] = []
        """Seconds a sample of each epoch before it was taken."""

        self._paces: list[float] = []
        """The same since then, or from the start."""

    def before_epoch(self, epoch: int) -> None:
        """Take an alternative before `epoch`, counted from 1, if it pays in what is left."""
        if self._tried is not None or self._is_of_the_head_alone(epoch):
            return
        left = self._num_samples * (self._recipe.training.num_epochs - epoch + 1)
        for alternative in list(self._waiting):
            if not self._pays(alternative, left):
                continue
            self._waiting.remove(alternative)
            if alternative.is_last:
                self._waiting.clear()
            cost_s = alternative.take()
            if cost_s is None:
                self._keep(alternative, Worth(cost_s=0.0, saved_s=0.0))
                continue
            if not alternative.asked:
                self._tried, self._before, self._paces = (alternative, cost_s), self._paces, []
            return

    def after_epoch(self, epoch: int, seconds: float) -> None:
        """Note how long `epoch` took; go back where an alternative made it no faster."""
        if self._is_of_the_head_alone(epoch):
            return
        self._paces.append(seconds / self._num_samples)
        if self._tried is None or not self._before:
            self._settle_unjudged()
            return
        alternative, cost_s = self._tried
        since = self._paces[alternative.warm_up_epochs :]
        if not since:
            return
        before, now = min(self._before), min(since)
        warming = self._paces[: alternative.warm_up_epochs]
        cost_s += sum(max(0.0, pace - now) for pace in warming) * self._num_samples
        self._keep(alternative, Worth(cost_s=cost_s, saved_s=before - now))
        print(
            f"{alternative.said} in {cost_s:.0f} s: from {1e3 * before:.2f} to {1e3 * now:.2f} ms "
            "a sample"
        )
        self._tried = None
        if now >= before:
            alternative.undo()
            self._paces = self._before

    def _settle_unjudged(self) -> None:
        """Let others be tried after one that was taken from the start, by what is known of it."""
        if self._tried is not None and len(self._paces) > self._tried[0].warm_up_epochs:
            self._tried = None

    def _is_of_the_head_alone(self, epoch: int) -> bool:
        return epoch <= self._recipe.training.transfer.frozen_epochs

    def _pays(self, alternative: Alternative, left: int) -> bool:
        """Say whether an alternative pays in the `left` samples of a trial."""
        if alternative.asked:
            return True
        if (known := self._measured(alternative).get(self._about)) is not None:
            worth = Worth(**known)
        elif len(self._paces) < MEASURED_EPOCHS:
            return False
        else:
            usual = alternative.usual
            worth = Worth(cost_s=usual.cost_s, saved_s=usual.gain * min(self._paces))
        return worth.saved_s > 0 and left * worth.saved_s >= MARGIN * worth.cost_s

    def _keep(self, alternative: Alternative, worth: Worth) -> None:
        self._measured(alternative).keep(self._about, worth.model_dump())

    def _measured(self, alternative: Alternative) -> Measured:
        return Measured(self._cache, alternative.name)


def at_once(recipe: Recipe, plan: Plan, num_samples: int) -> int:
    """Return how many samples of a whole batch go through the model at once."""
    batch = min(recipe.training.batch_size, num_samples)
    return -(-batch // plan.num_parts(batch))


def about(model: MediaModel, recipe: Recipe, samples_at_once: int) -> Mapping[str, object]:
    """Return what the worth of an alternative depends on."""
    return {
        **recipe.model.cost_key,
        "frozen": recipe.training.frozen,
        "precision": recipe.training.precision,
        "at_once": samples_at_once,
        "device": called(next(model.parameters()).device),
        "torch": torch.__version__,
    }


def rehearse(
    passes: nn.Module, model: MediaModel, recipe: Recipe, samples_at_once: int
) -> tuple[float, str]:
    """Do one pass there and back that changes neither the model nor the random numbers.

    Args:
        passes: What is called.
        model: Whose weights it has.
        recipe: What is trained.
        samples_at_once: Samples of the pass.

    Returns:
        The seconds it took, and why it could not be done; empty if it was.

    Raises:
        RuntimeError: memory ran out.
    """
    device = next(model.parameters()).device
    began, why = time.monotonic(), ""
    state = random_state(device)
    inputs = model.example_inputs(samples_at_once, device)
    try:
        with buffers_kept(model):
            logits_of(passes, inputs, recipe.training.precision).sum().backward()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # What compiles is large and fails in many ways; a trial needs it in none of them. A fault
        # of the model itself comes again with the first step.
        words = " ".join(str(error).split("\n\n")[0].split())
        why = f"{type(error).__name__}: {words}"
    finally:
        model.zero_grad(set_to_none=True)
        set_random_state(device, state)
    wait_for(device)
    return time.monotonic() - began, why
