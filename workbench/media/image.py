"""Still images: the view `image`, and how any file of one becomes RGB."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from pydantic import Field

from workbench.errors import MediaError
from workbench.media.declared import Modality
from workbench.media.jpeg2000 import with_upper_bits
from workbench.media.source import (
    MAX_PIXELS,
    check_file,
    failure,
    is_passing,
    require_every_byte,
    said_by,
    unread,
)
from workbench.media.square import square
from workbench.media.still import (
    BAD_BYTES,
    BOMBS,
    READ_BY,
    image_formats,
    opened_still,
    still_format,
)
from workbench.media.truncation import endings, is_whole
from workbench.media.view import FileView, Made, Picture

BACKGROUND = (255, 255, 255)
"""RGB under transparent pixels."""

CUT_OFF = "the file lacks its last bytes, and of the picture at most the last block"
"""The note of such a picture."""

# Tags of a TIFF, the value of the second that turns its greys, and that of the last by which each
# colour is a plane of its own.
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _WHITE_IS_ZERO, _APART = 258, 262, 277, 284, 0, 2

# Modes of values whose first byte is their highest, and the same in the order of this machine.
_SWAPPED = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}

# What Pillow multiplies greys of a PNG by that have 2 or 4 bits.
_STEPS = {"L;2": 85, "L;4": 17}

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
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

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

    Transparent pixels lie over BACKGROUND. 12- and 16-bit values keep their upper 8 bits, and wider
    ones are refused; floating-point ones run from 0 to 1, or to 255 where any is above 1. Colour
    profiles are not applied. Of a file of several pictures, the first. A file that lacks its last
    bytes, but nothing of the picture, is read with a note (see `truncation`).

    Raises:
        MediaError: missing, empty, broken, unreadable or too_large (more than MAX_PIXELS).
    """
    check_file(path)
    try:
        return _read(path)
    except MediaError as error:
        if error.status != "broken" or path.stat().st_size > _MAX_BYTES:
            raise
    # Many a library says nothing of what the disk did not give, be it for once.
    require_every_byte(path)
    return _read(path)


def _read(path: Path) -> Still:
    form = still_format(path)
    try:
        with opened_still(path) as image:
            return Still(_upright(image))
    except BOMBS as error:
        raise failure("too_large", f"its picture has over {MAX_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        said = "the file is not an image of an accepted format"
        if form and form not in image_formats():
            said = f"it is a picture of the format {form}, which {READ_BY[form]} reads: install it"
            raise failure("unreadable", said) from error
        raise failure("broken", said) from error
    except BAD_BYTES as error:
        if is_passing(error):
            raise unread(error) from error
        if still := _read_cut_off(path):
            return still
        raise failure("broken", f"the image cannot be decoded: {said_by(error)}") from error


def _upright(image: Pillow.Image) -> Picture:
    key = image.info.get("transparency")
    if isinstance(key, int) and isinstance(image, PngImageFile) and image.tile:
        # Pillow leaves the transparent grey as it is stored: no pixel would have it.
        image.info["transparency"] = key * _STEPS.get(str(image.tile[0].args), 1)
    if isinstance(image, TiffImageFile):
        _read_values_whole(image)
    if isinstance(image, Jpeg2KImageFile):
        image = with_upper_bits(image, limit_bytes=_MAX_BYTES)
    turned = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") and isinstance(image, TiffImageFile):
        # Pillow heeds neither that 12 bits are fewer than 16 nor, here, that 0 means white.
        bits, meaning = image.tag_v2.get(_BITS, (16,))[0], image.tag_v2.get(_PHOTOMETRIC)
        levels = np.asarray(turned) >> (bits - 8)
        return np.asarray(_grey(255 - levels if meaning == _WHITE_IS_ZERO else levels))
    return np.asarray(_rgb(turned))


def _read_values_whole(image: TiffImageFile) -> None:
    """Have Pillow take the values of a TIFF that have several bytes as they are stored.

    Raises:
        MediaError: broken, if they are in planes that it takes for others.
    """
    is_apart = image.tag_v2.get(_PLANES) == _APART and image.tag_v2.get(_SAMPLES, 1) > 1
    kind, _, _, args = image.tile[0] if image.tile else ("", None, 0, ())
    is_deep = max(image.tag_v2.get(_BITS, (1,))) > 8 and kind == "raw"
    if is_apart and (is_deep or image.mode in ("LA", "PA")):
        raise failure(
            "broken", "its planes are stored apart, which cannot be read: store it pixel by pixel"
        )
    if kind == "libtiff" and isinstance(args, tuple) and args[0] in _SWAPPED:
        # What is compressed comes in the order of this machine, which Pillow heeds for some modes.
        image.tile[0] = image.tile[0]._replace(args=(_SWAPPED[args[0]], *args[1:]))


def _read_cut_off(path: Path) -> Still | None:
    """Return the picture of a file that lacks nothing but its last bytes."""
    if path.stat().st_size > _MAX_BYTES:
        return None
    try:
        ended = endings(path.read_bytes())
        shown = []
        for data in ended.files:
            with opened_still(io.BytesIO(data)) as image:
                shown.append(np.asarray(image))
        if not is_whole(shown, block_px=ended.block_px):
            return None
        with opened_still(io.BytesIO(ended.files[0])) as image:
            return Still(_upright(image), CUT_OFF)
    except (*BAD_BYTES, *BOMBS, MediaError):  # what was wrong before is said
        return None


def _rgb(image: Pillow.Image) -> Pillow.Image:
    see_through = image.info.get("transparency")  # a colour that stands for no colour
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise failure("broken", "its values are not within 0 and 65535: store 8 or 16 bits")
        return _grey(np.where(values == see_through, 0xFFFF, values) >> 8)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        return _grey(np.rint(values * (255 if values.max() <= 1 else 1)).clip(0, 255))
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(*profiles, "LAB", "RGB").apply(image)
    if isinstance(see_through, tuple) and max(see_through) > 0xFF:
        image.info["transparency"] = tuple(value >> 8 for value in see_through)  # as the pixels are
    if image.has_transparency_data:
        above = image.convert("RGBA")
        below = Pillow.new("RGBA", above.size, BACKGROUND)
        return Pillow.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def _grey(values: npt.NDArray[np.number]) -> Pillow.Image:
    return Pillow.fromarray(values.astype(np.uint8)).convert("RGB")
