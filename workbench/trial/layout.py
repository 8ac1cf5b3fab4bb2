"""Channels as the innermost dimension of weights and pictures, where that pays on a GPU.

Convolutions over all channels are faster so in bfloat16: it is what tensor cores read. For
depthwise ones cuDNN then compiles an engine for each new shape, in every process again.
"""

from collections.abc import Callable

from torch import nn

from workbench.parts.model import MediaModel
from workbench.trial.passes import Usual, rehearse
from workbench.trial.recipe import Recipe

DEPTHWISE = Usual(cost_s=40.0, gain=0.05)
OTHERS = Usual(cost_s=2.0, gain=0.1)
"""What is expected of a backbone with depthwise convolutions, and of one without."""


class ChannelsLast:
    """A model whose weights and pictures have their channels innermost.

    Args:
        model: On its device, contiguous.
        recipe: What is trained.
        samples_at_once: Samples of a whole batch that go through the model at once.
        lay_out: Lays out the model, and all that is kept of its weights; told whether the channels
            are innermost.
    """

    name, said = "layout", "channels laid innermost"
    asked, is_last = False, False
    warm_up_epochs = 1
    """In which the other shapes are met: of the last batch, and of what is scored."""

    def __init__(
        self,
        model: MediaModel,
        recipe: Recipe,
        *,
        samples_at_once: int,
        lay_out: Callable[[bool], None],
    ) -> None:
        self._model, self._recipe, self._samples = model, recipe, samples_at_once
        self._lay_out = lay_out
        self.usual = DEPTHWISE if has_depthwise(model) else OTHERS

    def take(self) -> float | None:
        """Lay the channels innermost; see `passes.Alternative`."""
        self._lay_out(True)
        seconds, why = rehearse(self._model, self._model, self._recipe, self._samples)
        if not why:
            return seconds
        print(f"channels not laid innermost: {why}")
        self._lay_out(False)
        return None

    def undo(self) -> None:
        """Lay weights and pictures as they were."""
        self._lay_out(False)


def has_depthwise(model: nn.Module) -> bool:
    """Say whether a convolution of `model` sees one channel at a time."""
    return any(
        isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
        for layer in model.modules()
    )
