"""What happens to a picture on its way: each function takes RGB, and returns RGB of the same size.

Frames of a video are changed one by one. Sizes are relative to the picture's, where a model that
sees it smaller would not notice otherwise.
"""

import numpy as np

from workbench.media.source import failure
from workbench.media.view import Picture
from workbench.opencv import cv2

_BLUR_SHARE = 1 / 150
"""Of the shorter side, the standard deviation of the blur: 1.5 pixels of 224."""

_NOISE = 10.0
"""Standard deviation of the noise, in grey levels."""

_MOST_JPEG_PX = 65_500
"""A side of a JPEG is at most so long (libjpeg's JPEG_MAX_DIMENSION)."""


def as_jpeg(picture: Picture, quality: int) -> Picture:
    """Return a picture as a JPEG of that quality (1 to 100) has it, colours at half resolution.

    Raises:
        MediaError: too_large.
    """
    if max(picture.shape[:2]) > _MOST_JPEG_PX:
        raise failure("too_large", f"no JPEG has a side of more than {_MOST_JPEG_PX} pixels")
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def half_size(picture: Picture) -> Picture:
    """Return a picture that was scaled to half its width and height, and back."""
    height, width = picture.shape[:2]
    half = (max(1, width // 2), max(1, height // 2))
    small = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def with_blur(picture: Picture) -> Picture:
    """Return a picture under a Gaussian blur."""
    sigma_px = max(0.5, _BLUR_SHARE * min(picture.shape[:2]))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.uint8)


def noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a picture with Gaussian noise of its own in every pixel and colour."""
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    return np.rint(picture + _NOISE * noise).clip(0, 255).astype(np.uint8)
