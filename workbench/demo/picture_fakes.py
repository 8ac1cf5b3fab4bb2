"""How the demo's picture is forged: blended onto itself, patched, or grown from few pixels."""

import numpy as np
from numpy.typing import NDArray

from workbench.demo.face import SIZE_PX, DrawnFace
from workbench.demo.picture import FrameStack, Poses, jpeg_compressed
from workbench.opencv import cv2

_Cover = NDArray[np.float32]


def self_blend(
    frames: FrameStack, poses: Poses, face: DrawnFace, rng: np.random.Generator
) -> FrameStack:
    """Return `frames` (frames, size, size, 3) with each face laid over itself, slightly changed.

    Source:
        Shiohara and Yamasaki, "Detecting deepfakes with self-blended images", 2022: the idea of
        a source and a target made of one image.
    """
    gains = _cast(rng, 0.05, 0.11)
    angle, zoom = rng.uniform(-2, 2), 1 + rng.uniform(0.02, 0.05) * rng.choice([-1, 1])
    shift = rng.uniform(-2.0, 2.0, 2)
    blur_px, sharpen = rng.uniform(0.8, 1.5), rng.uniform(0.8, 1.5)
    blurs = rng.random() < 0.6
    region, feather = _region(face, rng, "face"), float(rng.uniform(1.2, 3.0))
    forged = np.empty_like(frames)
    for i, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
        middle = pose @ np.array([SIZE_PX / 2, SIZE_PX / 2, 1.0])
        matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), angle, zoom)
        matrix[:, 2] += shift + rng.normal(0, 0.15, 2)
        donor = frame.astype(np.float32)
        soft = cv2.GaussianBlur(donor, (0, 0), blur_px)
        donor = soft if blurs else donor + sharpen * (donor - soft)
        donor = cv2.warpAffine(donor * gains, matrix, (SIZE_PX, SIZE_PX))
        forged[i] = _blended(frame, donor, _cover(region, pose, feather))
    return forged


def swap_patch(
    frames: FrameStack, poses: Poses, face: DrawnFace, rng: np.random.Generator
) -> FrameStack:
    """Return `frames` with a patch of each face taken from another moment, coarsely compressed."""
    num_frames = len(frames)
    offset = int(rng.integers(num_frames // 4, num_frames - num_frames // 4))
    quality, gains = int(rng.integers(8, 21)), _cast(rng, 0.02, 0.08)
    left, top = rng.integers(1, 8, size=2)
    region = _region(face, rng, str(rng.choice(["face", "lower", "upper"], p=[0.6, 0.2, 0.2])))
    feather = float(rng.uniform(0.5, 1.3))
    forged = np.empty_like(frames)
    for i, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
        other = (i + offset) % num_frames
        matrix = _after(pose, cv2.invertAffineTransform(poses[other]))
        # The patch has block borders of its own, off the grid of the frame it goes into.
        padded = cv2.copyMakeBorder(frames[other], top, 8, left, 8, cv2.BORDER_REFLECT)
        coarse = jpeg_compressed(padded, quality)[top : top + SIZE_PX, left : left + SIZE_PX]
        donor = cv2.warpAffine(coarse, matrix, (SIZE_PX, SIZE_PX)) * gains
        forged[i] = _blended(frame, donor, _cover(region, pose, feather))
    return forged


def grow(frames: FrameStack, poses: Poses, face: DrawnFace, rng: np.random.Generator) -> FrameStack:
    """Return `frames` with each face grown from a third of its pixels, as generators grow theirs.

    Its up-sampling is a transposed convolution, with the faint checkerboard that networks leave
    where the stride does not divide their kernel.

    Source:
        Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", 2016.
    """
    stride = 3
    taps = np.convolve(np.ones(stride), np.hanning(stride + 4)[1:-1]).astype(np.float32)
    taps *= stride / taps.sum()
    gains = _cast(rng, 0.02, 0.05)
    ripple = float(rng.uniform(0.008, 0.025))
    region, feather = _region(face, rng, "face"), float(rng.uniform(1.5, 3.0))
    forged = np.empty_like(frames)
    for i, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
        small_px = -(-SIZE_PX // stride)
        size = (small_px, small_px)
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        holes = np.zeros((small_px * stride, small_px * stride, 3), np.float32)
        holes[::stride, ::stride] = small
        grown = cv2.sepFilter2D(holes, -1, taps, taps, borderType=cv2.BORDER_REFLECT)
        grown[stride // 2 :: stride] *= 1 + ripple
        grown[:, stride // 2 :: stride] *= 1 - ripple
        grown = grown[:SIZE_PX, :SIZE_PX] * gains
        grown += 0.5 * (grown - cv2.GaussianBlur(grown, (0, 0), 1.5))
        forged[i] = _blended(frame, grown, _cover(region, pose, feather))
    return forged


def _cast(rng: np.random.Generator, least: float, most: float) -> _Cover:
    """Return the gains (3,) of the colors, since no forger matches a face's light exactly."""
    return (1 + rng.uniform(least, most, 3) * rng.choice([-1, 1], 3)).astype(np.float32)


def _region(face: DrawnFace, rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    """Return the outline (points, 2) of a part of the face, in the pixels of the portrait."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    wobble = 1 + 0.07 * np.sin(2 * angle + rng.uniform(0, 6)) * rng.uniform(0, 1)
    wobble *= 1 + 0.05 * np.sin(3 * angle + rng.uniform(0, 6)) * rng.uniform(0, 1)
    middle_y, half_y = {"face": (6.0, 38.0), "lower": (24.0, 17.0), "upper": (-8.0, 15.0)}[kind]
    half_x = face.half_width * {"face": 0.78, "lower": 0.62, "upper": 0.8}[kind]
    half_x *= rng.uniform(0.88, 1.05)
    half_y *= rng.uniform(0.88, 1.05)
    x = SIZE_PX / 2 + half_x * wobble * np.cos(angle)
    y = SIZE_PX / 2 + middle_y + half_y * wobble * np.sin(angle)
    return np.stack([x, y], axis=1)


def _cover(region: NDArray[np.float64], pose: NDArray[np.float64], feather: float) -> _Cover:
    """Return how much (size, size, 1) of each pixel the forged region takes, in [0, 1]."""
    points = region @ pose[:, :2].T + pose[:, 2]
    cover = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    cv2.fillPoly(cover, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(cover, (0, 0), feather)[..., None]


def _blended(frame: FrameStack, donor: NDArray[np.float32], cover: _Cover) -> FrameStack:
    mixed = frame + cover * (donor - frame)
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _after(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine map (2, 3) that does `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    shift = second[:, :2] @ first[:, 2] + second[:, 2]
    return np.column_stack([linear, shift])
