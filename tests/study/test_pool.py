"""The pool of workers: what comes from them, and that the death of one is an event like another."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.study.workers import epoch, scripted_work
from workbench.searching import pool as pool_module
from workbench.searching.pool import WorkerPool
from workbench.searching.runner import Event
from workbench.trial.job import Bug, Died, Job
from workbench.trial.result import Result
from workbench.trial.worker import LocalJob


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerPool]:
    """One worker for all tests: a new process takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "work", scripted_work)
        made = WorkerPool(1)
        yield made
        made.close(at_once=True)


@pytest.fixture
def pool(shared: WorkerPool) -> WorkerPool:
    assert shared.free_slot() == 0  # each test leaves it as it was
    return shared


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], LocalJob]:
    def make(recipe: str) -> LocalJob:
        return LocalJob(
            Job(study="tiny", trial=0, uid=recipe, recipe=recipe),
            prepared=tmp_path,
            folder=tmp_path / recipe,
            weights=tmp_path,
            cache=tmp_path,
            device="cpu",
            num_threads=1,
        )

    return make


def next_events(pool: WorkerPool, *, timeout_s: float = 60.0) -> list[tuple[int, Event]]:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if events := pool.events(timeout_s=1.0):
            return events
    raise AssertionError("nothing came from the workers")


def test_a_result_frees_its_worker_for_the_next_job(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    for _ in range(2):
        assert pool.free_slot() == 0
        pool.submit(0, job("finish"))
        assert pool.free_slot() is None
        [(slot, event)] = next_events(pool)
        assert slot == 0
        assert event == Result(recipe="uid", state="complete", objective=0.5)
    assert pool.free_slot() == 0


def test_an_epoch_keeps_its_worker_until_the_verdict_is_carried_out(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    pool.submit(0, job("ask"))
    assert next_events(pool) == [(0, epoch(1))]
    assert pool.free_slot() is None
    pool.answer(0, "prune")
    [(_, event)] = next_events(pool)
    assert isinstance(event, Result)
    assert event.reason == "prune"


def test_a_worker_that_waited_long_for_its_answer_is_not_taken_to_hang(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    pool.submit(0, job("ask, then think"))
    assert next_events(pool) == [(0, epoch(1))]
    pool._workers[0].moved -= 10_000  # this process was held up meanwhile, as by a store
    pool.answer(0, "prune")
    [(_, event)] = next_events(pool)
    assert isinstance(event, Result)


def test_a_bug_frees_its_worker_too(pool: WorkerPool, job: Callable[[str], LocalJob]) -> None:
    pool.submit(0, job("bug"))
    worker = pool._workers[0].process.pid
    assert next_events(pool) == [(0, Bug("ZeroDivisionError"))]
    assert pool.free_slot() == 0
    # Another process: a bug may leave the first one broken for whatever it is given.
    assert pool._workers[0].process.pid != worker


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("die", "signal SIGKILL, which the system sends when memory runs out"),
        ("exit", "exit code 3"),
        ("die in the middle of a word", "exit code 4"),
    ],
)
def test_a_dead_worker_tells_why_and_another_takes_its_place(
    pool: WorkerPool, job: Callable[[str], LocalJob], recipe: str, reason: str
) -> None:
    pool.submit(0, job(recipe))
    [(slot, event)] = next_events(pool)
    assert (slot, event) == (
        0,
        Died(f"the worker process died ({reason}). Its log ends: first line | last words"),
    )
    assert pool.free_slot() == 0
    pool.submit(0, job("finish"))
    [(_, event)] = next_events(pool)
    assert isinstance(event, Result)


def test_a_worker_killed_by_someone_else_in_mid_trial_is_replaced(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    pool.submit(0, job("sleep"))
    [child] = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGTERM)
    [(_, event)] = next_events(pool)
    assert isinstance(event, Died)
    assert "(signal SIGTERM)" in event.reason
    pool.submit(0, job("finish"))
    assert isinstance(next_events(pool)[0][1], Result)


def test_a_verdict_for_a_dead_worker_is_no_error(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    pool.submit(0, job("report and die"))
    assert next_events(pool) == [(0, epoch(1))]
    [child] = multiprocessing.active_children()
    child.join(30)
    pool.answer(0, "go on")
    [(_, event)] = next_events(pool)
    assert isinstance(event, Died)


def test_a_job_for_a_worker_that_died_idle_goes_to_another(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    pool.submit(0, job("finish, then leave"))
    assert isinstance(next_events(pool)[0][1], Result)
    [child] = multiprocessing.active_children()
    child.join(30)
    assert child.exitcode == 0
    pool.submit(0, job("finish"))
    assert isinstance(next_events(pool)[0][1], Result)


def warm(num_workers: int, job: Callable[[str], LocalJob], *, stall_s: float) -> WorkerPool:
    """Return a pool whose workers have started, which takes longer than some may stand still."""
    pool = WorkerPool(num_workers, stall_s=120.0)
    for slot in range(num_workers):
        pool.submit(slot, job("finish"))
    found: list[tuple[int, Event]] = []
    while len(found) < num_workers:
        found += next_events(pool)
    pool._stall_s = stall_s
    return pool


@pytest.mark.slow
def test_a_worker_of_which_no_batch_ends_is_ended_and_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, job: Callable[[str], LocalJob]
) -> None:
    monkeypatch.setattr(pool_module, "work", scripted_work)
    pool = warm(2, job, stall_s=4.0)
    pool.submit(0, job("live and stand still"))
    pool.submit(1, job("move slowly"))
    [(slot, event)] = next_events(pool)
    assert slot == 0
    assert isinstance(event, Died)
    assert re.fullmatch(
        r"no batch ended for \d+\.\d s: it hangs\. Its log ends: first line \| last words",
        event.reason,
    )
    assert pool.free_slot() == 0
    # The other one, whose batches end, works for longer than that.
    [(slot, event)] = next_events(pool)
    assert slot == 1
    assert isinstance(event, Result)
    pool.close(at_once=True)


@pytest.mark.slow
def test_what_a_worker_said_while_nobody_listened_is_heard_before_it_is_judged(
    monkeypatch: pytest.MonkeyPatch, job: Callable[[str], LocalJob]
) -> None:
    monkeypatch.setattr(pool_module, "work", scripted_work)
    pool = warm(1, job, stall_s=3.0)
    pool.submit(0, job("move slowly"))
    time.sleep(8.0)  # this process is stopped for longer than a worker may stand still
    [(_, event)] = next_events(pool)
    assert isinstance(event, Result)
    pool.close(at_once=True)


def test_time_in_which_all_stood_still_is_nobodys_silence(
    pool: WorkerPool, job: Callable[[str], LocalJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.submit(0, job("ask"))
    assert next_events(pool) == [(0, epoch(1))]
    now = time.monotonic
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now() + 1000.0)  # more than the worker may
        assert pool.events(timeout_s=0.0) == []
        pool.answer(0, "prune")
        assert isinstance(next_events(pool)[0][1], Result)


def test_a_worker_that_is_stopped_makes_room(
    pool: WorkerPool, job: Callable[[str], LocalJob]
) -> None:
    pool.submit(0, job("ask"))
    assert next_events(pool) == [(0, epoch(1))]
    pool.stop(0)
    assert pool.free_slot() == 0
    pool.submit(0, job("finish"))
    assert isinstance(next_events(pool)[0][1], Result)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [True, False])
def test_workers_run_side_by_side_and_none_is_left_after_the_end(
    monkeypatch: pytest.MonkeyPatch, job: Callable[[str], LocalJob], at_once: bool
) -> None:
    monkeypatch.setattr(pool_module, "work", scripted_work)
    before = set(multiprocessing.active_children())
    pool = WorkerPool(2)
    pool.submit(0, job("sleep"))  # an end without hurry does not wait for it either
    assert pool.free_slot() == 1
    pool.submit(1, job("finish"))
    assert pool.free_slot() is None
    [(slot, event)] = next_events(pool)
    assert slot == 1
    assert isinstance(event, Result)
    began = time.monotonic()
    pool.close(at_once=at_once)
    assert time.monotonic() - began < 30
    assert set(multiprocessing.active_children()) == before


INTERRUPTED = """
import os, signal, time
from workbench.searching.pool import WorkerPool
if __name__ == "__main__":
    pools = []
    try:
        for _ in range(4):  # found at different stages of their start
            pools.append(WorkerPool(1))
            time.sleep(0.05)
        os.killpg(0, signal.SIGINT)  # what a terminal does on Ctrl-C
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    for pool in pools:
        pool.close(at_once=False)
        print([worker.process.exitcode for worker in pool._workers.values()])
"""


def test_a_ctrl_c_while_workers_start_is_left_to_the_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["interrupted", "[0]", "[0]", "[0]", "[0]"]
    assert done.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_of_a_worker_sleep_while_they_wait_for_one_another(pool: WorkerPool) -> None:
    [worker] = [one for one in multiprocessing.active_children() if one.name == "workbench-trial"]
    told = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_WAIT_POLICY=PASSIVE" in told
