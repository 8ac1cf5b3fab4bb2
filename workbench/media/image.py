"""Still images: the view `image`, and how any file of one becomes RGB."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError
from pydantic import Field

from workbench.errors import MediaError
from workbench.media.declared import Modality
from workbench.media.source import MAX_PIXELS, check_file, failure, said_by
from workbench.media.truncation import endings, is_whole
from workbench.media.view import FileView, Made, Picture

BACKGROUND = (255, 255, 255)
"""RGB under transparent pixels."""

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are read; those that run another program (EPS) or that no camera writes are not."""

BAD_BYTES = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)
"""What Pillow's decoders raise on bytes that are not what their header says."""

_BOMBS = (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning)

# Formats that Pillow reads with another package: (the module, its function that adds the format).
_EXTRA_FORMATS = {"HEIF": ("pillow_heif", "register_heif_opener"), "JXL": ("pillow_jxl", "")}
LIBRARIES = {form: module for form, (module, _) in _EXTRA_FORMATS.items()}
"""By format, the library without which such a picture cannot be read."""

_READ_BY = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin", "AVIF": "pillow 11.3 or later"}
# Major brands of still pictures in the boxes of an MP4; sequences of them (avis, hevc) are videos.
_STILL_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"), "HEIF"),
    b"avif": "AVIF",
}
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")

CUT_OFF = "the file lacks its last bytes, and of the picture at most the last block"
"""The note of such a picture."""

# No picture that may be read has a longer file.
_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Still:
    """A picture that was read."""

    picture: Picture
    note: str = ""
    """What is odd about its file."""


class Image(FileView):
    """A still image, RGB, (1, image_px, image_px, 3)."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["image"] = "image"
    version: Literal[1, 2] = 2

    image_px: int = Field(224, ge=16, le=1024)
    """Side of the square picture, in pixels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels)."""
        return (1, self.image_px, self.image_px, 3)

    def of_file(self, path: Path) -> Made:
        """Return the picture as a square of `image_px`, its proportions given up."""
        still = read_picture(path)
        if still.note and self.version == 1:
            raise failure("broken", f"the image cannot be decoded: {still.note}")
        return Made(square(still.picture, self.image_px)[None, None], reason=still.note)


def read_picture(path: Path) -> Still:
    """Return the picture of `path`, upright as its EXIF data says.

    Transparent pixels lie over BACKGROUND. 16-bit values keep their high byte; floating-point ones
    run from 0 to 1, or to 255 where any is above 1. Colour profiles are not applied. Of a file of
    several pictures, the first. A file that lacks its last bytes, but nothing of the picture, is
    read with a note (see `truncation`).

    Raises:
        MediaError: missing, empty, broken or too_large (more than MAX_PIXELS).
    """
    check_file(path)
    form = still_format(path)
    try:
        with _opened(path) as image:
            return Still(_upright(image))
    except _BOMBS as error:
        raise failure("too_large", f"its picture has over {MAX_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        said = "the file is not an image of an accepted format"
        if form and form not in image_formats():
            said = f"it is a picture of the format {form}, which {_READ_BY[form]} reads: install it"
        raise failure("broken", said) from error
    except BAD_BYTES as error:
        if still := _read_cut_off(path):
            return still
        raise failure("broken", f"the image cannot be decoded: {said_by(error)}") from error


@cache
def image_formats() -> tuple[str, ...]:
    """Return the formats that are read here: Pillow's of IMAGE_FORMATS, and installed packages'."""
    Pillow.init()
    for module, register in _EXTRA_FORMATS.values():
        # By its name, so that a bundle does not ask for what its study did without.
        with suppress(ImportError):
            added = import_module(module)
            if register:
                getattr(added, register)()
    return tuple(form for form in (*IMAGE_FORMATS, *_EXTRA_FORMATS) if form in Pillow.OPEN)


def still_format(path: Path) -> str:
    """Return which still picture in the boxes of an MP4 or JPEG XL a file is, by its content.

    FFmpeg would take one for a video of its tiles. Nothing, too, where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return ""
    if head.startswith(_JXL):
        return "JXL"
    return _STILL_BRANDS.get(head[8:], "") if head[4:8] == b"ftyp" else ""


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[Pillow.Image]:
    with warnings.catch_warnings():
        # Damaged EXIF data is warned about and passed over.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        with Pillow.open(file, formats=image_formats()) as image:
            check_size(image.width, image.height)
            yield image


def _upright(image: Pillow.Image) -> Picture:
    return np.asarray(_rgb(ImageOps.exif_transpose(image)))


def _read_cut_off(path: Path) -> Still | None:
    """Return the picture of a file that lacks nothing but its last bytes."""
    if path.stat().st_size > _MAX_BYTES:
        return None
    try:
        ended = endings(path.read_bytes())
        shown = []
        for data in ended.files:
            with _opened(io.BytesIO(data)) as image:
                shown.append(np.asarray(image))
        if not is_whole(shown, block_px=ended.block_px):
            return None
        with _opened(io.BytesIO(ended.files[0])) as image:
            return Still(_upright(image), CUT_OFF)
    except (*BAD_BYTES, *_BOMBS, MediaError):  # what was wrong before is said
        return None


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
