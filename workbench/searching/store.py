"""What keeps the trials of a run: `study_store` for a search, `repeat_store` for repeats."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from workbench.searching.open_trials import Ended, OpenTrial, PastTrial
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result, State


class TrialStore(Protocol):
    """Keeps what becomes of trials, so that a kill at any instant loses at most an epoch.

    One that says no more than this holds none against others, and searches no dimension.
    """

    objective: Objective
    in_flight: dict[int, OpenTrial]
    """Those that were begun and have not ended, by number."""

    paused: dict[int, OpenTrial]
    """Those that wait."""

    def report(self, running: OpenTrial, epoch: Epoch) -> None:
        """Enter an epoch."""

    def pause(self, running: OpenTrial) -> None:
        """Let one wait that was told to pause, and did."""

    def has_ended_a_search(self, running: OpenTrial, done: int) -> bool:
        """Return whether a bug that one hit after `done` epochs has ended an earlier search."""
        return False

    def note_end_of_search(self, running: OpenTrial, done: int) -> None:
        """Note that a bug which one hit after `done` epochs ends this search."""
        return

    def fail(self, running: OpenTrial, reason: str) -> Result:
        """Write how one ended whose worker could not; it is to be ended so."""

    def end(self, running: OpenTrial, result: Result) -> None:
        """Enter how one ended."""

    def requeue(self, running: OpenTrial) -> None:
        """Have one in flight trained further the next time."""

    def past(self) -> Iterator[PastTrial]:
        """Yield those that have ended, where they are held against one another."""
        yield from ()

    def trained(self, *, most: int) -> Iterator[tuple[Recipe, Result]]:
        """Yield the last that were trained, with what came of them."""

    def num_ended(self) -> int:
        """Return how many have ended, whenever that was."""
        return self.counts().total()

    def complete(self) -> list[Ended]:
        """Return the complete ones."""

    def keeps(self, number: int) -> bool:
        """Return whether one that has ended keeps the constraints: of a repeat nothing is asked."""
        return True

    def counts(self) -> Counter[State]:
        """Return how many ended in which way."""

    def importances(self) -> Sequence[tuple[str, float]]:
        """Return the searched dimensions that matter most so far, each with its share."""
        return ()
