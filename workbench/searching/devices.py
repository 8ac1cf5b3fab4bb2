"""Which devices trials run on, and how many side by side."""

import os
from typing import NamedTuple

from workbench.errors import StudyError
from workbench.fence import num_cores
from workbench.searching.options import RunOptions
from workbench.space.experiment import Experiment


class Seats(NamedTuple):
    """A place for each trial that runs side by side."""

    devices: tuple[str, ...]
    """The torch device of each; of a trial that takes several, the first."""

    num_threads: int
    """CPU threads that each process of a trial may use."""

    others: tuple[tuple[str, ...], ...] = ()
    """The further devices of each, where a trial takes several."""

    @property
    def all_devices(self) -> tuple[str, ...]:
        """Every device that a trial may take."""
        return (*self.devices, *(device for more in self.others for device in more))


def seats_asked(options: RunOptions, experiment: Experiment) -> Seats:
    """Return where the trials of a study run that is searched so.

    Raises:
        StudyError: the devices are not there, or cannot be taken so.
    """
    num = experiment.gpus_per_trial
    if num > 1 and options.jobs == "auto":
        raise StudyError(
            f"--jobs auto measures how many trials share one GPU, and `gpus_per_trial` is {num}. "
            "Give a number of trials, or leave --jobs out."
        )
    if num > 1 and options.compiled == "on":
        raise StudyError(
            f"--compile on compiles the pass of one GPU, and `gpus_per_trial` is {num}. Leave "
            "--compile out, or set `gpus_per_trial` to 1 in the experiment."
        )
    return choose_seats(options.device, None if options.jobs == "auto" else options.jobs, num)


def choose_seats(device: str, jobs: int | None, gpus_per_trial: int = 1) -> Seats:
    """Return where so many trials run on `device`.

    Args:
        device: One of CUDA's, `cuda` for all of them, `cpu`, or `auto`.
        jobs: Trials side by side; by default as many as the GPUs suffice for, or up to four on a
            CPU.
        gpus_per_trial: GPUs that each takes; those that are left over take none.

    Raises:
        StudyError: the device is not there, or there are too few.
    """
    import torch

    cores = num_cores()
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if num_cuda else "cpu"
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (":" in device and not index.isdigit()):
        raise StudyError(f"--device {device} is not known. Use auto, cpu, cuda or e.g. cuda:1.")
    if gpus_per_trial > 1:
        there = 0 if name == "cpu" else 1 if index else num_cuda
        if there < gpus_per_trial:
            raise StudyError(
                f"`gpus_per_trial` is {gpus_per_trial}, and --device {device} has {there}. Set it "
                f"to {max(1, there)} in the experiment{', or give --device cuda' * bool(index)}."
            )
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
    groups = [
        those[i : i + gpus_per_trial]
        for i in range(0, len(those) - gpus_per_trial + 1, gpus_per_trial)
    ]
    jobs = jobs or len(groups)
    taken = [groups[i % len(groups)] for i in range(jobs)]
    return Seats(
        tuple(first for first, *_ in taken),
        _num_threads(cores, jobs * gpus_per_trial),
        tuple(tuple(more) for _, *more in taken) if gpus_per_trial > 1 else (),
    )


def _num_threads(cores: int, jobs: int) -> int:
    """Return the threads of one of so many trials: its share of the cores, or what is asked for.

    Threads that wait for each other on a core that others use make a step ten times as slow, so a
    user who shares a machine bounds them by OMP_NUM_THREADS, which torch alone would forget.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cores // jobs)
    return min(share, int(asked)) if asked.isdigit() and int(asked) > 0 else share
