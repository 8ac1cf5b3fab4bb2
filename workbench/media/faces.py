"""The view `faces`: the main person's face in frames of the video, cut out and turned upright."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from workbench.media.declared import Modality
from workbench.media.face_detectors import AnyDetector, Face, YuFace, shrunk
from workbench.media.face_tracks import follow
from workbench.media.square import square
from workbench.media.timing import Timeline
from workbench.media.video import Frame
from workbench.media.video_view import VideoView
from workbench.media.view import Made, Picture
from workbench.opencv import cv2

MAX_FACES = 4
"""Faces of one frame that are followed: the largest. Bounds what is kept of a crowd."""

_SMALL_PX = 640


@dataclass(frozen=True)
class FaceCrop:
    """What is needed of one frame until the whole video was seen."""

    faces: tuple[Face, ...]
    """At most MAX_FACES, the largest first."""

    crops: tuple[Picture, ...]
    """The square of each face, cut from the full picture."""

    middle: Picture | None
    """The square in the picture's middle, where there are no faces."""

    small: Picture
    """The picture with at most 640 pixels on its longer side: for faces put in by `follow`."""

    size: tuple[int, int]
    """Width and height of the full picture."""


class FaceView(VideoView):
    """What the views of faces share: frames, detector, and how a face is cut out.

    Views with the same detector look for faces once in a frame that several of them want.
    """

    num_frames: int = Field(4, ge=1, le=64)
    """Frames in which the face is shown."""

    margin: float = Field(0.3, ge=0, le=2)
    """Added on each side of a face's box, as a share of the box's longer side, as far as the
    picture reaches."""

    align: bool = True
    """Turn each face so that its eyes are level."""

    detector: AnyDetector = YuFace()
    """What finds faces, and their eyes."""

    @property
    @abstractmethod
    def crop_px(self) -> int:
        """Side of the square that a face is cut out as, in pixels."""

    @property
    def libraries(self) -> frozenset[str]:
        """What the detector needs."""
        return self.detector.libraries

    def files(self) -> dict[str, Path]:
        """Return what the detector needs."""
        return self.detector.files()

    def identity(self) -> dict[str, Any]:
        """As `View.identity`; a model file counts by its content, wherever it lies."""
        anywhere = self.model_copy(update={"detector": self.detector.named_by_content()})
        return super(FaceView, anywhere).identity()

    def indices(self, timeline: Timeline) -> list[int]:
        """Return what is on screen in the middle of each of `num_frames` equal parts of the time.

        A shorter video repeats frames.
        """
        return timeline.at_even_times(self.num_frames)

    def keep(self, frame: Frame) -> FaceCrop:
        """Return the faces of one frame, cut out.

        Raises:
            ConfigError: the detector cannot be used.
        """
        picture = frame.picture
        if self.detector not in frame.memory:
            frame.memory[self.detector] = self.detector.detect(picture)
        faces = tuple(frame.memory[self.detector][:MAX_FACES])
        return FaceCrop(
            faces=faces,
            crops=tuple(self._crop(picture, face) for face in faces),
            middle=None if faces else square(middle_square(picture), self.crop_px),
            small=shrunk(picture, _SMALL_PX).copy(),  # never a part of the decoder's picture
            size=(picture.shape[1], picture.shape[0]),
        )

    def followed(self, kept: Sequence[FaceCrop]) -> tuple[list[Face], list[Picture]]:
        """Return the main person's face and its crop in each frame; nothing: there is no face."""
        faces = follow([frame.faces for frame in kept])
        if not faces:
            return [], []
        pairs = zip(kept, faces, strict=True)
        return faces, [self._crop_kept(frame, face) for frame, face in pairs]

    def _crop_kept(self, kept: FaceCrop, face: Face) -> Picture:
        if face in kept.faces:
            return kept.crops[kept.faces.index(face)]
        height, width = kept.small.shape[:2]
        return self._crop(kept.small, face.scaled(width / kept.size[0], height / kept.size[1]))

    def _crop(self, picture: Picture, face: Face) -> Picture:
        """Return the square of a face; at the picture's edge, moved and cut to lie within it.

        Close-ups are common, and pixels made up around them would be in every such crop.
        """
        height, width = picture.shape[:2]
        side = min(face.side * (1 + 2 * self.margin), height, width)
        x, y = face.centre
        centre = (_clipped(x, side / 2, width - side / 2), _clipped(y, side / 2, height - side / 2))
        turn_rad = face.tilt_rad if self.align else 0.0
        return turned_square(picture, centre, side, turn_rad=turn_rad, image_px=self.crop_px)


class Faces(FaceView):
    """The main person's face at even times, RGB, (num_frames, image_px, image_px, 3).

    The largest face is followed through the sampled frames; where it is not
    found in one of them, its place is interpolated and cut from a picture of at most 640 pixels.
    Where no frame has a face, the squares in the middle of the frames stand for it, with the status
    `no_face`.
    """

    modality: ClassVar[Modality] = "picture"
    kind: Literal["faces"] = "faces"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    image_px: int = Field(224, ge=16, le=1024)
    """Side of each square picture, in pixels."""

    @property
    def crop_px(self) -> int:
        """Side of each square picture, in pixels."""
        return self.image_px

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels)."""
        return (self.num_frames, self.image_px, self.image_px, 3)

    def of_frames(self, kept: Sequence[FaceCrop]) -> Made:
        """Return the squares one after the other."""
        _, crops = self.followed(kept)
        if crops:
            return Made(np.stack(crops)[None])
        middles = [frame.middle for frame in kept if frame.middle is not None]
        reason = without_faces(len(kept), "the middle of the picture stands")
        return Made(np.stack(middles)[None], status="no_face", reason=reason)


def without_faces(num_frames: int, instead: str) -> str:
    """Return the reason of `no_face`; `instead`: what stands for the face."""
    frames = "1 frame" if num_frames == 1 else f"{num_frames} frames"
    return f"no face was found in {frames}; {instead} for it"


def middle_square(picture: Picture) -> Picture:
    """Return the largest square around the picture's middle."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def turned_square(
    picture: Picture,
    centre: tuple[float, float],
    side: float,
    *,
    turn_rad: float,
    image_px: int,
) -> Picture:
    """Return a square of the picture, turned back by `turn_rad`, as (image_px, image_px, 3).

    Args:
        picture: (height, width, 3).
        centre: (x, y) of the square, in pixels; column i covers x from i to i + 1.
        side: of the square, in pixels.
        turn_rad: how far the square's upper side is turned clockwise in the picture.
        image_px: side of the result.

    A square that shrinks averages the area under each new pixel; one that grows, or is turned, is
    bilinear. Past the picture's edges its outermost pixels go on.
    """
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    scale = min(1.0, image_px / side)
    # Where it grows, the pixels at its edges are mixed with those just outside.
    reach = side * (abs(cos) + abs(sin)) / 2 + (scale == 1)
    left, right = _within(centre[0] - reach, centre[0] + reach, picture.shape[1])
    top, bottom = _within(centre[1] - reach, centre[1] + reach, picture.shape[0])
    # What the square can reach is shrunk first: bilinear alone would skip pixels.
    small_size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    patch = np.ascontiguousarray(picture[top:bottom, left:right])
    small = cv2.resize(patch, small_size, interpolation=cv2.INTER_AREA)
    # From the middle of pixel (i, j) of the result to where that lies in `small`.
    scales = np.array([[small_size[0] / (right - left)], [small_size[1] / (bottom - top)]])
    turn = scales * np.array([[cos, -sin], [sin, cos]]) * side / image_px
    middle = scales[:, 0] * (np.array(centre) - (left, top))
    shift = middle - turn @ np.full(2, image_px / 2 - 0.5) - 0.5
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        small,
        np.column_stack([turn, shift]),
        (image_px, image_px),
        flags=how,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _within(low: float, high: float, length: int) -> tuple[int, int]:
    """Return the whole pixels from `low` to `high` that exist, at least one."""
    start = min(max(math.floor(low), 0), length - 1)
    return start, max(start + 1, min(math.ceil(high), length))
