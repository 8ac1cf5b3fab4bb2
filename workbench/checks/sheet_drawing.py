"""How a contact sheet is drawn: text that always has a glyph, framed pictures, rows of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from workbench.checks.findings import printable

PillowImage = Pillow.Image
Picture = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""

WIDTH_PX = 1712
"""Of what lies between the margins: with them, a sheet fits a screen."""

INK, SOFT = "#1c2430", "#5f6b7a"
MARGIN_PX = 24

MIN_WIDTH_PX = 860
"""That the text may take, however narrow the samples are."""

_FRAME_PX = 3
# Between the pictures of a sample, between samples.
_INNER_PX, _GAP_PX = 2, 14
_LEAST_WHOLE_PX = 96
# Pictures are shown in their own size where that lies between these.
_LEAST_PX, _MOST_PX = 128, 256
# Two samples go side by side if their pictures stay this large, many pictures of one if these do.
_COMFORT_PX, _TINY_PX = 192, 96
_NAME_SIZE = 13


@dataclass(frozen=True)
class Words:
    """A part of a line of text."""

    text: str
    colour: str = SOFT
    is_bold: bool = False


@dataclass(frozen=True)
class Strip:
    """A sample: all its pictures, equally large, side by side."""

    name: str
    pictures: Sequence[Picture]
    colour: str
    """Of its frame."""


@dataclass(frozen=True)
class Grid:
    """Where the pictures of a sheet's samples go."""

    columns: int
    """Samples side by side."""

    across: int
    """Pictures side by side within a sample."""

    lines: int
    """Rows of pictures within a sample."""

    width_px: int
    height_px: int
    """Of one picture."""

    @property
    def strip_px(self) -> tuple[int, int]:
        """(width, height) of a sample, its frame included."""
        return (
            2 * _FRAME_PX + self.across * (self.width_px + _INNER_PX) - _INNER_PX,
            2 * _FRAME_PX + self.lines * (self.height_px + _INNER_PX) - _INNER_PX,
        )


def grid_for(num_samples: int, num_pictures: int, *, height: int, width: int) -> Grid:
    """Return how samples of `num_pictures` pictures of (height, width) are laid out.

    As many samples side by side as leave their pictures large enough to see something; a sample
    that is too long for a sheet of its own is broken into rows.
    """
    for most in range(num_samples, 0, -1):
        columns = -(-num_samples // -(-num_samples // most))  # all rows as full
        strip_px = (WIDTH_PX + _GAP_PX) // columns - _GAP_PX
        shown_px = _shown(width, _room(strip_px, num_pictures))
        if shown_px >= min(_COMFORT_PX, _shown(width, _MOST_PX)):
            return Grid(columns, num_pictures, 1, shown_px, max(1, height * shown_px // width))
    for lines in range(1, num_pictures + 1):
        across = -(-num_pictures // lines)
        shown_px = _shown(width, _room(WIDTH_PX, across))
        if shown_px >= _shown(width, _TINY_PX):
            break
    return Grid(1, across, lines, shown_px, max(1, height * shown_px // width))


def whole_grid(num_samples: int, side_px: int) -> Grid:
    """Return a grid of square pictures shown pixel by pixel, tiny ones grown by a whole factor.

    `num_samples` go side by side, fewer where that is too wide for a sheet, but an even number.
    """
    shown_px = side_px * -(-_LEAST_WHOLE_PX // side_px)
    fit = (WIDTH_PX + _GAP_PX) // (shown_px + 2 * _FRAME_PX + _GAP_PX)
    return Grid(max(2, min(num_samples, fit) // 2 * 2), 1, 1, shown_px, shown_px)


def _room(strip_px: int, num_pictures: int) -> int:
    """Return the width of each of `num_pictures` that fill a sample's frame."""
    return (strip_px - 2 * _FRAME_PX + _INNER_PX) // num_pictures - _INNER_PX


def _shown(width: int, room_px: int) -> int:
    """Return the width at which a picture of `width` is shown: small ones grow by whole factors."""
    grown = width * -(-_LEAST_PX // width)
    if min(grown, _MOST_PX) <= room_px:
        return min(grown, _MOST_PX)
    return width * (room_px // width) if width <= room_px else room_px


def draw_samples(strips: Sequence[Strip], grid: Grid) -> PillowImage:
    """Return the samples in rows, each in its frame with its name, if any has one, below."""
    width, height = grid.strip_px
    step = height + (_NAME_SIZE + 14 if any(strip.name for strip in strips) else 6)
    num_rows = -(-len(strips) // grid.columns)
    columns = min(grid.columns, len(strips))
    size = (columns * (width + _GAP_PX) - _GAP_PX, num_rows * step)
    image = Pillow.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for index, strip in enumerate(strips):
        left = index % grid.columns * (width + _GAP_PX)
        top = index // grid.columns * step
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=strip.colour)
        inner = (left + _FRAME_PX, top + _FRAME_PX)
        end = (left + width - 1 - _FRAME_PX, top + height - 1 - _FRAME_PX)
        draw.rectangle((*inner, *end), fill="white")
        for place, picture in enumerate(strip.pictures):
            x = inner[0] + place % grid.across * (grid.width_px + _INNER_PX)
            y = inner[1] + place // grid.across * (grid.height_px + _INNER_PX)
            image.paste(_resized(picture, grid), (x, y))
        name = fitted(strip.name, width - 8, _NAME_SIZE)
        draw.text((left + width / 2, top + height + 4), name, INK, font(_NAME_SIZE), anchor="ma")
    return image


def _resized(picture: Picture, grid: Grid) -> PillowImage:
    size = (grid.width_px, grid.height_px)
    is_grown = grid.width_px > picture.shape[1]
    how = Pillow.Resampling.NEAREST if is_grown else Pillow.Resampling.HAMMING
    return as_image(picture).resize(size, how)


def as_image(picture: Picture) -> PillowImage:
    """Return the picture as Pillow's."""
    return Pillow.fromarray(np.ascontiguousarray(picture))


def text_row(
    parts: Sequence[Words], *, size: int, gaps_px: tuple[int, int] = (0, 0)
) -> PillowImage:
    """Return a line of words, so many pixels above and below it."""
    words = [(drawable(part.text), part.colour, font(size, is_bold=part.is_bold)) for part in parts]
    length = sum(face.getlength(text) for text, _, face in words)
    height = gaps_px[0] + round(1.5 * size) + gaps_px[1]
    image = Pillow.new("RGB", (math.ceil(length) + 1, height), "white")
    draw, x = ImageDraw.Draw(image), 0.0
    for text, colour, face in words:
        draw.text((x, gaps_px[0] + 1.15 * size), text, colour, face, anchor="ls")
        x += face.getlength(text)
    return image


def text_rows(
    items: Sequence[str], *, size: int, width_px: int, gap_px: int = 0
) -> list[PillowImage]:
    """Return `items` in soft lines of at most `width_px`, broken between them."""
    separator = "  ·  "
    lines: list[str] = []
    for item in (fitted(item, width_px, size) for item in items):
        longer = f"{lines[-1]}{separator}{item}" if lines else item
        if lines and font(size).getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(item)
    return [
        text_row([Words(line)], size=size, gaps_px=(gap_px if index == 0 else 0, 0))
        for index, line in enumerate(lines)
    ]


def stacked(rows: Sequence[PillowImage]) -> PillowImage:
    """Return the rows one below the other, white around them."""
    width = max(row.width for row in rows) + 2 * MARGIN_PX
    height = sum(row.height for row in rows) + 2 * MARGIN_PX
    image, top = Pillow.new("RGB", (width, height), "white"), MARGIN_PX
    for row in rows:
        image.paste(row, (MARGIN_PX, top))
        top += row.height
    return image


def fitted(text: str, width_px: float, size: int) -> str:
    """Return `text` with its middle left out as far as it is wider than `width_px`."""
    text, face = drawable(text), font(size)
    if face.getlength(text) <= width_px:
        return text
    fits, too_many = 0, len(text)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        is_narrow = face.getlength(_without_middle(text, middle)) <= width_px
        fits, too_many = (middle, too_many) if is_narrow else (fits, middle)
    return _without_middle(text, fits)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def drawable(text: str) -> str:
    """Return `text` with a mark for each character that is none or that the font lacks."""
    return "".join(c if ord(c) in _glyphs() else "\ufffd" for c in printable(text))


@lru_cache
def font(size: int, *, is_bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of a sheet, the one that Matplotlib brings."""
    # The basic layout is the same with and without the libraries of complex scripts.
    return ImageFont.truetype(_font_file(is_bold), size, layout_engine=ImageFont.Layout.BASIC)


def _font_file(is_bold: bool) -> Path:
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    return Path(get_data_path()) / "fonts" / "ttf" / name


@lru_cache
def _glyphs() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file(False))).get_charmap())
