"""Picture files that lack their last bytes: is any of the picture missing, too?

Such a file is ended in several ways, with other bytes in the place of the missing ones. What all
decode to alike hangs on none of them. Where that is all of the picture but the corner that its last
block fills, the file is whole enough: an upload that lost the end marker is no broken picture. A
file that lacks rows differs in them, so that a grey band is never taken for a picture.
"""

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The largest block of pixels that a JPEG codes at once, and what smoothing adds.
_JPEG_BLOCK_PX = 18
# Noise in the place of missing bytes, without the byte that begins a JPEG's markers: several blocks
# of it, or the decoder would show the same grey after every ending. And its opposite: whatever bit
# is missing, one of both has another one there.
_NOISE = hashlib.shake_128(b"").digest(4096).replace(b"\xff", b"\x5a").replace(b"\0", b"\xa5")
_OPPOSITE = bytes(255 - byte for byte in _NOISE)
_END = b"\xff\xd9"
# A WebP that lacks more than this lacks rows.
_MOST_OF_WEBP = 64
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SCAN = 0xDA
# Coefficients of a block, as bits: all 64.
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class Endings:
    """A picture's file that breaks off, ended in several ways."""

    files: tuple[bytes, ...] = ()
    """None: its format has no such end."""

    block_px: int = 0
    """Side of the last block, which they may show otherwise."""


def endings(data: bytes) -> Endings:
    """Return the ways to end a picture's file."""
    if data.startswith(b"\xff\xd8") and _has_every_scan(data):
        start = data.rstrip(b"\xff")  # half of a marker
        restarted = _next_restart(start) + _NOISE
        fillings = (b"", _NOISE, _OPPOSITE, restarted)
        return Endings(tuple(start + filling + _END for filling in fillings), _JPEG_BLOCK_PX)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        missing = 8 + struct.unpack("<I", data[4:8])[0] - len(data)
        if 0 < missing <= _MOST_OF_WEBP:
            # No corner here: what its arithmetic decoder makes of a byte depends on all before.
            ends = (bytes(missing), _NOISE, _OPPOSITE)
            return Endings(tuple(data + end[:missing] for end in ends))
    return Endings()


def is_whole(shown: Sequence[npt.NDArray[np.uint8]], *, block_px: int) -> bool:
    """Say whether all endings show one picture, (height, width, ...), but for its last block.

    A picture no wider than twice that block would lack much of its rows.
    """
    if len({picture.shape for picture in shown}) != 1:
        return False
    height, width = shown[0].shape[:2]
    apart = np.zeros((height, width), bool)
    for picture in shown[1:]:
        apart |= (picture != shown[0]).reshape(*apart.shape, -1).any(axis=2)
    if width > 2 * block_px:
        apart[max(0, height - block_px) :, width - block_px :] = False
    return not apart.any()


def _next_restart(data: bytes) -> bytes:
    """Return the marker that a JPEG's decoder waits for where a stretch of blocks ends.

    Until it comes, a decoder that uses such marks passes over all else.
    """
    last = _RESTART.findall(data, max(0, data.rfind(b"\xff\xda")))
    number = last[-1][0] + 1 if last else 0
    return bytes([0xFF, 0xD0 + number % 8])


def _has_every_scan(data: bytes) -> bool:
    """Say whether a JPEG's scans, as far as they are announced, bring every bit of its picture.

    One whose last scans are missing decodes to a blurred or a colourless picture without a word.
    """
    brought: dict[int, int] = {}
    for marker, body in _segments(data):
        if marker in _FRAMES and len(body) >= 6:
            brought |= dict.fromkeys(body[6 : 6 + 3 * body[5] : 3], 0)
        elif marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] :][:3]
            # Progressive: the last scan of a coefficient brings its lowest bit.
            if bits & 15 == 0 and first <= last < 64:
                for component in body[1 : 1 + 2 * body[0] : 2]:
                    brought[component] = brought.get(component, 0) | (
                        (1 << last + 1) - (1 << first)
                    )
    return bool(brought) and all(bits == _ALL for bits in brought.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, body) of each of a JPEG's segments."""
    at = 2
    while found := _MARKER.search(data, at):
        marker, at = found.group(1)[0], found.end()
        if marker in (0x01, 0xD8, 0xD9):  # without a body
            continue
        (length,) = struct.unpack(">H", data[at : at + 2].ljust(2, b"\0"))
        yield marker, data[at + 2 : at + length]
        at += max(2, length)
