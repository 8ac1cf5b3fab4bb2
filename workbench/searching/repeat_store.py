"""What is kept of repeats while they are trained, and which is trained next.

A repeat is in its own folder and in MLflow, and nowhere in Optuna: it teaches the sampler nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from workbench.searching import messages
from workbench.searching.forecast import Forecast
from workbench.searching.open_trials import Ended, OpenTrial
from workbench.searching.queue import Queue
from workbench.searching.recording import StudyRuns, cannot_be_written
from workbench.searching.store import TrialStore
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.study.repeats import Repeat, read_repeats, repeated, write_repeat
from workbench.tracking.store import WriteError
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result, State

T = TypeVar("T")


class _Planned(NamedTuple):
    """A repeat that is asked for."""

    repeat: Repeat
    recipe: Recipe


class RepeatStore(TrialStore):
    """Keeps what becomes of the repeats of some trials.

    Args:
        folder: The study's, held by this process.
        num_seeds: Repeats of each.
        num_folds: How often each is trained, each time without another fold.
    """

    def __init__(
        self,
        folder: StudyFolder,
        rows: Sequence[TrialRow],
        *,
        num_seeds: int,
        objective: Objective,
        runs: StudyRuns,
        num_folds: int = 1,
    ) -> None:
        self._folder, self._rows, self._runs = folder, rows, runs
        self.objective, self._num_folds = objective, num_folds
        self.in_flight: dict[int, OpenTrial] = {}
        """Those that are trained now, by their place in the plan."""

        self.paused: dict[int, OpenTrial] = {}
        """None: each is trained whole."""

        begun = {(repeat.of, repeat.place): repeat for repeat in read_repeats(folder)}
        # Each trial's first before any one's second: where time is short, all have some.
        self._planned = [
            self._plan(row, place, begun.get((row.recipe, place)))
            for place in range(1, num_seeds + 1)
            for row in rows
        ]
        self._results: dict[int, Result] = {
            number: result
            for number, planned in enumerate(self._planned)
            if (result := folder.repeat(planned.repeat.recipe).kept_result())
        }

    def _plan(self, row: TrialRow, place: int, begun: Repeat | None) -> _Planned:
        if begun is not None and (recipe := self._folder.repeat(begun.recipe).kept_recipe()):
            return _Planned(begun, recipe)
        recipe = repeated(self._folder.trial(row.recipe).read_recipe(), place)
        repeat = begun or Repeat(
            number=row.number,
            of=row.recipe,
            place=place,
            recipe=recipe.uid,
            params_thop=row.params_thop,
            params_true=row.params_true,
        )
        return _Planned(repeat, recipe.named(repeat.recipe))

    def to_come(self) -> list[Recipe]:
        """Return the recipes that are neither trained nor in flight, in the order of training."""
        return [self._planned[number].recipe for number in self._numbers_to_come()]

    def begin(self) -> OpenTrial:
        """Begin the next repeat, or go on with it where it was cut off."""
        number = self._numbers_to_come()[0]
        planned, recipe = self._planned[number]
        self._folder.repeat(planned.recipe).write_recipe(recipe)
        repeat = planned.model_copy(update={"made_by": self._runs.made_by})
        run = self._record(lambda: self._runs.start_repeat(repeat, recipe))
        repeat = repeat.model_copy(update={"run": run})
        write_repeat(self._folder, repeat)
        self._planned[number] = _Planned(repeat, recipe)
        running = OpenTrial(number, recipe, run, repeat.name, num_folds=self._num_folds)
        self.in_flight[number] = running
        return running

    def report(self, running: OpenTrial, epoch: Epoch) -> None:
        """Enter an epoch."""
        self._record(lambda: self._runs.log(running.run, epoch))
        running.epochs.append(epoch)

    def pause(self, running: OpenTrial) -> None:
        """Raise RuntimeError: a repeat is trained whole."""
        raise RuntimeError(f"repeat {running.name} paused")

    def fail(self, running: OpenTrial, reason: str) -> Result:
        """Write how a repeat ended whose worker could not; it is to be ended so."""
        result, files = running.failed(reason), self._folder.repeat(running.recipe.uid)
        files.write_result(result)
        files.drop_fold_scores(self._num_folds, with_weights=True)
        return result

    def end(self, running: OpenTrial, result: Result) -> None:
        """Enter how a repeat ended."""
        self._folder.repeat(running.recipe.uid).checkpoint.unlink(missing_ok=True)
        counts = self._planned[running.number].repeat.counts()
        self._record(lambda: self._runs.end(running.run, result, counts, restarts=running.restarts))
        del self.in_flight[running.number]
        self._results[running.number] = result

    def requeue(self, running: OpenTrial) -> None:
        """Have a repeat in flight trained further the next time."""
        self._record(
            lambda: self._runs.tracking.end_trial(
                running.run, state="interrupted", reason="The training was stopped."
            )
        )
        del self.in_flight[running.number]

    def trained(self, *, most: int) -> Iterator[tuple[Recipe, Result]]:
        """Yield the last trainings that ended, of repeats and of the trials themselves."""
        ended = [(self._planned[number].recipe, r) for number, r in self._results.items()]
        for row in self._rows:
            files = self._folder.trial(row.recipe)
            recipe, result = files.kept_recipe(), files.kept_result()
            if recipe and result:
                ended.append((recipe, result))
        yield from ended[:most]

    def complete(self) -> list[Ended]:
        """Return the complete ones."""
        return [
            Ended(self._planned[number].repeat.name, r.recipe, r.objective, r.seconds)
            for number, r in self._results.items()
            if r.state == "complete" and r.objective is not None
        ]

    def counts(self) -> Counter[State]:
        """Return how many ended in which way."""
        return Counter(result.state for result in self._results.values())

    def _numbers_to_come(self) -> list[int]:
        numbers = range(len(self._planned))
        return [n for n in numbers if n not in self._results and n not in self.in_flight]

    def _record(self, write: Callable[[], T]) -> T:
        try:
            return write()
        except WriteError as error:
            raise cannot_be_written(self._runs.place, error) from error


class RepeatQueue(Queue):
    """Hands out the repeats that are missing; nothing but their number ends them."""

    def __init__(self, store: RepeatStore, forecast: Forecast) -> None:
        super().__init__(store, forecast)
        self._store = store

    def missing(self) -> int:
        """Return how many are still to begin."""
        return len(self._store.to_come())

    def begin(self) -> tuple[OpenTrial, Result | None]:
        """Begin the next; its rules were judged when the trial was."""
        return self._store.begin(), None

    def foretell(self, running: OpenTrial) -> str:
        """Note what one is expected to take; return it in words, if it is worth saying."""
        expected = self._forecast.of(running.recipe, running.epochs)
        if expected is None:
            return ""
        running.expected_s = expected.seconds
        return messages.announced(running, expected) if self._forecast.is_shown else ""
