"""The score of each frame of a video: which second of it looks fake.

A frame's score is that of a file which shows that frame alone, the other views as they are: so it
means the same whatever makes one of several frames, and packs and test-time augmentation need
nothing of their own. Where the mean is taken of one view's features and the head is linear, a
file's log-odds are the mean of its frames'.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from workbench.errors import MediaError
from workbench.media.declared import PICTURED
from workbench.media.streams import opened
from workbench.media.view import Array, View
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.scoring.any_model import scores_of
from workbench.scoring.evaluator import DecodedViews

_BATCH_SIZE = 8


def frames_of(views: Mapping[str, View]) -> dict[str, int]:
    """Return the number of frames of each view that has several."""
    return {
        name: view.shape[0]
        for name, view in views.items()
        if view.modality in PICTURED and view.shape[0] > 1
    }


def scores_by_frame(
    spec: ModelSpec | PackSpec,
    model: nn.Module,
    arrays: Mapping[str, Array],
    *,
    device: torch.device,
) -> npt.NDArray[np.float64]:
    """Return the probability to be fake of each frame of each file, (files, frames).

    Args:
        spec: Of a model, or of a pack, with a view of several frames. Where views differ in their
            number, the most count, and each shows the frame of the same moment.
        model: The model itself, on `device`.
        arrays: Each view by its name, (files, *stored_shape).
        device: Where the model is.
    """
    several = frames_of(spec.views)
    most = max(several.values())

    def at(moment: int) -> npt.NDArray[np.float64]:
        places = {name: (2 * moment + 1) * num // (2 * most) for name, num in several.items()}
        shown = {
            name: array[:, :, places[name], None] if name in places else array
            for name, array in arrays.items()
        }

        def source_for(member: ModelSpec) -> DecodedViews:
            return DecodedViews(member, {n: shown[n] for n in member.views}, device=device)

        return scores_of(spec, model, source_for, batch_size=_BATCH_SIZE)

    return np.stack([at(moment) for moment in range(most)], axis=1)


def seconds_of(path: Path, num_frames: int) -> list[float]:
    """Return when each of `num_frames` frames at even times is on screen, in seconds.

    These are the middles of equal parts of the time, as views of frames take them; 0 for all of a
    file that does not say how long it is, as a still image.
    """
    try:
        with opened(path) as container:
            stream = container.streams.video[0]
            length = (stream.duration or 0) * (stream.time_base or 0)
            length_s = float(length or (container.duration or 0) / 1_000_000)
    except (MediaError, IndexError):
        length_s = 0.0
    return [(place + 0.5) * length_s / num_frames for place in range(num_frames)]
