"""Whose a bug is that a trial hit: its recipe's alone, or that of the code that all trials run."""

from typing import Literal

from workbench.searching.open_trials import MOST_RESTARTS, OpenTrial
from workbench.searching.store import TrialStore

MOST_BUGS = 3
"""Trials given up for bugs, none of which another one got beyond in between, that end a search."""

Verdict = Literal["try again", "give it up", "end the search"]

_SCORING = 1 << 30
"""In the place of the epochs that a trial had done: it had done all of a fold."""


class BugWatch:
    """How far the trials of a search get, and so what becomes of one that hits a bug.

    A bug that others got beyond is the recipe's, and costs that trial alone: a network that takes
    no such pictures, say. One that nobody got beyond would cost one trial after another.

    Args:
        store: Keeps which bug ended an earlier search.
        none_alone: Whether no trial is given up: its recipe was trained before, as a repeat's, so
            that no bug is its own; or a pack needs every one.
    """

    def __init__(self, store: TrialStore, *, none_alone: bool) -> None:
        self._store, self._none_alone = store, none_alone
        self._earlier = 0
        """Of an earlier search's trials, the epochs of that which did the most."""

        self._num_epochs: dict[int, int] = {}
        """Those that each trial of this search has done."""

        self._given_up, self._beyond = 0, 0
        """Trials that were given up since another one did more epochs than these, and the epochs of
        that which did the most of them."""

    def learn(self, num_epochs: int) -> None:
        """Learn that a trial which ended in an earlier search did so many epochs."""
        self._earlier = max(self._earlier, num_epochs)

    def on_epoch(self, number: int, num_epochs: int) -> None:
        """Note that a trial has now done so many epochs."""
        self._num_epochs[number] = num_epochs
        if num_epochs > self._beyond:
            self._given_up, self._beyond = 0, 0

    def on_complete(self) -> None:
        """Note that a trial was scored."""
        if self._beyond == _SCORING:
            self._given_up, self._beyond = 0, 0

    def judge(self, trial: OpenTrial, *, is_only: bool) -> Verdict:
        """Say what becomes of a trial that hit a bug.

        The search ends, and asks the trial again once the bug is mended, where no other trial got
        beyond the epoch in which it came, or through the scoring, or trial after trial is given up.
        Else another worker tries it once more, then it is given up. So is one whose bug has ended a
        search before, or it would end each.

        Args:
            trial: With the epochs that it had done.
            is_only: Whether no other trial is left to run.
        """
        done = self._done(trial)
        has_ended_one = self._store.has_ended_a_search(trial, done) and (
            not is_only or bool(self._store.complete())
        )
        verdict = self._judge(trial, done, has_ended_one=has_ended_one)
        if verdict == "end the search":
            self._store.note_end_of_search(trial, done)
        return verdict

    def _judge(self, trial: OpenTrial, done: int, *, has_ended_one: bool) -> Verdict:
        if self._none_alone or not (self._is_alone(trial, done) or has_ended_one):
            return "end the search"
        if trial.bugs < MOST_RESTARTS:
            return "try again"
        self._given_up, self._beyond = self._given_up + 1, max(self._beyond, done)
        if self._given_up >= MOST_BUGS and not has_ended_one:
            return "end the search"
        return "give it up"

    def _done(self, trial: OpenTrial) -> int:
        """Return the epochs after which the bug came, or that it came while a fold was scored."""
        done = len(trial.epochs)
        is_scored = done > 0 and done % trial.recipe.training.num_epochs == 0
        return _SCORING if is_scored else done

    def _is_alone(self, trial: OpenTrial, done: int) -> bool:
        """Return whether another trial got beyond where the bug came."""
        if done == _SCORING:
            return bool(self._store.complete())
        others = (num for number, num in self._num_epochs.items() if number != trial.number)
        return max(self._earlier, *others, 0) > done
