"""Views whose arrays a test writes by hand, and model specs that read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from workbench.media.declared import Modality
from workbench.media.view import FileView, Made
from workbench.parts.model_spec import TTA, ModelSpec
from workbench.parts.weights import RANDOM


class Numbers(FileView):
    """Stands for a view whose arrays a test wrote by hand."""

    kind: Literal["numbers"] = "numbers"
    shape_: tuple[int, ...]
    segments: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shape_

    @property
    def modality(self) -> Modality:  # type: ignore[override]
        if len(self.shape_) == 1:
            return "vector"
        return "picture" if self.shape_[-1] == 3 else "spectrogram"

    @property
    def num_segments(self) -> int:
        return self.segments

    @property
    def dtype(self) -> type[np.generic]:  # type: ignore[override]
        return np.float32 if len(self.shape_) == 1 else np.uint8

    def of_file(self, path: Path) -> Made:
        raise AssertionError("the arrays are written by hand")


def spec_of(views: Mapping[str, Any], *, image_px: int, tta: TTA = "none") -> ModelSpec:
    """Return the spec of a model that reads `views`; nothing is validated or can be built."""
    return ModelSpec.model_construct(
        views=dict(views), backbone="none", weights=RANDOM, image_px=image_px, dropout=0.0, tta=tta
    )
