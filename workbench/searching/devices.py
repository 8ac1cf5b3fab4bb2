"""Which devices trials run on, and how many side by side."""

import os
from typing import NamedTuple

from workbench.errors import StudyError
from workbench.fence import num_cores


class Seats(NamedTuple):
    """A place for each trial that runs side by side."""

    devices: tuple[str, ...]
    """The torch device of each."""

    num_threads: int
    """CPU threads that each may use."""


def choose_seats(device: str, jobs: int | None) -> Seats:
    """Return where so many trials run on `device`; one a GPU, or up to four a CPU, by default.

    Raises:
        StudyError: the device is not there.
    """
    import torch

    cores = num_cores()
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if num_cuda else "cpu"
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (":" in device and not index.isdigit()):
        raise StudyError(f"--device {device} is not known. Use auto, cpu, cuda or e.g. cuda:1.")
    if name == "cpu":
        # Two trials with a thread each do more in an hour than one with two threads.
        jobs = jobs or min(cores, 4)
        return Seats(("cpu",) * jobs, _num_threads(cores, jobs))
    if int(index or 0) >= num_cuda:
        raise StudyError(
            f"--device {device} is not there: torch sees {num_cuda} CUDA devices, counted from "
            "0. Use one of them, auto or cpu."
        )
    those = [f"cuda:{index}"] if index else [f"cuda:{i}" for i in range(num_cuda)]
    jobs = jobs or len(those)
    return Seats(tuple(those[i % len(those)] for i in range(jobs)), _num_threads(cores, jobs))


def _num_threads(cores: int, jobs: int) -> int:
    """Return the threads of one of so many trials: its share of the cores, or what is asked for.

    Threads that wait for each other on a core that others use make a step ten times as slow, so a
    user who shares a machine bounds them by OMP_NUM_THREADS, which torch alone would forget.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cores // jobs)
    return min(share, int(asked)) if asked.isdigit() and int(asked) > 0 else share
