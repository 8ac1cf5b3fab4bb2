"""Self-blended images at the pictures' own size."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.media.clips import moving, write_media
from tests.media.test_face_detectors import needs_yuface, portrait
from workbench.checks.cues import codes
from workbench.checks.evidence import separation
from workbench.checks.shortcuts import cross_validated_rates
from workbench.degradation.degradations import FORGERIES, REAL_OF
from workbench.degradation.degraded_views import read_copies
from workbench.degradation.frozen import frozen
from workbench.media.face_detectors import Face
from workbench.media.faces import Faces
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.view import Array, Picture

FACE = Face(60, 50, 80, 100, 1.0, ((80, 85), (120, 85), (100, 110), (85, 130), (115, 130)))
"""In a picture of 200 x 200: eyes at a height of 85, the mouth at one of 130."""

CUES: dict[str, Callable[[Array], float]] = {
    "level": lambda frames: float(frames.mean()),
    "red": lambda frames: float(frames[..., 0].mean()),
    "contrast": lambda frames: float(frames.std()),
    "size": lambda frames: float(
        np.mean([len(cv2.imencode(".jpg", frame)[1]) for frame in frames])
    ),
}
"""What can be known of a picture without looking at a face."""


def picture(seed: int = 0, side: int = 200) -> Picture:
    """Return clouds with some fine grain."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(
        rng.uniform(40, 210, (9, 9, 3)), (side, side), interpolation=cv2.INTER_CUBIC
    )
    grain = rng.normal(0, rng.uniform(3, 12), coarse.shape)
    return np.asarray((coarse + grain).clip(0, 255), np.uint8)


def pair(
    seed: int, of: Picture | None = None, face: Face | None = FACE
) -> tuple[Picture, Picture, Picture]:
    """Return a picture, the real one of its pair, and the fake."""
    of = picture(seed) if of is None else of
    found = []
    for change in (REAL_OF["blend"], FORGERIES["blend"]):
        assert change.of_faces
        found.append(change.of_faces(of, [face] if face else [], change.drawn(str(seed))))
    return of, found[0], found[1]


def differs(one: Picture, other: Picture) -> Array:
    return np.asarray((one != other).any(axis=2))


def test_a_blend_is_its_real_one_but_for_a_region_of_the_face() -> None:
    shares = []
    for seed in range(24):
        _, real, fake = pair(seed)
        rows, columns = np.nonzero(differs(real, fake))
        # Of a face of 80 x 100, with its soft border.
        assert columns.min() >= 30 and columns.max() <= 170
        assert rows.min() >= 20 and rows.max() <= 190
        middle = np.abs(real.astype(int) - fake)[80:135, 85:115].mean()
        assert middle > 10 * np.abs(real.astype(int) - fake)[:20].mean()
        shares.append(len(rows) / 200**2)
    assert min(shares) > 0.02 and max(shares) > 0.15


def test_by_a_coin_the_real_one_is_the_picture_itself_or_another() -> None:
    as_it_was = [bool((real == of).all()) for of, real, _ in map(pair, range(40))]
    assert 10 <= sum(as_it_was) <= 30


def test_without_a_face_the_region_is_an_ellipse_about_the_middle() -> None:
    for seed in range(12):
        _, real, fake = pair(seed, face=None)
        there = differs(real, fake)
        rows, columns = np.nonzero(there)
        assert 0.25 < rows.mean() / 200 < 0.75 and 0.25 < columns.mean() / 200 < 0.75
        assert 0.03 < there.mean() < 0.9


def test_a_region_goes_with_the_face_from_frame_to_frame() -> None:
    of = picture(3)
    moved = replace(FACE, x=FACE.x + 20, landmarks=tuple((x + 20, y) for x, y in FACE.landmarks))
    for seed in range(8):
        _, real, fake = pair(seed, of=of)
        _, real_then, fake_then = pair(seed, of=np.roll(of, 20, axis=1), face=moved)
        there, then = differs(real, fake), differs(real_then, fake_then)
        off = (np.roll(there, 20, axis=1) != then)[:, 25:-25]
        assert off.mean() < 0.03 * then.mean()


def test_what_is_drawn_is_the_same_the_next_time_and_for_both_of_a_pair() -> None:
    _, real, fake = pair(5)
    for one, other in zip((real, fake), pair(5)[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (pair(6, of=picture(5))[2] != fake).any()


@needs_yuface
def test_faces_frames_and_stills_have_the_same_pair(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), portrait()[..., ::-1])
    views = {"faces": Faces(num_frames=1, image_px=160), "image": Image(image_px=160)}
    wanted = {
        f"{name} {copy}": (copy, view)
        for name, view in {**views, "frames": Frames(num_frames=1, image_px=160)}.items()
        for copy in ("blend-real", "blend")
    }
    made = read_copies(path, wanted, content="a").made
    seen = {name: each.array[0, 0] for name, each in made.items()}  # type: ignore[union-attr]
    np.testing.assert_array_equal(seen["image blend"], seen["frames blend"])
    large = differs(seen["faces blend"], seen["faces blend-real"]).mean()
    small = differs(seen["image blend"], seen["image blend-real"]).mean()
    assert 0 < 2 * small < large
    face = np.abs(seen["faces blend"].astype(int) - seen["faces blend-real"])
    assert face[60:100, 60:100].mean() > 5 * face[:10].mean()


def test_all_frames_of_a_video_are_blended_alike_and_a_copy_can_be_recoded(tmp_path: Path) -> None:
    path = write_media(tmp_path / "clip.mp4", pictures=moving(12, width=96, height=96))
    view = Frames(num_frames=6, image_px=96)
    wanted = {copy: (copy, view) for copy in ("blend-real", "blend", "blend_h264", "h264")}
    made = read_copies(path, wanted, content="c").made
    seen = {name: each.array[0].astype(int) for name, each in made.items()}  # type: ignore[union-attr]
    there = (np.abs(seen["blend"] - seen["blend-real"]).max(axis=3) > 0).mean(axis=(1, 2))
    assert there.min() > 0.02 and np.ptp(there) < 0.1
    assert (
        np.abs(seen["blend_h264"] - seen["blend"]).mean()
        < np.abs(seen["blend_h264"] - seen["h264"]).mean()
    )


def pairs_of(forgery: str) -> Iterator[tuple[Array, Array]]:
    """Yield the frames of made real files, and those of the fake that is made of each."""
    for seed in range(60):
        if forgery == "freeze":
            rng = np.random.default_rng(seed)
            levels = np.cumsum(rng.normal(0, 4, 24))[:, None, None, None]
            frames = (picture(seed, 32) + levels).clip(0, 255).astype(np.uint8)
            yield frames, frames[frozen(24, FORGERIES["freeze"].drawn(str(seed)))]
        else:
            _, real, fake = pair(seed)
            yield real[None], fake[None]


@pytest.mark.parametrize("forgery", [n for n, each in FORGERIES.items() if each.of_pictures])
def test_no_cue_tells_what_was_forged(forgery: str) -> None:
    reals, fakes = zip(*pairs_of(forgery), strict=True)
    targets = np.repeat([0, 1], len(reals))
    found = {}
    for cue, of in CUES.items():
        steps = codes(pd.Series([of(frames) for frames in (*reals, *fakes)]))
        told = separation(targets, cross_validated_rates(steps, targets))
        found[cue] = told.auc if told else 0.5
    assert max(found.values()) <= 0.65, found
