"""The model spec: all that is needed to build a model and to score files with it."""

from typing import Annotated, Literal

from pydantic import Field

from workbench.media.views import AnyView
from workbench.parts.model import MediaModel, Shape
from workbench.parts.weights import Loader, Weights
from workbench.values import Frozen

TTA = Literal["none", "hflip", "six"]
"""Test-time augmentation of pictures: as they are; also their mirror images; also two centre crops
(0.9 and 0.8 of a side) and the mirror images of those. Spectrograms and vectors stay as they are.
"""


class ModelChoices(Frozen):
    """What of a model spec a search space may choose, besides its views and weights."""

    backbone: str
    """A timm model name, with or without a pretrained tag."""

    image_px: int = Field(224, ge=32, le=1024)
    """Side of the square picture that the backbone sees, in pixels."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled features dropped before the head."""

    tta: TTA = "none"
    """Test-time augmentation: what is scored of each file, everywhere."""


class ModelSpec(ModelChoices):
    """A model, whole but for the values of its weights."""

    views: Annotated[dict[str, AnyView], Field(min_length=1)]
    """What the model reads: one backbone for each. Their order is that of the model's layers."""

    weights: Weights
    """The pretrained weights it starts from, as they were found."""

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
            self.shapes,
            image_px=self.image_px,
            weights=self.weights,
            dropout=self.dropout,
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
