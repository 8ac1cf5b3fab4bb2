"""Channels as the innermost dimension of weights and pictures, where that pays on a GPU.

Networks with grouped convolutions begin otherwise there, all others so; see `parts.model`. Laid
anew, such a network is faster or slower, rounds otherwise, and costs something once. So a trial
begins as it is, and lays its channels innermost once what that costs is little beside what it
should save in the steps that are left. What it cost and saved is kept for trials of equal shapes;
where nothing is saved it is undone, and not tried again. On a CPU the clock decides nothing: there
a trial's numbers are the same each time.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from workbench.data.measured import Measured
from workbench.parts.model import MediaModel
from workbench.trial.device import called
from workbench.trial.memory_count import cost_key, learned_key
from workbench.trial.recipe import Recipe
from workbench.trial.rehearsal import rehearse
from workbench.values import Frozen

MEASURED_EPOCHS = 2
"""Epochs after which a trial knows its own pace: the first one warms the device up."""

PAYS_BY = 2.0
"""What is expected to be saved is this many times the cost: a trial may be pruned on its way."""

USUAL_COST_S, USUAL_GAIN = 20.0, 0.1
"""What is expected of a network with grouped convolutions, the gain as a share of the time. On an
H100 at 64 x 224 px in bfloat16 EfficientNet-Lite0, MobileNetV2 and EfficientNet-B0 saved 39, 30 and
23%, ConvNeXt-T none, and CaFormer-S18 lost 14%; the first two cost 5 to 17 s for each shape that is
met."""


class Worth(Frozen):
    """What another layout did to a training on this device."""

    cost_s: float
    saved_s: float
    """Per sample; none or less where it made nothing faster, or could not be done."""


class LayoutByClock:
    """Lays the channels of a model innermost in mid-training, if the clock says that it pays.

    Args:
        model: On its device, contiguous.
        recipe: What is trained.
        samples_at_once: Samples of a whole batch that go through the model at once.
        lay_out: Lays out the model, and all that is kept of its weights; told whether the channels
            are innermost. It changes no number.
        num_samples: Samples of an epoch.
        cache: Folder in which the worth is kept for other trials; None keeps nothing.
    """

    def __init__(
        self,
        model: MediaModel,
        recipe: Recipe,
        *,
        samples_at_once: int,
        lay_out: Callable[[bool], None],
        num_samples: int,
        cache: Path | None,
    ) -> None:
        self._model, self._recipe, self._samples = model, recipe, samples_at_once
        self._lay_out, self._num_samples = lay_out, num_samples
        self._measured = Measured(cache, "layout")
        self._about = about(model, recipe, samples_at_once)
        self._is_settled = False
        self._cost_s: float | None = None
        """Of laying anew, once that was done."""

        self._before: list[float] = []
        """Seconds a sample of each epoch before it was."""

        self._paces: list[float] = []
        """The same since then, or from the start."""

    def before_epoch(self, epoch: int) -> None:
        """Lay the channels innermost before `epoch`, counted from 1, if that pays."""
        if self._is_settled or self._cost_s is not None or self._is_of_the_head_alone(epoch):
            return
        if not self._pays(self._num_samples * (self._recipe.training.num_epochs - epoch + 1)):
            return
        self._lay_out(True)
        seconds, why = rehearse(self._model, self._model, self._recipe, self._samples)
        if why:
            print(f"memory format stays contiguous (channels_last does not work here: {why})")
            self._lay_out(False)
            self._settle(Worth(cost_s=0.0, saved_s=0.0))
            return
        self._cost_s, self._before, self._paces = seconds, self._paces, []

    def after_epoch(self, epoch: int, seconds: float) -> None:
        """Note how long `epoch` took; go back where the new layout made it no faster."""
        if self._is_of_the_head_alone(epoch):
            return
        self._paces.append(seconds / self._num_samples)
        # In the first epoch the other shapes are met: of the last batch, and of what is scored.
        if self._is_settled or self._cost_s is None or not self._before or len(self._paces) < 2:
            return
        before, now = min(self._before), min(self._paces[1:])
        cost_s = self._cost_s + max(0.0, self._paces[0] - now) * self._num_samples
        print(
            f"memory format channels_last, set in {cost_s:.0f} s: from {1e3 * before:.2f} "
            f"to {1e3 * now:.2f} ms a sample"
        )
        self._settle(Worth(cost_s=cost_s, saved_s=before - now))
        if now >= before:
            self._lay_out(False)

    def _is_of_the_head_alone(self, epoch: int) -> bool:
        return epoch <= self._recipe.training.transfer.frozen_epochs

    def _pays(self, left: int) -> bool:
        """Return whether it pays in the `left` samples of a trial."""
        if (measured := self._measured.get(self._about)) is not None:
            worth = Worth(**measured)
        elif len(self._paces) < MEASURED_EPOCHS:
            return False
        else:
            worth = Worth(cost_s=USUAL_COST_S, saved_s=USUAL_GAIN * min(self._paces))
        return worth.saved_s > 0 and left * worth.saved_s >= PAYS_BY * worth.cost_s

    def _settle(self, worth: Worth) -> None:
        self._is_settled = True
        self._measured.keep(self._about, worth.model_dump())


def about(model: MediaModel, recipe: Recipe, samples_at_once: int) -> Mapping[str, object]:
    """Return what the worth of a layout depends on."""
    return {
        **cost_key(recipe.model),
        **learned_key(recipe),
        "precision": recipe.training.precision,
        "at_once": samples_at_once,
        "device": called(next(model.parameters()).device),
        "torch": torch.__version__,
    }
