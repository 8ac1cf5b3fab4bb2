"""Channels as the innermost dimension of weights and pictures, where that pays on a GPU.

Networks with grouped convolutions begin otherwise there, all others so; see `parts.model`.
"""

from collections.abc import Callable

from workbench.parts.model import MediaModel
from workbench.trial.passes import Usual, rehearse
from workbench.trial.recipe import Recipe

USUAL = Usual(cost_s=20.0, gain=0.1)
"""What is expected of a network with grouped convolutions. On an H100 at 64 x 224 px in bfloat16
EfficientNet-Lite0, MobileNetV2 and EfficientNet-B0 saved 39, 30 and 23%, ConvNeXt-T none, and
CaFormer-S18 lost 14%; the first two cost 5 to 17 s for each shape that is met."""


class ChannelsLast:
    """A model whose weights and pictures have their channels innermost.

    Args:
        model: On its device, contiguous.
        recipe: What is trained.
        samples_at_once: Samples of a whole batch that go through the model at once.
        lay_out: Lays out the model, and all that is kept of its weights; told whether the channels
            are innermost.
    """

    name, said, usual = "layout", "channels laid innermost", USUAL
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
