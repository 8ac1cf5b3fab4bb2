"""Which backbone reads which view: pictures or waveforms."""

from collections.abc import Mapping

from workbench.errors import ConfigError
from workbench.media.declared import BACKBONED, ViewLike
from workbench.parts.weights import published


def reads_waveforms(backbone: str) -> bool:
    """Say whether a backbone reads (batch, samples), and not pictures.

    Raises:
        ConfigError: timm knows no such model.
    """
    return bool(published(backbone).input_size[1] == 1)  # (channels, height, width)


def suits(backbone: str, view: ViewLike) -> bool:
    """Say whether a backbone reads such a view; a vector goes through none.

    Raises:
        ConfigError: timm knows no such model.
    """
    of_waves = view.modality == "waveform"
    return view.modality not in BACKBONED or reads_waveforms(backbone) == of_waves


def require_suited(backbone_of: Mapping[str, str], views: Mapping[str, ViewLike]) -> None:
    """Refuse a backbone that cannot read its view.

    Raises:
        ConfigError: it reads pictures and is to read a waveform, or the other way round.
    """
    for name, backbone in backbone_of.items():
        if name in views and not suits(backbone, views[name]):
            reads = "waveforms" if reads_waveforms(backbone) else "pictures"
            raise ConfigError(
                f"Backbone {backbone} reads {reads}, and the view {name} holds none. Write a "
                "backbone for each view, e.g. `backbone: {waveform: aasist_l, mel: resnet18}`."
            )
