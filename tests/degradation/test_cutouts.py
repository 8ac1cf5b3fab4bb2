"""Covered eyes and mouths."""

import numpy as np
import pytest

from tests.media.test_face_detectors import needs_yuface, portrait
from workbench.degradation import cutouts
from workbench.degradation.cutouts import require_faces, without_eyes, without_mouth
from workbench.degradation.degraded_views import read_copies
from workbench.errors import ConfigError
from workbench.media.face_detectors import Face, YuFace
from workbench.media.faces import Faces
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel

LEVEL = Face(30, 30, 40, 40, 1.0, ((40, 40), (60, 40), (50, 50), (43, 60), (57, 60)))
"""Eyes 20 apart at a height of 40, a mouth at one of 60."""

TURNED = Face(30, 30, 40, 40, 1.0, ((60, 40), (60, 60), (50, 50), (40, 43), (40, 57)))
"""The same by a quarter."""


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def box(covered: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((covered != 128).any(axis=2))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_box_of_one_colour_lies_over_both_eyes_or_the_mouth_however_the_head_is_turned() -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    for change, face, expected in (
        (without_eyes, LEVEL, (32, 48, 32, 68)),
        (without_mouth, LEVEL, (52, 68, 34, 66)),
        (without_eyes, TURNED, (32, 68, 52, 68)),
        (without_mouth, TURNED, (34, 66, 32, 48)),
    ):
        covered = change(grey, [face], rng())
        assert box(covered) == expected
        assert len(np.unique(covered.reshape(-1, 3), axis=0)) == 2
        np.testing.assert_array_equal(covered, change(grey, [face], rng()))
    assert (grey == 128).all()
    assert (without_eyes(grey, [], rng()) == grey).all()


@needs_yuface
def test_the_covered_face_is_cut_out_where_it_was_found(tmp_path: object) -> None:
    import cv2

    path = tmp_path / "face.png"  # type: ignore[operator]
    picture = portrait()
    cv2.imwrite(str(path), picture[..., ::-1])
    faces, stills = Faces(num_frames=1, image_px=96), Image(image_px=96)
    made = read_copies(
        path,
        {
            "faces": ("", faces),
            "covered": ("mouth", faces),
            "image": ("", stills),
            "still": ("mouth", stills),
        },
        content="a",
    ).made
    plain, covered, image, still = (each.array[0, 0].astype(int) for each in made.values())  # type: ignore[union-attr]
    changed = (np.abs(plain - covered).max(axis=2) > 0).mean(axis=1)
    assert changed[:30].max() == 0 and changed[50:].max() > 0.2
    assert 0.005 < (np.abs(image - still).max(axis=2) > 0).mean() < 0.3
    assert YuFace().detect(picture)


def test_without_a_detector_only_views_of_faces_have_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutouts, "find_spec", lambda name: None)
    require_faces([Faces(), Mel()])
    with pytest.raises(ConfigError, match=r"found for frames, image.*yuface is not installed"):
        require_faces([Faces(), Frames(), Image()])
