"""The search: the one process that asks for recipes, hands them out and decides what goes on.

Workers train and report; this process prunes, and keeps the books (`search.store`). It can be
killed at any instant: the next search of the study adopts what is there.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from workbench.console import duration, say
from workbench.errors import DamagedFileError
from workbench.processes import Interrupts
from workbench.search.drawing import Drawing
from workbench.search.forecast import Forecast
from workbench.search.live import InFlight, Standing, View
from workbench.search.pool import Died, Event, WorkerPool
from workbench.search.stopping import FREE_SOME, Limits, noise, time_is_up
from workbench.search.store import Running, StudyStore
from workbench.space.experiment import Experiment
from workbench.space.recipe_builder import RecipeBuilder
from workbench.study.folder import StudyFolder
from workbench.trial.compiling import Compile
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result
from workbench.trial.training import best_epoch
from workbench.trial.worker import Blocked, Bug, Full, Job

MOST_RESTARTS = 1
"""Times that a trial goes on from its last epoch after its worker died."""

LEARNT_FROM = 200
"""Earlier trials that say what trials cost."""

ANNOUNCED_S = 60.0
"""A trial that is expected to take so long is announced, with what it is expected to cost."""


class TrialBug(Exception):
    """A bug showed in a worker; its traceback is the message."""


@dataclass(frozen=True)
class Settings:
    """How a search runs; nothing here changes a trial's numbers but the seed."""

    num_trials: int
    devices: tuple[str, ...]
    """One worker each."""

    threads_per_worker: int
    memory_bytes: int | None
    """What one trial may take of its device's memory; None for its share."""

    cache: Path
    deadline: float | None
    """`time.monotonic()` after which no epoch begins."""

    stall_s: float
    """A trial of which no batch ends for so long hangs."""

    compiled: Compile = "off"
    """When trials compile their passes; rounding apart, that changes no number."""

    stop_at_noise: bool = False
    """Whether no trial starts once chance moves the best one by more than is still to be gained."""


class Search:
    """One sitting of a study.

    Args:
        folder: The study's folder, held by this process, with its prepared data.
        experiment: What the study is about.
        books: The study's.
        maker: Makes its recipes.
        forecast: Of what trials cost; it learns from those that end.
        settings: How to run.
        pool: Workers that were started ahead, one for each of the devices; `run` closes it.
    """

    def __init__(
        self,
        folder: StudyFolder,
        experiment: Experiment,
        books: StudyStore,
        *,
        maker: RecipeBuilder,
        forecast: Forecast,
        settings: Settings,
        pool: WorkerPool | None = None,
    ) -> None:
        self._folder, self._experiment, self._books = folder, experiment, books
        self._pruning = experiment.pruning
        self._maker, self._forecast = maker, forecast
        self._settings, self._pool = settings, pool
        self._limits = Limits(folder.path, settings.deadline)
        self._drawing = Drawing(books, maker)
        self._running: dict[int, Running] = {}
        self._began, self._before = time.monotonic(), 0
        self._stopped = ""
        """Why no trial starts any more; empty while they do."""

        self._at_epoch_ends = False
        """Whether the trials in flight stop as well, each at the end of its epoch."""

        self._last_may_end = False
        """Whether, then, one whose last epoch ended is scored and kept as complete."""

        self._no_more = ""
        """Why no new recipe is drawn, while those that wait may go on; empty while some are."""

        self._noise_told = False

    def learn(self) -> None:
        """Learn from the trials of earlier sittings what trials cost."""
        for recipe, result in self._books.trained(most=LEARNT_FROM):
            self._forecast.learn(recipe, result)

    def run(self, look: Callable[[], None] = lambda: None) -> str:
        """Run trials until the study has its number.

        Args:
            look: Called again and again, first when the first trials have been handed out.

        Returns:
            Why it stopped, in one sentence; empty if the study is whole.

        Raises:
            KeyboardInterrupt: Ctrl-C; the trials in flight are asked again the next time, and go
                on after their last epoch.
            TrialBug: a bug showed in a worker.
        """
        settings = self._settings
        if self._books.num_ended() >= settings.num_trials:
            return ""
        self._before = self._ended() + self._books.num_paused()
        pool = self._pool or WorkerPool(len(settings.devices), stall_s=settings.stall_s)
        clean = False
        try:
            with Interrupts() as interrupts, View() as view:
                while True:
                    self._fill(pool, view)
                    look()
                    if not self._running:
                        clean = True
                        if interrupts.asked:
                            raise KeyboardInterrupt
                        return self._stopped or self._no_more
                    events = pool.events(timeout_s=1.0)
                    if self._limits.too_late() and not self._at_epoch_ends:
                        self._last_may_end = True
                        self._stop_at_epoch_ends(self._time_is_up())
                    for slot, event in events:
                        self._take(slot, event, pool)
                    if interrupts.asked and not self._at_epoch_ends:
                        self._stop_at_epoch_ends(
                            "Ctrl-C: the trials in flight end their epochs and are kept. Once more "
                            "stops at once."
                        )
                    elif (
                        full := self._limits.out_of_space(self._books.prune_worst)
                    ) and not self._at_epoch_ends:
                        self._stop_at_epoch_ends(full)
                    self._show(view, pool)
        finally:
            pool.close(at_once=not clean)
            self._running, left = {}, list(self._running.values())
            for running in left:
                self._books.put_back(running)
            self._drawing.give_back()

    def _fill(self, pool: WorkerPool, view: View) -> None:
        """Give every free worker a trial, as long as there are trials to start."""
        while not self._stopped and (slot := pool.free_slot()) is not None:
            missing = self._missing()
            # With nobody left to wait for, the best of even a few waiting trials goes on.
            waiting = self._books.num_paused()
            at_the_end = missing == 0 and not self._running
            if not missing and not waiting:
                return
            self._stopped = self._time_is_up() if self._limits.too_late() else self._out_of_space()
            if self._stopped:
                return
            if ready := self._promoted(at_the_end=at_the_end):
                after = f"epoch {len(ready.epochs)}" if ready.epochs else "its tryout"
                say(f"trial {ready.trial.number:<3} goes on after {after}")
            elif missing:
                started = self._start_next()
                ready = started if isinstance(started, Running) else None
                if ready and self._waits(ready):
                    ready = None
                if started is None:
                    known = self._ended() + len(self._running) + waiting
                    self._no_more = (
                        f"The search space is used up: {known} different recipes are all it holds."
                    )
            elif at_the_end:
                over = sum(1 for _ in iter(self._books.prune_worst, False))
                said = "1 paused trial is" if over == 1 else f"{over} paused trials are"
                say(f"{said} pruned: others did better at the same epoch.")
                return
            else:
                return
            if ready:
                self._foretell(ready)
                self._running[slot] = ready
                pool.submit(slot, self._job(slot, ready))
            self._show(view, pool)

    def _promoted(self, *, at_the_end: bool) -> Running | None:
        """Return a paused trial that goes on now, if there is one.

        Where the time that is left is too short for a new trial, the best of even a few that wait
        go on, if they can end in time: half a trial more is worth less than a whole one.
        """
        ready = self._books.promote(at_least=1 if at_the_end else 0, cost=self._seconds_left)
        if ready is None and self._limits.has_deadline and self._is_short(self._usual_seconds()):
            ready = self._books.promote(
                at_least=1,
                cost=self._seconds_left,
                affordable=lambda seconds: not self._is_short(seconds),
            )
        return ready

    def _is_short(self, seconds: float) -> bool:
        """Say whether what is expected to take so long is not expected to end in time."""
        return self._forecast.is_used and self._limits.too_late(seconds)

    def _foretell(self, running: Running) -> None:
        """Note what a trial is expected to take, and say so if that is long."""
        expected = self._forecast.of(running.recipe, running.epochs)
        if expected is None or not self._forecast.is_shown:
            return
        running.expected_s = expected.seconds
        if expected.seconds >= ANNOUNCED_S:
            say(f"trial {running.trial.number:<3} starts    {_what(running.recipe)}  {expected}")

    def _seconds_left(self, running: Running) -> float:
        """Return what a trial is expected to take from here on; 0 if nothing is known."""
        return self._seconds_of(running.recipe, running.epochs)

    def _seconds_of(self, recipe: Recipe, done: Sequence[Epoch] = ()) -> float:
        expected = self._forecast.of(recipe, done)
        return expected.seconds if expected else 0.0

    def _waits(self, running: Running) -> bool:
        """Say whether a new trial waits, since it was tried out before it was cut off."""
        if self._pruning.tryout is None:
            return False
        tried = self._folder.trial(running.recipe.uid).tryout().kept_result()
        if tried is None or tried.state != "complete" or tried.objective is None:
            running.tryout = True
            return False
        return not self._take_tryout(running, tried.objective)

    def _take_tryout(self, running: Running, objective: float) -> bool:
        """Enter what a tryout reached; say whether its trial goes on, else it waits."""
        running.tryout = False
        self._folder.trial(running.recipe.uid).tryout().weights.unlink(missing_ok=True)
        if self._books.report_tryout(running, objective):
            return True
        metric = self._experiment.objective.metric
        result = Result(
            recipe=running.recipe.uid,
            state="paused",
            reason=f"paused after its tryout ({metric} {objective:.4f})",
        )
        self._folder.trial(running.recipe.uid).write_result(result)
        self._pause(running, result)
        return False

    def _pause(self, running: Running, result: Result) -> None:
        self._books.pause(running)
        self._forecast.learn(running.recipe, result)
        self._say(running, result)
        self._books.prune_hopeless(to_come=self._missing() + len(self._running))

    def _missing(self) -> int:
        """Return how many new trials are still to be started."""
        if self._no_more:
            return 0
        begun = self._ended() + len(self._running) + self._books.num_paused()
        return max(0, self._settings.num_trials - begun)

    def _time_is_up(self) -> str:
        return time_is_up(
            missing=self._missing(),
            waiting=self._books.num_paused(),
            in_flight=len(self._running),
        )

    def _stop_at_epoch_ends(self, why: str) -> None:
        self._stopped, self._at_epoch_ends = why, True
        say(why)

    def _start_next(self) -> Running | Result | None:
        """Ask for a recipe that is new.

        Returns:
            The trial to run; or the result of one that ended since it may not run; or nothing if
            the search space is used up.
        """
        drawn = self._drawing.next()
        if drawn is not None and self._is_short(self._seconds_of(drawn.recipe)):
            drawn = self._drawing.cheapest(drawn, self._seconds_of, most=self._missing())
        if drawn is None:
            return None
        recipe = drawn.recipe
        verdict, refusal = self._maker.judge(recipe, drawn.draft.pretrained)
        running = self._books.begin(drawn.trial, recipe, verdict, refused=bool(refusal))
        if not refusal:
            return running
        result = Result(recipe=recipe.uid, state="pruned", reason=refusal)
        self._end(running, result)
        return result

    def _take(self, slot: int, event: Event, pool: WorkerPool) -> None:
        """Enter what a worker said into the books, and tell it how to go on."""
        running = self._running[slot]
        match event:
            case Epoch() if running.tryout and not self._at_epoch_ends:
                pool.answer(slot, "go on")
            case Epoch() if event.epoch <= len(running.epochs):
                pool.answer(slot, "go on")  # told before its worker died
            case Epoch():
                onward = "go on" if running.tryout else self._books.report(running, event)
                whole = self._last_may_end and event.epoch == running.recipe.training.num_epochs
                if self._at_epoch_ends and not whole:
                    # The epoch is kept, on disk and in the books.
                    pool.stop(slot)
                    self._books.put_back(self._running.pop(slot))
                else:
                    pool.answer(slot, onward)
            case Result(state="paused"):
                self._pause(self._running.pop(slot), event)
            case Result(objective=float(objective)) if running.tryout and event.state == "complete":
                if self._take_tryout(running, objective):
                    pool.submit(slot, self._job(slot, running))
                else:
                    del self._running[slot]
            case Result() if running.tryout:
                result = event.model_copy(
                    update={
                        "recipe": running.recipe.uid,
                        "reason": f"In its tryout: {event.reason}",
                    }
                )
                self._folder.trial(running.recipe.uid).write_result(result)
                self._end(self._running.pop(slot), result)
            case Result():
                self._end(self._running.pop(slot), event)
            case Died(reason=reason):
                self._died(slot, reason, pool)
            case Full(reason=reason):
                self._books.put_back(self._running.pop(slot))
                if not self._at_epoch_ends:
                    self._stop_at_epoch_ends(f"{reason} {FREE_SOME}")
            case Blocked(reason=reason):
                self._books.put_back(self._running.pop(slot))
                if not self._at_epoch_ends:
                    self._stop_at_epoch_ends(reason)
            case Bug(traceback=text):
                raise TrialBug(f"trial {running.trial.number} hit a bug:\n{text}")
            case _:
                assert_never(event)

    def _died(self, slot: int, reason: str, pool: WorkerPool) -> None:
        """Let another worker go on with a trial whose worker died, or give it up."""
        running = self._running[slot]
        if self._at_epoch_ends:
            self._books.put_back(self._running.pop(slot))
            return
        if running.restarts < MOST_RESTARTS:
            running.restarts += 1
            done = len(running.epochs)
            where = f"goes on after epoch {done}" if done else "begins it again"
            say(f"trial {running.trial.number}: {reason} Another worker {where}.")
            pool.submit(slot, self._job(slot, running))
            return
        del self._running[slot]
        best = best_epoch(running.recipe, running.epochs)
        result = Result(
            recipe=running.recipe.uid,
            state="failed",
            reason=reason,
            epochs=tuple(running.epochs),
            best_epoch=best.epoch if best else None,
            objective=best.objective if best else None,
            metrics=best.metrics if best else {},
            seconds=time.monotonic() - running.started,
        )
        files = self._folder.trial(running.recipe.uid)
        files.checkpoint.unlink(missing_ok=True)
        files.write_result(result)
        self._end(running, result)

    def _end(self, running: Running, result: Result) -> None:
        """Close a trial's books and say how it ended."""
        self._books.end(running, result)
        self._forecast.learn(running.recipe, result)
        self._say(running, result)
        if result.state == "complete" and not self._noise_told:
            self._look_at_noise()

    def _look_at_noise(self) -> None:
        """Say it, once, when chance moves the best trial more than the rest of the search may."""
        try:
            found = noise(
                self._folder,
                {ended.recipe: ended.objective for ended in self._books.complete()},
                self._experiment.objective,
                num_drawn=self._ended() + self._books.num_paused(),
                to_come=self._missing(),
            )
        except DamagedFileError:  # of the best trial; `compare` says so
            return
        if not found:
            return
        self._noise_told = True
        if self._settings.stop_at_noise:
            self._no_more = f"Noise rules: {found}."
        else:
            say(f"Noise rules from here on: {found}. --stop-at-noise would stop.")

    def _say(self, running: Running, result: Result) -> None:
        metric = self._experiment.objective.metric
        score = "" if result.objective is None else f"  {metric} {result.objective:.4f}"
        parts = "" if result.micro_batch is None else f"  in parts of {result.micro_batch}"
        parts += "  checkpointed" * result.checkpointed
        why = f"  {result.reason}" if result.state == "failed" or not result.epochs else ""
        say(
            f"trial {running.trial.number:<3} {result.state:<8}{score}  "
            f"{_what(running.recipe)}"
            f"  {len(result.epochs)}/{running.recipe.training.num_epochs} epochs"
            f"  {duration(result.seconds)}{parts}{why}"
        )

    def _job(self, slot: int, running: Running) -> Job:
        recipe, files = running.recipe, self._folder.trial(running.recipe.uid)
        if running.tryout and (tryout := self._pruning.tryout):
            epochs = max(1, self._pruning.warmup_epochs)
            recipe, files = tryout.of(recipe, num_epochs=epochs), files.tryout()
        return Job(
            recipe=recipe.model_dump_json(),
            prepared=self._folder.path,
            folder=files.path,
            device=self._settings.devices[slot],
            num_threads=self._settings.threads_per_worker,
            store=self._maker.finder.store,
            cache=self._settings.cache,
            share=1 / self._settings.devices.count(self._settings.devices[slot]),
            memory_bytes=self._settings.memory_bytes,
            compiled=self._settings.compiled,
        )

    def _ended(self) -> int:
        return self._books.num_ended()

    def _out_of_space(self) -> str:
        return self._limits.out_of_space(give_up=self._books.prune_worst)

    def _usual_seconds(self) -> float:
        """Return what half of the complete trials took at most; 0 before there are any."""
        took = sorted(ended.seconds for ended in self._books.complete())
        return took[len(took) // 2] if took else 0.0

    def _show(self, view: View, pool: WorkerPool) -> None:
        """Bring what a person sees up to date."""
        if not view.is_seen:
            return
        counts = self._books.counts()
        objective = self._experiment.objective
        best = ""
        if complete := self._books.complete():
            pick = max if objective.direction == "maximize" else min
            trial = pick(complete, key=lambda ended: ended.objective)
            best = f"{objective.metric} {trial.objective:.4f} by #{trial.number}"
        now = time.monotonic()
        in_flight = [
            InFlight(
                number=running.trial.number,
                what=_what(running.recipe),
                num_done=len(running.epochs),
                num_epochs=running.recipe.training.num_epochs,
                share=pool.share(slot),
                seconds=now - running.started,
                num_before=running.num_before,
                expected_s=running.expected_s,
            )
            for slot, running in sorted(self._running.items())
        ]
        standing = Standing(
            name=self._folder.name,
            num_trials=self._settings.num_trials,
            complete=counts["complete"],
            pruned=counts["pruned"],
            failed=counts["failed"],
            paused=self._books.num_paused(),
            best=best,
            in_flight=in_flight,
            here=self._ended() + self._books.num_paused() - self._before,
            seconds=now - self._began,
            beliefs=self._books.beliefs(),
        )
        view.show(standing)


@contextmanager
def workers_ahead(number: int, *, stall_s: float) -> Iterator[WorkerPool]:
    """Start the workers of a `Search` before it can begin, and end them if it never does."""
    pool = WorkerPool(number, stall_s=stall_s, warm=True)
    try:
        yield pool
    finally:
        pool.close(at_once=True)


def _what(recipe: Recipe) -> str:
    return recipe.model.label
