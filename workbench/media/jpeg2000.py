"""JPEG 2000 pictures in colour of more than 8 bits, of which Pillow turns white into black.

It rounds each value to 8 bits without a limit, so that the highest ones begin again at 0.
"""

import re
import struct

import numpy as np
from PIL import Image as Pillow
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from workbench.errors import MediaError
from workbench.media.source import failure
from workbench.opencv import cv2

_SIZES = re.compile(rb"\xff\x4f\xff\x51")
"""What a stream of JPEG 2000 begins with, and nothing before it in a file does: SOC and SIZ."""

_NUM_AT = 40
"""Bytes from there to the number of its channels; three bytes for each channel follow."""

_YCC = re.compile(rb"colr\x01..\0\0\0\x12", re.DOTALL)
"""The box that calls the channels luma and chroma, which OpenCV turns into other colours."""


def with_upper_bits(image: Jpeg2KImageFile, *, limit_bytes: int) -> Pillow.Image:
    """Return the picture with the upper 8 bits of each value; as it is if that is what Pillow does.

    Args:
        image: Not yet decoded.
        limit_bytes: No file that may be read is longer.

    Raises:
        MediaError: broken, if its channels have more than 8 bits and nothing reads them rightly.
        OSError, SyntaxError, ValueError: the file cannot be decoded.
    """
    assert image.fp is not None  # until it is decoded
    image.fp.seek(0)
    data = image.fp.read(limit_bytes)
    channels = _channels(data)
    bits = [(depth & 0x7F) + 1 for depth, _, _ in channels]
    if max(bits, default=0) <= 8 or image.mode.startswith("I"):
        return image
    image.load()  # which says of more damaged files that they are than OpenCV does
    steps = {step for _, *each in channels for step in each}
    if image.mode not in ("L", "RGB", "RGBA") or steps != {1} or _YCC.search(data):
        raise _refused()
    level = cv2.utils.logging.getLogLevel()
    # A stream without a file around it names no colours, which OpenCV warns of at each.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _refused() from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    shape, num = (image.height, image.width), len(image.getbands())
    if values is None or values.dtype != np.uint16 or values.size != np.prod([*shape, num]):
        raise _refused()
    ordered = values.reshape(*shape, num)[..., [0] if num == 1 else [2, 1, 0, 3][:num]]
    levels = (ordered.astype(np.uint32) << 8 >> np.array(bits, np.uint32)).astype(np.uint8)
    shown = Pillow.fromarray(levels.squeeze(2) if num == 1 else levels)
    shown.info |= image.info
    return shown


def _channels(data: bytes) -> list[tuple[int, int, int]]:
    """Return of each channel the byte of its bits, and its steps across and down."""
    found = _SIZES.search(data)
    if not found:
        return []
    at = found.start() + _NUM_AT
    (num,) = struct.unpack_from(">H", data, at)
    return [struct.unpack_from("3B", data, at + 2 + 3 * channel) for channel in range(num)]


def _refused() -> MediaError:
    return failure(
        "broken",
        "its colours of more than 8 bits cannot be read: store 8 bits, or a PNG of 16",
    )
