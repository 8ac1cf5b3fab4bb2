"""What a machine of a cluster does: run one trial in a worker process, and tell what comes of it.

It knows no cluster: what it is called by, and what carries its messages, is `ray_cluster`.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from workbench.searching.pool import WorkerPool
from workbench.searching.runner import Event
from workbench.trial.decision import Decision
from workbench.trial.job import Blocked
from workbench.trial.result import Epoch
from workbench.trial.worker import BEAT_S, Beat, LocalJob

HOST_BEAT_S = 5.0
"""A host says something at least so often while its trial trains."""


class TrialHost:
    """Runs one trial, in a worker process of its own.

    Args:
        stall_s: The worker is ended when no batch of the trial ends for so long.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._pool: WorkerPool | None = None
        self._answered = threading.Event()

    def run(self, local: LocalJob) -> Iterator[Event | Beat]:
        """Train the trial; yield its epochs and signs of life, and at last how it ended.

        After an epoch it waits until `answer` was called, in another thread.
        """
        yield Beat(0, 0.0)
        if not local.prepared.is_dir():
            yield Blocked(
                f"A machine of the cluster does not see {local.prepared}. Keep the study where all "
                "of them see it: `--shared DIR`."
            )
            return
        pool = self._pool = WorkerPool(1, stall_s=self._stall_s)
        pool.submit(0, local)
        said = time.monotonic()
        while True:
            events = pool.events(BEAT_S)
            if not events:
                if time.monotonic() - said >= HOST_BEAT_S:
                    said = time.monotonic()
                    yield Beat(0, pool.share(0))
                continue
            [(_, event)] = events
            if not isinstance(event, Epoch):
                pool.close(at_once=False)  # its memory is free before the trial has ended
                yield event
                return
            self._answered.clear()
            yield event
            self._answered.wait()
            said = time.monotonic()

    def answer(self, decision: Decision) -> None:
        """Tell the trial, which reported an epoch, how to go on."""
        if self._pool is not None:
            self._pool.answer(0, decision)
        self._answered.set()


def answer_mark(mark: Path, text: str, name: str) -> bool:
    """Return whether the file `mark` has this text here; if so, write another beside it."""
    try:
        if mark.read_text(encoding="utf-8") != text:
            return False
        mark.with_name(f"{mark.name}.{name}").write_text(text, encoding="utf-8")
    except OSError:
        return False
    return True
