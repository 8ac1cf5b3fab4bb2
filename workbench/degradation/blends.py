"""Self-blended images: fakes made of a real picture laid over itself, at its own size.

The traces that are to be learned, a border and a part of another sharpness, are those of the file's
own pixels: a view that is made smaller later shrinks them as it does those of a real forgery.

Source:
    Shiohara and Yamasaki 2022, arXiv:2204.08376, section 3; numbers called official are those of
    the authors' code, github.com/mapooon/SelfBlendedImages. `parts.augment_blending` does the same
    to what a model reads, without landmarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.media.face_detectors import Face
from workbench.media.view import Picture
from workbench.opencv import cv2

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""How much of the source shows inside the region, each as likely: the paper's."""

RGB_CHANCE, RGB_LEVELS = 0.3, 20
"""Red, green and blue are shifted apart, by up to so many levels: official."""

LIGHT, HUE_DEG = 0.1, 3.0
"""Of brightness and contrast, official; also of saturation, and of the hue, ours: the official
changes of these two cannot be seen."""

SMALLER, LEAST_PX = (2, 4), 64
"""Down to a half or a quarter and up again: official. But of a face at least 64 pixels are left."""

SHARPEN = (0.2, 0.5)
"""Nine times this of what the mean of 3 x 3 pixels takes away is added: official."""

SHIFT_X, SHIFT_Y, ZOOM = 0.03, 0.015, 1 / 0.95
"""Largest move of the source, as shares of a crop, and largest zoom or its inverse: official."""

CROP = 1.6
"""Side of the crop that shares are of, in sides of the face's box."""

MIDDLE, WIDE, TALL = 0.44, 0.8, 1.15
"""Of a face's outline, an ellipse: its middle on the way from the eyes to the mouth, and its radii
across and along, in distances from the eyes to the mouth."""

BOUNDS = ((-9.0, 9.0), (-0.75, 9.0), (-0.1, 9.0), (-0.75, 0.3))
"""Of the region along the face, from its middle, in the same: the whole face, it without its
forehead, its lower half, or eyes and nose. The paper takes four hulls of 81 landmarks."""

SIZE, BEND = (0.85, 1.1), 0.05
"""The outline is larger or smaller, and each of four waves around it is up to so high."""

CENTRE, RADIUS = (0.4, 0.6), (0.15, 0.35)
"""Of an ellipse where no face is found, as shares of the sides."""

SOFTNESS = (0.0065, 0.032)
"""Deviation of the Gaussian that softens the border, as a share of a crop: the official boxes'."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Place:
    """Where a region lies: an ellipse along a direction."""

    middle: Points
    down: Points
    tall: float
    wide: float
    crop: float
    """Side of the crop, in pixels."""

    bounds: tuple[float, float]


def with_self_blend(
    picture: Picture, faces: Sequence[Face], rng: np.random.Generator, *, is_fake: bool
) -> Picture:
    """Return a picture with a blend of itself over each face; or the real one to learn beside it.

    One of source and target, by a coin, has other colours and another sharpness. The target is the
    real picture of a pair, as officially: beside the picture as it was, every change of the target
    would tell the fake, and the border nothing.

    Args:
        picture: RGB.
        faces: Their five landmarks say where the region lies. Without any, it is an ellipse about
            the picture's middle.
        rng: The same numbers for all frames of a video, and for both pictures of a pair.
        is_fake: Whether the blend is wanted, or its target.
    """
    shift = rng.uniform(-RGB_LEVELS, RGB_LEVELS, 3) * (rng.random() < RGB_CHANCE)
    light, contrast, saturation = rng.uniform(1 - LIGHT, 1 + LIGHT, 3)
    turn_rad = np.deg2rad(rng.uniform(-HUE_DEG, HUE_DEG))
    smaller, sharper = float(rng.choice(SMALLER)), rng.uniform(*SHARPEN)
    is_smaller, to_source = rng.random(2) < 0.5
    move = rng.uniform(-1, 1, 2) * (SHIFT_X, SHIFT_Y)
    zoom = ZOOM ** rng.uniform(-1, 1)
    ratio, bounds = rng.choice(RATIOS), BOUNDS[rng.integers(len(BOUNDS))]
    size, softness = rng.uniform(*SIZE), rng.uniform(*SOFTNESS)
    waves = np.stack([rng.uniform(-BEND, BEND, 4), rng.uniform(0, 2 * np.pi, 4)])
    centre, radius = rng.uniform(*CENTRE, 2), rng.uniform(*RADIUS, 2)

    places = [place for face in faces if (place := _place_of(face, bounds))]
    if not places:
        sides = np.array(picture.shape[1::-1], float)
        wide, tall = radius * sides
        middle, crop = centre * sides, float(sides.min())
        places = [_Place(middle, np.array([0.0, 1.0]), tall, wide, crop, (-9.0, 9.0))]
    changed = _recoloured(picture, light, contrast, saturation, turn_rad, shift)
    if is_smaller:
        face_px = max(place.crop for place in places) / CROP
        changed = _coarser(changed, min(1.0, max(1 / smaller, LEAST_PX / face_px)))
    else:
        changed = _sharpened(changed, sharper)
    source, target = (changed, picture) if to_source else (picture, changed)
    if not is_fake:
        return target
    blend = target.copy()
    for place in places:
        outline = _outline(place, size, waves)
        _lay(blend, source, outline, place, move=move, zoom=zoom, ratio=ratio, softness=softness)
    return blend


def _place_of(face: Face, bounds: tuple[float, float]) -> _Place | None:
    points = np.array(face.landmarks)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    length = float(np.linalg.norm(mouth - eyes))
    if length < 4:
        return None
    down = (mouth - eyes) / length
    middle = eyes + MIDDLE * length * down
    bounds = (bounds[0] * length, bounds[1] * length)
    return _Place(middle, down, TALL * length, WIDE * length, CROP * face.side, bounds)


def _outline(place: _Place, size: float, waves: Points) -> Points:
    """Return (points, 2) around a region."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    number = np.arange(2, 6)[:, None]
    radius = size * (1 + (waves[0][:, None] * np.cos(number * angle + waves[1][:, None])).sum(0))
    along = (place.tall * radius * np.cos(angle)).clip(*place.bounds)
    across = place.wide * radius * np.sin(angle)
    right = np.array([place.down[1], -place.down[0]])
    return place.middle + along[:, None] * place.down + across[:, None] * right


def _lay(
    blend: Picture,
    source: Picture,
    outline: Points,
    place: _Place,
    *,
    move: Points,
    zoom: float,
    ratio: float,
    softness: float,
) -> None:
    """Lay the inside of an outline of `source`, moved and zoomed, over `blend`."""
    sigma = max(0.5, softness * place.crop)
    reach = np.ceil(3 * sigma) + 1
    sides = np.array(blend.shape[1::-1])
    left, top = np.floor(outline.min(axis=0) - reach).clip(0, sides - 1).astype(int)
    right, bottom = np.ceil(outline.max(axis=0) + reach).clip(1, sides).astype(int)
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.float32)
    cv2.fillPoly(mask, [np.rint(outline - (left, top)).astype(np.int32)], 1.0)
    weight = ratio * cv2.GaussianBlur(mask, (0, 0), sigma)[..., None]
    # From a place in the blend to where that lies in the source.
    shift = place.middle - (place.middle + move * place.crop) / zoom + np.array([left, top]) / zoom
    there = np.column_stack([np.eye(2) / zoom, shift])
    moved = cv2.warpAffine(
        source,
        there,
        (int(right - left), int(bottom - top)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    here = blend[top:bottom, left:right]
    here[:] = np.rint(here + weight * (moved.astype(np.float32) - here)).astype(np.uint8)


def _recoloured(
    picture: Picture,
    light: float,
    contrast: float,
    saturation: float,
    turn_rad: float,
    shift: Points,
) -> Picture:
    """Return a picture in other colours: one affine map of red, green and blue."""
    cos, sin = np.cos(turn_rad), np.sin(turn_rad) / np.sqrt(3)
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turned = cos * np.eye(3) + sin * across + (1 - cos) * grey  # about the axis of greys
    colours = turned @ (saturation * np.eye(3) + (1 - saturation) * grey)
    add = light * (1 - contrast) * 128 + shift
    how = np.column_stack([light * contrast * colours, add])
    return np.asarray(cv2.transform(picture, how), np.uint8)


def _coarser(picture: Picture, share: float) -> Picture:
    """Return a picture made smaller, to a share of its sides, and large again."""
    height, width = picture.shape[:2]
    small = cv2.resize(
        picture,
        (max(1, round(width * share)), max(1, round(height * share))),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _sharpened(picture: Picture, amount: float) -> Picture:
    soft = cv2.blur(picture, (3, 3))
    return np.asarray(cv2.addWeighted(picture, 1 + 9 * amount, soft, -9 * amount, 0), np.uint8)
