"""What every process that this program starts does first."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Self

_STARTING = threading.Lock()

_NOT_FROM_HERE = {"PYTHONSAFEPATH": "1"}
"""multiprocessing starts processes by `python -c`, which looks for modules in the folder that the
program runs in before all others. That may be a stranger's, with a `multiprocessing.py` in it."""


class _Spawned(SpawnProcess):
    def start(self) -> None:
        # Two threads that start processes at once must not restore each other's stand-in.
        with _STARTING, environment(_NOT_FROM_HERE):
            script = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = script


class Spawning(SpawnContext):
    """What starts processes anew that do not run the caller's script again.

    Spawned, not forked: a device that was touched before a fork is lost to the child, and the
    caller may hold threads. A process that multiprocessing spawns runs the file of `__main__` first
    of all; a script without `if __name__ == "__main__"` would search again in each of its workers,
    and a program read from the standard input has no file to run. What these processes compute is
    a function of a module, so that they need nothing of the script.
    """

    Process = _Spawned

    def __init__(self) -> None:
        _start_tracker()  # a lock of this context would start it, too


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Give `values` to the processes that the body starts; what the user set stays."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def be_a_child() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, however it died.

    A parent that is killed cannot tell its children: without this they would wait for work for
    ever, holding the device's memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("be_a_child is for processes started by multiprocessing")

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()


def how_ended(exitcode: int | None) -> str:
    """Return what a process died of, in a few words."""
    code = exitcode or 0
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL:
        cause += ", which the system sends when memory runs out"
    return cause


class Interrupts:
    """Ctrl-C in its body: the first is noted, for the body to end in its own time; the next stops.

    It changes nothing outside of the main thread, which alone can take signals, and where Ctrl-C is
    ignored, as in a program that a script put into the background.
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether it was noted."""

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        self._takes = (
            threading.current_thread() is threading.main_thread()
            and self._before is not signal.SIG_IGN
        )
        if self._takes:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._takes:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back in the body, and for good in the processes that the body starts.

    They inherit it: one that is interrupted before it can say `be_a_child` would die with a
    traceback on the terminal.
    """
    # multiprocessing starts its own helper with the first process, and then lets Ctrl-C through.
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start the process by which multiprocessing tidies up, unless it runs."""
    with _STARTING, environment(_NOT_FROM_HERE):
        resource_tracker.ensure_running()
