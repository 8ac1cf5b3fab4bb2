"""The faces of the demo clips: one drawn portrait an identity, with moving eyes and mouth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.opencv import cv2
from workbench.values import Frozen

SIZE_PX = 160

Pixels = NDArray[np.float32]

_EYE_Y = -8.0
_MOUTH_Y = 27.0


class DrawnFace(Frozen):
    """What makes one identity look like nobody else; lengths in pixels from the face's middle."""

    seed: int
    skin: tuple[float, float, float]
    half_width: float
    half_height: float
    jaw: float
    nose_width: float
    nose_length: float
    eye_gap: float
    eye_width: float
    eye_height: float
    iris: tuple[float, float, float]
    brow_height: float
    brow_thickness: float
    brow_slope: float
    mouth_width: float
    lip_height: float
    lips: tuple[float, float, float]
    hair: tuple[float, float, float]
    hair_length: float
    hair_line: float
    pores: float
    blotches: float
    stubble: float
    freckles: int


class Appearance(Frozen):
    """What a face does in one frame: eyelids and mouth in [0, 1], gaze in pixels."""

    lids: float
    gaze_x: float
    gaze_y: float
    opening: float
    spread: float


def draw_face(rng: np.random.Generator) -> DrawnFace:
    """Return the face of a new identity."""
    tone = rng.random()
    light, dark = np.array([238.0, 190.0, 164.0]), np.array([112.0, 68.0, 48.0])
    skin = light + (dark - light) * tone + rng.normal(0, 5) + rng.normal(0, 3, 3)
    hair_tones = np.array([(28, 22, 20), (66, 42, 28), (120, 84, 48), (190, 160, 104), (150,) * 3])
    hair = hair_tones[rng.integers(2 if tone > 0.6 else 5)] + rng.normal(0, 6, 3)
    irises = np.array([(70, 44, 28), (96, 68, 36), (84, 104, 72), (80, 112, 144)])
    lips = skin * np.array([0.86, 0.58, 0.60]) + rng.normal(0, 7, 3)
    return DrawnFace(
        seed=int(rng.integers(2**31)),
        skin=_color(skin),
        half_width=float(rng.uniform(34, 41)),
        half_height=float(rng.uniform(49, 56)),
        jaw=float(rng.uniform(0.10, 0.34)),
        nose_width=float(rng.uniform(5.0, 8.5)),
        nose_length=float(rng.uniform(15, 20)),
        eye_gap=float(rng.uniform(15, 18.5)),
        eye_width=float(rng.uniform(7.0, 9.0)),
        eye_height=float(rng.uniform(3.0, 4.6)),
        iris=_color(irises[rng.integers(1 if tone > 0.7 else 4)] + rng.normal(0, 6, 3)),
        brow_height=float(rng.uniform(8.5, 12)),
        brow_thickness=float(rng.uniform(1.3, 2.8)),
        brow_slope=float(rng.uniform(-0.15, 0.2)),
        mouth_width=float(rng.uniform(12, 16.5)),
        lip_height=float(rng.uniform(2.6, 4.6)),
        lips=_color(lips),
        hair=_color(hair),
        hair_length=float(rng.choice([0.0, 25.0, 70.0]) + rng.uniform(0, 12)),
        hair_line=float(rng.uniform(0.55, 0.78)),
        pores=float(rng.uniform(2.5, 5.5)),
        blotches=float(rng.uniform(2.0, 5.0)),
        stubble=float(max(0.0, rng.uniform(-0.25, 0.3))),
        freckles=max(0, int(rng.integers(-60, 60))),
    )


class Portrait:
    """A face drawn once under one light, onto which each frame's eyes and mouth are set."""

    def __init__(self, face: DrawnFace, light: Pixels) -> None:
        self._face = face
        grid = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
        self._y = grid[0] - SIZE_PX / 2
        self._x = grid[1] - SIZE_PX / 2
        rng = np.random.default_rng([face.seed])
        skin, shade, alpha = self._skin(rng, light)
        color, alpha = self._hair(rng, skin * shade[..., None], alpha, shade)
        self._color = color
        self._shade = shade
        self._alpha = alpha

    def set(self, look: Appearance) -> Pixels:
        """Return the head as RGB and coverage (size, size, 4), color in [0, 255]."""
        color = self._color.copy()
        for side in (-1.0, 1.0):
            self._eye(color, side, look)
        self._mouth(color, look)
        return np.dstack([color, self._alpha])

    def _skin(self, rng: np.random.Generator, light: Pixels) -> tuple[Pixels, Pixels, Pixels]:
        face, x, y = self._face, self._x, self._y
        low = np.clip(y / face.half_height, 0, 1)
        width = face.half_width * (1 - face.jaw * low**1.7)
        radius = np.sqrt((x / width) ** 2 + (y / face.half_height) ** 2)
        alpha = _edge((1 - radius) * face.half_width, 1.2)
        ears = (np.abs(x) - face.half_width * 0.99) ** 2 / 16 + (y + 2) ** 2 / 100
        alpha = np.maximum(alpha, _edge((1 - np.sqrt(ears)) * 5, 1.2))

        height = 30 * np.sqrt(np.clip(1 - radius**2, 0.02, 1))
        along = np.clip((y - _EYE_Y) / face.nose_length, 0, 1)
        nose = np.exp(-((x / (face.nose_width * (0.45 + 0.4 * along))) ** 2))
        tip = _EYE_Y + face.nose_length
        height += 9 * along * nose * _edge(tip + 3 - y, 5)
        for side in (-1, 1):
            height -= 3.5 * _bump(x - side * face.eye_gap, y - _EYE_Y, 9, 6)
            height += 2.0 * _bump(x - side * face.eye_gap, y - _EYE_Y + face.brow_height, 11, 4)
            height += 3.0 * _bump(x - side * 21, y - 10, 11, 10)
        height += 2.5 * _bump(x, y - 44, 10, 6)
        height -= 1.5 * _bump(x, y - 37, 9, 3)
        down, right = np.gradient(height)
        facing = (light[0] * -right + light[1] * -down + light[2]) / np.sqrt(right**2 + down**2 + 1)
        shade = (0.42 + 0.70 * np.clip(facing, 0, 1)).astype(np.float32)

        skin = np.broadcast_to(_rgb(face.skin), (*x.shape, 3)).copy()
        skin += (_noise(rng, 6.0) * face.blotches)[..., None] * _rgb([1.0, 0.7, 0.6])
        skin += (_noise(rng, 0.6) * face.pores + _noise(rng, 1.3) * face.pores * 0.6)[..., None]
        for side in (-1, 1):
            flush = _bump(x - side * 21, y - 13, 10, 9)[..., None]
            skin += flush * _rgb([7.0, -5.0, -4.0])
            nostril = _bump(x - side * face.nose_width * 0.55, y - tip - 1.5, 2.1, 1.3)
            skin *= 1 - 0.55 * nostril[..., None]
        for _ in range(face.freckles):
            spot_x, spot_y = rng.normal(0, 17), rng.normal(8, 9)
            skin *= 1 - 0.14 * _bump(x - spot_x, y - spot_y, 0.8, 0.8)[..., None]
        beard = _edge(y - 15 - 0.012 * (25 - np.abs(x)) ** 2, 8) * _edge(radius * 40 - 10, 8)
        skin *= 1 - (face.stubble * beard * (1 + 0.35 * _noise(rng, 0.5)))[..., None]
        for side in (-1, 1):
            self._brow(rng, skin, side)
        shine = np.clip(facing, 0, 1) ** 24 * 26
        return (skin + shine[..., None]).astype(np.float32), shade, alpha.astype(np.float32)

    def _brow(self, rng: np.random.Generator, skin: Pixels, side: int) -> None:
        face = self._face
        across = (self._x * side - face.eye_gap) / (face.eye_width + 3)
        arch = _EYE_Y - face.brow_height - face.brow_slope * 6 * across + 2.2 * across**2
        thick = face.brow_thickness * np.clip(1.15 - 0.4 * across, 0.3, 2)
        cover = _edge(thick - np.abs(self._y - arch), 1.2) * _edge((1 - np.abs(across)) * 10, 2)
        cover = (cover * np.clip(0.75 + 0.25 * _noise(rng, 0.6), 0, 1))[..., None]
        skin += cover * (_rgb(face.hair) * 0.8 - skin)

    def _hair(
        self, rng: np.random.Generator, color: Pixels, alpha: Pixels, shade: Pixels
    ) -> tuple[Pixels, Pixels]:
        face, x, y = self._face, self._x, self._y
        cap = np.sqrt((x / (face.half_width + 7)) ** 2 + ((y + 4) / (face.half_height + 8)) ** 2)
        outside = (1 - cap) * face.half_width
        ragged = 2.0 * _noise(rng, 2.0)
        line = -face.half_height * face.hair_line + 0.016 * x**2 + ragged
        temples = (np.abs(x) - face.half_width * 0.9 + ragged * 0.5) * 1.2
        front = np.maximum(line - y, temples)
        end = _edge(face.hair_length - 12 - y + ragged, 3)
        sides = _edge(face.half_width + 9 - np.abs(x) + ragged * 0.5, 2) * (y > -8)
        cover = np.maximum(_edge(outside, 2) * (y <= -8), sides) * _edge(front, 2.5) * end
        strands = cv2.GaussianBlur(
            rng.standard_normal(x.shape).astype(np.float32), (0, 0), 0.7, sigmaY=6
        )
        strands /= strands.std()
        gloss = (0.8 + 0.35 * shade + 0.16 * strands)[..., None]
        cover = cover[..., None]
        mixed = color * (1 - cover) + cover * _rgb(face.hair) * gloss
        return mixed.astype(np.float32), np.maximum(alpha, cover[..., 0]).astype(np.float32)

    def _eye(self, color: Pixels, side: float, look: Appearance) -> None:
        face = self._face
        rows, columns = _window(side * face.eye_gap, _EYE_Y, 14, 11)
        x = (self._x[rows, columns] - side * face.eye_gap) / face.eye_width
        y = self._y[rows, columns] - _EYE_Y
        spot = color[rows, columns]
        shade = self._shade[rows, columns][..., None]
        curve = np.clip(1 - x**2, 0, 1)
        upper = -face.eye_height * curve * (2 * look.lids - 1) - 0.8 * (1 - look.lids)
        lower = 0.62 * face.eye_height * curve
        inside = (_edge(y - upper, 1.0) * _edge(lower - y, 1.0) * (curve > 0))[..., None]
        ball = _rgb([222, 216, 212]) * (0.72 + 0.28 * curve[..., None]) * shade
        away = np.hypot(x * face.eye_width - look.gaze_x, y + 0.5 - look.gaze_y)
        ball = _over(ball, _rgb(face.iris) * shade, _edge(3.6 - away, 1.0))
        ball = _over(ball, _rgb([14, 12, 12]), _edge(1.6 - away, 0.9))
        glint = np.hypot(x * face.eye_width - look.gaze_x + 1.2, y + 1.7 - look.gaze_y)
        ball = _over(ball, _rgb([240, 240, 240]), 0.9 * _edge(0.9 - glint, 0.8))
        lash = np.exp(-(((y - upper) / 0.9) ** 2)) * (np.abs(x) < 1.1) * np.clip(1.3 - x**2, 0, 1)
        crease = np.exp(-(((y + face.eye_height * curve * 1.5 + 2.2) / 1.0) ** 2)) * curve
        spot *= 1 - 0.22 * crease[..., None]
        spot += inside * (ball - spot)
        spot += (0.75 * lash)[..., None] * (_rgb([26, 20, 18]) - spot)

    def _mouth(self, color: Pixels, look: Appearance) -> None:
        face = self._face
        rows, columns = _window(0.0, _MOUTH_Y, 24, 18)
        half = face.mouth_width * (0.82 + 0.26 * look.spread) * (1 - 0.06 * look.opening)
        x = self._x[rows, columns] / half
        y = self._y[rows, columns] - _MOUTH_Y
        spot = color[rows, columns]
        shade = self._shade[rows, columns][..., None]
        curve = np.clip(1 - x**2, 0, 1)
        gap = 7.0 * look.opening * curve
        top, bottom = -0.3 * gap, 0.7 * gap
        bow = 1 - 0.25 * np.exp(-((x * half / 2.2) ** 2))
        upper = top - face.lip_height * 0.8 * curve**0.7 * bow
        lower = bottom + face.lip_height * curve**0.8
        lips = (_edge(y - upper, 1.2) * _edge(lower - y, 1.2) * (curve > 0))[..., None]
        grain = 1 + 0.04 * np.sin(x * half * 2.1)[..., None]
        round_ = 0.85 + 0.25 * np.exp(-(((y - bottom - 0.45 * face.lip_height) / 1.6) ** 2))
        spot += lips * (_rgb(face.lips) * grain * shade * round_[..., None] - spot)
        hole = _edge(y - top, 1.0) * _edge(bottom - y, 1.0) * (curve > 0)
        seam = np.exp(-(((y - top) / 0.7) ** 2)) * curve
        inner = np.broadcast_to(_rgb([52, 20, 20]), spot.shape) * shade
        teeth = _edge(top + 2.6 - y, 0.8) * (np.abs(x) < 0.75)
        inner = _over(inner, _rgb([214, 206, 194]) * shade, teeth)
        spot += hole[..., None] * (inner - spot)
        spot *= 1 - 0.5 * (seam * (1 - hole))[..., None]


def _color(value: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = np.clip(value, 8, 248)
    return float(red), float(green), float(blue)


def _rgb(color: Sequence[float]) -> Pixels:
    return np.array(color, np.float32)


def _edge(distance: NDArray[np.floating], softness: float) -> NDArray[np.floating]:
    """Return coverage in [0, 1] of a shape at a signed `distance` inside it, in pixels."""
    part = np.clip(distance / softness + 0.5, 0, 1)
    return part * part * (3 - 2 * part)


def _bump(
    x: NDArray[np.floating], y: NDArray[np.floating], across: float, down: float
) -> NDArray[np.floating]:
    return np.exp(-((x / across) ** 2) - (y / down) ** 2)


def _over(under: Pixels, color: Pixels, cover: NDArray[np.floating]) -> Pixels:
    return under + cover[..., None] * (color - under)


def _noise(rng: np.random.Generator, sigma_px: float) -> Pixels:
    """Return smooth noise (size, size) of standard deviation 1."""
    noise = cv2.GaussianBlur(
        rng.standard_normal((SIZE_PX, SIZE_PX)).astype(np.float32), (0, 0), sigma_px
    )
    return noise / noise.std()


def _window(x: float, y: float, half_width: int, half_height: int) -> tuple[slice, slice]:
    row, column = round(y + SIZE_PX / 2), round(x + SIZE_PX / 2)
    return (
        slice(row - half_height, row + half_height),
        slice(column - half_width, column + half_width),
    )
