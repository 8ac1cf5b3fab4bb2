"""What a search trains next: paused trials that go on, and new recipes."""

from abc import ABC, abstractmethod

from workbench.searching import messages
from workbench.searching.drawing import Drawing
from workbench.searching.forecast import Forecast
from workbench.searching.open_trials import OpenTrial
from workbench.searching.scheduler import Scheduler
from workbench.searching.stopping import SearchLimits
from workbench.searching.store import TrialStore
from workbench.searching.study_store import StudyStore
from workbench.space.recipe_builder import RecipeBuilder
from workbench.trial.result import Result


class Queue(ABC):
    """Hands out what is to be trained; one that says no more than this lets nothing wait."""

    def __init__(self, store: TrialStore, forecast: Forecast) -> None:
        self._trials, self._forecast = store, forecast
        self.no_more = ""
        """Why nothing new begins, while what waits may go on; empty while some does."""

    @abstractmethod
    def missing(self) -> int:
        """Return how many are still to begin."""

    @property
    def at_the_end(self) -> bool:
        """Whether nothing is in flight, and nothing new is to begin."""
        return self.missing() == 0 and not self._trials.in_flight

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to begin, and nothing waits."""
        return self.missing() == 0 and not self._trials.paused

    def resume(self) -> OpenTrial | None:
        """Let one that is paused go on, if one may; return it."""
        return None

    @abstractmethod
    def begin(self) -> tuple[OpenTrial, Result | None] | None:
        """Begin one; return it, with how it ended if it may not be trained.

        Nothing if there is none.
        """

    def foretell(self, running: OpenTrial) -> str:
        """Note what one is expected to take; return it in words, if it is worth saying."""
        expected = self._forecast.of(running.recipe, running.epochs)
        if expected is None or not self._forecast.is_shown:
            return ""
        running.expected_s = expected.seconds
        return messages.announced(running, expected)

    def prune_hopeless(self) -> None:
        """End the paused ones that cannot go on whatever comes."""
        return

    def prune_worst(self) -> bool:
        """End the paused one with the least hope; return whether there was one."""
        return False

    def close(self) -> None:
        """Hand out nothing any more."""
        return


class TrialQueue(Queue):
    """Hands out the trials of a search until the whole study has `num_trials`."""

    def __init__(
        self,
        store: StudyStore,
        builder: RecipeBuilder,
        scheduler: Scheduler,
        forecast: Forecast,
        limits: SearchLimits,
        *,
        num_trials: int,
    ) -> None:
        super().__init__(store, forecast)
        self._store, self._builder, self._scheduler = store, builder, scheduler
        self._limits, self._num_trials = limits, num_trials
        self._drawing = Drawing(store.proposals, builder)

    def missing(self) -> int:
        """Return how many new trials are still to begin."""
        return 0 if self.no_more else max(0, self._num_trials - self._num_begun())

    def resume(self) -> OpenTrial | None:
        """Let a paused trial go on, if one may; return it.

        Where the time that is left is too short for a new trial, the best of even a few that wait
        go on, if they can end in time: half a trial more is worth less than a whole one.
        """

        def cost(number: int) -> float:
            waiting = self._store.paused[number]
            return self._forecast.seconds_of(waiting.recipe, waiting.epochs)

        def affordable(seconds: float) -> bool:
            return not self._is_short(seconds)

        # With nobody left to wait for, the best of even a few waiting trials goes on.
        number = self._scheduler.resume(at_least=1 if self.at_the_end else 0, cost=cost)
        if number is None and self._limits.has_deadline and self._is_short(self._usual_seconds()):
            number = self._scheduler.resume(at_least=1, cost=cost, affordable=affordable)
        return None if number is None else self._store.resume(number)

    def begin(self) -> tuple[OpenTrial, Result | None] | None:
        """Begin a trial of a new recipe.

        Returns:
            The trial, with how it ended if it may not be trained; nothing if the search space is
            used up.
        """
        drawn = self._drawing.next()
        cost = self._forecast.seconds_of
        if drawn is not None and self._is_short(cost(drawn.recipe)):
            drawn = self._drawing.cheapest(drawn, cost, most=self.missing())
        if drawn is None:
            self.no_more = messages.used_up(self._num_begun())
            return None
        verdict, refusal = self._builder.judge(drawn.recipe, drawn.draft.pretrained)
        running = self._store.begin(drawn.trial, drawn.recipe, verdict, refused=bool(refusal))
        if not refusal:
            return running, None
        return running, Result(recipe=drawn.recipe.uid, state="pruned", reason=refusal)

    def prune_hopeless(self) -> None:
        """End the paused trials that cannot go on whatever comes."""
        to_come = self.missing() + len(self._store.in_flight)
        for number in self._scheduler.hopeless(to_come=to_come):
            self._store.prune(number)

    def prune_worst(self) -> bool:
        """End the paused trial with the least hope; return whether there was one."""
        number = self._scheduler.worst()
        if number is not None:
            self._store.prune(number)
        return number is not None

    def close(self) -> None:
        """Have what was drawn and did not begin asked again the next time."""
        self._drawing.requeue()

    def _is_short(self, seconds: float) -> bool:
        """Return whether what is expected to take so long is not expected to end in time."""
        return self._forecast.is_used and self._limits.too_late(seconds)

    def _usual_seconds(self) -> float:
        """Return what half of the complete trials took at most; 0 before there are any."""
        took = sorted(ended.seconds for ended in self._store.complete())
        return took[len(took) // 2] if took else 0.0

    def _num_begun(self) -> int:
        store = self._store
        return store.num_ended() + len(store.in_flight) + len(store.paused)
