import pytest

from workbench.media.face_detectors import Face
from workbench.media.face_tracks import follow, linked


def face(x: float, y: float, side: float, *, height: float | None = None) -> Face:
    """Return a face whose landmarks all lie at the upper left corner of its box."""
    return Face(x, y, side, height or side, 0.9, ((x, y),) * 5)


def boxes(faces: list[Face]) -> list[tuple[float, float, float]]:
    return [(f.x, f.y, f.width) for f in faces]


def seen(faces: list[Face]) -> list[bool]:
    return [f.confidence > 0 for f in faces]


def test_no_face_in_any_frame_is_no_face_to_follow() -> None:
    assert follow([[], [], []]) == []
    assert follow([]) == []


def test_a_face_in_every_frame_is_handed_on_as_it_was_seen() -> None:
    frames = [[face(10 * i, 5, 40)] for i in range(4)]
    assert follow(frames) == [faces[0] for faces in frames]


def test_two_people_are_two_tracks_whatever_their_order() -> None:
    left, right = [face(i, 0, 40) for i in range(3)], [face(200 - i, 0, 40) for i in range(3)]
    tracks = linked([[left[0], right[0]], [right[1], left[1]], [left[2], right[2]]])
    assert [list(track.seen.values()) for track in tracks] == [left, right]


def test_the_pairs_that_move_least_in_all_are_linked() -> None:
    # Both come nearest to the first one's place: 8 and 2 pixels off, but 8 + 18 < 2 + 28 in all.
    first, second = face(0, 0, 40), face(20, 0, 40)
    one, other = face(-8, 0, 40), face(2, 0, 40)
    tracks = linked([[first, second], [other, one]])
    assert [list(track.seen.values()) for track in tracks] == [[first, one], [second, other]]


def test_a_face_of_the_same_size_is_preferred_to_a_nearer_one_twice_as_large() -> None:
    before, alike, larger = face(0, 0, 40), face(4, 0, 40), face(-19, -19, 78)
    tracks = linked([[before], [larger, alike]])
    assert [list(track.seen.values()) for track in tracks] == [[before, alike], [larger]]


@pytest.mark.parametrize(
    ("then", "is_same"),
    [
        (face(80, 0, 40), True),  # by two sides
        (face(81, 0, 40), False),
        (face(-20, -20, 80), True),  # twice as large, around the same middle
        (face(-20.5, -20.5, 81), False),
        (face(10, 10, 20), True),
        (face(10.5, 10.5, 19), False),
        (face(0, 0, 30, height=40), True),  # of a box the longer side counts
    ],
)
def test_a_face_moves_by_two_sides_at_most_and_grows_twofold_at_most(
    then: Face, is_same: bool
) -> None:
    tracks = linked([[face(0, 0, 40)], [then]])
    assert len(tracks) == (1 if is_same else 2)


def test_a_track_goes_on_after_frames_without_it() -> None:
    assert len(linked([[face(0, 0, 40)], [], [], [face(5, 0, 40)]])) == 1


def test_the_larger_person_is_followed() -> None:
    small, large = face(0, 0, 30), face(100, 0, 60)
    assert follow([[small, large], [large, small]]) == [large, large]


def test_areas_are_summed_over_the_frames() -> None:
    # 3 x 900 is more than once 2500.
    small, large = face(0, 0, 30), face(100, 0, 50)
    assert boxes(follow([[small], [large, small], [small]])) == [(0, 0, 30)] * 3


def test_of_equal_tracks_the_earliest_is_followed_then_the_leftmost() -> None:
    left, right = face(0, 0, 40), face(100, 0, 40)
    assert follow([[right, left]]) == [left]
    # Both are seen twice, in the middle frame together.
    assert follow([[right], [left, right], [left]])[:2] == [right, right]


def test_a_gap_is_filled_in_proportion() -> None:
    found = follow([[face(0, 10, 40)], [], [], [face(15, 25, 46)]])
    assert boxes(found) == [(0, 10, 40), (5, 15, 42), (10, 20, 44), (15, 25, 46)]
    assert seen(found) == [True, False, False, True]
    assert found[1].landmarks == ((5, 15),) * 5


def test_the_ends_take_the_nearest_sighting() -> None:
    found = follow([[], [face(5, 5, 40)], [face(9, 5, 40)], [], []])
    assert boxes(found) == [(5, 5, 40), (5, 5, 40), (9, 5, 40), (9, 5, 40), (9, 5, 40)]
    assert seen(found) == [False, True, True, False, False]


def test_after_a_cut_the_next_person_is_followed() -> None:
    one, other = face(0, 0, 80), face(300, 100, 60)
    assert follow([[one], [one], [other], [other]]) == [one, one, other, other]
    # Between the two, the nearer sighting; of two equally near ones the earlier.
    found = follow([[one], [], [], [], [other]])
    assert boxes(found) == [(0, 0, 80)] * 3 + [(300, 100, 60)] * 2
    assert seen(found) == [True, False, False, False, True]


def test_a_bystander_never_takes_the_place_of_someone_who_looks_away() -> None:
    main, bystander = face(0, 0, 80), face(300, 0, 40)
    frames = [[main, bystander], [bystander], [main, bystander], [bystander]]
    found = follow(frames)
    assert boxes(found) == [(0, 0, 80)] * 4
    assert seen(found) == [True, False, True, False]


def test_a_main_person_who_walks_is_not_lost_to_a_bystander() -> None:
    walking, bystander = [face(70 * i, 0, 50) for i in range(4)], face(100, 90, 40)
    assert follow([[faces, bystander] for faces in walking]) == walking


def test_a_face_that_jumps_too_far_to_be_linked_is_followed_all_the_same() -> None:
    frames = [[face(150 * i, 0, 50)] for i in range(4)]
    assert len(linked(frames)) == 4
    assert follow(frames) == [faces[0] for faces in frames]
