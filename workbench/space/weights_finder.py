"""The pretrained weights of a study, and the rulebook's word on what starts from them."""

from pathlib import Path

from workbench.console import say
from workbench.media.views import AnyView
from workbench.parts.heads import LINEAR, Head
from workbench.parts.model import PLAIN, Reading
from workbench.parts.per_view import PerView, apply
from workbench.parts.pretrained import resolve
from workbench.parts.weights import Mode, Weights
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook, Verdict


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
    backbone: PerView[str],
    mode: Mode,
    views: dict[str, AnyView],
    *,
    image_px: int,
    finder: WeightsFinder,
    head: Head = LINEAR,
    reading: Reading = PLAIN,
    counted: Path | None = None,
) -> Verdict:
    """Judge a model of `views` on `backbone` with the weights that `mode` gives it; see `judge`.

    A tag written out is what the user wants to train from: it is judged by that tag even on a
    machine that cannot have the weights, since another one could.
    """

    def start(name: str) -> Weights | None:
        weights = finder.find(name, mode)
        return None if mode != "none" and "." in name and weights.source == "none" else weights

    weights = apply(start, backbone)
    return judge(
        rulebook,
        backbone,
        views,
        image_px=image_px,
        weights=weights,
        head=head,
        reading=reading,
        counted=counted,
    )
