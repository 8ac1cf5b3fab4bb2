"""The search: the one process that draws recipes, gives them to a runner and tells it how to go on.

A runner trains, a scheduler says who goes on, a store keeps what was reached. The process can be
killed at any instant: the next search of the study takes over the trials that were cut off.
"""

from collections.abc import Callable
from typing import assert_never

from workbench.console import say
from workbench.processes import Interrupts
from workbench.searching import messages
from workbench.searching.bugs import BugWatch
from workbench.searching.disk_budget import DiskBudget
from workbench.searching.forecast import LEARNT_FROM, Forecast
from workbench.searching.live import SearchView, Situation
from workbench.searching.noise import NoiseWatch
from workbench.searching.open_trials import MOST_RESTARTS, OpenTrial
from workbench.searching.options import RunOptions
from workbench.searching.queue import Queue
from workbench.searching.runner import Event, Runner
from workbench.searching.scheduler import Scheduler
from workbench.searching.stopping import FREE_SOME, SearchLimits
from workbench.searching.store import TrialStore
from workbench.study.folder import StudyFolder
from workbench.trial.decision import Decision
from workbench.trial.job import Blocked, Bug, Died, Full
from workbench.trial.result import Epoch, Result, State


class TrialBug(Exception):
    """A bug showed in a worker, and not of one recipe alone; its traceback is the message."""


class Search:
    """One run of the search of a study, or of other trainings that a runner does.

    Args:
        folder: The study's folder, held by this process.
        runner: Trains them; `run` closes it.
        forecast: Of what a trial costs; it learns from each that ends or pauses.
        noise: Whether more of them are worth it; None where that is no question.
        budget: What the study's folder may take; None sets no limit.
        are_known: Whether each recipe was trained before: then no bug is its own.
        all_needed: Whether none is given up, since a pack needs every one.
    """

    def __init__(
        self,
        folder: StudyFolder,
        store: TrialStore,
        *,
        queue: Queue,
        scheduler: Scheduler,
        runner: Runner,
        forecast: Forecast,
        limits: SearchLimits,
        options: RunOptions,
        noise: NoiseWatch | None = None,
        budget: DiskBudget | None = None,
        are_known: bool = False,
        all_needed: bool = False,
    ) -> None:
        self._folder, self._store, self._options = folder, store, options
        self._queue, self._scheduler, self._runner = queue, scheduler, runner
        self._forecast, self._limits, self._noise = forecast, limits, noise
        self._budget = budget
        self._all_needed = all_needed
        self._bugs = BugWatch(store, none_alone=are_known or all_needed)
        self._stopped = ""
        """Why no trial starts any more; empty while they do."""

        self._at_epoch_ends = False
        """Whether each trial in flight is stopped at the end of its current epoch."""

        self._last_may_end = False
        """Whether, while stopping, a trial that has done its last epoch is scored and completed."""

    def learn(self) -> None:
        """Learn from what the store has of earlier runs: where trials stand, and what they cost."""
        for past in self._store.past():
            self._scheduler.recall(past.number, past.reached, _held_against(past.state, past.keeps))
        for number, waiting in self._store.paused.items():
            self._scheduler.recall(number, waiting.reached, "paused")
            self._scheduler.on_pause(number, len(waiting.epochs))
            self._bugs.on_epoch(number, len(waiting.epochs))
        for recipe, result in self._store.trained(most=LEARNT_FROM):
            self._forecast.learn(recipe, result)
            self._bugs.learn(len(result.epochs))

    def run(self, look: Callable[[], None] = lambda: None) -> str:
        """Run trials until as many have ended as were asked for.

        Args:
            look: Called about once a second, first when the first trials have been handed out.

        Returns:
            Why it stopped before, in one sentence; empty if it did not.

        Raises:
            KeyboardInterrupt: Ctrl-C; the trials in flight are queued again, and go on
                after their last epoch.
            TrialBug: a bug showed in a worker, and not of one recipe alone.
        """
        if self._store.num_ended() >= self._options.num_trials:
            return ""
        situation = Situation(self._folder.name, self._store, self._runner, self._options)
        clean = False
        try:
            with Interrupts() as interrupts, SearchView(situation) as view:
                while True:
                    self._start_trials(view)
                    look()
                    if not self._store.in_flight:
                        clean = True
                        if interrupts.asked:
                            raise KeyboardInterrupt
                        return self._stopped or self._queue.no_more
                    events = self._runner.events(timeout_s=1.0)
                    if self._limits.too_late() and not self._at_epoch_ends:
                        self._last_may_end = True
                        self._stop_at_epoch_ends(self._time_is_up())
                    for number, event in events:
                        self._handle(self._store.in_flight[number], event)
                    if interrupts.asked and not self._at_epoch_ends:
                        self._stop_at_epoch_ends(messages.CTRL_C)
                    elif full := self._limits.out_of_space(self._queue.prune_worst):
                        self._stop_at_epoch_ends(full)
                    view.update()
        finally:
            self._runner.close(at_once=not clean)
            for running in list(self._store.in_flight.values()):
                # One that has ended unheard is entered by the next search, not trained again.
                if self._folder.trial(running.recipe.uid).kept_result() is None:
                    self._requeue(running)
            self._queue.close()

    def _start_trials(self, view: SearchView) -> None:
        """Hand out trials as long as there is room, and there are trials to start."""
        queue = self._queue
        while not self._stopped and self._runner.has_room() and not queue.is_empty:
            too_late = self._limits.too_late()
            self._stopped = (
                self._time_is_up() if too_late else self._limits.out_of_space(queue.prune_worst)
            )
            if self._stopped:
                return
            if ready := queue.resume():
                say(messages.resumed(ready))
                self._submit(ready)
            elif queue.missing():
                self._begin()
            else:
                if queue.at_the_end:
                    say(messages.left_over(sum(1 for _ in iter(queue.prune_worst, False))))
                return
            view.update()

    def _begin(self) -> None:
        match self._queue.begin():
            case running, None:
                self._submit(running)
            case running, result:
                self._end(running, result)

    def _submit(self, running: OpenTrial) -> None:
        if said := self._queue.foretell(running):
            say(said)
        self._runner.submit(running.job(self._folder.name, self._options))

    def _handle(self, running: OpenTrial, event: Event) -> None:
        """Handle one event of a trial: keep what came, and tell it how to go on."""
        match event:
            case Epoch() if event.epoch <= len(running.epochs):  # before its worker died
                is_last = event.epoch == len(running.epochs)
                self._runner.answer(running.number, running.decision if is_last else "go on")
            case Epoch():
                self._handle_epoch(running, event)
            case Result(state="paused"):
                self._pause(running, event)
            case Result():
                self._end(running, event)
            case Died(reason=reason):
                self._handle_death(running, reason)
            case Full(reason=reason):
                self._requeue(running)
                self._stop_at_epoch_ends(f"{reason} {FREE_SOME}")
            case Blocked(reason=reason):
                self._requeue(running)
                self._stop_at_epoch_ends(reason)
            case Bug(traceback=text):
                self._handle_bug(running, text)
            case _:
                assert_never(event)

    def _handle_bug(self, running: OpenTrial, traceback: str) -> None:
        """Give up a trial that hit a bug, or try it once more, or end the search."""
        if self._at_epoch_ends:
            say(messages.asked_again(running, messages.bug(traceback)))
            self._requeue(running)
            return
        num_left = self._queue.missing() + len(self._store.in_flight) + len(self._store.paused)
        match self._bugs.judge(running, is_only=num_left == 1):
            case "try again":
                running.bugs += 1
                say(messages.restarted(running, f"{messages.bug(traceback)}."))
                self._runner.submit(running.job(self._folder.name, self._options))
            case "give it up":
                self._end(running, self._store.fail(running, messages.bug(traceback)))
            case "end the search":
                raise TrialBug(f"trial {running.name} hit a bug:\n{traceback}")

    def _handle_epoch(self, running: OpenTrial, epoch: Epoch) -> None:
        self._store.report(running, epoch)
        self._bugs.on_epoch(running.number, len(running.epochs))
        decision: Decision = "go on"
        if epoch.fold == 1 and (reached := running.reached):
            decision = self._scheduler.on_epoch(running.number, reached, running.num_epochs)
        whole = self._last_may_end and epoch.epoch == running.num_epochs
        running.decision = decision
        if self._at_epoch_ends and not whole:
            # The epoch is kept, on disk and in the store.
            self._runner.stop(running.number)
            self._requeue(running)
        else:
            self._runner.answer(running.number, decision)

    def _handle_death(self, running: OpenTrial, reason: str) -> None:
        """Let another worker go on with a trial whose worker died, or give it up."""
        result = self._folder.trial(running.recipe.uid).kept_result()
        if result is not None:  # it ended, and died before that was heard: its checkpoint is gone
            self._handle(running, result)
        elif self._at_epoch_ends:
            self._requeue(running)
        elif running.deaths < MOST_RESTARTS:
            running.deaths += 1
            say(messages.restarted(running, reason))
            self._runner.submit(running.job(self._folder.name, self._options))
        elif self._all_needed:
            self._requeue(running)
            self._stop_at_epoch_ends(messages.needed(running, reason))
        else:
            self._end(running, self._store.fail(running, reason))

    def _pause(self, running: OpenTrial, result: Result) -> None:
        self._store.pause(running)
        running.decision = "go on"  # once it is resumed
        self._scheduler.on_pause(running.number, len(running.epochs))
        self._learn_and_say(running, result)
        self._queue.prune_hopeless()

    def _end(self, running: OpenTrial, result: Result) -> None:
        self._store.end(running, result)
        state = _held_against(result.state, self._store.keeps(running.number))
        self._scheduler.on_end(running.number, running.reached, state)
        self._learn_and_say(running, result)
        if result.state == "complete":
            self._bugs.on_complete()
        if self._budget is not None:
            self._budget.keep()
        if result.state == "complete" and self._noise is not None:
            found = self._noise.look(to_come=self._queue.missing())
            self._queue.no_more = self._queue.no_more or found

    def _learn_and_say(self, running: OpenTrial, result: Result) -> None:
        self._forecast.learn(running.recipe, result)
        say(messages.trial_ended(running, result, self._store.objective.label))

    def _requeue(self, running: OpenTrial) -> None:
        self._scheduler.forget(running.number)
        self._store.requeue(running)

    def _time_is_up(self) -> str:
        return messages.time_is_up(
            missing=self._queue.missing(),
            waiting=len(self._store.paused),
            in_flight=len(self._store.in_flight),
        )

    def _stop_at_epoch_ends(self, why: str) -> None:
        """Start no trial any more, and let those in flight stop after their epochs."""
        if not self._at_epoch_ends:
            self._stopped, self._at_epoch_ends = why, True
            say(why)


def _held_against(state: State, keeps: bool) -> State:
    """Return how a trial ended as a scheduler sees it, which holds nobody against a failed one.

    Nor against one that breaks a constraint: it is never promoted, and would stop those that are.
    """
    return state if keeps else "failed"
