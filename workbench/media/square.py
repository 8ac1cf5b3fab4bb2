"""Pictures as squares."""

from workbench.media.view import Picture
from workbench.opencv import cv2


def square(picture: Picture, image_px: int) -> Picture:
    """Return `picture` (height, width, 3) as (image_px, image_px, 3), its proportions given up.

    A side that shrinks averages the area under each new pixel; a side that grows is bilinear.
    """
    height, width = picture.shape[:2]
    within = (min(width, image_px), min(height, image_px))
    shrunk = cv2.resize(picture, within, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (image_px, image_px), interpolation=cv2.INTER_LINEAR)
