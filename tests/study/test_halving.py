"""Who goes on, who waits and who is over, worked out by hand."""

from hypothesis import example, given
from hypothesis import strategies as st

from workbench.searching.halving import SuccessiveHalving, rungs, worth


def ladder(values: list[float], *, maximize: bool = True, factor: int = 3) -> SuccessiveHalving:
    """Return a ladder on which trial i reached epoch 1 with values[i], and waits there."""
    made = SuccessiveHalving(first=1, factor=factor, maximize=maximize)
    for number, value in enumerate(values):
        made.on_epoch(number, {1: value}, 100)
        made.on_pause(number, 1)
    return made


def promoted(on: SuccessiveHalving, *, at_least: int = 0) -> list[int]:
    return list(iter(lambda: on.resume(at_least=at_least), None))


@given(st.integers(1, 300), st.integers(1, 20), st.integers(2, 5))
@example(num_epochs=17, first=1, factor=3)  # 1 and 3, and 9 would be the ninth of 17
@example(num_epochs=18, first=1, factor=3)
def test_rungs_grow_by_the_factor_while_half_is_still_to_come(
    num_epochs: int, first: int, factor: int
) -> None:
    found = list(rungs(num_epochs, first=first, factor=factor))
    assert found == [first * factor**place for place in range(len(found))]
    assert all(num_epochs - rung >= rung for rung in found)
    after = first * factor ** len(found)
    assert num_epochs - after < after


def test_a_trial_is_worth_the_mean_of_its_last_third() -> None:
    objectives = {epoch: float(epoch) for epoch in range(1, 10)}
    assert worth(objectives, 1) == 1
    assert worth(objectives, 3) == 3
    assert worth(objectives, 4) == 3.5
    assert worth(objectives, 9) == 8


def test_one_trial_in_three_goes_on_at_once_once_there_are_three() -> None:
    on = SuccessiveHalving(first=1, factor=3, maximize=True)
    went = []
    for number, value in enumerate([0.5, 0.6, 0.7, 0.4, 0.8, 0.9]):
        went.append(on.on_epoch(number, {1: value}, 3))
    # Places: 0, 0, 1, 1, 1, 2.
    assert went == ["pause", "pause", "go on", "pause", "go on", "go on"]


def test_a_short_trial_is_held_against_at_its_last_epoch_as_after_a_kill() -> None:
    live, again = (SuccessiveHalving(first=2, factor=2, maximize=True) for _ in range(2))
    short, longer = {1: 0.5, 2: 0.5}, {1: 0.6, 2: 0.6}
    assert live.on_epoch(0, short, 2) == "go on"
    live.on_end(0, short, "complete")
    again.recall(0, short, "complete")
    # Of the two that came to epoch 2 one has a place, and it is the better one.
    assert live.on_epoch(1, longer, 4) == again.on_epoch(1, longer, 4) == "go on"


def test_at_no_rung_and_at_the_last_epochs_every_trial_goes_on() -> None:
    on = ladder([0.9, 0.1])
    reached = {1: 0.1, 2: 0.1, 3: 0.1}
    assert on.on_epoch(1, {1: 0.1, 2: 0.1}, 10) == "go on"  # no rung
    assert on.on_epoch(1, reached, 5) == "go on"  # the rest is less than what was spent
    assert on.on_epoch(1, reached, 6) == "pause"
    assert on.on_epoch(1, reached, 3) == "go on"


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5])), st.integers(2, 4), st.booleans())
def test_of_the_trials_that_wait_the_best_share_goes_on_the_best_and_earliest_first(
    values: list[float], factor: int, maximize: bool
) -> None:
    order = sorted(range(len(values)), key=lambda n: (-values[n] if maximize else values[n], n))
    on = ladder(values, maximize=maximize, factor=factor)
    assert promoted(on) == order[: len(values) // factor]


def test_of_those_that_may_go_on_the_cheapest_does_first() -> None:
    on = ladder([0.5, 0.9, 0.1, 0.2, 0.8, 0.3])
    cost = {1: 20.0, 4: 10.0}
    assert on.resume(cost=lambda number: cost[number]) == 4
    assert on.resume(cost=lambda number: cost[number]) == 1


def test_the_one_that_came_farthest_goes_on_first() -> None:
    on = ladder([0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    for number, value in enumerate([0.5, 0.6, 0.4]):
        assert on.resume() == number
        on.on_epoch(number, {1: 0.9, 2: value, 3: value}, 100)
        on.on_pause(number, 3)
    assert on.resume() == 1


def test_at_the_end_the_best_of_a_few_goes_on() -> None:
    assert promoted(ladder([0.5, 0.9]), at_least=1) == [1]


def test_a_trial_is_over_when_worse_ones_to_come_cannot_help() -> None:
    # Six there: two places. With three to come: three places.
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert ladder(values).hopeless(to_come=0) == [2, 3, 4, 5]
    assert ladder(values).hopeless(to_come=3) == [3, 4, 5]
    assert ladder(values).hopeless(to_come=12) == []
    assert ladder([0.9]).hopeless(to_come=0) == []  # the best of all is never over


def test_those_that_wait_below_may_still_come() -> None:
    on = ladder([0.9, 0.8, 0.7, 0.6])
    on.on_epoch(0, {1: 0.9, 2: 0.9, 3: 0.9}, 100)
    on.on_pause(0, 3)
    on.on_epoch(1, {1: 0.8, 2: 0.8, 3: 0.8}, 100)
    on.on_pause(1, 3)
    # At epoch 3: two there and two waiting below, so one place; at epoch 1: four there, one place.
    assert on.hopeless(to_come=0) == [1, 2, 3]


def test_the_worst_has_come_least_far() -> None:
    on = ladder([0.9, 0.2, 0.8])
    on.on_epoch(0, {1: 0.9, 2: 0.1, 3: 0.1}, 100)
    on.on_pause(0, 3)
    assert list(iter(on.worst, None)) == [1, 2, 0]


def test_nobody_is_held_against_a_trial_that_failed() -> None:
    on = ladder([0.9, 0.5, 0.4])
    on.on_end(0, {1: 0.9}, "failed")
    on.on_epoch(3, {1: 0.3}, 100)
    assert promoted(on) == [1]
