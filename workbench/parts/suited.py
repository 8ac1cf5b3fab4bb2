"""What suits which view: the backbone that reads it, and how its pictures are read."""

from collections.abc import Mapping
from typing import Any

from workbench.errors import ConfigError
from workbench.media.declared import BACKBONED, PICTURED, ViewLike, modalities_of
from workbench.parts.model import Reading
from workbench.parts.over_frames import MEAN
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


def require_readable(reading: Reading, views: Mapping[str, ViewLike]) -> None:
    """Refuse a way of reading pictures that changes nothing of such views, or cannot be done.

    Raises:
        ConfigError: no view has what it is about; or the frames of several do not go together.
    """
    if reading.picture_input != "rgb" and "picture" not in modalities_of(views).values():
        raise ConfigError(
            f"`picture_input` is {reading.picture_input}, and no view is of pictures "
            f"({', '.join(views)}). Write rgb, or a view of frames, faces or images."
        )
    over_frames = reading.over_frames
    numbers = {
        name: view.shape[0]
        for name, view in views.items()
        if view.modality in PICTURED and view.shape[0] > 1
    }
    if over_frames != MEAN and not numbers:
        raise ConfigError(
            f"`over_frames` is {over_frames.kind}, and no view has more than one frame "
            f"({', '.join(views)}). Write mean, or a view with more frames."
        )
    if over_frames.of_logits and len(set(numbers.values())) > 1:
        said = ", ".join(f"{name} {number}" for name, number in numbers.items())
        raise ConfigError(
            f"`over_frames` is {over_frames.kind}, which joins the views frame by frame, and their "
            f"numbers of frames differ ({said}). Give the views equally many."
        )


def about(reading: Reading) -> dict[str, Any]:
    """Return what sets `reading` apart from the plain one, as JSON values."""
    said: dict[str, Any] = {}
    if reading.over_frames != MEAN:
        said["over_frames"] = reading.over_frames.model_dump()
    if reading.picture_input != "rgb":
        said["picture_input"] = reading.picture_input
    return said
