"""Views: what array is made of a media file. To add one: write its class, name it in `AnyView`."""

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from workbench.media.audio import read_sound
from workbench.media.image import read_image, square
from workbench.media.mel import mel_picture
from workbench.media.video import read_frames
from workbench.values import Part

Array = npt.NDArray[np.uint8]


class View(Part, ABC):
    """One array made of one media file.

    A subclass has a `version: Literal[n] = n`: raise n whenever the same file and settings give
    other pixels, so that stored arrays are made anew.
    """

    neutral_level: ClassVar[int] = 128
    """The grey level of a file that cannot be decoded."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels) of the array."""

    @abstractmethod
    def decode(self, path: Path) -> Array:
        """Return the view of one file, uint8 of `shape`.

        Raises:
            MediaError: the file has no such view; its status is a `source.Status`.
        """

    def neutral(self) -> Array:
        """Return what stands for a file that cannot be decoded: one grey level."""
        return np.full(self.shape, self.neutral_level, np.uint8)

    @property
    def uid(self) -> str:
        """Twelve hex digits naming kind, settings and version; equal on every machine."""
        dump = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(dump.encode()).hexdigest()[:12]


class Mel(View):
    """The mel picture of the sound, as the competition's public baseline makes it."""

    kind: Literal["mel"] = "mel"
    version: Literal[1] = 1

    num_mels: int = Field(128, ge=16, le=256)
    """Frequency bands."""

    image_px: int = Field(256, ge=16, le=1024)
    """Side of the square picture, in pixels."""

    neutral_level: ClassVar[int] = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels) of the array."""
        return (1, self.image_px, self.image_px, 1)

    def decode(self, path: Path) -> Array:
        """Return the view of one file, uint8 of `shape`; MediaError says why there is none."""
        picture = mel_picture(read_sound(path), num_mels=self.num_mels, image_px=self.image_px)
        return picture.reshape(self.shape)


class Frames(View):
    """Frames of the video at even times, RGB."""

    kind: Literal["frames"] = "frames"
    version: Literal[1] = 1

    num_frames: int = Field(4, ge=1, le=64)

    image_px: int = Field(224, ge=16, le=1024)
    """Side of each square picture, in pixels."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels) of the array."""
        return (self.num_frames, self.image_px, self.image_px, 3)

    def decode(self, path: Path) -> Array:
        """Return the view of one file, uint8 of `shape`; MediaError says why there is none."""
        return read_frames(path, num_frames=self.num_frames, image_px=self.image_px)


class Image(View):
    """A still image, RGB."""

    kind: Literal["image"] = "image"
    version: Literal[1] = 1

    image_px: int = Field(224, ge=16, le=1024)
    """Side of the square picture, in pixels."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels) of the array."""
        return (1, self.image_px, self.image_px, 3)

    def decode(self, path: Path) -> Array:
        """Return the view of one file, uint8 of `shape`; MediaError says why there is none."""
        return square(read_image(path), self.image_px)[None]


AnyView = Annotated[Mel | Frames | Image, Field(discriminator="kind")]
