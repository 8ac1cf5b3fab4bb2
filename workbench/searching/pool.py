"""Worker processes that train trials, and what comes from them, as one stream of events."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from workbench.fence import KEEP_MEMORY, SLEEP_AT_BARRIERS
from workbench.processes import Spawning, environment, how_ended, interrupts_held
from workbench.searching.runner import Event
from workbench.tables import duration
from workbench.trial.decision import Decision
from workbench.trial.job import Bug, Died
from workbench.trial.result import Epoch
from workbench.trial.worker import Beat, LocalJob, work

LOG_TAIL_LINES = 5
HELD_UP_S = 60.0
"""Time between two looks at the workers from which on it counts as nobody's silence."""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: LocalJob | None = None
    steps: int = 0
    """Batches of the job that ended."""

    share: float = 0.0
    """Of its epoch."""

    moved: float = 0.0
    """`time.monotonic()` when it last said something new."""


class WorkerPool:
    """A fixed number of worker processes, each with at most one trial.

    Args:
        num_workers: How many run side by side.
        stall_s: A worker of which no batch ends for so long is ended.
        warm: Whether workers load what trials need while they wait for the first.
    """

    def __init__(self, num_workers: int, *, stall_s: float = 900.0, warm: bool = False) -> None:
        self._stall_s, self._warm = stall_s, warm
        self._context = Spawning()
        self._workers = {slot: self._start() for slot in range(num_workers)}
        self._looked = time.monotonic()
        """When it was last looked who is silent."""

    @contextmanager
    def lent(self) -> Iterator[list[Connection]]:
        """Hand out the way to every worker; those that died meanwhile are replaced after the body.

        None of them has a job, before and after.
        """
        yield [worker.connection for worker in self._workers.values()]
        for slot, worker in self._workers.items():
            if not worker.process.is_alive() or worker.connection.poll():
                self.stop(slot)

    def resize(self, num_workers: int) -> None:
        """Have so many workers from now on; none of those that go has a job."""
        for slot in range(len(self._workers), num_workers):
            self._workers[slot] = self._start()
        leaving = [self._workers.pop(slot) for slot in sorted(self._workers)[num_workers:]]
        for worker in leaving:
            worker.process.kill()
        for worker in leaving:
            worker.process.join()
            worker.connection.close()

    def free_slot(self) -> int | None:
        """Return the number of a worker without a trial, if there is one."""
        return next((slot for slot, worker in self._workers.items() if worker.job is None), None)

    def submit(self, slot: int, job: LocalJob) -> None:
        """Let the worker `slot` run `job`."""
        worker = self._workers[slot]
        try:
            worker.connection.send(job)
        except BrokenPipeError:  # it died while it had nothing to do: another takes its place
            self._replace(slot)
            worker = self._workers[slot]
            worker.connection.send(job)
        worker.job, worker.steps, worker.share = job, 0, 0.0
        worker.moved = time.monotonic()

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what came from busy workers, after waiting for something at most `timeout_s`.

        An `Epoch` waits for `answer` or `stop`; everything else frees its worker.
        """
        busy = {w.connection: slot for slot, w in self._workers.items() if w.job is not None}
        events: list[tuple[int, Event]] = []
        for connection in wait(list(busy), timeout_s):
            slot = busy[connection]  # type: ignore[index]
            worker = self._workers[slot]
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):  # closed, or cut off in the middle of a message
                event = Died(_last_words(worker))
                self._replace(slot)
            if isinstance(event, Beat):
                worker.share = event.share
                if event.steps != worker.steps:
                    worker.steps, worker.moved = event.steps, time.monotonic()
                continue
            worker.moved, worker.share = time.monotonic(), 0.0
            if isinstance(event, Bug):  # it may have broken its process, as a CUDA context, too
                self.stop(slot)
            elif not isinstance(event, Epoch):
                self._workers[slot].job = None
            events.append((slot, event))
        return events + self._stalled(set(busy.values()) - {slot for slot, _ in events})

    def share(self, slot: int) -> float:
        """Return how much of its epoch the worker `slot` has done, as far as it said."""
        return self._workers[slot].share

    def stop(self, slot: int) -> None:
        """End the worker `slot` at once, whose job is not wanted any more; another takes over."""
        self._workers[slot].process.kill()
        self._replace(slot)

    def answer(self, slot: int, decision: Decision) -> None:
        """Tell the worker `slot`, which reported an epoch, how to go on."""
        # From now on, not from its report: this process may have been held up since.
        self._workers[slot].moved = time.monotonic()
        try:
            self._workers[slot].connection.send(decision)
        except BrokenPipeError:
            return  # its death is the next event

    def close(self, *, at_once: bool) -> None:
        """End all workers; `at_once` does not wait for their trials."""
        for worker in self._workers.values():
            if at_once or worker.job is not None:
                worker.process.kill()
            else:
                try:
                    worker.connection.send(None)
                except BrokenPipeError:
                    continue
        for worker in self._workers.values():
            worker.process.join()
            worker.connection.close()

    def _stalled(self, silent: set[int]) -> list[tuple[int, Event]]:
        """End the workers among `silent` of which no batch ended for too long."""
        events: list[tuple[int, Event]] = []
        now = time.monotonic()
        is_late, self._looked = now - self._looked > HELD_UP_S, now
        if is_late:  # as where a container is paused: the workers stood still, too
            for worker in self._workers.values():
                worker.moved = now
        for slot in silent:
            worker = self._workers[slot]
            # What it said while this process was held up is still to be read.
            waited = time.monotonic() - worker.moved
            if waited < self._stall_s or worker.connection.poll():
                continue
            log = _log_tail(worker)
            self.stop(slot)
            events.append((slot, Died(f"no batch ended for {duration(waited)}: it hangs.{log}")))
        return events

    def _replace(self, slot: int) -> None:
        """Start another worker in the place of one that ended or was told to."""
        worker = self._workers[slot]
        worker.process.join()
        worker.connection.close()
        self._workers[slot] = self._start()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(theirs, self._warm), name="workbench-trial"
        )
        with environment({**KEEP_MEMORY, **SLEEP_AT_BARRIERS}), interrupts_held():
            process.start()
        theirs.close()  # so that the worker's death closes the pipe
        return _Worker(process, ours)


def _last_words(worker: _Worker) -> str:
    """Return why a dead worker died: its signal or exit code, and the end of its log."""
    worker.process.join()
    return f"the worker process died ({how_ended(worker.process.exitcode)}).{_log_tail(worker)}"


def _log_tail(worker: _Worker) -> str:
    """Return the last lines of a worker's log as a sentence; empty if it said nothing."""
    if worker.job is None or not (log := worker.job.folder / "log.txt").exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " Its log ends: " + " | ".join(lines[-LOG_TAIL_LINES:]) if lines else ""
