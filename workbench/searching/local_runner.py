"""Trials in worker processes of this machine."""

from collections.abc import Iterable

from workbench.searching.devices import Seats
from workbench.searching.options import RunOptions
from workbench.searching.packing import most_side_by_side, pack_seats
from workbench.searching.pool import WorkerPool
from workbench.searching.runner import Event
from workbench.study.folder import StudyFolder
from workbench.trial.decision import Decision
from workbench.trial.job import Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch
from workbench.trial.worker import LocalJob
from workbench.workspace import Workspace


class LocalRunner:
    """A worker process for each trial side by side; they load what trials need at once.

    With `--jobs auto` it is measured how many seats there are.
    """

    def __init__(self, workspace: Workspace, seats: Seats, options: RunOptions) -> None:
        self._workspace, self._seats, self._options = workspace, seats, options
        packed = options.jobs == "auto"
        number = most_side_by_side(seats.devices) if packed else len(seats.devices)
        self._pool = WorkerPool(number, stall_s=options.stall_s, warm=True)
        self._slots: dict[int, int] = {}
        """The worker of each trial in flight."""

    def prepare(self, recipes: Iterable[Recipe]) -> None:
        """Measure how many trials suit each device side by side, where that is asked for."""
        if self._options.jobs == "auto":
            self._seats = pack_seats(
                recipes,
                self._seats,
                self._pool,
                memory_bytes=self._options.memory_bytes,
                cache=self._workspace.cache,
            )
            self._pool.resize(len(self._seats.devices))

    def has_room(self) -> bool:
        """Return whether a worker has no trial."""
        return self._pool.free_slot() is not None

    def submit(self, job: Job) -> None:
        """Let a worker run `job`."""
        slot = self._pool.free_slot()
        if slot is None:
            raise RuntimeError(f"no worker is free for trial {job.trial}")
        device = self._seats.devices[slot]
        local = local_job(
            job,
            self._workspace,
            device=device,
            num_threads=self._seats.num_threads,
            share=1 / self._seats.devices.count(device),
            others=self._seats.others[slot] if self._seats.others else (),
        )
        self._pool.submit(slot, local)
        self._slots[job.trial] = slot

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what came from the workers, by trial."""
        trials = {slot: trial for trial, slot in self._slots.items()}
        found = [(trials[slot], event) for slot, event in self._pool.events(timeout_s)]
        for trial, event in found:
            if not isinstance(event, Epoch):
                del self._slots[trial]
        return found

    def answer(self, trial: int, decision: Decision) -> None:
        """Tell a worker how its trial goes on."""
        self._pool.answer(self._slots[trial], decision)

    def stop(self, trial: int) -> None:
        """End the worker of a trial; another takes its place."""
        self._pool.stop(self._slots.pop(trial))

    def share(self, trial: int) -> float:
        """Return how much of its epoch a trial has done, as far as its worker said."""
        return self._pool.share(self._slots[trial]) if trial in self._slots else 0.0

    def close(self, *, at_once: bool) -> None:
        """End the workers."""
        self._pool.close(at_once=at_once)


def local_job(
    job: Job,
    workspace: Workspace,
    *,
    device: str,
    num_threads: int,
    share: float,
    others: tuple[str, ...] = (),
) -> LocalJob:
    """Return `job` with what a machine has for it that sees this workspace."""
    study = StudyFolder(workspace.studies / job.study)
    return LocalJob(
        job,
        prepared=study.path,
        folder=study.trial(job.uid).path,
        weights=workspace.weights,
        cache=workspace.cache,
        device=device,
        num_threads=num_threads,
        share=share,
        others=others,
    )
