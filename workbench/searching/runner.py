"""What runs trials: processes of this machine (`local_runner`), or anything else that can.

A search hands out jobs and reads what comes of them; where and how they run it does not know.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from workbench.searching.devices import Seats
from workbench.searching.options import RunOptions
from workbench.trial.decision import Decision
from workbench.trial.job import Blocked, Bug, Died, Full, Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result
from workbench.workspace import Workspace

Event = Epoch | Result | Bug | Full | Blocked | Died
"""What comes of a job: an epoch, after which it waits to be told how to go on; or its end."""


class Runner(Protocol):
    """Runs as many jobs at a time as it has room for, each known by the number of its trial."""

    def prepare(self, recipes: Iterable[Recipe]) -> None:
        """Get ready, before the first job, for recipes such as these."""

    def has_room(self) -> bool:
        """Return whether it can take another job."""

    def submit(self, job: Job) -> None:
        """Run a job, for which there is room."""

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what came of jobs, by trial, after waiting for something at most `timeout_s`.

        An `Epoch` waits for `answer` or `stop`; everything else is the job's end.
        """

    def answer(self, trial: int, decision: Decision) -> None:
        """Tell a job, which reported an epoch, how to go on."""

    def stop(self, trial: int) -> None:
        """End a job at once that is not wanted any more; nothing more comes of it."""

    def share(self, trial: int) -> float:
        """Return how much of its epoch a job has done, as far as that is known."""

    def close(self, *, at_once: bool) -> None:
        """End everything; `at_once` does not wait for jobs. A second time does nothing."""


MakeRunner = Callable[[Workspace, Seats, RunOptions], Runner]
"""Starts the runner of a search, in a workspace, with a seat for each trial side by side."""
