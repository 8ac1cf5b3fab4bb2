"""The model of every trial: one timm backbone a view, its frames made one, and one head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from workbench.errors import ConfigError
from workbench.media.declared import BACKBONED, ViewLike
from workbench.parts import backbones
from workbench.parts.heads import LINEAR, NUM_CLASSES, Head
from workbench.parts.over_frames import MEAN, OverFrames
from workbench.parts.per_view import PerView, for_each
from workbench.parts.picture_input import CHANNELS, PictureInput, transform
from workbench.parts.weights import Loader, Weights

Shape = tuple[int, ...]
"""Of one view: (frames, height, width, channels) of pictures, (samples,) or (values,)."""

VECTOR_WIDTH = 64
"""Features that a vector view is turned into."""


@dataclass(frozen=True)
class Reading:
    """How views of pictures are read."""

    over_frames: OverFrames = MEAN
    """What makes one of several frames."""

    picture_input: PictureInput = "rgb"
    """What a backbone sees of pictures that a camera may see."""


PLAIN = Reading()


def is_grouped(model: nn.Module) -> bool:
    """Say whether a convolution of `model` sees some of the channels at a time, or one.

    Channels are the innermost dimension of weights and pictures everywhere but on a GPU for such a
    network. On a CPU depthwise networks train 1.3 to 1.6 times as fast so, and on a GPU others do
    1.0 to 1.4 times as fast. There, for each new shape of a depthwise convolution, cuDNN compiles
    an engine, in every process again: 5 to 17 s for the first shape, 5 to 9 s for each further one,
    against 0.1 to 0.5 s (EfficientNet-Lite0 and MobileNetV2 in bfloat16, H100).
    """
    return any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in model.modules())


class BackboneReader(nn.Module):
    """Turn one view into one vector of `width` features by a backbone."""

    backbone: nn.Module
    width: int

    def lay_out(self, *, channels_last: bool) -> None:
        """Let the channels of weights be their innermost dimension, or not."""
        self.to(memory_format=_layout(channels_last))  # type: ignore[call-overload]


class WaveReader(BackboneReader):
    """Turn one waveform into one vector: the backbone takes the samples as they are."""

    def __init__(self, backbone: str, *, weights: Weights, load: Loader | None = None) -> None:
        super().__init__()
        self.backbone = (
            load(backbone, weights, 1, 0)
            if load is not None and weights.source != "none"
            else backbones.build_backbone(backbone, in_chans=1, image_px=0)
        )
        self.width = int(self.backbone.num_features)  # type: ignore[arg-type]

    def forward(self, view: Tensor) -> Tensor:
        """Return (batch, width) features of (batch, samples) in [-1, 1]."""
        return self.backbone(view)


class PictureReader(BackboneReader):
    """Turn one view into one vector: normalise, apply the backbone, average over the frames."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str,
        shape: Shape,
        *,
        image_px: int,
        weights: Weights,
        picture_input: PictureInput = "rgb",
        load: Loader | None = None,
    ) -> None:
        super().__init__()
        self.channels_last = True
        self._hooks: list[RemovableHandle] = []
        self.see = transform(picture_input)
        self.in_chans = channels = CHANNELS.get(picture_input, shape[3])
        self.image_px = image_px
        self.width = backbones.feature_width(backbone, in_chans=channels, image_px=image_px)
        self.backbone = backbones.create(
            backbone,
            in_chans=channels,
            image_px=image_px,
            weights=weights,
            load=load,
        )
        mean, std = backbones.preprocessing(backbone, weights, channels)
        # Settings, not learned: they follow the model to its device and stay out of its file.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, view: Tensor) -> Tensor:
        """Return (batch, width) features of (batch, frames, channels, height, width) in [0, 1]."""
        return self.by_frame(view).mean(dim=1)

    def by_frame(self, view: Tensor) -> Tensor:
        """Return the features of each frame, (batch, frames, width)."""
        batch, frames = view.shape[:2]
        images = view.flatten(0, 1)
        if images.shape[-2:] != (self.image_px, self.image_px):
            images = F.interpolate(
                images, (self.image_px, self.image_px), mode="bilinear", antialias=True
            )
        images = (self.see(images) - self.mean) / self.std
        features = self.backbone(images.contiguous(memory_format=_layout(self.channels_last)))
        return features.view(batch, frames, -1)

    def lay_out(self, *, channels_last: bool) -> None:
        """Let the channels of weights and pictures be their innermost dimension, or not.

        The parameters stay the same objects, and the numbers the same but for rounding. Without
        it, grouped convolutions get contiguous inputs even where the backbone turns its pictures
        over in between, as ConvNeXt and CaFormer do: cuDNN goes by what it is handed.
        """
        super().lay_out(channels_last=channels_last)
        self.channels_last = channels_last
        for hook in self._hooks:
            hook.remove()
        self._hooks = [
            layer.register_forward_pre_hook(_contiguous)
            for layer in self.backbone.modules()
            if not channels_last and isinstance(layer, nn.Conv2d) and layer.groups > 1
        ]


def _contiguous(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in inputs)


class VectorReader(nn.Module):
    """Turn one vector view into features: standardise by what training saw, one hidden layer."""

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.width = VECTOR_WIDTH
        self.layers = nn.Sequential(
            nn.BatchNorm1d(num_values), nn.Linear(num_values, VECTOR_WIDTH), nn.GELU()
        )

    def forward(self, view: Tensor) -> Tensor:
        """Return (batch, VECTOR_WIDTH) features of (batch, values)."""
        return self.layers(view)


class RawVector(nn.Module):
    """Hand on one vector view as it is: a fitted head standardises its features itself."""

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.width = num_values

    def forward(self, view: Tensor) -> Tensor:
        """Return (batch, values) as they are."""
        return view


class MediaModel(nn.Module):
    """Tell real media from fake ones by one or several views of each.

    Args:
        backbone: A timm model name, with or without a tag, for every view that goes through one, or
            one for each; every view has its own copy. A vector view has a small network instead,
            or, where the head is fitted, nothing.
        views: What the model reads, by its name.
        image_px: Side of the square images that all backbones see, in pixels; views of another size
            are resized on their way in.
        weights: What all backbones start from, or what each does.
        frozen: Train the head alone; the backbones stay in evaluation mode.
        dropout: Share of the features that is dropped before the head, in training.
        head: What makes logits of the features.
        reading: How pictures are read.
        load: Reads the weights; without it, the architecture is built and nothing is read.

    Raises:
        ConfigError: a backbone is unknown, or cannot take such images.
        WeightsError: weights are gone, damaged, or not those of their backbone.
    """

    def __init__(
        self,
        backbone: PerView[str],
        views: Mapping[str, ViewLike],
        *,
        image_px: int,
        weights: PerView[Weights],
        frozen: bool = False,
        dropout: float = 0.0,
        head: Head = LINEAR,
        reading: Reading = PLAIN,
        load: Loader | None = None,
    ) -> None:
        super().__init__()
        if not views:
            raise ConfigError("A model needs at least one view. Name one under `views`.")
        for name in views:
            if "." in name or not name or hasattr(nn.ModuleDict, name):
                raise ConfigError(f"No view can be called {name!r}: torch forbids it. Rename it.")
        self.views = dict(views)
        read = backboned(views)
        backbone_of, weights_of = for_each(backbone, read), for_each(weights, read)
        vector_reader = RawVector if head.is_fitted else VectorReader
        readers: dict[str, BackboneReader | VectorReader | RawVector] = {}
        for name, view in self.views.items():
            if name not in backbone_of:
                readers[name] = vector_reader(*view.shape)
                continue
            network, start = backbone_of[name], weights_of[name]
            if view.modality == "waveform":
                readers[name] = WaveReader(network, weights=start, load=load)
            else:
                readers[name] = PictureReader(
                    network,
                    view.shape,
                    image_px=image_px,
                    weights=start,
                    picture_input=reading.picture_input if view.modality == "picture" else "rgb",
                    load=load,
                )
        self.readers = nn.ModuleDict(readers)
        self.still: list[nn.Module] = []  # in evaluation mode in training, too
        self.freeze(frozen)
        self.dropout = nn.Dropout(dropout)
        self.widths = tuple(reader.width for reader in readers.values())
        """The number of features of each view."""

        are_sounds = [view.is_sound for view in self.views.values()]
        self.head: nn.Module = head.build_for(self.widths, are_sounds)
        build, of_logits = reading.over_frames.build, reading.over_frames.of_logits
        self._several = [n for n, v in views.items() if len(v.shape) == 4 and v.shape[0] > 1]
        pooled = {n: build(readers[n].width) for n in self._several if not of_logits}
        self.over_frames = nn.ModuleDict(pooled)
        self.over_logits: nn.Module | None = build(NUM_CLASSES) if of_logits else None
        self.lay_out(channels_last=True)
        self.train()

    def place(self, device: str | torch.device, *, channels_last: bool | None = None) -> Self:
        """Move to `device`, and lie there as is said, or as suits it; see `is_grouped`."""
        device = torch.device(device)
        if channels_last is None:
            channels_last = device.type != "cuda" or not is_grouped(self)
        self.to(device)
        self.lay_out(channels_last=channels_last)
        return self

    def lay_out(self, *, channels_last: bool) -> None:
        """Let the channels of weights and pictures be their innermost dimension, or not."""
        self.channels_last = channels_last
        for reader in self.readers.values():
            if isinstance(reader, BackboneReader):
                reader.lay_out(channels_last=channels_last)

    def freeze(self, frozen: bool) -> None:
        """Let the backbones stay as they are, or learn; `train` then makes it so.

        A vector's head was never trained before, so it learns either way.
        """
        backbones = [r for r in self.readers.values() if isinstance(r, BackboneReader)]
        for reader in backbones:
            reader.requires_grad_(not frozen)
        self.still = [*backbones] if frozen else []

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (batch, 2) logits, real before fake; in training, a head may add more behind them.

        Args:
            inputs: Each view by its name: pictures (batch, frames, channels, height, width) float
                in [0, 1], waveforms (batch, samples) in [-1, 1], vectors (batch, values) float.
        """
        return self.logits(self.features(inputs))

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the features of all views end to end, (batch, width); see `forward`.

        Where frames become one by their logits, those of each frame, (batch, frames, width).
        """
        features = []
        for name, reader in self.readers.items():
            with torch.set_grad_enabled(torch.is_grad_enabled() and reader not in self.still):
                if isinstance(reader, PictureReader) and name in self._several:
                    found = reader.by_frame(inputs[name])
                else:
                    found = reader(inputs[name])
            features.append(self.over_frames[name](found) if name in self.over_frames else found)
        frames = max((x.shape[1] for x in features if x.ndim == 3), default=0)
        if frames:  # a view without frames stands beside each
            features = [x if x.ndim == 3 else x[:, None].expand(-1, frames, -1) for x in features]
        return torch.cat(features, dim=-1)

    def logits(self, features: Tensor) -> Tensor:
        """Return (batch, 2) logits of what `features` returns."""
        logits = self.head(self.dropout(features))
        return self.over_logits(logits) if self.over_logits and logits.ndim == 3 else logits

    def train(self, mode: bool = True) -> Self:
        """Set training mode; frozen backbones stay in evaluation mode."""
        super().train(mode)
        for reader in self.still:
            reader.eval()
        return self


def backboned(views: Mapping[str, ViewLike]) -> list[str]:
    """Return the names of the views that go through a backbone; vectors do not."""
    return [name for name, view in views.items() if view.modality in BACKBONED]


def _layout(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format
