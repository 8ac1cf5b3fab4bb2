"""Who goes on after an epoch, who waits and who is over: a scheduler, which knows no storage.

It sees trials as numbers, and what each reached as the objectives of its epochs, counted from 1.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, assert_never

import numpy as np

from workbench.searching.halving import SuccessiveHalving
from workbench.space.experiment import Experiment
from workbench.trial.decision import Decision
from workbench.trial.result import State

Reached = Mapping[int, float]
"""The objective of each epoch of a trial."""


class Scheduler(Protocol):
    """Decides how trials go on; one that says no more than this pauses none."""

    def on_epoch(self, trial: int, reached: Reached, num_epochs: int) -> Decision:
        """Return how a trial goes on after the last epoch of `reached`, of `num_epochs` in all."""

    def on_pause(self, trial: int, epoch: int) -> None:
        """Let a trial wait that was told to pause after `epoch`, and did."""
        raise ValueError(f"trial {trial} was not told to pause")

    def on_end(self, trial: int, reached: Reached, state: State) -> None:
        """Take note of how a trial ended."""

    def recall(self, trial: int, reached: Reached, state: State) -> None:
        """Take note of a trial of an earlier run of the search, ended or paused."""

    def forget(self, trial: int) -> None:
        """Forget a trial that makes place for another."""
        return

    def resume(
        self,
        *,
        at_least: int = 0,
        cost: Callable[[int], float] = lambda trial: 0.0,
        affordable: Callable[[float], bool] = lambda cost: True,
    ) -> int | None:
        """Return a waiting trial that goes on now, if there is one; it waits no longer.

        Args:
            at_least: So many go on where they stand, even if too few came for a place there.
            cost: Of a trial's way from here; of equals the cheapest goes on.
            affordable: Whether a trial of such a cost may go on.
        """
        return None

    def hopeless(self, *, to_come: int) -> list[int]:
        """Return waiting trials that cannot go on whatever comes; they wait no longer.

        Args:
            to_come: Trials that wait nowhere and may still come to where these wait.
        """
        return []

    def worst(self) -> int | None:
        """Return the waiting trial with the least hope, if one waits; it waits no longer."""
        return None


def make_scheduler(experiment: Experiment) -> Scheduler:
    """Return the scheduler that an experiment asks for."""
    pruning = experiment.pruning
    maximize = experiment.objective.direction == "maximize"
    match pruning.kind:
        case "halving":
            first = max(1, pruning.warmup_epochs)
            return SuccessiveHalving(first=first, factor=pruning.factor, maximize=maximize)
        case "median":
            return MedianRule(
                startup_trials=pruning.startup_trials,
                warmup_epochs=pruning.warmup_epochs,
                maximize=maximize,
            )
        case "none":
            return NoPruning()
        case _:
            assert_never(pruning.kind)


class NoPruning(Scheduler):
    """Every trial runs in full."""

    def on_epoch(self, trial: int, reached: Reached, num_epochs: int) -> Decision:
        """Return that it goes on."""
        return "go on"

    def on_end(self, trial: int, reached: Reached, state: State) -> None:
        """Take note of nothing."""

    recall = on_end


class MedianRule(Scheduler):
    """A trial is over whose best epoch so far is below the median of others at the same epoch.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.2, with the best in the place of the
    mean, as Optuna's `MedianPruner` has it.

    Args:
        startup_trials: Complete trials before any is stopped.
        warmup_epochs: Epochs that no trial is stopped in.
        maximize: Whether more is better.
    """

    def __init__(self, *, startup_trials: int, warmup_epochs: int, maximize: bool) -> None:
        self._startup_trials, self._warmup_epochs = startup_trials, warmup_epochs
        self._sign = 1 if maximize else -1
        self._complete: dict[int, Reached] = {}

    def on_epoch(self, trial: int, reached: Reached, num_epochs: int) -> Decision:
        """Return whether a trial goes on or is over."""
        epoch = max(reached)
        there = [whole[epoch] for whole in self._complete.values() if epoch in whole]
        if epoch in (num_epochs, *range(self._warmup_epochs + 1)) or not there:
            return "go on"
        if len(self._complete) < self._startup_trials:
            return "go on"
        best = max(self._sign * value for value in reached.values())
        return "prune" if best < self._sign * float(np.median(there)) else "go on"

    def on_end(self, trial: int, reached: Reached, state: State) -> None:
        """Take note of a complete trial, if it was held against others at all."""
        if state == "complete" and reached:
            self._complete[trial] = dict(reached)

    recall = on_end
