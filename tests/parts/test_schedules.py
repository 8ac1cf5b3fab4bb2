import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from workbench.parts.schedules import (
    AnySchedule,
    Constant,
    Cosine,
    OneCycle,
    Plateau,
    Poly,
    Schedule,
    StepLR,
)
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


def torch_one_cycle(schedule: OneCycle, total: int) -> list[float]:
    """The rates that torch sets, for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1,
        total_steps=total,
        pct_start=schedule.pct_start,
        div_factor=schedule.div_factor,
        final_div_factor=schedule.final_div_factor,
        cycle_momentum=False,
    )
    rates = []
    for step in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step < total - 1:
            cycle.step()
    return rates


@pytest.mark.parametrize(("steps", "epochs"), [(1, 3), (7, 3), (33, 2)])
@pytest.mark.parametrize(
    "schedule",
    [
        OneCycle(),
        OneCycle(pct_start=0.0),
        OneCycle(pct_start=0.05),
        OneCycle(pct_start=0.9, div_factor=4, final_div_factor=10),
        OneCycle(div_factor=1, final_div_factor=1),
    ],
    ids=repr,
)
def test_one_cycle_is_that_of_torch(schedule: OneCycle, steps: int, epochs: int) -> None:
    expected = torch_one_cycle(schedule, steps * epochs)
    assert factors(schedule, steps=steps, epochs=epochs) == pytest.approx(expected, rel=1e-6)


def test_one_cycle_values_worked_by_hand() -> None:
    # Ten steps: the rise takes 0.5 * 10 - 1 = 4 of them, the fall the other 5.
    shape = factors(OneCycle(pct_start=0.5, div_factor=4, final_div_factor=5), steps=5, epochs=2)
    assert shape[0] == pytest.approx(1 / 4)
    assert shape[2] == pytest.approx((1 / 4 + 1) / 2)
    assert max(shape) == shape[4] == 1
    assert shape[9] == pytest.approx(1 / 20)


@pytest.mark.parametrize("pct_start", [0.0, 0.25, 0.5, 0.75, 0.99])
@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_a_cycle_of_few_steps_stays_in_range(pct_start: float, total: int) -> None:
    # torch divides by zero where the rise takes exactly one step.
    shape = factors(OneCycle(pct_start=pct_start), steps=total, epochs=1)
    assert all(0 < factor <= 1 for factor in shape)
    assert shape[-1] == pytest.approx(1 / 25e4)


def after(schedule: Schedule, history: Sequence[float]) -> float:
    return schedule.factor(
        3 * len(history), steps_per_epoch=3, num_epochs=len(history) + 1, history=history
    )


def test_a_plateau_lowers_the_rate_after_its_patience_worked_by_hand() -> None:
    plateau = Plateau(gamma=0.5, patience_epochs=1)
    objectives = [0.6, 0.7, 0.7, 0.65, 0.68, 0.7, 0.71, 0.1, 0.2]
    # Bad epochs after 0.7: two are one too many; then two more; 0.71 begins anew.
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert [after(plateau, objectives[:n]) for n in range(10)] == expected


def test_without_patience_the_first_bad_epoch_lowers_the_rate() -> None:
    plateau = Plateau(gamma=0.1, patience_epochs=0)
    assert [after(plateau, [-1, -2, -3][:n]) for n in range(4)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_plateau_is_that_of_torch(patience: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    objectives = (torch.randint(8, (25,), generator=generator) / 8).tolist()  # with ties
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    of_torch = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=patience, threshold=0, eps=0
    )
    plateau = Plateau(gamma=0.5, patience_epochs=patience)
    for n, objective in enumerate(objectives, 1):
        of_torch.step(objective)
        rate = optimizer.param_groups[0]["lr"]
        assert after(plateau, objectives[:n]) == pytest.approx(rate)
    assert rate < 1


@pytest.mark.parametrize("power", [0.5, 0.9, 2.0])
def test_poly_is_that_of_torch(power: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    of_torch = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=12, power=power)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        of_torch.step()
    assert factors(Poly(power=power), steps=3, epochs=4) == pytest.approx(rates)


def test_poly_values_worked_by_hand() -> None:
    assert factors(Poly(power=2), steps=2, epochs=2) == [1, 9 / 16, 1 / 4, 1 / 16]


def test_only_a_plateau_looks_at_the_objective() -> None:
    for kind, schedule in SCHEDULES.items():
        changed = {
            after(TypeAdapter(AnySchedule).validate_python({"kind": kind}), history)
            for history in ([0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
        }
        assert (len(changed) == 2) == (schedule is Plateau), kind


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "one_cycle", "pct_start": 1.0},
        {"kind": "one_cycle", "div_factor": 0.5},
        {"kind": "one_cycle", "final_div_factor": 0},
        {"kind": "plateau", "gamma": 1.0},
        {"kind": "plateau", "patience_epochs": -1},
        {"kind": "constant", "gamma": 0.5},
    ],
)
def test_a_setting_out_of_bounds_or_of_another_schedule_is_refused(wrong: dict[str, Any]) -> None:
    name = list(wrong)[-1]
    with pytest.raises(ValidationError, match=rf"{wrong['kind']}\.{name}"):
        TypeAdapter(AnySchedule).validate_python(wrong)
