"""Faces of which a part is covered: a model that knows fakes by one part alone learns no more."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from workbench.errors import ConfigError
from workbench.media.face_detectors import Face
from workbench.media.faces import FaceView
from workbench.media.view import Picture, View
from workbench.opencv import cv2

Points = npt.NDArray[np.float64]

_EYES, _MOUTH = (0.9, 0.4), (0.8, 0.4)
"""Half of the width and of the height of what is covered, in distances between the eyes."""


def without_eyes(picture: Picture, faces: Sequence[Face], rng: np.random.Generator) -> Picture:
    """Return a picture in which a box of one colour lies over the eyes of each face."""
    return _covered(picture, [np.array(face.landmarks[:2]) for face in faces], faces, rng, _EYES)


def without_mouth(picture: Picture, faces: Sequence[Face], rng: np.random.Generator) -> Picture:
    """Return a picture in which a box of one colour lies over the mouth of each face."""
    return _covered(picture, [np.array(face.landmarks[3:]) for face in faces], faces, rng, _MOUTH)


def has_detector() -> bool:
    """Return whether faces can be found in any picture: by the detector that needs no file."""
    return find_spec("yuface") is not None


def require_faces(views: Iterable[View]) -> None:
    """Make sure that faces are found for each view of pictures.

    Raises:
        ConfigError: they are not.
    """
    blind = [v.kind for v in views if v.modality == "picture" and not isinstance(v, FaceView)]
    if blind and not has_detector():
        raise ConfigError(
            f"copies.cutout covers parts of faces, and none are found for {', '.join(blind)}, "
            'since yuface is not installed: install it with `pip install -e ".[faces]"` (Python '
            "3.11), or leave copies.cutout out."
        )


def _covered(
    picture: Picture,
    places: Sequence[Points],
    faces: Sequence[Face],
    rng: np.random.Generator,
    reach: tuple[float, float],
) -> Picture:
    colour = rng.integers(0, 256, 3).tolist()
    covered = picture.copy()
    for ends, face in zip(places, faces, strict=True):
        eyes = np.array(face.landmarks[:2])
        along = eyes[1] - eyes[0]  # as long as the eyes are apart
        across = np.array([-along[1], along[0]])
        middle = ends.mean(axis=0)
        corners = [
            middle + x * reach[0] * along + y * reach[1] * across
            for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        cv2.fillConvexPoly(covered, np.rint(corners).astype(np.int32), colour)
    return covered
