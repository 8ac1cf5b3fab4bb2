"""The view `face-trace`: is it the same person with the same face in every frame?"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from workbench.media.declared import Modality
from workbench.media.face_detectors import Face
from workbench.media.faces import FaceCrop, FaceView, without_faces
from workbench.media.view import Made, Picture
from workbench.opencv import cv2

_STATISTICS = (
    "cosine_mean",
    "cosine_min",
    "cosine_std",
    "cosine_ends",
    "share_seen",
    "confidence",
    "moved_mean",
    "moved_max",
    "grown_max",
    "turned_max_rad",
    "others",
)


class FaceTrace(FaceView):
    """How like itself the main person's face stays, one vector a video.

    `names` says what each value is: the cosine between neighbouring frames' faces (grey, 32 x 32,
    mean taken off, so in [-1, 1]; 0 where one is of a single grey), their mean, least and standard
    deviation, and the cosine of the first and the last face; the share of frames in which the face
    was detected and the mean confidence there; from frame to frame, how far the face's middle moves
    (mean and most, in mean sides of the box), by which factor its side changes (most, as natural
    logarithm) and how far it turns (most); and the mean number of other faces in a frame.

    All values are 0 where no frame has a face, with the status `no_face`.
    """

    kind: Literal["face-trace"] = "face-trace"
    version: Literal[1, 2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    num_frames: int = Field(4, ge=2, le=64)
    """With as many frames as `faces`, the same frames are read and their faces found once."""

    margin: float = Field(0.0, ge=0, le=2)
    """Added on each side of a face's box, as a share of its longer side; 0: little but the face."""

    modality: ClassVar[Modality] = "vector"
    neutral_level: ClassVar[int] = 0
    dtype: ClassVar[type[np.generic]] = np.float32

    @property
    def crop_px(self) -> int:
        """Side of the squares that are compared, in pixels."""
        return 32

    @property
    def names(self) -> tuple[str, ...]:
        """What each value is, in their order."""
        pairs = tuple(f"cosine_{i}_{i + 1}" for i in range(1, self.num_frames))
        return (*pairs, *_STATISTICS)

    @property
    def shape(self) -> tuple[int, ...]:
        """(values,)."""
        return (len(self.names),)

    def of_frames(self, kept: Sequence[FaceCrop]) -> Made:
        """Return the vector."""
        faces, crops = self.followed(kept)
        if not faces:
            reason = without_faces(len(kept), "zeros stand")
            return Made(self.neutral(), status="no_face", reason=reason)
        looks = np.stack([normalised(crop) for crop in crops])
        cosines = (looks[:-1] * looks[1:]).sum(axis=1)
        confidences = [face.confidence for face in faces if face.confidence]
        others = [
            len(frame.faces) - bool(face.confidence)
            for frame, face in zip(kept, faces, strict=True)
        ]
        values = (
            *cosines,
            cosines.mean(),
            cosines.min(),
            cosines.std(),
            (looks[0] * looks[-1]).sum(),
            len(confidences) / len(faces),
            np.mean(confidences),
            *_changes(faces),
            np.mean(others),
        )
        return Made(np.array(values, np.float32)[None])


def normalised(picture: Picture) -> npt.NDArray[np.float64]:
    """Return the grey levels of an RGB picture in one row, of mean 0 and length 1.

    A picture of a single grey is 0 throughout.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64).ravel()
    grey -= grey.mean()
    length = np.sqrt(np.square(grey).sum())
    return grey / length if length else grey


def _changes(faces: Sequence[Face]) -> tuple[float, float, float, float]:
    """Return `moved_mean`, `moved_max`, `grown_max` and `turned_max_rad`."""
    middles = np.array([face.centre for face in faces])
    sides = np.array([face.side for face in faces])
    moved = np.linalg.norm(np.diff(middles, axis=0), axis=1) / ((sides[:-1] + sides[1:]) / 2)
    grown = np.abs(np.diff(np.log(sides)))
    turned = np.diff([face.tilt_rad for face in faces])
    # The shorter way round.
    turned = np.abs((turned + np.pi) % (2 * np.pi) - np.pi)
    return float(moved.mean()), float(moved.max()), float(grown.max()), float(turned.max())
