"""The model spec: all that is needed to build a model and to score files with it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from workbench.media.views import AnyView
from workbench.parts.any_head import AnyHead
from workbench.parts.any_over_frames import AnyOverFrames
from workbench.parts.heads import LINEAR
from workbench.parts.model import MediaModel, Reading, Shape, backboned
from workbench.parts.over_frames import MEAN
from workbench.parts.per_view import for_each, in_short, label_of, mismatch, values_of
from workbench.parts.picture_input import PictureInput
from workbench.parts.weights import Loader, Weights
from workbench.values import Frozen

TTA = Literal["none", "hflip", "six"]
"""Test-time augmentation of pictures: as they are; also their mirror images; also two centre crops
(0.9 and 0.8 of a side) and the mirror images of those. What is no picture stays as it is.
"""


def _names(value: Any) -> Any:
    names = value.values() if isinstance(value, Mapping) else [value]
    if all(isinstance(name, str) for name in names):
        return value
    raise ValueError("write one model's name, or a mapping of views to names")


class ModelChoices(Frozen):
    """What of a model spec a search space may choose, besides its views and weights."""

    backbone: Annotated[str | dict[str, str], BeforeValidator(_names)]
    """A timm model name, with or without a pretrained tag, for every view of pictures; or one for
    each by the view's name. Names that are all the same are one name. Waveforms are read by
    `raw_resnet`, `aasist_l` and `aasist`, which start from random numbers."""

    image_px: int = Field(224, ge=32, le=1024)
    """Side of the square picture that every backbone sees, in pixels."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled features dropped before the head."""

    tta: TTA = "none"
    """Test-time augmentation of pictures: a score is the mean over the picture and its mirror image
    (`hflip`), or over these and two centre crops with their mirror images (`six`)."""

    over_frames: AnyOverFrames = MEAN
    """How the frames of a view become one: by their features (`mean`, `attention`, `transformer`),
    or by the logits that the head makes of each (`top-k`, `confident`). Anything but the mean wants
    a view of more than one frame, and a model that is trained by gradients."""

    picture_input: PictureInput = "rgb"
    """What a backbone sees of frames, faces and images: `rgb`; six channels, the colours and three
    high-pass residuals (`rgb+srm`); or the logarithm of their Fourier transform's magnitudes
    (`fft-magnitude`). It is computed of pictures of `image_px`, after augmentation."""

    @property
    def reading(self) -> Reading:
        """How pictures are read."""
        return Reading(over_frames=self.over_frames, picture_input=self.picture_input)

    @property
    def backbone_names(self) -> list[str]:
        """The backbones, each once."""
        return values_of(self.backbone)

    @property
    def backbone_label(self) -> str:
        """The backbones in a few words."""
        return label_of(self.backbone)


class ModelSpec(ModelChoices):
    """A model, whole but for the values of its weights."""

    views: Annotated[dict[str, AnyView], Field(min_length=1)]
    """What the model reads: one backbone for each. Their order is that of the model's layers."""

    weights: Weights | dict[str, Weights]
    """The pretrained weights that every backbone starts from, as they were found; or those of each,
    by its view."""

    head: AnyHead = LINEAR
    """What makes logits of the features of all views."""

    @model_validator(mode="after")
    def _of_its_views(self) -> Self:
        for key in ("backbone", "weights"):
            if isinstance(setting := getattr(self, key), dict):
                if why := mismatch(setting, backboned(self.views)):
                    raise ValueError(f"`{key}` does not fit the views: {why}")
                # A frozen value is settled here: equal models must be written alike.
                object.__setattr__(self, key, in_short(setting))
        return self

    @property
    def backbone_of(self) -> dict[str, str]:
        """The backbone of each view that goes through one."""
        return for_each(self.backbone, backboned(self.views))

    @property
    def weights_of(self) -> dict[str, Weights]:
        """The weights that the backbone of each such view starts from."""
        return for_each(self.weights, backboned(self.views))

    @property
    def backbone_label(self) -> str:
        """The backbones in a few words, with the head where it is fitted."""
        if not self.head.is_fitted:
            return super().backbone_label
        read = f" of {label_of(self.backbone)}" if self.backbone else ""
        return f"{self.head.label}{read}"

    @property
    def label(self) -> str:
        """Backbones, views and size in a few words: `resnet18 mel+frames 224 px`."""
        if self.head.is_fitted and not self.backbone:
            return f"{self.head.label} of {'+'.join(self.views)}"
        if isinstance(self.backbone, str):
            return f"{self.backbone_label} {'+'.join(self.views)} {self.image_px} px"
        rest = [name for name in self.views if name not in self.backbone]
        return f"{' + '.join([self.backbone_label, *rest])} {self.image_px} px"

    def build(self, load: Loader | None = None) -> MediaModel:
        """Return the model.

        Args:
            load: Reads the pretrained weights; without it none are read.

        Raises:
            ConfigError: the backbone is unknown, or cannot take such images.
            WeightsError: the weights are gone, damaged, or not those of this backbone.
        """
        return MediaModel(
            self.backbone,
            self.views,
            image_px=self.image_px,
            weights=self.weights,
            dropout=self.dropout,
            head=self.head,
            reading=self.reading,
            load=load,
        )

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each view by its name."""
        return {name: view.shape for name, view in self.views.items()}

    @property
    def num_segments(self) -> int:
        """Samples that one file makes; its score is the mean of theirs."""
        return max(view.num_segments for view in self.views.values())
