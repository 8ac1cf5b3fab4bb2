"""Which frames are on screen at even times, by timestamps as files have them."""

from fractions import Fraction

import numpy as np
import pytest

from workbench.media.timing import Timeline, timeline


@pytest.mark.parametrize(
    ("count", "num_times", "expected"),
    [
        (100, 4, [12, 37, 62, 87]),  # 12.5, 37.5, 62.5, 87.5
        (10, 5, [1, 3, 5, 7, 9]),
        (7, 1, [3]),
        (4, 4, [0, 1, 2, 3]),
        (2, 4, [0, 0, 1, 1]),  # 0.25, 0.75, 1.25, 1.75
        (1, 3, [0, 0, 0]),
    ],
)
def test_frames_shown_equally_long_are_the_middle_of_equal_parts(
    count: int, num_times: int, expected: list[int]
) -> None:
    assert Timeline.even(count).at_even_times(num_times) == expected


def test_frames_shown_unequally_long_are_those_on_screen() -> None:
    # Ten frames in the first second, then one each second: 10 s in all, so at 1, 3, 5, 7, 9 s.
    starts = [*range(0, 1000, 100), *range(1000, 10_000, 1000)]
    line = timeline(starts, last=1000)
    assert [starts[i] for i in line.at_even_times(5)] == [1000, 3000, 5000, 7000, 9000]
    # At 1.25, 3.75, 6.25, 8.75 s.
    assert [starts[i] for i in line.at_even_times(4)] == [1000, 3000, 6000, 8000]
    # Without the last frame it ends when that one comes: at 0.9, 2.7, 4.5, 6.3 and 8.1 s.
    pairs = line.without_last.at_even_times(5)
    assert [starts[i] for i in pairs] == [900, 2000, 4000, 6000, 8000]


def test_every_frame_taken_is_the_one_on_screen_whatever_the_times() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        steps = random.integers(1, 500, random.integers(2, 40)).tolist()
        line = timeline(np.cumsum([7, *steps]).tolist(), last=int(random.integers(1, 500)))
        ends = [*line.starts[1:], line.end]
        for num_times in (1, 3, 8):
            for i, frame in enumerate(line.at_even_times(num_times)):
                time = (i + 0.5) / num_times * line.end
                assert line.starts[frame] <= time < ends[frame]


@pytest.mark.parametrize(
    "times",
    [
        [round(1000 * i / 30) for i in range(40)],  # in milliseconds, as WebM and FLV write them
        [i * 1001 for i in range(40)],
        [5 + 512 * i for i in range(40)],
        [0] * 40,  # they say nothing
    ],
    ids=["rounded", "29.97", "from 5 on", "all 0"],
)
@pytest.mark.parametrize("last", [None, 0, 1])
def test_even_times_are_a_constant_rate_whatever_rounding_does(
    times: list[int], last: int | None
) -> None:
    assert timeline(times, last=last) == Timeline.even(40)


def test_times_that_once_were_rounded_to_milliseconds_are_even_in_finer_ticks() -> None:
    ticks = [90 * round(1000 * i / 30) for i in range(40)]
    assert timeline(ticks, tick_s=Fraction(1, 90_000)) == Timeline.even(40)
    # Five milliseconds are more than rounding.
    ticks[20] += 450
    assert timeline(ticks, tick_s=Fraction(1, 90_000)) != Timeline.even(40)


def test_a_last_frame_that_is_held_is_on_screen_longer() -> None:
    # Frames at 0, 1, 2 and 3 s, the last until 15 s: at 2.5, 7.5 and 12.5 s.
    assert timeline([0, 1000, 2000, 3000], last=12_000).at_even_times(3) == [2, 3, 3]


def test_of_two_frames_the_last_is_as_long_as_it_says() -> None:
    assert timeline([0, 1000], last=40).at_even_times(4) == [0, 0, 0, 0]
    assert timeline([0, 1000], last=1000).at_even_times(4) == [0, 0, 1, 1]
    assert timeline([0, 1000]).at_even_times(4) == [0, 0, 1, 1]


def test_a_clock_that_begins_anew_goes_on_by_the_usual_step() -> None:
    assert timeline([700, 740, 780, 820, 860, 900, 0, 40, 80, 120, 160, 200]) == Timeline.even(12)
    # Of the second recording each frame is shown ten times as long; the first step of it, which is
    # lost, counts as the usual one of 100.
    first, second = [*range(5000, 5600, 100)], [*range(0, 6000, 1000)]
    line = timeline([*first, *second], last=1000)
    assert line.starts == [0, 100, 200, 300, 400, 500, 1500, 2500, 3500, 4500, 5500, 6500]
    assert line.end == 7500


@pytest.mark.parametrize(
    ("jump_ms", "is_broadcast", "is_time"),
    [(9_000, True, True), (11_000, True, False), (11_000, False, True), (700_000, False, False)],
)
def test_a_frame_may_stand_but_a_clock_that_jumps_is_no_time(
    jump_ms: int, is_broadcast: bool, is_time: bool
) -> None:
    times = [40 * i + (jump_ms if i > 4 else 0) for i in range(12)]
    line = timeline(times, is_broadcast=is_broadcast)
    assert line.at_even_times(3) == ([4, 4, 4] if is_time else [2, 6, 10])
    held = timeline(range(0, 480, 40), last=jump_ms, is_broadcast=is_broadcast)
    assert held.at_even_times(3) == ([11, 11, 11] if is_time else [2, 6, 10])


def test_times_that_say_nothing_leave_the_count() -> None:
    assert timeline([0, 40, None, 120]) == Timeline.even(4)
    assert timeline([None]) == Timeline.even(1)
    assert timeline([123]) == Timeline.even(1)
    # Decoding order: every third step goes back.
    assert timeline([0, 120, 40, 80, 240, 160, 200, 360, 280, 320]) == Timeline.even(10)
    assert timeline([9, 8, 7]) == Timeline.even(3)
