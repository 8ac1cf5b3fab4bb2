"""A decoded frame as it is meant to be seen: upright, opaque, in the range of ordinary screens."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image as Pillow

from workbench.media.image import BACKGROUND
from workbench.media.tonemap import HDR, to_sdr
from workbench.media.view import Picture


class Renderer:
    """Makes RGB pictures of the frames of one file.

    Args:
        has_alpha: Whether an alpha channel means anything in this file.
    """

    def __init__(self, *, has_alpha: bool = True) -> None:
        self._has_alpha = has_alpha
        # To set one up takes longer than to use it, and each is set up for one format.
        self._reformatters: defaultdict[str, VideoReformatter] = defaultdict(VideoReformatter)

    def picture(self, frame: VideoFrame) -> Picture:
        """Return the frame as players show it, transparent pixels over `BACKGROUND`."""
        if frame.color_trc in HDR:
            codes = self._as(frame, "rgb48le")
            picture = to_sdr(codes, frame.color_trc, frame.color_primaries)
        else:
            picture = self._as(frame, "rgb24")
        if self._has_alpha and any(part.is_alpha for part in frame.format.components):
            picture = _over_background(picture, self._as(frame, "rgba")[..., 3])
        return np.ascontiguousarray(turned(picture, *_matrix(frame)))

    def first_picture(self, frame: VideoFrame) -> Picture:
        """Return the frame as version 1 of every view showed it: turned, never mirrored."""
        return np.ascontiguousarray(np.rot90(self._as(frame, "rgb24"), _rotation(frame) // 90))

    def _as(self, frame: VideoFrame, form: str) -> npt.NDArray[Any]:
        reformatter = self._reformatters[form]
        made = reformatter.reformat(frame, format=form, interpolation="BICUBIC", threads=1)
        return made.to_ndarray()


def turned(picture: Picture, a: int, b: int, c: int, d: int) -> Picture:
    """Return a picture as a display matrix says: the nearest of the eight orientations.

    The pixel at (x, y), from left and top, is shown at (a x + c y, b x + d y), moved to where it
    can be seen; ISO/IEC 14496-12, section 8.3.2.
    """
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture = picture.swapaxes(0, 1)
        a, d = c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return a, b, c, d of the frame's display matrix; without one, of what changes nothing."""
    try:
        parts: Mapping[Any, Any] = frame.side_data
        matrix = parts.get(SideData.DISPLAYMATRIX)
    except ValueError:
        # PyAV knows no name for something else beside it (the EXIF data of MJPEG, as cameras write
        # it), and gives nothing of all: the turn alone can be had then, and mirroring is lost.
        quarter = _rotation(frame) // 90 % 4
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[quarter]
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    return a, b, c, d


def _rotation(frame: VideoFrame) -> int:
    """Return by how many degrees the display matrix turns the frame counter-clockwise."""
    try:
        return frame.rotation
    except ValueError:  # a matrix of zeros
        return 0


def _over_background(picture: Picture, alpha: Picture) -> Picture:
    above = Pillow.fromarray(np.dstack([picture, alpha]))
    below = Pillow.new("RGBA", above.size, BACKGROUND)
    return np.asarray(Pillow.alpha_composite(below, above).convert("RGB"))
