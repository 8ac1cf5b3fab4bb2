import gc
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from workbench.fence import DiedError, Fence, TimedOutError


class UnsendableError(Exception):
    """It cannot be made again from what pickle keeps of it."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def raise_unsendable() -> None:
    raise UnsendableError("not to be", " pickled")


def nothing() -> None:
    pass


def fail_to_begin() -> None:
    raise ValueError("no beginning")


def a_fence(num_processes: int = 1, *, limit_s: float = 60.0) -> Fence:
    return Fence(num_processes, limit_s=limit_s, begin=nothing, environment={"FENCED": "yes"})


@pytest.fixture(scope="module")
def fence() -> Iterator[Fence]:
    with a_fence() as made:
        yield made


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_end(pid: int) -> bool:
    until = time.monotonic() + 60
    while lives(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not lives(pid)


def test_calls_run_elsewhere_one_after_another_in_one_process(fence: Fence) -> None:
    pids = {fence.submit(os.getpid).result() for _ in range(3)}
    assert len(pids) == 1
    assert pids != {os.getpid()}
    assert fence.submit(os.getenv, "FENCED").result() == "yes"
    assert fence.submit(sorted, [3, 1, 2]).result() == [1, 2, 3]


def test_what_a_call_raises_is_raised_with_its_own_traceback(fence: Fence) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        fence.submit(operator.truediv, 1, 0).result()
    assert "In a process of its own" in raised.value.__notes__[0]
    with pytest.raises(RuntimeError, match=r"UnsendableError: not to be pickled"):
        fence.submit(raise_unsendable).result()
    assert fence.submit(len, "abc").result() == 3


def test_a_call_that_dies_or_hangs_costs_itself_alone() -> None:
    with a_fence(limit_s=3.0) as fence:
        calls: list[Future[Any]] = [
            fence.submit(len, "a"),
            fence.submit(os._exit, 3),
            fence.submit(len, "ab"),
            fence.submit(time.sleep, 60),
            fence.submit(len, "abc"),
        ]
        assert [calls[at].result() for at in (0, 2, 4)] == [1, 2, 3]
        with pytest.raises(DiedError) as died:
            calls[1].result()
        assert died.value.exit_code == 3
        with pytest.raises(TimedOutError):
            calls[3].result()


def test_a_process_that_dies_while_it_waits_is_no_calls_fault() -> None:
    with a_fence() as fence:
        for _ in range(5):  # the next call comes before, while and after it dies
            os.kill(fence.submit(os.getpid).result(), signal.SIGKILL)
            assert fence.submit(len, "abcd").result() == 4


def test_a_process_that_ran_out_of_memory_serves_no_other_call(fence: Fence) -> None:
    before = fence.submit(os.getpid).result()
    with pytest.raises(MemoryError):
        fence.submit(bytes, 1 << 62).result()
    assert fence.submit(os.getpid).result() != before
    assert not lives(before)


def test_a_process_that_cannot_begin_says_why() -> None:
    with (
        Fence(1, limit_s=60.0, begin=fail_to_begin, environment={}) as fence,
        pytest.raises(ValueError, match="no beginning"),
    ):
        fence.submit(len, "a").result()


def test_closing_ends_what_runs() -> None:
    fence = a_fence()
    pid = fence.submit(os.getpid).result()
    sleeping, waiting = fence.submit(time.sleep, 60), fence.submit(len, "a")
    fence.close()
    assert not lives(pid)
    assert waiting.cancelled()
    assert sleeping.cancelled() or isinstance(sleeping.exception(), DiedError)


def test_a_forgotten_fence_leaves_no_process() -> None:
    fence = a_fence()
    pid = fence.submit(os.getpid).result()
    del fence
    gc.collect()
    assert wait_for_end(pid)


def test_a_killed_parent_leaves_no_process_even_in_the_middle_of_a_call() -> None:
    program = (
        "import os, time; from tests.test_fence import a_fence\n"
        "fence = a_fence()\n"
        "print(fence.submit(os.getpid).result(), flush=True)\n"
        "fence.submit(time.sleep, 600)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    assert wait_for_end(pid)


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('begun')\n"
        "import os\n"
        "from workbench.fence import Fence\n"
        "fence = Fence(1, limit_s=60, begin=os.getpid, environment={})\n"
        "print(fence.submit(sum, [1, 2]).result())\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n3\n", "")


def test_a_forked_copy_is_refused_and_harms_nothing() -> None:
    with a_fence() as fence:
        pid = fence.submit(os.getpid).result()
        if not (child := os.fork()):  # what follows runs in the copy alone
            try:
                fence.submit(len, "a")
            except RuntimeError:
                fence._processes.end_all()
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert fence.submit(os.getpid).result() == pid


def test_any_thread_may_submit_and_each_gets_its_own_answer() -> None:
    wrong: list[int] = []
    with a_fence(2) as fence:

        def ask(number: int) -> None:
            for count in range(50):
                if fence.submit(operator.mul, number, count).result() != number * count:
                    wrong.append(number)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pids = {fence.submit(os.getpid).result() for _ in range(10)}
    assert not wrong
    assert len(pids) <= 2
