"""The view of a running search, as lines of a given width."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from workbench.searching.live import InFlight, SearchView, Situation, Standing, lines
from workbench.searching.open_trials import Ended
from workbench.searching.options import FinalistsAsked, RunOptions
from workbench.searching.stopping import final_round_s
from workbench.trial.recipe import Objective

FLIGHT = (
    InFlight("12", "tf_efficientnet_lite1 mel+frames 128 px", 1, 3, 0.5, 30.0),
    InFlight("9", "resnet18 mel 112 px", 0, 3, 0.0, 2.0),
)


def standing(**changes: object) -> Standing:
    usual: dict[str, object] = {
        "name": "demo",
        "num_trials": 50,
        "complete": 8,
        "pruned": 3,
        "failed": 0,
        "paused": 0,
        "best": "auc 0.8140 by #4",
        "in_flight": FLIGHT,
        "here": 11,
        "seconds": 220.0,
        "importances": [("optimizer.lr", 0.412), ("views", 0.218), ("dropout", 0.1)],
    }
    return Standing(**(usual | changes))  # type: ignore[arg-type]


def test_a_search_in_flight() -> None:
    # 11 of 50 trials in 220 s are one in 20 s: 39 take 780 s more, 13 minutes.
    # The first trial has done a half of its epochs in 30 s.
    assert lines(standing(), 80) == [
        "demo: 11 of 50 trials (8 complete, 3 pruned), best auc 0.8140 by #4",
        "━━━━━━━───────────────────────  22%  3.0 trials a minute, about 13 min left",
        "#12  tf_efficientnet_lite1 mel+frames …  epoch 2/3  50%  30.0 s, about 30 s left",
        "#9   resnet18 mel 112 px                 epoch 1/3   0%  2.0 s",
        "matters most so far: optimizer.lr 41%, views 22%, dropout 10%",
    ]


def test_before_it_has_a_pace_a_trial_takes_what_it_was_expected_to() -> None:
    new = InFlight("3", "resnet18", 0, 4, 0.2, 10.0, expected_s=60.0)
    # One that went on after two of four epochs, and has done a quarter of the rest in 20 s.
    again = InFlight("4", "resnet18", 2, 4, 0.5, 20.0, num_before=2, expected_s=10.0)
    found = lines(standing(in_flight=(new, again), paused=2), 80)
    assert found[0].startswith("demo: 13 of 50 trials (8 complete, 3 pruned, 2 paused)")
    assert found[2].endswith("epoch 1/4  20%  10.0 s, about 50 s left")
    assert found[3].endswith("epoch 3/4  50%  20.0 s, about 1 min left")


def test_a_search_that_has_just_begun() -> None:
    begun = standing(
        complete=0, pruned=0, best="", in_flight=(), here=0, seconds=1.5, importances=()
    )
    assert lines(begun, 80) == [
        "demo: 0 of 50 trials",
        "──────────────────────────────   0%  1.5 s so far",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = lines(standing(), width)
    assert len(found) == 5
    assert max(map(len, found)) <= width


@pytest.mark.parametrize(
    ("seconds", "here", "said"),
    [
        (11.0, 11, "60.0 trials a minute, about 40 s left"),
        (11 * 300.0, 11, "12.0 an hour, about 3 h left"),
        (11 * 60.0, 11, "60.0 an hour, about 39 min left"),
    ],
)
def test_the_pace_is_that_of_this_search(seconds: float, here: int, said: str) -> None:
    assert lines(standing(seconds=seconds, here=here), 80)[1].endswith(said)


def test_a_last_epoch_that_is_done_is_not_counted_on() -> None:
    scoring = InFlight("3", "resnet18", 3, 3, 1.0, 9.0)
    assert "epoch 3/3 100%  9.0 s" in lines(standing(in_flight=(scoring,)), 80)[2]


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def unasked() -> Standing:
        raise AssertionError("nobody looks")

    with SearchView(unasked) as view:
        view.update()
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_the_best_and_those_of_a_final_round_are_trials_that_keep_the_constraints() -> None:
    ended = [Ended("0", "a", 0.2, 10.0, keeps=False), Ended("1", "b", 0.3, 60.0)]
    store: Any = SimpleNamespace(
        complete=lambda: ended,
        objective=Objective(metric="log_loss"),
        counts=lambda: Counter(complete=2),
        in_flight={},
        paused={},
        num_ended=lambda: 2,
        importances=lambda: (),
    )
    options, seats = RunOptions(num_trials=9, finalists=FinalistsAsked(1, 2)), SimpleNamespace()
    runner: Any = None
    assert Situation("demo", store, runner, options)().best == "log_loss 0.3000 by #1"
    seats.devices = ["cpu"]
    reserved: Any = seats
    assert final_round_s(store, options, reserved) == 120.0
    del ended[1]
    said = Situation("demo", store, runner, options)().best
    assert said == "log_loss 0.2000 by #0, which breaks a constraint"
