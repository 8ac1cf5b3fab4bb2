import math

import pytest
from pydantic import TypeAdapter

from workbench.parts.schedules import AnySchedule, Constant, Cosine, Schedule, StepLR
from workbench.values import kinds

SCHEDULES = kinds(AnySchedule)


def factors(schedule: Schedule, *, steps: int, epochs: int) -> list[float]:
    return [
        schedule.factor(step, steps_per_epoch=steps, num_epochs=epochs)
        for step in range(steps * epochs)
    ]


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (1, 5), (7, 3), (100, 2)])
def test_a_factor_is_a_share_of_the_base_rate(kind: str, steps: int, epochs: int) -> None:
    schedule: Schedule = TypeAdapter(AnySchedule).validate_python({"kind": kind})
    assert all(0 < factor <= 1 for factor in factors(schedule, steps=steps, epochs=epochs))


def test_constant_is_one() -> None:
    assert factors(Constant(), steps=3, epochs=2) == [1.0] * 6


def test_steps_fall_at_the_ends_of_epochs() -> None:
    halves = factors(StepLR(step_epochs=2, gamma=0.5), steps=3, epochs=5)
    assert halves == [1.0] * 6 + [0.5] * 6 + [0.25] * 3
    assert factors(StepLR(gamma=0.1), steps=1, epochs=3) == pytest.approx([1, 0.1, 0.01])


def test_cosine_values_worked_by_hand() -> None:
    # Four steps, taken at 1/8, 3/8, 5/8 and 7/8 of half a turn.
    expected = [0.5 * (1 + math.cos(math.pi * k / 8)) for k in (1, 3, 5, 7)]
    assert factors(Cosine(), steps=2, epochs=2) == pytest.approx(expected)
    assert expected[0] + expected[3] == pytest.approx(1)


def test_cosine_ends_near_zero_and_averages_one_half() -> None:
    falling = factors(Cosine(), steps=50, epochs=4)
    assert falling[-1] < 1e-4
    assert falling == sorted(falling, reverse=True)
    assert sum(falling) / len(falling) == pytest.approx(0.5)


def test_the_warm_up_rises_to_the_base_rate_then_falls() -> None:
    # Ten steps, four of them warm-up: 1/8, 3/8, 5/8, 7/8, then six steps of cosine.
    shape = factors(Cosine(warmup_share=0.4), steps=5, epochs=2)
    assert shape[:4] == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8])
    assert shape[4:] == pytest.approx(factors(Cosine(), steps=6, epochs=1))


def test_a_warm_up_of_nearly_everything_stays_in_range() -> None:
    shape = factors(Cosine(warmup_share=0.99), steps=10, epochs=1)
    assert all(0 < factor <= 1 for factor in shape)
    assert shape == sorted(shape)
