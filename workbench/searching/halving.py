"""Successive halving: which trials go on after their first epochs, which wait, and which are over.

At a few epochs, the rungs, a trial is held against all that came as far. One that is not among the
best half waits there, its training kept; as more trials come, it may turn out to be among the best
after all, and goes on where it was. (A half, or whatever share `factor` says.)

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA),
arXiv:1810.05934, algorithm 2. Here a trial is over once no number of worse ones to come can help.
"""

import math
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from workbench.trial.decision import Decision
from workbench.trial.result import State


class SuccessiveHalving:
    """Where the trials of a study stand, by their number.

    Args:
        first: The first rung, in epochs; each further one is `factor` times the one before.
        factor: Of the trials at a rung, one in so many goes on (eta).
        maximize: Whether more is better; of equals, the earlier trial is.
    """

    def __init__(self, *, first: int, factor: int, maximize: bool) -> None:
        self._first, self._factor = first, factor
        self._sign = -1 if maximize else 1
        self._worth: dict[int, dict[int, tuple[float, int]]] = defaultdict(dict)
        """By rung and number, less is better; with the number, which tells equals apart."""

        self._order: dict[int, list[tuple[float, int]]] = defaultdict(list)
        """Of each rung, best first; kept so, for a study may have thousands of trials."""

        self._waiting: dict[int, int] = {}
        """The rung of each trial that waits."""

    def on_epoch(self, trial: int, reached: Mapping[int, float], num_epochs: int) -> Decision:
        """Return whether a trial goes on at once or pauses."""
        self._enter(trial, reached)  # also its last epoch: others are held against it there
        epoch = max(reached)
        if epoch not in rungs(num_epochs, first=self._first, factor=self._factor):
            return "go on"
        return "go on" if self._rank(trial, epoch) < self._places(epoch) else "pause"

    def on_pause(self, trial: int, epoch: int) -> None:
        """Let a trial wait at a rung."""
        self._waiting[trial] = epoch

    def on_end(self, trial: int, reached: Mapping[int, float], state: State) -> None:
        """Hold nobody against a trial that failed; the others keep their places."""
        if state == "failed":
            self.forget(trial)

    def recall(self, trial: int, reached: Mapping[int, float], state: State) -> None:
        """Note where a trial of an earlier run of the search came."""
        if state != "failed":
            self._enter(trial, reached)

    def forget(self, trial: int) -> None:
        """Hold nobody against a trial any more."""
        self._waiting.pop(trial, None)
        for rung, there in self._worth.items():
            if trial in there:
                self._order[rung].remove(there.pop(trial))

    def resume(
        self,
        *,
        at_least: int = 0,
        cost: Callable[[int], float] = lambda trial: 0.0,
        affordable: Callable[[float], bool] = lambda cost: True,
    ) -> int | None:
        """Return a waiting trial that goes on now, if there is one; it waits no longer.

        Of several the one that came farthest, of those the cheapest, then the best: each of them
        has its place. The arguments are those of `Scheduler.resume`.
        """
        may = [
            (-rung, price, rank, number)
            for rung in set(self._waiting.values())
            for rank, (_, number) in enumerate(
                self._order[rung][: max(at_least, self._places(rung))]
            )
            if self._waiting.get(number) == rung and affordable(price := cost(number))
        ]
        if not may:
            return None
        number = min(may)[-1]
        del self._waiting[number]
        return number

    def hopeless(self, *, to_come: int) -> list[int]:
        """Return waiting trials that could not go on even if all that may still come did worse.

        They wait no longer.

        Args:
            to_come: Trials that wait nowhere and may still come to where these wait.
        """
        waits = Counter(self._waiting.values())
        places = {}
        for rung in sorted(waits):
            places[rung] = self._places(rung, to_come=to_come)
            to_come += waits[rung]  # to the rungs above
        over = [
            number
            for number, rung in self._waiting.items()
            if self._rank(number, rung) >= max(1, places[rung])
        ]
        for number in over:
            del self._waiting[number]
        return over

    def worst(self) -> int | None:
        """Return the waiting trial with the least hope, if one waits; it waits no longer."""
        if not self._waiting:
            return None
        rung = min(self._waiting.values())
        worst_first = (number for _, number in reversed(self._order[rung]))
        number = next(one for one in worst_first if self._waiting.get(one) == rung)
        del self._waiting[number]
        return number

    def _enter(self, trial: int, reached: Mapping[int, float]) -> None:
        rung = self._first
        while rung in reached:
            there, order = self._worth[rung], self._order[rung]
            mine = (self._sign * worth(reached, rung), trial)
            if there.get(trial) != mine:
                if trial in there:
                    order.remove(there[trial])
                there[trial] = mine
                insort(order, mine)
            rung *= self._factor

    def _places(self, rung: int, *, to_come: int = 0) -> int:
        return (len(self._order[rung]) + to_come) // self._factor

    def _rank(self, number: int, rung: int) -> int:
        """Return how many are ahead of a trial at a rung."""
        return bisect_left(self._order[rung], self._worth[rung][number])


def rungs(num_epochs: int, *, first: int, factor: int) -> Sequence[int]:
    """Return the epochs after which a trial of `num_epochs` is held against others.

    The last of them leaves at least as much to be saved as was spent.
    """
    found = []
    rung = first
    while 2 * rung <= num_epochs:
        found.append(rung)
        rung *= factor
    return found


def worth(reached: Mapping[int, float], rung: int) -> float:
    """Return what a trial is worth at a rung: the mean objective of the last third of its epochs.

    One epoch's objective is noisy, and trials are alike only at the same epoch.
    """
    some = range(rung - math.ceil(rung / 3) + 1, rung + 1)
    return sum(reached[epoch] for epoch in some) / len(some)
