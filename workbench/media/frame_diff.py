"""The view `frame-diff`: what changes from one frame of the video to the next."""

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


class FrameDiff(VideoView):
    """Differences of neighbouring frames at even times, (num_frames, image_px, image_px, 3).

    A pixel is 128 + gain * (next - this) in each of red, green and blue, cut at 0 and 255: grey
    where nothing moves. Flicker between frames that a generator made one by one stands out in it.
    """

    modality: ClassVar[Modality] = "picture"
    kind: Literal["frame-diff"] = "frame-diff"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    num_frames: int = Field(4, ge=1, le=64)
    """Pairs of neighbouring frames."""

    image_px: int = Field(224, ge=16, le=1024)
    """Side of each square picture, in pixels."""

    gain: float = Field(4.0, ge=0.5, le=64)
    """How much a difference is raised: most are a few grey levels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels)."""
        return (self.num_frames, self.image_px, self.image_px, 3)

    def indices(self, timeline: Timeline) -> list[int]:
        """Return both frames of each pair; a video of one frame is compared with itself."""
        if timeline.count == 1:
            return [0, 0] * self.num_frames
        firsts = timeline.without_last.at_even_times(self.num_frames)
        return [index for first in firsts for index in (first, first + 1)]

    def keep(self, frame: Frame) -> Array:
        """Return the frame as a square of `image_px`."""
        return square(frame.picture, self.image_px)

    def of_frames(self, kept: Sequence[Array]) -> Made:
        """Return the difference of each pair."""
        frames = np.stack(kept).astype(np.float32)
        raised = 128 + self.gain * (frames[1::2] - frames[::2])
        return Made(np.rint(raised).clip(0, 255).astype(np.uint8)[None])
