import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from tests.media.test_face_detectors import needs_yuface, portrait, resized
from tests.media.test_faces import face, noise
from workbench.media.face_detectors import Face
from workbench.media.face_trace import FaceTrace, normalised
from workbench.media.video import Frame

Picture = npt.NDArray[np.uint8]


def trace(view: FaceTrace, *frames: tuple[Picture, list[Face]]) -> dict[str, float]:
    """Return the view of frames in which faces were detected before, by name."""
    kept = [view.keep(Frame(picture, {view.detector: faces})) for picture, faces in frames]
    made = view.of_frames(kept)
    assert made.status == "ok"
    assert made.array.shape == view.stored_shape
    return dict(zip(view.names, made.array[0].tolist(), strict=True))


def stripes(*, across: bool, width: int = 128) -> Picture:
    """Return a picture of 16-pixel stripes, black and white."""
    bright = np.arange(width) // 16 % 2 * 255
    picture = np.zeros((width, width, 3), np.uint8)
    picture[:] = bright[None, :, None] if across else bright[:, None, None]
    return picture


def test_every_value_has_a_name() -> None:
    view = FaceTrace(num_frames=3)
    assert view.names[:4] == ("cosine_1_2", "cosine_2_3", "cosine_mean", "cosine_min")
    assert len(set(view.names)) == len(view.names) == 2 + 11
    assert view.shape == (13,)
    assert view.stored_shape == (1, 13)
    assert FaceTrace(num_frames=8).shape == (7 + 11,)


def test_a_normalised_picture_has_mean_0_and_length_1() -> None:
    values = normalised(noise(32, 32))
    assert values.shape == (1024,)
    assert values.sum() == pytest.approx(0, abs=1e-9)
    assert np.square(values).sum() == pytest.approx(1)
    assert not normalised(np.full((32, 32, 3), 9, np.uint8)).any()


def test_a_face_that_never_changes_is_like_itself() -> None:
    still = (noise(96, 96), [face(20, 20, 64)])
    values = trace(FaceTrace(num_frames=3), still, still, still)
    expected = dict.fromkeys(values, 0.0)
    ones = ("cosine_1_2", "cosine_2_3", "cosine_mean", "cosine_min", "cosine_ends", "share_seen")
    expected |= dict.fromkeys(ones, 1.0) | {"confidence": 0.9}
    assert values == pytest.approx(expected, abs=1e-6)


def test_brightness_and_contrast_leave_the_cosine_alone() -> None:
    picture = stripes(across=True) // 4
    brighter = 2 * picture + 60
    values = trace(FaceTrace(num_frames=2), *[(p, [face(20, 32, 64)]) for p in (picture, brighter)])
    assert values["cosine_1_2"] > 0.999


def test_opposite_faces_have_cosine_minus_1_and_unlike_ones_0() -> None:
    # 32 x 32 crops of 64 x 64: stripes of 16 pixels, in black and white equally often.
    upright, level = stripes(across=True), stripes(across=False)
    view = FaceTrace(num_frames=4)
    frames = [(picture, [face(32, 32, 64)]) for picture in (upright, 255 - upright, level, level)]
    values = trace(view, *frames)
    assert values["cosine_1_2"] == pytest.approx(-1)
    assert values["cosine_2_3"] == pytest.approx(0, abs=1e-6)
    assert values["cosine_3_4"] == pytest.approx(1)
    assert values["cosine_mean"] == pytest.approx(0, abs=1e-6)
    assert values["cosine_min"] == pytest.approx(-1)
    assert values["cosine_std"] == pytest.approx((2 / 3) ** 0.5)
    assert values["cosine_ends"] == pytest.approx(0, abs=1e-6)


def test_a_face_of_one_grey_is_like_nothing() -> None:
    flat = (np.full((64, 64, 3), 80, np.uint8), [face(8, 8, 40)])
    assert trace(FaceTrace(num_frames=2), flat, flat)["cosine_1_2"] == 0


def test_movement_growth_and_turning_are_measured_from_frame_to_frame() -> None:
    picture = noise(200, 200)
    boxes = [face(40, 40, 40), face(70, 80, 60), face(70, 80, 60, tilt_rad=0.3)]
    values = trace(FaceTrace(num_frames=3), *[(picture, [box]) for box in boxes])
    # The middle goes from (60, 60) to (100, 110): the root of 4100, in mean sides of 50.
    moved = 4100**0.5 / 50
    assert values["moved_max"] == pytest.approx(moved)
    assert values["moved_mean"] == pytest.approx(moved / 2)
    assert values["grown_max"] == pytest.approx(np.log(1.5))
    assert values["turned_max_rad"] == pytest.approx(0.3)


def test_a_turn_is_counted_the_shorter_way_round() -> None:
    boxes = [face(40, 40, 40, tilt_rad=3.0), face(40, 40, 40, tilt_rad=-3.0)]
    values = trace(FaceTrace(num_frames=2), *[(noise(99, 99), [box]) for box in boxes])
    assert values["turned_max_rad"] == pytest.approx(2 * np.pi - 6)


def test_frames_without_the_face_lower_the_share_but_not_the_confidence() -> None:
    picture = noise(200, 200)
    main, other = face(20, 20, 80), face(140, 140, 40)
    frames = [[main], [], [main, other], [other]]
    values = trace(FaceTrace(num_frames=4), *[(picture, faces) for faces in frames])
    assert values["share_seen"] == 0.5
    assert values["confidence"] == pytest.approx(0.9)
    assert values["others"] == 0.5  # one in each of the last two frames
    assert values["moved_max"] == 0


def test_without_any_face_all_values_are_zero() -> None:
    view = FaceTrace(num_frames=2)
    kept = [view.keep(Frame(noise(32, 32), {view.detector: []})) for _ in range(2)]
    made = view.of_frames(kept)
    assert made.status == "no_face"
    assert made.reason == "no face was found in 2 frames; zeros stand for it"
    assert made.array.dtype == np.float32
    assert made.array.shape == view.stored_shape
    assert not made.array.any()


@needs_yuface
def test_one_face_that_moves_is_more_like_itself_than_its_mirror_image() -> None:
    one = resized(portrait(), 0.5)
    frames = [np.roll(one, shift, axis=1) for shift in (0, 6, 12)]
    view = FaceTrace(num_frames=3)
    same = view.of_frames([view.keep(Frame(p)) for p in frames]).array[0]
    mirrored = [frames[0], frames[1][:, ::-1].copy(), frames[2]]
    swapped = view.of_frames([view.keep(Frame(p)) for p in mirrored]).array[0]
    lowest = view.names.index("cosine_min")
    assert same[lowest] > 0.9 > swapped[lowest]
    assert np.array_equal(same, view.of_frames([view.keep(Frame(p)) for p in frames]).array[0])


@pytest.mark.parametrize("num_frames", [1, 65])
def test_a_trace_needs_two_frames(num_frames: int) -> None:
    with pytest.raises(ValidationError, match="num_frames"):
        FaceTrace(num_frames=num_frames)


def test_another_setting_is_another_uid() -> None:
    uids = {FaceTrace().uid, FaceTrace(num_frames=5).uid, FaceTrace(margin=0.1).uid}
    assert len(uids) == 3
