"""The pretrained weights of a study, and the rulebook's word on what starts from them."""

from pathlib import Path

from workbench.console import say
from workbench.media.views import AnyView
from workbench.parts.pretrained import resolve
from workbench.parts.weights import Mode, Weights
from workbench.rules.rulebook import Rulebook, Verdict, judge


class WeightsFinder:
    """Finds pretrained weights once for each backbone and mode, and says what it did.

    Args:
        store: Folder of weights that the user brought.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self._found: dict[tuple[str, str], Weights] = {}

    def find(self, backbone: str, mode: Mode) -> Weights:
        """Return the weights that `backbone` starts from under `mode`."""
        if (backbone, mode) not in self._found:
            weights, sentence = resolve(backbone, mode, self.store)
            self._found[backbone, mode] = weights
            if mode != "none":
                say(sentence)
        return self._found[backbone, mode]


def judge_start(
    rulebook: Rulebook,
    backbone: str,
    mode: Mode,
    views: dict[str, AnyView],
    *,
    image_px: int,
    finder: WeightsFinder,
) -> Verdict:
    """Judge a model of `views` on `backbone` with the weights that `mode` gives it.

    A tag written out is what the user wants to train from: it is judged by that tag even on a
    machine that cannot have the weights, since another one could.
    """
    weights: Weights | None = finder.find(backbone, mode)
    if mode != "none" and "." in backbone and weights is not None and weights.source == "none":
        weights = None
    shapes = {name: view.shape for name, view in views.items()}
    return judge(rulebook, backbone, shapes, image_px=image_px, weights=weights)
