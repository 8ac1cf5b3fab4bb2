"""A program run to its end, with the time and the memory that it and its children took."""

import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.25
_PROC = Path("/proc")


@dataclass(frozen=True)
class ProgramRun:
    """How a program ran."""

    exit_code: int
    seconds: float
    peak_memory_bytes: int | None
    """Of all its processes together, looked at every quarter of a second; unknown where the system
    does not tell."""


def run_program(
    command: Sequence[str | Path], *, cwd: Path, variables: Mapping[str, str]
) -> ProgramRun:
    """Run a program to its end; what it says goes where this process's words go."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=dict(variables))
    peak = _Peak(process.pid)
    try:
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        peak.stop()
    return ProgramRun(code, time.monotonic() - began, peak.size_bytes)


class _Peak:
    """The most memory that a process and its children were seen to take."""

    def __init__(self, process: int) -> None:
        self.size_bytes: int | None = None
        self._process, self._ended = process, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            seen = memory_of_tree(self._process)
            if seen is not None:
                self.size_bytes = max(seen, self.size_bytes or 0)


def memory_of_tree(process: int) -> int | None:
    """Return the bytes that a process and all below it hold; nothing where it is not told.

    All of the process itself, and of those below it their part of what several processes share:
    Linux calls the two RSS and PSS.
    """
    below = defaultdict[int, list[int]](list)
    for stat in _PROC.glob("[0-9]*/stat"):
        # The name of the program stands in parentheses, and may hold any letter.
        _, _, rest = _read(stat).rpartition(")")
        if rest:
            below[int(rest.split()[1])].append(int(stat.parent.name))
    waiting, total = [process], None
    while waiting:
        one = waiting.pop()
        waiting += below[one]
        for line in _read(_PROC / str(one) / "smaps_rollup").splitlines():
            if line.startswith("Rss:" if one == process else "Pss:"):
                total = (total or 0) + int(line.split()[1]) * 1024
    return total


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""
