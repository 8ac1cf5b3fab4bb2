"""A search whose trials are trained by two processes each; here both are on the CPU."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.study.conftest import Bench
from tests.study.tiny import THREE
from workbench.searching import start
from workbench.searching.devices import Seats
from workbench.study.records import read_trials

pytestmark = pytest.mark.slow(minutes=2)


@pytest.fixture(autouse=True)
def pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seat of two devices."""
    seats = Seats(("cpu",), 1, (("cpu",),))
    monkeypatch.setattr(start, "seats_asked", lambda options, experiment: seats)


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def ranks() -> set[int]:
    """Return the processes that workers of this one started."""
    return {rank for worker in children(os.getpid()) for rank in children(worker)}


@contextmanager
def kill(most: int) -> Iterator[set[int]]:
    """Kill so many ranks in the body, each as soon as it is there; yield those killed."""
    killed, ended = set[int](), threading.Event()

    def look() -> None:
        while not ended.wait(0.05) and len(killed) < most:
            for rank in ranks() - killed:
                os.kill(rank, signal.SIGKILL)
                killed.add(rank)

    thread = threading.Thread(target=look)
    thread.start()
    yield killed
    ended.set()
    thread.join()


def test_a_rank_that_dies_is_a_worker_that_dies(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = bench.experiment(THREE)
    with kill(1) as killed:
        bench.search(experiment, 1)
    assert len(killed) == 1
    died = "the process of rank 1 on cpu died (signal SIGKILL, which the system sends when memory"
    assert died in capsys.readouterr().err
    with kill(2) as killed:
        outcome = bench.search(experiment, 2)
    assert len(killed) == 2
    first, second = read_trials(outcome.folder)
    assert (first.state, second.state) == ("complete", "failed")
    assert second.reason.startswith(died)
    assert ranks() == set()
