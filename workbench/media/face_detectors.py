"""Face detectors: what a face in a picture is, and the libraries that find it."""

import hashlib
import importlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from workbench.errors import ConfigError
from workbench.files import hash_file
from workbench.media.view import Picture
from workbench.opencv import cv2
from workbench.values import Part

BUNDLED = Path(__file__).with_name("detectors")
"""Where a bundle puts model files, each as `<sha256>.onnx`."""

Point = tuple[float, float]

_RIGHT_EYE, _LEFT_EYE = 0, 1


@dataclass(frozen=True)
class Face:
    """A face in a picture: its upright box, which may reach past the picture's edges.

    Lengths are in pixels; a pixel in column i covers x from i to i + 1.
    """

    x: float
    """Left edge of the box."""

    y: float
    """Upper edge of the box."""

    width: float
    height: float

    confidence: float
    """In [0, 1], as the detector gives it; 0: not detected but put there by `face_tracks`."""

    landmarks: tuple[Point, ...]
    """Five (x, y): the person's right eye (left in the picture of an upright face) and left eye,
    tip of the nose, right and left corner of the mouth."""

    @property
    def centre(self) -> Point:
        """(x, y) of the box."""
        return (self.x + self.width / 2, self.y + self.height / 2)

    @property
    def side(self) -> float:
        """The longer side of the box."""
        return max(self.width, self.height)

    @property
    def area(self) -> float:
        """Area of the box."""
        return self.width * self.height

    @property
    def tilt_rad(self) -> float:
        """Angle of the line from right to left eye, in radians; positive: turned clockwise."""
        (right_x, right_y), (left_x, left_y) = self.landmarks[_RIGHT_EYE], self.landmarks[_LEFT_EYE]
        return math.atan2(left_y - right_y, left_x - right_x)

    def scaled(self, across: float, down: float) -> "Face":
        """Return the same face in a picture `across` times as wide and `down` times as high."""
        return replace(
            self,
            x=self.x * across,
            y=self.y * down,
            width=self.width * across,
            height=self.height * down,
            landmarks=tuple((x * across, y * down) for x, y in self.landmarks),
        )


class _Settings(Part, ABC):
    """What the detectors below share: a bound on the picture's size, and one on confidence."""

    detect_px: int = Field(640, ge=64, le=960)
    """Pictures whose longer side is longer than this many pixels are shrunk to it before."""

    min_confidence: float = Field(0.5, ge=0.05, lt=1)
    """Faces that are found with less confidence are left out."""

    @property
    def libraries(self) -> frozenset[str]:
        """Packages beyond the program's own that it needs, by the name of their import."""
        return frozenset()

    def files(self) -> dict[str, Path]:
        """Return the files that it needs, by the place below the package where it looks."""
        return {}

    def named_by_content(self) -> Self:
        """Return these settings without what differs between machines."""
        return self

    def detect(self, picture: Picture) -> list[Face]:
        """Return the faces of an RGB picture (height, width, 3), the largest box first.

        Raises:
            ConfigError: the detector is not installed, or its file cannot be used.
        """
        small = shrunk(picture, self.detect_px)
        across, down = picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0]
        found = self._found(np.ascontiguousarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR)))
        sure = [face for face in found if face.confidence >= self.min_confidence]
        faces = [face.scaled(across, down) for face in sure if _is_in(small, face)]
        return sorted(faces, key=lambda face: (-face.area, face.x, face.y))

    @abstractmethod
    def _found(self, bgr: Picture) -> list[Face]:
        """Return what the library finds in a small picture whose channels are blue, green, red."""


class YuFace(_Settings):
    """libfacedetection by the authors of YuNet, its weights compiled in: works offline.

    It finds upright faces from some 30 pixels of width on, and tells places in whole pixels.
    """

    kind: Literal["yuface"] = "yuface"

    @property
    def libraries(self) -> frozenset[str]:
        """The package, which is an optional extra."""
        return frozenset({"yuface"})

    def _found(self, bgr: Picture) -> list[Face]:
        # Confidences in percent, boxes (x, y, width, height), landmarks (x, y, x, y, ...): int16.
        confidences, boxes, points = _yuface().detect(bgr, 0)
        table = np.column_stack([boxes, points, confidences / 100])
        return [_face(row) for row in table]


class YuNet(_Settings):
    """A YuNet model file (ONNX) of the user's own, run by OpenCV's `FaceDetectorYN`."""

    kind: Literal["yunet"] = "yunet"

    file: str
    """Path of the model file."""

    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of the model file, in hex; computed from the file when left out."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_sha256(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("sha256") or "file" not in value:
            return value
        try:
            if not (file := Path(value["file"])).is_file():
                raise FileNotFoundError(file)
            return {**value, "sha256": hash_file(file)}
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"the detector's file {value['file']!r} cannot be read, and no sha256 names its "
                "content. Name an existing YuNet .onnx file"
            ) from error

    def named_by_content(self) -> Self:
        """Return these settings without the path: the same file may lie elsewhere."""
        return self.model_copy(update={"file": ""})

    def files(self) -> dict[str, Path]:
        """Return the model file, by the place below the package where a bundle has it."""
        return {f"{BUNDLED.parent.name}/{BUNDLED.name}/{self.sha256}.onnx": self.path()}

    def path(self) -> Path:
        """Return the model file: `file`, or where a bundle has it; the one with this content.

        Raises:
            ConfigError: neither has it.
        """
        for path in (Path(self.file), BUNDLED / f"{self.sha256}.onnx"):
            if path.is_file() and hash_file(path) == self.sha256:
                return path
        what = "has another content" if Path(self.file).is_file() else "is not a file"
        raise ConfigError(
            f"The face detector's model {self.file} {what}: the experiment asks for sha256 "
            f"{self.sha256}. Put that file back, or name another one without its sha256."
        )

    def _found(self, bgr: Picture) -> list[Face]:
        network = _network(self)
        network.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, table = network.detect(bgr)
        return [] if table is None else [_face(row) for row in table]


AnyDetector = Annotated[YuFace | YuNet, Field(discriminator="kind")]


def shrunk(picture: Picture, longest_px: int) -> Picture:
    """Return `picture` with its longer side at most `longest_px`, its proportions kept."""
    height, width = picture.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _face(row: npt.NDArray[Any]) -> Face:
    """Return the face of (x, y, width, height, five landmarks x, y, confidence)."""
    x, y, width, height, *points, confidence = (float(value) for value in row)
    landmarks = tuple(zip(points[::2], points[1::2], strict=True))
    return Face(x, y, width, height, min(1.0, confidence), landmarks)


def _is_in(picture: Picture, face: Face) -> bool:
    """Tell whether the face's middle lies in the picture and its size is one that fits there.

    A model file of a stranger may put boxes anywhere.
    """
    height, width = picture.shape[:2]
    numbers = (
        *face.centre,
        face.width,
        face.height,
        *(n for point in face.landmarks for n in point),
    )
    if not all(math.isfinite(number) for number in numbers):
        return False
    (x, y), longest = face.centre, 2 * max(height, width)
    fits = 0 < face.width <= longest and 0 < face.height <= longest
    return fits and 0 <= x <= width and 0 <= y <= height


def _yuface() -> Any:
    try:
        return importlib.import_module("yuface")
    except ImportError as error:
        raise ConfigError(
            f"The face detector `yuface` cannot be loaded ({error}). "
            'Install it with: pip install -e ".[faces]" (Python 3.11), or name a YuNet model file '
            "of yours: detector: {kind: yunet, file: PATH}."
        ) from error


@lru_cache(maxsize=2)
def _network(settings: YuNet) -> Any:
    """Return the loaded model, after it has looked at one empty picture."""
    path = settings.path()
    content = np.fromfile(path, np.uint8)
    if hashlib.sha256(content.tobytes()).hexdigest() != settings.sha256:
        raise ConfigError(f"{path} changed while it was read. Start again.")
    level = cv2.utils.logging.getLogLevel()
    # OpenCV 5 warns on the terminal that it takes no target, whatever the target.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        no_config, size = np.empty(0, np.uint8), (64, 64)
        network = cv2.FaceDetectorYN.create(
            "onnx", content, no_config, size, settings.min_confidence, 0.3, 5000
        )
        network.detect(np.zeros((64, 64, 3), np.uint8))
    except cv2.error as error:
        raise ConfigError(
            f"{path} is no YuNet model that OpenCV can run ({error.err}). "
            "Name a YuNet .onnx file, or use the detector `yuface`."
        ) from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    return network
