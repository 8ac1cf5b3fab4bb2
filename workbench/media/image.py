"""Still images: the view `image`, and how any file of one becomes RGB."""

import struct
import warnings
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError
from pydantic import Field

from workbench.media.source import MAX_PIXELS, check_file, failure, said_by
from workbench.media.view import FileView, Made, Picture

BACKGROUND = (255, 255, 255)
"""RGB under transparent pixels."""

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are read; those that run another program (EPS) or that no camera writes are not."""

BAD_BYTES = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)
"""What Pillow's decoders raise on bytes that are not what their header says."""


class Image(FileView):
    """A still image, RGB, (1, image_px, image_px, 3)."""

    kind: Literal["image"] = "image"
    version: Literal[1] = 1

    image_px: int = Field(224, ge=16, le=1024)
    """Side of the square picture, in pixels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels)."""
        return (1, self.image_px, self.image_px, 3)

    def of_file(self, path: Path) -> Made:
        """Return the picture as a square of `image_px`, its proportions given up."""
        return Made(square(read_image(path), self.image_px)[None, None])


def read_image(path: Path) -> Picture:
    """Return the picture of `path`, (height, width, 3) RGB, upright as its EXIF data says.

    Transparent pixels lie over BACKGROUND. 16-bit values keep their high byte; floating-point ones
    run from 0 to 1, or to 255 where any is above 1. Colour profiles are not applied. Of a file of
    several pictures, the first.

    Raises:
        MediaError: missing, empty, broken or too_large (more than MAX_PIXELS).
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            # Damaged EXIF data is warned about and passed over.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path, formats=IMAGE_FORMATS) as image:
                check_size(image.width, image.height)
                return np.asarray(_rgb(ImageOps.exif_transpose(image)))
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise failure("too_large", f"its picture has over {MAX_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise failure("broken", "the file is not an image of an accepted format") from error
    except BAD_BYTES as error:
        raise failure("broken", f"the image cannot be decoded: {said_by(error)}") from error


def check_size(width: int, height: int) -> None:
    """Raise MediaError (broken or too_large) unless a picture of this size may be decoded."""
    if width < 1 or height < 1:
        raise failure("broken", f"its picture is {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise failure("too_large", f"its picture is {width} x {height} pixels, over {MAX_PIXELS}")


def square(picture: Picture, image_px: int) -> Picture:
    """Return `picture` (height, width, 3) as (image_px, image_px, 3), its proportions given up.

    A side that shrinks averages the area under each new pixel; a side that grows is bilinear.
    """
    height, width = picture.shape[:2]
    within = (min(width, image_px), min(height, image_px))
    shrunk = cv2.resize(picture, within, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (image_px, image_px), interpolation=cv2.INTER_LINEAR)


def _rgb(image: Pillow.Image) -> Pillow.Image:
    if image.mode.startswith("I"):
        return _grey(np.asarray(image).clip(0, 0xFFFF) >> 8)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        return _grey(np.rint(values * (255 if values.max() <= 1 else 1)).clip(0, 255))
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(*profiles, "LAB", "RGB").apply(image)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        below = Pillow.new("RGBA", above.size, BACKGROUND)
        return Pillow.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def _grey(values: npt.NDArray[np.number]) -> Pillow.Image:
    return Pillow.fromarray(values.astype(np.uint8)).convert("RGB")
