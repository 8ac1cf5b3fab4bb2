"""What ends a search before it has its trials: no time, no space, or chance that rules.

Chance rules when a better trial can no longer be told from a luckier one.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workbench.console import say
from workbench.study.folder import StudyFolder
from workbench.trial.delong import Estimate, auc
from workbench.trial.recipe import Objective

FREE_SOME = "Make space; the same command then goes on."

LEAST_FREE_BYTES = 200 * 2**20
"""Free disk space under which no further epoch begins: a half-written store helps nobody."""

LEAST_COMPLETE = 9
"""Complete trials before anything is expected: the tail is measured by a third of them."""


class Limits:
    """The time and the space that a search has.

    Args:
        folder: Where it writes.
        deadline: `time.monotonic()` after which no epoch may begin; None sets none.
    """

    def __init__(self, folder: Path, deadline: float | None) -> None:
        self._folder, self._deadline = folder, deadline

    @property
    def has_deadline(self) -> bool:
        """Whether the time is limited at all."""
        return self._deadline is not None

    def too_late(self, seconds: float = 0.0) -> bool:
        """Say whether what takes so long from now on would end after the deadline."""
        return self._deadline is not None and time.monotonic() + seconds > self._deadline

    def out_of_space(self, give_up: Callable[[], bool]) -> str:
        """Return the sentence that stops the search before the disk is full; empty if it is not.

        Args:
            give_up: Prunes a paused trial, whose checkpoint takes most of the space; says whether
                there was one.
        """
        while (free := shutil.disk_usage(self._folder).free) < LEAST_FREE_BYTES:
            if not give_up():
                return f"The disk of {self._folder} has {free / 2**20:.0f} MiB left. {FREE_SOME}"
            say("The disk is nearly full: the paused trial with the least hope is pruned.")
        return ""


def time_is_up(*, missing: int, waiting: int, in_flight: int = 0) -> str:
    """Return the sentence that stops a search without time; so many trials were not run whole."""
    counts = [
        (missing, "is still to run", "are still to run"),
        (waiting, "is paused", "are paused"),
        (in_flight, "ends its epoch and is kept", "end their epochs and are kept"),
    ]
    left = [
        f"{number} {one if number == 1 else several}" for number, one, several in counts if number
    ]
    return f"The time is up. Of the trials, {', '.join(left)}. The same command continues."


def noise(
    folder: StudyFolder,
    complete: Mapping[str, float],
    objective: Objective,
    *,
    num_drawn: int,
    to_come: int,
) -> str:
    """Return that chance moves the best trial by more than is still to be gained; empty if not.

    Also empty for an objective other than the AUC on one slice, whose error is not known.

    Args:
        folder: The study's.
        complete: The objective of each complete trial, by its recipe.
        objective: What it is.
        num_drawn: See `expected_gain`.
        to_come: Trials still to be drawn.
    """
    if not objective.has_standard_error or not to_come or not complete:
        return ""
    gain = expected_gain(
        list(complete.values()), num_drawn=num_drawn, to_come=to_come, maximize=True
    )
    files = folder.trial(max(complete, key=lambda recipe: complete[recipe]))
    if gain is None or not files.scores.exists():
        return ""
    scores = files.read_scores()
    there = scores[scores["slice"].isin(objective.over)]
    best = auc(there["target"], there["score"])
    if not noise_rules(gain, best):
        return ""
    return (
        f"{to_come} more trials are expected to raise auc by {gain:.4f}, and another "
        f"{objective.place} set of {len(there)} files would move the best one's by "
        f"{best.standard_error:.4f} (one standard error, DeLong)"
    )


def expected_gain(
    objectives: Sequence[float], *, num_drawn: int, to_come: int, maximize: bool
) -> float | None:
    """Return by how much `to_come` more trials are expected to improve the best objective.

    The best of the trials are taken for the upper tail of an exponential distribution. Its scale
    is the mean excess of the best third over the next one, and the best of n draws lies the n-th
    harmonic number of scales above the origin (Renyi 1953, "On the theory of order statistics").
    A sampler that still learns does better than this; one that is done learning, as well.

    Args:
        objectives: Of the complete trials.
        num_drawn: Trials that had their chance, those stopped early included.
        to_come: Trials still to be drawn.
        maximize: Whether more is better.

    Returns:
        The gain, 0 or more; nothing with fewer than `LEAST_COMPLETE` trials.
    """
    if len(objectives) < LEAST_COMPLETE:
        return None
    ranked = sorted(objectives, reverse=maximize)
    best = len(ranked) // 3
    scale = sum(abs(value - ranked[best]) for value in ranked[:best]) / best
    return scale * sum(1 / n for n in range(num_drawn + 1, num_drawn + to_come + 1))


def noise_rules(gain: float, best: Estimate) -> bool:
    """Say whether chance moves the best trial's AUC by more than is still to be gained.

    By one standard error: what another validation set of this size would change.
    """
    return best.standard_error is not None and gain < best.standard_error
