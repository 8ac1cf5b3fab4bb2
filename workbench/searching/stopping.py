"""What ends a search before it has its trials: no time, or no disk space."""

import shutil
import time
from collections.abc import Callable
from heapq import nsmallest
from pathlib import Path

from workbench.console import say
from workbench.searching.devices import Seats
from workbench.searching.messages import NEARLY_FULL
from workbench.searching.options import RunOptions
from workbench.searching.store import TrialStore

FREE_SOME = "Make space; the same command then goes on."

LEAST_FREE_BYTES = 200 * 2**20
"""Free disk space under which no further epoch begins: a half-written store helps nobody."""


class SearchLimits:
    """The time and the space that a search has.

    Args:
        folder: Where it writes.
        deadline: `time.monotonic()` after which no epoch may begin; None sets none.
        reserved_s: Returns the seconds before it that are kept for what comes after the search.
    """

    def __init__(
        self,
        folder: Path,
        deadline: float | None,
        reserved_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._folder, self._deadline, self._reserved_s = folder, deadline, reserved_s

    @property
    def has_deadline(self) -> bool:
        """Whether the time is limited at all."""
        return self._deadline is not None

    def too_late(self, seconds: float = 0.0) -> bool:
        """Return whether what takes so long from now on would end after the deadline."""
        if self._deadline is None:
            return False
        return time.monotonic() + seconds > self._deadline - self._reserved_s()

    def out_of_space(self, give_up: Callable[[], bool]) -> str:
        """Return the sentence that stops the search before the disk is full; empty if it is not.

        Args:
            give_up: Prunes a paused trial, whose checkpoint takes most of the space; says whether
                there was one.
        """
        while (free := shutil.disk_usage(self._folder).free) < LEAST_FREE_BYTES:
            if not give_up():
                return f"The disk of {self._folder} has {free / 2**20:.0f} MiB left. {FREE_SOME}"
            say(NEARLY_FULL)
        return ""


def final_round_s(store: TrialStore, options: RunOptions, seats: Seats) -> float:
    """Return the seconds that the final round would take if it began now, as the trials took."""
    if options.finalists is None:
        return 0.0
    top, num_seeds = options.finalists
    sign = -1 if store.objective.direction == "maximize" else 1
    kept = (ended for ended in store.complete() if ended.keeps)
    best = nsmallest(top, kept, key=lambda ended: sign * ended.objective)
    return num_seeds * sum(ended.seconds for ended in best) / len(seats.devices)
