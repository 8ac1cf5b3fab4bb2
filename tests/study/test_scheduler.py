"""The median rule and no rule at all; successive halving has a file of its own."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.searching.halving import SuccessiveHalving
from workbench.searching.scheduler import MedianRule, NoPruning, make_scheduler
from workbench.space.experiment import Experiment
from workbench.validation import build

CURVES = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]), min_size=1, max_size=5),
    min_size=1,
    max_size=6,
)


def test_below_the_median_of_whole_trials_one_is_over() -> None:
    rule = MedianRule(startup_trials=2, warmup_epochs=1, maximize=True)
    rule.on_end(0, {1: 0.5, 2: 0.6, 3: 0.9}, "complete")
    low = {1: 0.1, 2: 0.1}
    assert rule.on_epoch(9, low, 4) == "go on"  # too few whole ones
    rule.on_end(1, {1: 0.5, 2: 0.8, 3: 0.9}, "complete")
    rule.on_end(2, {1: 0.0, 2: 0.0}, "pruned")  # no whole one
    assert rule.on_epoch(9, {1: 0.1}, 4) == "go on"  # warm-up
    assert rule.on_epoch(9, low, 4) == "prune"
    assert rule.on_epoch(9, {1: 0.1, 2: 0.7}, 4) == "go on"  # the median itself
    assert rule.on_epoch(9, {1: 0.8, 2: 0.1}, 4) == "go on"  # its best epoch counts
    assert rule.on_epoch(9, low, 2) == "go on"  # that was its last
    assert rule.on_epoch(9, {**low, 3: 0.1, 4: 0.1}, 9) == "go on"  # nobody came there


@settings(max_examples=60, deadline=None)
@given(
    curves=CURVES,
    startup=st.integers(0, 3),
    warmup=st.integers(0, 2),
    maximize=st.booleans(),
)
def test_it_decides_as_optunas_pruner(
    curves: list[list[float]], startup: int, warmup: int, *, maximize: bool
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup + 1)
    study = optuna.create_study(direction="maximize" if maximize else "minimize", pruner=pruner)
    rule = MedianRule(startup_trials=startup, warmup_epochs=warmup, maximize=maximize)
    for curve in curves:
        trial, reached = study.ask(), dict[int, float]()
        for epoch, objective in enumerate(curve, start=1):
            trial.report(objective, epoch)
            reached[epoch] = objective
            # One more epoch is to come: of the last one nothing is asked.
            theirs = "prune" if trial.should_prune() else "go on"
            assert rule.on_epoch(trial.number, reached, epoch + 1) == theirs
        study.tell(trial, max(curve))
        rule.on_end(trial.number, reached, "complete")


def test_without_pruning_all_go_on() -> None:
    rule = NoPruning()
    rule.on_end(0, {1: 0.9}, "complete")
    assert rule.on_epoch(1, {1: 0.0}, 9) == "go on"
    assert rule.resume(at_least=1) is None
    assert rule.hopeless(to_come=0) == []
    assert rule.worst() is None


@pytest.mark.parametrize(
    ("kind", "scheduler"),
    [("halving", SuccessiveHalving), ("median", MedianRule), ("none", NoPruning)],
)
def test_an_experiment_says_which(kind: str, scheduler: type) -> None:
    tree = {
        "name": "x",
        "views": {"mel": {"kind": "mel"}},
        "search_space": "none",
        "pruning": {"kind": kind},
    }
    experiment: Experiment = build(Experiment, tree, where="test")
    assert type(make_scheduler(experiment)) is scheduler
