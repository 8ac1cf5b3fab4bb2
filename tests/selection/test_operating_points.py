import numpy as np
import pytest

from workbench.selection.operating_points import (
    FPRS,
    operating_point,
    operating_points,
    who_decides,
)
from workbench.trial.metrics import binary_metrics


def test_few_reals_allow_no_false_alarm() -> None:
    reals, fakes = [0.1, 0.2, 0.7], [0.6, 0.8, 0.7, 0.9]
    found = operating_point([0] * 3 + [1] * 4, reals + fakes, 1e-3)
    # Above the highest real, 0.7, lie two fakes; the one at 0.7 would let the real one in.
    assert (found.tpr, found.num_false_alarms, found.num_reals) == (0.5, 0, 3)


def test_a_limit_counts_whole_false_alarms() -> None:
    reals = np.arange(200) / 1000
    found = operating_point([0] * 200 + [1, 1], [*reals, 0.1975, 0.1965], 1e-2)
    # Two of 200 may be called: 0.199 and 0.198. The threshold lies above 0.197.
    assert (found.num_false_alarms, found.tpr) == (2, 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_metric_of_the_same_name(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, 400)
    scores = np.round(rng.random(400) * 0.6 + 0.4 * targets, 2)  # with ties
    metrics = binary_metrics(targets, scores)
    found = operating_points(targets, scores)
    assert [point.fpr for point in found] == list(FPRS)
    assert [point.tpr for point in found] == [
        metrics["tpr_at_fpr_1e-2"],
        metrics["tpr_at_fpr_1e-3"],
    ]
    assert all(point.low <= point.tpr <= point.high for point in found)


def test_an_interval_has_a_width_where_all_fakes_are_found() -> None:
    found = operating_point([0] * 30 + [1] * 30, [0.1] * 30 + [0.9] * 30, 1e-2)
    assert (found.tpr, found.high) == (1.0, 1.0)
    # Wilson's interval of 30 of 30: 30 / (30 + 1.96^2).
    assert found.low == pytest.approx(30 / (30 + 1.96**2))


def test_an_interval_holds_what_the_highest_real_moves() -> None:
    # One real file lies above most fakes: drawn or not, it decides.
    reals, fakes = [*np.linspace(0, 0.3, 74), 0.9], np.linspace(0.4, 0.95, 75)
    found = operating_point([0] * 75 + [1] * 75, [*reals, *fakes], 1e-3)
    assert found.tpr < 0.1
    assert found.high == 1.0


def test_who_decides_is_said() -> None:
    points = operating_points([0] * 75 + [1], [0.1] * 75 + [0.9])
    said = who_decides(points)
    assert said.startswith("75 real files decide it: FPR 0.01 allows none, FPR 0.001 allows none")
    points = operating_points([0] * 2500 + [1], [0.1] * 2500 + [0.9])
    assert who_decides(points) == (
        "2500 real files decide it: FPR 0.01 allows 25 of them, FPR 0.001 allows 2 of them to be "
        "called fake."
    )


def test_one_class_has_no_operating_point() -> None:
    with pytest.raises(ValueError, match="both classes"):
        operating_point([1, 1], [0.1, 0.2], 1e-2)
