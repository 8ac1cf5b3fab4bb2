"""The view `frames`: pictures of the video at even times."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from workbench.media.declared import Modality
from workbench.media.square import square
from workbench.media.timing import Timeline
from workbench.media.video import Frame
from workbench.media.video_view import VideoView
from workbench.media.view import Array, Made


class Frames(VideoView):
    """Frames of the video at even times, RGB, (num_frames, image_px, image_px, 3)."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["frames"] = "frames"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    num_frames: int = Field(4, ge=1, le=64)
    """Frames of one file."""

    image_px: int = Field(224, ge=16, le=1024)
    """Side of each square picture, in pixels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels)."""
        return (self.num_frames, self.image_px, self.image_px, 3)

    def indices(self, timeline: Timeline) -> list[int]:
        """Return what is on screen in the middle of each of `num_frames` equal parts of the time.

        A shorter video repeats frames.
        """
        return timeline.at_even_times(self.num_frames)

    def keep(self, frame: Frame) -> Array:
        """Return the frame as a square of `image_px`, its proportions given up."""
        return square(frame.picture, self.image_px)

    def of_frames(self, kept: Sequence[Array]) -> Made:
        """Return the squares one after the other."""
        return Made(np.stack(kept)[None])
