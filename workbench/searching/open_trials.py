"""The trials of a study as a running search sees them."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from workbench.searching.options import RunOptions
from workbench.trial.decision import Decision
from workbench.trial.job import Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State, best_epoch

MOST_RESTARTS = 1
"""How often a trial is started again from its last kept epoch after its worker died, and how often
after a bug."""


class Ended(NamedTuple):
    """A complete trial."""

    name: str
    recipe: str
    objective: float
    seconds: float
    keeps: bool = True
    """Whether it keeps the constraints: else it is never the best."""


class PastTrial(NamedTuple):
    """A trial of the study that has ended, and what it reached in each epoch."""

    number: int
    state: State
    reached: Mapping[int, float]
    keeps: bool = True
    """As `Ended.keeps`."""


def reached_in(recipe: Recipe, epochs: Iterable[Epoch]) -> dict[int, float]:
    """Return the objective of each epoch of the first fold: what trials are compared by.

    Of a probe it is nothing: its one epoch is its last, and those of others are on their way.
    """
    if recipe.training.probe is not None:
        return {}
    return {epoch.epoch: epoch.objective for epoch in epochs if epoch.fold == 1}


@dataclass
class OpenTrial:
    """A trial in flight, or one that waits."""

    number: int
    """Its number in the study, or among the trainings of a run that are no trials of it."""

    recipe: Recipe
    run: str
    """Its MLflow run."""

    name: str
    """What a person knows it by: the number, or for a repeat of a trial `7.2`."""

    started: float = field(default_factory=time.monotonic)
    epochs: list[Epoch] = field(default_factory=list)
    num_before: int = 0
    """Epochs that had ended when it last went on."""

    expected_s: float | None = None
    """What it is expected to take from where it started, if anything is known."""

    deaths: int = 0
    """How often its worker died and another went on."""

    bugs: int = 0
    """How often it hit a bug and another worker went on."""

    decision: Decision = "go on"
    """What it was told after its last epoch."""

    num_folds: int = 1
    """How often it is trained, each time without another fold."""

    @property
    def restarts(self) -> int:
        """How often another worker went on with it."""
        return self.deaths + self.bugs

    @property
    def num_epochs(self) -> int:
        """Those that it has in the end, of all folds."""
        return self.num_folds * self.recipe.training.num_epochs

    @property
    def reached(self) -> dict[int, float]:
        """What it is held against others by, by epoch."""
        return reached_in(self.recipe, self.epochs)

    def job(self, study: str, options: RunOptions) -> Job:
        """Return what a runner is asked for, to train it or to go on with it."""
        return Job(
            study=study,
            trial=self.number,
            uid=self.recipe.uid,
            recipe=self.recipe.model_dump_json(),
            memory_bytes=options.memory_bytes,
            compiled=options.compiled,
        )

    def failed(self, reason: str) -> Result:
        """Return how it ended if it failed for `reason`, which no worker could write."""
        best = best_epoch(self.recipe, self.epochs)
        return Result(
            recipe=self.recipe.uid,
            state="failed",
            reason=reason,
            epochs=tuple(self.epochs),
            best_epoch=best.epoch if best else None,
            objective=best.objective if best else None,
            metrics=best.metrics if best else {},
            seconds=time.monotonic() - self.started,
        )
