"""Which files are still pictures that are read, and how one is opened."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from PIL import Image as Pillow

from workbench.errors import MediaError
from workbench.media.source import MAX_PIXELS, failure, is_passing, unread

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are read; those that run another program (EPS) or that no camera writes are not."""

BAD_BYTES = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)
"""What Pillow's decoders raise on bytes that are not what their header says."""

BOMBS = (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning)

# Formats that Pillow reads with another package: (the module, its function that adds the format).
_EXTRA_FORMATS = {"HEIF": ("pillow_heif", "register_heif_opener"), "JXL": ("pillow_jxl", "")}
LIBRARIES = {form: module for form, (module, _) in _EXTRA_FORMATS.items()}
"""By format, the library without which such a picture cannot be read."""

READ_BY = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin", "AVIF": "pillow 11.3 or later"}
# Major brands of still pictures in the boxes of an MP4; sequences of them (avis, hevc) are videos.
_STILL_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"), "HEIF"),
    b"avif": "AVIF",
}
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


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

    FFmpeg would take one for a video of its tiles. Nothing, too, where the file cannot be opened.

    Raises:
        MediaError: unreadable.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        if is_passing(error):
            raise unread(error) from error
        return ""
    if head.startswith(_JXL):
        return "JXL"
    return _STILL_BRANDS.get(head[8:], "") if head[4:8] == b"ftyp" else ""


@contextmanager
def opened_still(file: Path | BinaryIO) -> Iterator[Pillow.Image]:
    """Yield a still picture, not yet decoded."""
    with warnings.catch_warnings():
        # Damaged EXIF data is warned about and passed over.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        # Of a path, Pillow maps the pixels of a TIFF into memory, and takes those of one that is to
        # be turned by a quarter for rows as long as its columns.
        opened = file.open("rb") if isinstance(file, Path) else nullcontext(file)
        with opened as stream, Pillow.open(stream, formats=image_formats()) as image:
            check_size(image.width, image.height)
            yield image


def check_size(width: int, height: int) -> None:
    """Raise MediaError (broken or too_large) unless a picture of this size may be decoded."""
    if width < 1 or height < 1:
        raise failure("broken", f"its picture is {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise failure("too_large", f"its picture is {width} x {height} pixels, over {MAX_PIXELS}")


def is_still(path: Path) -> bool:
    """Say whether a file is a still picture, by its first bytes, be it whole or not.

    Raises:
        MediaError: unreadable.
    """
    if still_format(path):
        return True
    try:
        with opened_still(path):
            return True
    except BOMBS:
        return True
    except MediaError as error:  # its size is none that is read
        return error.status == "too_large"
    except BAD_BYTES as error:
        if is_passing(error):
            raise unread(error) from error
        return False
