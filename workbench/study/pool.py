"""Worker processes that train trials, and what comes from them, as one stream of events."""

import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from workbench.processes import KEEP_MEMORY, environment, interrupts_held
from workbench.trial.result import Epoch, Result
from workbench.trial.train import Verdict
from workbench.trial.worker import Bug, Job, work

LOG_TAIL_LINES = 5


@dataclass(frozen=True)
class Died:
    """A worker's end without a result."""

    reason: str


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None


class WorkerPool:
    """A fixed number of worker processes, each with at most one trial.

    Args:
        num_workers: How many run side by side.
    """

    def __init__(self, num_workers: int) -> None:
        # Spawned, not forked: a device that was touched before a fork is lost to the child.
        self._context = multiprocessing.get_context("spawn")
        self._workers = {slot: self._start() for slot in range(num_workers)}

    def free_slot(self) -> int | None:
        """Return the number of a worker without a trial, if there is one."""
        return next((slot for slot, worker in self._workers.items() if worker.job is None), None)

    def submit(self, slot: int, job: Job) -> None:
        """Let the worker `slot` run `job`."""
        worker = self._workers[slot]
        worker.job = job
        try:
            worker.connection.send(job)
        except BrokenPipeError:  # it died while it had nothing to do: another takes its place
            worker.process.join()
            worker.connection.close()
            self._workers[slot] = worker = self._start()
            worker.job = job
            worker.connection.send(job)

    def events(self, timeout_s: float) -> list[tuple[int, Epoch | Result | Bug | Died]]:
        """Return what came from busy workers, after waiting for something at most `timeout_s`.

        An `Epoch` waits for `answer`; everything else frees its worker.
        """
        busy = {w.connection: slot for slot, w in self._workers.items() if w.job is not None}
        events: list[tuple[int, Epoch | Result | Bug | Died]] = []
        for connection in wait(list(busy), timeout_s):
            slot = busy[connection]  # type: ignore[index]
            worker = self._workers[slot]
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):  # closed, or cut off in the middle of a message
                event = Died(_last_words(worker))
                worker.connection.close()
                self._workers[slot] = self._start()
            if not isinstance(event, Epoch):
                self._workers[slot].job = None
            events.append((slot, event))
        return events

    def answer(self, slot: int, verdict: Verdict) -> None:
        """Tell the worker `slot`, which reported an epoch, how to go on."""
        try:
            self._workers[slot].connection.send(verdict)
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

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs,), name="workbench-trial")
        with environment(KEEP_MEMORY), interrupts_held():
            process.start()
        theirs.close()  # so that the worker's death closes the pipe
        return _Worker(process, ours)


def _last_words(worker: _Worker) -> str:
    """Return why a dead worker died: its signal or exit code, and the end of its log."""
    worker.process.join()
    code = worker.process.exitcode or 0
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL:
        cause += ", which the system sends when memory runs out"
    said = ""
    if worker.job is not None and (log := worker.job.folder / "log.txt").exists():
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = " Its log ends: " + " | ".join(lines[-LOG_TAIL_LINES:]) if lines else ""
    return f"the worker process died ({cause}).{said}"
