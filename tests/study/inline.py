"""A pool in this process whose trials train nothing: their epochs follow a curve of the test."""

from collections.abc import Callable
from typing import ClassVar

import pandas as pd

from tests.study.workers import epoch
from workbench.search.pool import Event
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder
from workbench.trial.train import Verdict
from workbench.trial.training import best_epoch
from workbench.trial.worker import Job

Curve = Callable[[Recipe, int], float | Event]


def _flat(recipe: Recipe, number: int) -> float:
    return 0.5


class InlinePool:
    """Stands in for `WorkerPool`: every call of `events` lets each busy worker say one thing."""

    curve: ClassVar[Curve] = staticmethod(_flat)
    """The objective of a recipe's epoch; or an event that comes in its place, or an error that
    strikes the study process while it waits."""

    trained: ClassVar[list[Recipe]] = []
    """Every recipe that was submitted, of all searches; again when it goes on."""

    kept: ClassVar[dict[str, list[Epoch]]] = {}
    """The epochs of paused recipes, by uid."""

    scores: ClassVar[pd.DataFrame | None] = None
    """What every complete trial scored, if that is kept."""

    @classmethod
    def reset(cls, curve: Curve = _flat) -> None:
        """Forget what was trained and follow `curve`."""
        cls.curve = staticmethod(curve)
        cls.trained = []
        cls.kept = {}
        cls.scores = None

    def __init__(self, num_workers: int, *, stall_s: float, warm: bool = False) -> None:
        self._jobs: dict[int, Job | None] = dict.fromkeys(range(num_workers))
        self._epochs: dict[int, list[Epoch]] = {}
        self._verdicts: dict[int, Verdict] = {}
        self.closed = False

    def resize(self, num_workers: int) -> None:
        self._jobs = dict.fromkeys(range(num_workers))

    def free_slot(self) -> int | None:
        return next((slot for slot, job in self._jobs.items() if job is None), None)

    def submit(self, slot: int, job: Job) -> None:
        assert self._jobs[slot] is None
        self._jobs[slot] = job
        self._epochs[slot], self._verdicts[slot] = [], "go on"
        recipe = Recipe.model_validate_json(job.recipe)
        InlinePool.trained.append(recipe)

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        return [(slot, self._say(slot, job)) for slot, job in self._jobs.items() if job is not None]

    def answer(self, slot: int, verdict: Verdict) -> None:
        self._verdicts[slot] = verdict

    def share(self, slot: int) -> float:
        return 0.5

    def stop(self, slot: int) -> None:
        self._jobs[slot] = None

    def close(self, *, at_once: bool) -> None:
        self.closed = True

    def _say(self, slot: int, job: Job) -> Event:
        recipe, epochs = Recipe.model_validate_json(job.recipe), self._epochs[slot]
        kept, verdict = InlinePool.kept.get(recipe.uid, []), self._verdicts[slot]
        if len(epochs) < len(kept):
            epochs.append(kept[len(epochs)])
            return epochs[-1]
        if len(epochs) < recipe.training.num_epochs and verdict == "go on":
            said = InlinePool.curve(recipe, len(epochs) + 1)
            if isinstance(said, float):
                epochs.append(epoch(len(epochs) + 1, said))
                return epochs[-1]
            self._jobs[slot] = None
            return said
        if verdict == "pause":
            InlinePool.kept[recipe.uid] = epochs
        ends: dict[Verdict, State] = {"go on": "complete", "prune": "pruned", "pause": "paused"}
        result = make_result(recipe, epochs, ends[verdict])
        if self.scores is not None and result.state == "complete":
            TrialFolder(job.folder).write_scores(self.scores)
        TrialFolder(job.folder).write_result(result)
        self._jobs[slot] = None
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
        seconds=1.0,
        device="cpu",
    )
