import math
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from tests.media.test_face_detectors import needs_yuface, portrait, red_cell, resized, write_model
from workbench.errors import ConfigError
from workbench.media.face_detectors import Face, YuFace, YuNet
from workbench.media.face_trace import FaceTrace
from workbench.media.faces import MAX_FACES, FaceCrop, Faces, middle_square, turned_square
from workbench.media.timing import Timeline
from workbench.media.video import Frame

Picture = npt.NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def face(x: float, y: float, width: float, height: float = 0, *, tilt_rad: float = 0) -> Face:
    """Return a face with its eyes at 3/10 and 7/10 of its width before it was tilted."""
    height = height or width
    middle = np.array([x + width / 2, y + height / 2])
    cos, sin = math.cos(tilt_rad), math.sin(tilt_rad)
    turn = np.array([[cos, -sin], [sin, cos]])
    offsets = width * np.array([(-0.2, -0.1), (0.2, -0.1), (0, 0), (-0.15, 0.2), (0.15, 0.2)])
    points = tuple((float(px), float(py)) for px, py in middle + offsets @ turn.T)
    return Face(x, y, width, height, 0.9, points)


def kept(view: Faces, picture: Picture, *faces: Face) -> FaceCrop:
    """Return what the view keeps of a picture in which `faces` were detected before."""
    return view.keep(Frame(picture, {view.detector: list(faces)}))


def shrink(picture: Picture, image_px: int) -> Picture:
    area: Picture = cv2.resize(picture, (image_px, image_px), interpolation=cv2.INTER_AREA)
    return area


# The square that is cut out.


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, -1])
def test_a_square_is_turned_back_exactly_in_quarters(quarters: int) -> None:
    picture = noise(300, 400)
    # Turned clockwise in the picture by a quarter: NumPy's rot90 turns the other way.
    found = turned_square(picture, (150, 120), 64, turn_rad=quarters * math.pi / 2, image_px=64)
    assert np.array_equal(found, np.rot90(picture[88:152, 118:182], quarters))


@pytest.mark.parametrize("side", [65, 96, 128, 200])
def test_a_square_that_shrinks_is_averaged(side: int) -> None:
    picture = noise(300, 400)
    found = turned_square(picture, (150, 150), side, turn_rad=0, image_px=32)
    top, left = 150 - side / 2, 150 - side / 2
    if side % 2 == 0:
        cut = picture[int(top) : int(top) + side, int(left) : int(left) + side]
        assert np.array_equal(found, shrink(cut, 32))
    # The mean level stays: nothing is skipped, nothing counted twice.
    cut = picture[int(top) : int(top) + side, int(left) : int(left) + side]
    assert found.mean() == pytest.approx(cut.mean(), abs=2)


def test_a_square_that_grows_is_bilinear() -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[:] = (4 * np.arange(40, dtype=np.uint8))[None, :, None]
    found = turned_square(ramp, (20, 20), 16, turn_rad=0, image_px=32)
    # Pixel i of the result has its middle at 12 + (i + 1/2) / 2, where the ramp is 4 * (x - 1/2).
    expected = 4 * (12 + (np.arange(32) + 0.5) / 2 - 0.5)
    assert np.abs(found[5, :, 0] - expected).max() <= 0.5


@pytest.mark.parametrize("turn_rad", [-2.5, -0.4, 0.1, 0.7, 3.0])
def test_a_turned_square_shows_the_scene_upright(turn_rad: float) -> None:
    # A dot on the square's own x axis, 30 pixels from its middle, however it is turned.
    picture = np.zeros((200, 240, 3), np.uint8)
    x, y = 120 + 30 * math.cos(turn_rad), 90 + 30 * math.sin(turn_rad)
    cv2.circle(picture, (round(16 * (x - 0.5)), round(16 * (y - 0.5))), 48, (255,) * 3, -1, shift=4)
    found = turned_square(picture, (120, 90), 80, turn_rad=turn_rad, image_px=160)[..., 0]
    down, across = np.nonzero(found > 127)
    assert (across.mean() + 0.5, down.mean() + 0.5) == pytest.approx((140, 80), abs=0.6)


def test_past_the_edges_the_outermost_pixels_go_on() -> None:
    picture = noise(50, 50)
    found = turned_square(picture, (0, 25), 20, turn_rad=0, image_px=20)
    assert np.array_equal(found[:, 10:], picture[15:35, :10])
    assert np.array_equal(found[:, :10], np.repeat(picture[15:35, :1], 10, axis=1))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
@pytest.mark.parametrize("side", [0.5, 3.0, 5_000.0])
def test_a_square_of_any_size_can_be_cut_from_any_picture(
    size: tuple[int, int], side: float
) -> None:
    picture = np.full((*size, 3), 77, np.uint8)
    for centre in ((0.0, 0.0), (size[1], size[0])):
        assert (turned_square(picture, centre, side, turn_rad=0.3, image_px=16) == 77).all()


# The face that is shown.


def test_the_view_takes_the_middle_of_equal_parts() -> None:
    view = Faces(num_frames=4)
    assert view.indices(Timeline.even(8)) == [1, 3, 5, 7]
    assert view.indices(Timeline.even(1)) == [0, 0, 0, 0]
    assert view.shape == (4, 224, 224, 3)
    assert view.stored_shape == (1, 4, 224, 224, 3)


def test_the_box_is_widened_by_the_margin_on_each_side() -> None:
    picture = noise(200, 300)
    view = Faces(num_frames=1, image_px=32, margin=0.25)
    made = view.of_frames([kept(view, picture, face(100, 50, 48, 64))])
    # The longer side, 64, and a quarter of it on each side: 96 pixels around (124, 82).
    assert np.array_equal(made.array, shrink(picture[34:130, 76:172], 32)[None, None])
    assert (made.status, made.reason) == ("ok", "")


def test_a_crop_at_the_edge_is_moved_into_the_picture() -> None:
    picture = noise(200, 300)
    view = Faces(num_frames=1, image_px=32, margin=0)
    (crop,) = kept(view, picture, face(-20, 150, 64)).crops
    assert np.array_equal(crop, shrink(picture[136:200, :64], 32))


def test_a_crop_is_no_larger_than_the_picture() -> None:
    picture = noise(96, 160)
    view = Faces(num_frames=1, image_px=32, margin=1)
    (crop,) = kept(view, picture, face(60, 20, 60)).crops
    # 180 pixels around (90, 50) do not fit: 96, all rows, as near as can be.
    assert np.array_equal(crop, shrink(picture[:, 42:138], 32))


def test_eyes_are_made_level_only_if_asked_for() -> None:
    picture = noise(200, 200)
    tilted = face(60, 60, 64, tilt_rad=math.pi / 2)
    assert tilted.tilt_rad == pytest.approx(math.pi / 2)
    upright, as_is = (
        kept(Faces(margin=0, image_px=64, align=align), picture, tilted).crops[0]
        for align in (True, False)
    )
    assert np.array_equal(as_is, picture[60:124, 60:124])
    assert np.array_equal(upright, np.rot90(as_is))


def test_each_frame_shows_the_followed_face() -> None:
    view = Faces(num_frames=3, image_px=16, margin=0)
    pictures = [noise(80, 120, seed) for seed in range(3)]
    main = [face(10, 10, 32), face(20, 12, 32), face(30, 14, 32)]
    other = face(90, 50, 16)
    frames = [[main[0]], [other, main[1]], [main[2], other]]
    made = view.of_frames(
        [kept(view, p, *faces) for p, faces in zip(pictures, frames, strict=True)]
    )
    for index, (x, y) in enumerate([(10, 10), (20, 12), (30, 14)]):
        crop = shrink(pictures[index][y : y + 32, x : x + 32], 16)
        assert np.array_equal(made.array[0, index], crop)


def test_a_frame_without_the_face_shows_its_interpolated_place() -> None:
    view = Faces(num_frames=4, image_px=16, margin=0)
    pictures = [noise(80, 120, seed) for seed in range(4)]
    frames = [[face(10, 10, 32)], [], [face(30, 14, 32)], []]
    made = view.of_frames(
        [kept(view, p, *faces) for p, faces in zip(pictures, frames, strict=True)]
    )
    assert made.status == "ok"
    # Half way at (20, 12); at the end where it was seen last.
    assert np.array_equal(made.array[0, 1], shrink(pictures[1][12:44, 20:52], 16))
    assert np.array_equal(made.array[0, 3], shrink(pictures[3][14:46, 30:62], 16))


def test_in_a_large_picture_the_interpolated_place_is_found_in_a_smaller_copy() -> None:
    view = Faces(num_frames=2, image_px=16, margin=0)
    blurred = cv2.GaussianBlur(noise(720, 1280), (0, 0), 12)
    frames = [kept(view, blurred, face(640, 320, 128)), kept(view, blurred)]
    seen, put_in = view.of_frames(frames).array[0].astype(int)
    assert frames[1].small.shape == (360, 640, 3)
    assert np.abs(seen - put_in).max() <= 2


def test_without_any_face_the_middle_of_each_frame_stands_for_it() -> None:
    view = Faces(num_frames=2, image_px=16)
    pictures = [noise(64, 100, seed) for seed in range(2)]
    made = view.of_frames([kept(view, picture) for picture in pictures])
    assert made.status == "no_face"
    said = "no face was found in 2 frames; the middle of the picture stands for it"
    assert made.reason == said
    expected = [shrink(picture[:, 18:82], 16) for picture in pictures]
    assert np.array_equal(made.array[0], expected)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((4, 7), (0, 4), (1, 5)), ((6, 3), (1, 4), (0, 3)), ((5, 5), (0, 5), (0, 5))],
)
def test_the_middle_square_is_as_large_as_can_be(
    size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    picture = noise(*size)
    assert np.array_equal(middle_square(picture), picture[slice(*rows), slice(*columns)])


# What is kept, and shared.


def test_what_is_kept_of_a_frame_is_bounded() -> None:
    picture = noise(1080, 1920)
    view = Faces(image_px=64)
    crowd = [face(100 * i, 100, 90) for i in range(12)]
    frame = kept(view, picture, *crowd)
    assert frame.faces == tuple(crowd[:MAX_FACES])
    arrays = [frame.small, *frame.crops]
    assert sum(array.nbytes for array in arrays) == 3 * (640 * 360 + MAX_FACES * 64 * 64)
    empty = kept(view, noise(48, 64))
    for array in (*arrays, empty.small, empty.middle):
        assert array is not None
        assert array.base is None or array.base.nbytes == array.nbytes


def test_a_frame_that_is_overwritten_leaves_what_was_kept() -> None:
    picture = noise(48, 64)
    frame = kept(Faces(image_px=48), picture)
    before = pickle.dumps(frame)
    picture[:] = 0
    assert pickle.dumps(frame) == before


@needs_yuface
def test_views_of_one_detector_look_for_faces_once() -> None:
    frame = Frame(resized(portrait(), 0.25))
    Faces().keep(frame)
    assert list(frame.memory) == [YuFace()]
    found = frame.memory[YuFace()]
    FaceTrace(margin=0.1).keep(frame)
    assert frame.memory[YuFace()] is found
    Faces(detector=YuFace(min_confidence=0.7)).keep(frame)
    assert len(frame.memory) == 2


def test_a_detector_that_is_not_installed_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yuface", None)
    with pytest.raises(ConfigError, match="yuface"):
        Faces().keep(Frame(noise(64, 64)))


# With real faces.


@needs_yuface
def test_the_crop_follows_a_face_across_the_picture() -> None:
    small = resized(portrait(), 0.25)  # (150, 128), its face 46 x 54 around (64, 55)
    background = cv2.GaussianBlur(noise(240, 480), (0, 0), 9)
    view = Faces(num_frames=6, image_px=48)
    pictures, places = [], []
    for index in range(6):
        left, top = 60 * index, 4 * index + 20
        picture = background.copy()
        picture[top : top + 150, left : left + 128] = small
        pictures.append(picture)
        places.append((left + 64, top + 55))
    frames = [view.keep(Frame(picture)) for picture in pictures]
    for frame, place in zip(frames, places, strict=True):
        assert frame.faces[0].centre == pytest.approx(place, abs=4)
    made = view.of_frames(frames)
    crops = made.array[0].astype(float)
    assert made.status == "ok"
    # The same face in the same place, where the place in the picture is another one each time.
    assert np.abs(crops - crops[0]).mean() < 12
    still = np.stack([shrink(p[30:110, 20:100], 48) for p in pictures]).astype(float)
    assert np.abs(still - still[0]).mean() > 25
    assert np.array_equal(made.array, view.of_frames([view.keep(Frame(p)) for p in pictures]).array)


@needs_yuface
def test_a_tilted_head_is_turned_upright() -> None:
    picture = portrait()
    turn = cv2.getRotationMatrix2D((267, 226), 15, 1)
    tilted = cv2.warpAffine(picture, turn, (512, 600), borderMode=cv2.BORDER_REPLICATE)
    view = Faces(num_frames=1, image_px=128)
    upright, turned = (view.of_frames([view.keep(Frame(p))]).array[0, 0] for p in (picture, tilted))
    (left,) = YuFace().detect(tilted)
    assert math.degrees(left.tilt_rad) < -7
    (righted,) = YuFace().detect(turned)
    assert abs(math.degrees(righted.tilt_rad)) < 5
    as_is = Faces(num_frames=1, image_px=128, align=False)
    crooked = as_is.of_frames([as_is.keep(Frame(tilted))]).array[0, 0]
    off, off_as_is = (np.abs(p.astype(float) - upright).mean() for p in (turned, crooked))
    assert off < off_as_is


# As settings.


def test_the_uid_is_that_of_the_model_file_wherever_it_lies(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one.onnx")
    (tmp_path / "there").mkdir()
    same = write_model(tmp_path / "there" / "same.onnx")
    other = write_model(tmp_path / "other.onnx", extra_size=0.5)
    uids = [Faces(detector=YuNet(file=str(path))).uid for path in (one, same, other)]
    assert uids[0] == uids[1] != uids[2]
    assert uids[0] != Faces().uid
    gone = YuNet(file="gone", sha256=YuNet(file=str(one)).sha256)
    assert Faces(detector=gone).uid == uids[0]


def test_a_model_file_of_ones_own_serves_the_view(tmp_path: Path) -> None:
    detector = YuNet(file=str(write_model(tmp_path / "tiny.onnx")))
    view = Faces(num_frames=1, image_px=16, margin=0, detector=detector)
    # The box is 48 high around (36, 20), so rows 0 to 48 and columns 12 to 60.
    made = view.of_frames([view.keep(Frame(red_cell()))])
    assert np.array_equal(made.array[0, 0], shrink(red_cell()[:48, 12:60], 16))
    assert view.libraries == frozenset()
    assert Faces().libraries == {"yuface"}


@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 5},
        {"image_px": 128},
        {"margin": 0.2},
        {"align": False},
        {"detector": YuFace(min_confidence=0.6)},
        {"sampling": "nearest"},
        {"version": 1},
    ],
)
def test_another_setting_is_another_uid(change: dict[str, object]) -> None:
    assert Faces().model_copy(update=change).uid != Faces().uid


@pytest.mark.parametrize("wrong", ["num_frames", "image_px", "margin", "detector"])
def test_settings_out_of_bounds_are_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Faces.model_validate({wrong: -1})
