"""A runner in this process whose trials train nothing: their epochs follow a curve of the test."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pandas as pd

from tests.study.workers import epoch
from workbench.searching.devices import Seats
from workbench.searching.options import RunOptions
from workbench.searching.runner import Event
from workbench.study.folder import StudyFolder
from workbench.trial.decision import Decision
from workbench.trial.job import Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State, best_epoch
from workbench.workspace import Workspace

Curve = Callable[[Recipe, int], float | Event]


def _flat(recipe: Recipe, number: int) -> float:
    return 0.5


def _quick(recipe: Recipe) -> float:
    return 0.1


class InlineTrials:
    """What the trials of a test do, over all of its searches; `make_runner` is for `run_search`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self, curve: Curve = _flat) -> None:
        """Forget what was trained and follow `curve`."""
        self.curve = curve
        """The objective of a recipe's epoch; or an event that comes in its place, or an error that
        strikes the study process while it waits."""

        self.trained: list[Recipe] = []
        """Every recipe that was submitted, of all searches; again when it goes on."""

        self.prepared_for: list[Recipe] = []
        """What the last search said that it may train."""

        self.num_folds = 1
        """How often each is trained."""

        self.kept: dict[str, list[Epoch]] = {}
        """The epochs of paused recipes, by uid."""

        self.scores: pd.DataFrame | None = None
        """What every complete trial scored, if that is kept."""

        self.weights_bytes = 0
        """What the weights of a complete trial take; none are written of 0 bytes."""

        self.seconds_of: Callable[[Recipe], float] = _quick
        """What an epoch takes."""

        self.wait: Callable[[float], None] = lambda seconds: None
        """Lets the time of an epoch pass."""

    def make_runner(
        self, workspace: Workspace, seats: Seats, options: RunOptions
    ) -> "InlineRunner":
        """Return the runner of a search; see `runner.MakeRunner`."""
        return InlineRunner(self, workspace, len(seats.devices))


@dataclass
class _Trial:
    job: Job
    recipe: Recipe
    epochs: list[Epoch] = field(default_factory=list)
    decision: Decision = "go on"


class InlineRunner:
    """Every call of `events` lets each job say one thing."""

    def __init__(self, trials: InlineTrials, workspace: Workspace, num_seats: int) -> None:
        self.trials, self._workspace, self._num_seats = trials, workspace, num_seats
        self._running: dict[int, _Trial] = {}

    def prepare(self, recipes: Iterable[Recipe]) -> None:
        self.trials.prepared_for = list(recipes)

    def has_room(self) -> bool:
        return len(self._running) < self._num_seats

    def submit(self, job: Job) -> None:
        assert self.has_room() and job.trial not in self._running
        recipe = Recipe.model_validate_json(job.recipe)
        self._running[job.trial] = _Trial(job, recipe)
        self.trials.trained.append(recipe)

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        return [(number, self.say(trial)) for number, trial in list(self._running.items())]

    def answer(self, trial: int, decision: Decision) -> None:
        self._running[trial].decision = decision

    def stop(self, trial: int) -> None:
        del self._running[trial]

    def share(self, trial: int) -> float:
        return 0.5

    def close(self, *, at_once: bool) -> None:
        self._running = {}

    def say(self, trial: _Trial) -> Event:
        """Return what comes of a trial next."""
        recipe, epochs, kept = trial.recipe, trial.epochs, self.trials.kept
        if len(epochs) < len(kept.get(recipe.uid, [])):
            epochs.append(kept[recipe.uid][len(epochs)])
            return epochs[-1]
        num_epochs = recipe.training.num_epochs
        if len(epochs) < self.trials.num_folds * num_epochs and trial.decision == "go on":
            said = self.trials.curve(recipe, len(epochs) + 1)
            if isinstance(said, float):
                seconds = self.trials.seconds_of(recipe)
                self.trials.wait(seconds)
                fold = 1 + len(epochs) // num_epochs
                made = {"seconds": seconds, "fold": fold}
                new = epoch(len(epochs) + 1, said).model_copy(update=made)
                epochs.append(new)
                return new
            del self._running[trial.job.trial]
            return said
        if trial.decision == "pause":
            kept[recipe.uid] = epochs
        return self._end(trial)

    def _end(self, trial: _Trial) -> Result:
        ends: dict[Decision, State] = {"go on": "complete", "prune": "pruned", "pause": "paused"}
        result = make_result(trial.recipe, trial.epochs, ends[trial.decision])
        files = StudyFolder(self._workspace.studies / trial.job.study).trial(trial.job.uid)
        if self.trials.scores is not None and result.state == "complete":
            files.write_scores(self.trials.scores)
        if self.trials.weights_bytes and result.state == "complete":
            files.path.mkdir(parents=True, exist_ok=True)
            files.weights.write_bytes(bytes(self.trials.weights_bytes))
        files.write_result(result)
        del self._running[trial.job.trial]
        return result


def make_result(recipe: Recipe, epochs: list[Epoch], state: State = "complete") -> Result:
    """Return the result that a worker makes of these epochs."""
    best = best_epoch(recipe, epochs)
    assert best is not None
    return Result(
        recipe=recipe.uid,
        state=state,
        reason="" if state == "complete" else f"{state} after epoch {len(epochs)}",
        epochs=tuple(epochs),
        best_epoch=best.epoch,
        objective=best.objective,
        metrics=best.metrics,
        seconds=sum(epoch.seconds for epoch in epochs),
        device="cpu",
    )
