"""The picture of a demo clip: a head that talks before a wall, seen by a camera."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workbench.demo.face import SIZE_PX, Appearance, DrawnFace, Pixels, Portrait
from workbench.opencv import cv2
from workbench.values import Frozen

FPS = 25

FrameStack = NDArray[np.uint8]
Poses = NDArray[np.float64]

_MIDDLE = SIZE_PX / 2


class Scene(Frozen):
    """Where and how a clip was filmed; a real clip and its fake twin share it."""

    seed: int
    light: tuple[float, float, float]
    scale: float
    center_x: float
    center_y: float
    sway: float
    brightness: float
    warmth: float
    blur_px: float
    grain: float
    jpeg_quality: int
    resize: float
    sharpen: float


def draw_scene(rng: np.random.Generator) -> Scene:
    """Return one filming condition."""
    across, down = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.1)
    norm = float(np.sqrt(across**2 + down**2 + 0.64))
    return Scene(
        seed=int(rng.integers(2**31)),
        light=(float(across / norm), float(down / norm), 0.8 / norm),
        scale=float(rng.uniform(1.0, 1.2)),
        center_x=float(rng.uniform(-9, 9)),
        center_y=float(rng.uniform(-4, 6)),
        sway=float(rng.uniform(0.4, 1.6)),
        brightness=float(rng.uniform(0.85, 1.1)),
        warmth=float(rng.uniform(-0.06, 0.06)),
        blur_px=float(rng.uniform(0.3, 0.7)),
        grain=float(rng.uniform(1.5, 5.0)),
        jpeg_quality=int(rng.integers(70, 96)),
        resize=float(rng.choice([1.0, rng.uniform(0.75, 1.0)])),
        sharpen=float(max(0.0, rng.uniform(-0.5, 0.6))),
    )


def film(
    face: DrawnFace,
    scene: Scene,
    rng: np.random.Generator,
    opening: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> tuple[FrameStack, Poses]:
    """Return the frames (frames, size, size, 3) RGB, and where the head is in each.

    A pose (2, 3) takes a point of the portrait to its place in the frame, in pixels.
    """
    num_frames = len(opening)
    portrait = Portrait(face, np.array(scene.light, np.float32))
    wall = _wall(face, scene)
    poses, yaws = _motion(scene, rng, num_frames)
    lids, gazes = _blinks(rng, num_frames), _drift(rng, (num_frames, 2), 6.0)
    grains = rng.standard_normal((4, SIZE_PX + 32, SIZE_PX + 32, 3)).astype(np.float32)
    grains = np.stack([cv2.GaussianBlur(grain, (0, 0), 0.5) * 1.6 for grain in grains])
    frames = np.empty((num_frames, SIZE_PX, SIZE_PX, 3), np.uint8)
    for i in range(num_frames):
        look = Appearance(
            lids=float(lids[i]),
            gaze_x=float(0.9 * gazes[i, 0]),
            gaze_y=float(0.4 * gazes[i, 1]),
            opening=float(opening[i]),
            spread=float(spread[i]),
        )
        head = _turned(portrait.set(look), poses[i], float(yaws[i]), 3.5 * look.opening)
        cover = head[..., 3:]
        frames[i] = _camera(head[..., :3] * cover + wall * (1 - cover), scene, grains, rng)
    return frames, poses


def jpeg_compressed(frame: FrameStack, quality: int) -> FrameStack:
    """Return `frame` (height, width, 3) after a JPEG of `quality`."""
    data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return decoded[..., ::-1]


def _turned(head: Pixels, pose: Poses, yaw: float, jaw_px: float) -> Pixels:
    """Return the head as posed, its nearer parts shifted by `yaw` and its chin dropped."""
    back = cv2.invertAffineTransform(pose).astype(np.float32)
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    u = back[0, 0] * x + back[0, 1] * y + back[0, 2]
    v = back[1, 0] * x + back[1, 1] * y + back[1, 2]
    from_x, from_y = (u - _MIDDLE) / 40, (v - _MIDDLE) / 54
    u -= np.float32(yaw) * np.sqrt(np.clip(1 - from_x**2 - from_y**2, 0, 1))
    v -= np.float32(jaw_px) * np.clip((v - _MIDDLE - 28) / 16, 0, 1)
    return cv2.remap(head, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _camera(light: Pixels, scene: Scene, grains: Pixels, rng: np.random.Generator) -> FrameStack:
    gain = scene.brightness * np.array([1 + scene.warmth, 1.0, 1 - scene.warmth], np.float32)
    image = cv2.GaussianBlur(light * gain, (0, 0), scene.blur_px)
    left, top = rng.integers(32, size=2)
    grain = grains[rng.integers(len(grains)), top : top + SIZE_PX, left : left + SIZE_PX]
    image += grain * (scene.grain * (0.6 + 0.4 * np.sqrt(np.clip(image, 0, 255) / 128)))
    if scene.resize < 1:
        small = round(SIZE_PX * scene.resize)
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)
    if scene.sharpen > 0:
        image += scene.sharpen * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    return jpeg_compressed(np.clip(image, 0, 255).astype(np.uint8), scene.jpeg_quality)


def _motion(scene: Scene, rng: np.random.Generator, num_frames: int) -> tuple[Poses, Poses]:
    """Return the head's poses (frames, 2, 3) and its turn to the side, in pixels."""
    drift = _drift(rng, (num_frames, 5), 9.0) * scene.sway
    angle = np.deg2rad(2.2 * drift[:, 0])
    scale = scene.scale * (1 + 0.008 * drift[:, 1])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x = _MIDDLE + scene.center_x + 2.2 * drift[:, 2]
    y = _MIDDLE + scene.center_y + 1.6 * drift[:, 3]
    shift_x = x - cos * _MIDDLE + sin * _MIDDLE
    shift_y = y - sin * _MIDDLE - cos * _MIDDLE
    rows = [np.stack([cos, -sin, shift_x], 1), np.stack([sin, cos, shift_y], 1)]
    return np.stack(rows, 1), 3.0 * drift[:, 4]


def _drift(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Poses:
    """Return slow random paths (frames, n) of about unit size."""
    paths = ndimage.gaussian_filter1d(rng.standard_normal((shape[0] + 60, shape[1])), sigma, axis=0)
    return (paths / paths.std(axis=0))[30 : 30 + shape[0]]


def _blinks(rng: np.random.Generator, num_frames: int) -> Poses:
    """Return how open the lids are (frames,), in [0, 1]."""
    lids = np.full(num_frames, 0.93)
    for start in np.cumsum(rng.uniform(15, 70, size=4)) - 12:
        away = np.abs(np.arange(num_frames) - start)
        lids = np.minimum(lids, np.clip((away - 0.8) / 2.2, 0.05, 0.93))
    return lids


def _wall(face: DrawnFace, scene: Scene) -> Pixels:
    """Return what stands behind the head: a wall out of focus, a neck, shoulders in cloth."""
    rng = np.random.default_rng([scene.seed])
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    base, other = (rng.uniform(50, 210) + rng.normal(0, 16, 3) for _ in range(2))
    ramp = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) / SIZE_PX
    wall = np.float32(base) + ramp[..., None] * np.float32(other - base) * 0.5
    for _ in range(rng.integers(2, 6)):
        left, top = rng.integers(-20, SIZE_PX - 10, size=2)
        right, bottom = left + rng.integers(15, 70), top + rng.integers(15, 90)
        color = np.clip(base + rng.normal(0, 35) + rng.normal(0, 20, 3), 10, 245)
        cv2.rectangle(wall, (int(left), int(top)), (int(right), int(bottom)), color.tolist(), -1)
    wall = cv2.GaussianBlur(wall, (0, 0), float(rng.uniform(1.0, 4.0)))
    wall += cv2.GaussianBlur(
        rng.standard_normal((SIZE_PX, SIZE_PX, 1)).astype(np.float32), (0, 0), 1.0
    )[..., None] * np.float32(rng.uniform(2, 14))
    center = _MIDDLE + scene.center_x
    chin = _MIDDLE + scene.center_y + face.half_height * scene.scale
    neck = np.clip((face.half_width * 0.62 - np.abs(x - center)) / 2 + 0.5, 0, 1) * (y > chin - 30)
    fold = 0.62 - 0.2 * np.abs(x - center)[..., None] / 30
    wall += neck[..., None] * (np.array(face.skin, np.float32) * fold - wall)
    slope = chin + 8 + ((x - center) / 11) ** 2 * 0.55
    cloth = np.clip((y - slope) / 2 + 0.5, 0, 1)[..., None]
    weave = 1 + 0.06 * rng.standard_normal((SIZE_PX, SIZE_PX, 1)).astype(np.float32)
    cloth_color = np.float32(rng.uniform(30, 180) + rng.normal(0, 28, 3))
    wall += cloth * (np.clip(cloth_color, 10, 230) * weave - wall)
    return np.clip(wall, 0, 255).astype(np.float32)
