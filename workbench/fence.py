"""Calls in processes that can be ended: one that hangs, dies or eats memory costs itself alone.

The processes run a program of their own (`workbench.fenced`), so that nothing here imports the
caller's script again: a notebook or a script without `if __name__ == "__main__"` may use it.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from queue import LifoQueue
from typing import Any, NamedTuple, Self, TypeVar, cast

from workbench import fenced

T = TypeVar("T")

START_LIMIT_S = 300.0
"""Time that a process may take to start."""

KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""glibc gives freed blocks back to the system, and every training step on a CPU, like every file
that is decoded, asks for the same ones again: a third of the CPU time can go there. A process with
this environment keeps them. The C library reads it when a process starts."""

SLEEP_AT_BARRIERS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of OpenMP that wait for one another spin by default: where another program has the core
that they wait for, a training step takes several times as long. OpenMP reads it when it is loaded.
"""

_DYING_S = 5.0

# The import path is the parent's, whatever it came from: an environment, an editable install, the
# folder of a bundle.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    f"from {fenced.__name__} import main; main(int(sys.argv[2]))"
)


class TimedOutError(Exception):
    """A call took longer than it may; its process was ended."""


class DiedError(Exception):
    """The process of a call died.

    Args:
        exit_code: Its exit code; the negative number of the signal that ended it.
    """

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(f"the process died (exit code {exit_code})")


class Fence:
    """Processes that run calls; they start when they are needed and end with the fence.

    Any thread may submit calls.

    Args:
        num_processes: Calls that run side by side.
        limit_s: Time that one call may take.
        begin: What each process does first; a function that pickle finds by its name.
        environment: Variables of the processes; what the user set stays.
    """

    def __init__(
        self,
        num_processes: int,
        *,
        limit_s: float,
        begin: Callable[[], None],
        environment: Mapping[str, str],
    ) -> None:
        self._limit_s = limit_s
        self._begin = pickle.dumps((begin, ()))
        self._environment = {**environment, **os.environ}
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="fence")
        self._processes = _Processes()
        # A fence that is forgotten, or whose program ends, leaves no process behind.
        weakref.finalize(self, self._processes.end_all)
        # The last one back is the next one out, so that no more start than run side by side.
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(num_processes):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Let a process run `function(*arguments)`; all of it must be fit for pickle.

        The future raises what the function raised, TimedOutError or DiedError.
        """
        if self._processes.owner != os.getpid():
            raise RuntimeError("A fence serves the process that made it: make one after a fork.")
        return self._threads.submit(self._call, function, arguments)

    def close(self) -> None:
        """End all processes at once; calls that run raise DiedError."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._processes.kill_all()
        self._threads.shutdown()
        self._processes.end_all()

    def _call(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        call = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)
        process = self._idle.get()
        try:
            if process is not None and not process.takes(call, self._limit_s):
                self._processes.end(process)  # it died while it waited, which is no call's fault
                process = None
            if process is None:
                process = self._processes.start(self._environment)
                _result(process.ask(self._begin, START_LIMIT_S))
                answer = process.ask(call, self._limit_s)
            else:
                answer = process.answer(self._limit_s)
            if not answer.is_sound:
                self._processes.end(process)
                process = None
        except BaseException:  # Ctrl-C as well: its answer would be taken for the next call's
            if process is not None:
                self._processes.end(process)
                process = None
            raise
        finally:
            self._idle.put(process)
        return cast(T, _result(answer))


class _Answer(NamedTuple):
    """What a process answers; see `fenced._answer`."""

    is_result: bool
    given: Any
    """What the call returned or raised."""

    is_sound: bool
    """Whether the process takes another call; it ends otherwise."""


class _Process:
    """One process and the pipe to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._pipe, theirs = Pipe()
        handle = theirs.fileno()
        flags = ["-B"] * sys.dont_write_bytecode + ["-S"] * sys.flags.no_site
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", *flags, "-c", _PROGRAM, path, str(handle)],
                stdin=subprocess.PIPE,  # closed when this process ends, however it does: see there
                stdout=subprocess.DEVNULL,
                pass_fds=[handle],
                env=environment,
                start_new_session=True,  # Ctrl-C on the terminal is for this process to hear
            )

    def ask(self, call: bytes, limit_s: float) -> _Answer:
        """Send a pickled call and return the answer."""
        if not self.takes(call, limit_s):
            raise self._died()
        return self.answer(limit_s)

    def takes(self, call: bytes, limit_s: float) -> bool:
        """Send a pickled call; return whether the process lives and has begun to run it."""
        try:
            self._pipe.send_bytes(call)
            return self._receive(limit_s) == fenced.TAKEN
        except (EOFError, OSError):
            return False

    def answer(self, limit_s: float) -> _Answer:
        """Return the answer to the call that was taken."""
        try:
            return _Answer(*pickle.loads(self._receive(limit_s)))
        except (EOFError, OSError) as error:  # it died, maybe in the middle of an answer
            raise self._died() from error

    def _receive(self, limit_s: float) -> bytes:
        if not self._pipe.poll(limit_s):
            raise TimedOutError(f"the call took over {limit_s:g} s")
        return self._pipe.recv_bytes()

    def _died(self) -> DiedError:
        with suppress(subprocess.TimeoutExpired):  # so that its own exit code is seen
            self._process.wait(_DYING_S)
        return DiedError(self.kill())

    def kill(self) -> int:
        """End the process, if it lives; return its exit code."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk cannot be ended
            self._process.wait(_DYING_S)
        code = self._process.returncode
        return -signal.SIGKILL if code is None else code

    def end(self) -> None:
        """Kill the process and close the pipe to it."""
        self.kill()
        self._pipe.close()
        if self._process.stdin:
            self._process.stdin.close()


class _Processes:
    """The processes of a fence: none starts once they are all to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[_Process] = set()
        self._is_closed = False
        self.owner = os.getpid()

    def start(self, environment: Mapping[str, str]) -> _Process:
        with self._lock:
            if self._is_closed:
                raise DiedError(-signal.SIGKILL)
            process = _Process(environment)
            self._all.add(process)
            return process

    def end(self, process: _Process) -> None:
        with self._lock:
            self._all.discard(process)
        process.end()

    def kill_all(self) -> None:
        """End the processes; their pipes stay open for those who wait at them."""
        if self.owner != os.getpid():  # a forked copy: they are not its own to end
            return
        with self._lock:
            self._is_closed = True
            there = list(self._all)
        for process in there:
            process.kill()

    def end_all(self) -> None:
        self.kill_all()
        if self.owner == os.getpid():
            for process in list(self._all):
                self.end(process)


def _result(answer: _Answer) -> Any:
    """Return what an answer brings, or raise it."""
    if not answer.is_result:
        raise answer.given
    return answer.given


def num_cores() -> int:
    """Return the cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
