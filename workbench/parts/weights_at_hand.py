"""Which pretrained weights this machine has without a network."""

from collections.abc import Iterable
from pathlib import Path

from workbench.errors import WeightsError
from workbench.parts import hub
from workbench.parts.pretrained import resolve
from workbench.parts.weights import published


def at_hand(backbones: Iterable[str], store: Path) -> tuple[str, ...]:
    """Return the backbones whose weights are in the store, in a package or in the hub's cache.

    Args:
        backbones: timm's names, with or without tags.
        store: The folder of local weights; it may be absent.
    """
    return tuple(name for name in backbones if _is_at_hand(name, store))


def _is_at_hand(backbone: str, store: Path) -> bool:
    try:
        resolve(backbone, "local", store)
    except WeightsError:
        place = hub.locate(published(backbone))
        return place is not None and hub.cached(place) is not None
    return True
