"""Which devices the trials of a sitting run on, and how many side by side."""

import os
from collections.abc import Sequence
from pathlib import Path

from workbench.console import say
from workbench.errors import ConfigError, StudyError
from workbench.search.costs import epoch_work
from workbench.search.packing import devices_for, pack
from workbench.search.pool import WorkerPool
from workbench.trial.recipe import Recipe


def choose_devices(device: str, jobs: int | None) -> tuple[tuple[str, ...], int]:
    """Return a device for each worker, and the CPU threads that each may use.

    Raises:
        StudyError: the device is not there.
    """
    import torch

    cores = os.cpu_count() or 1
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if num_cuda else "cpu"
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (":" in device and not index.isdigit()):
        raise StudyError(f"--device {device} is not known. Use auto, cpu, cuda or e.g. cuda:1.")
    if name == "cpu":
        # Two trials with a thread each do more in an hour than one with two threads.
        jobs = jobs or min(cores, 4)
        return ("cpu",) * jobs, max(1, cores // jobs)
    if int(index or 0) >= num_cuda:
        raise StudyError(f"--device {device} is not there: torch sees {num_cuda} CUDA devices.")
    those = [f"cuda:{index}"] if index else [f"cuda:{i}" for i in range(num_cuda)]
    jobs = jobs or len(those)
    return tuple(those[i % len(those)] for i in range(jobs)), max(1, cores // jobs)


def pack_devices(
    recipes: Sequence[Recipe],
    devices: Sequence[str],
    pool: WorkerPool,
    *,
    memory_bytes: int | None,
    cache: Path,
) -> tuple[tuple[str, ...], int]:
    """Return what `choose_devices` does, with as many trials on a device as it is good for.

    That is measured for the recipe with the most work, since the others fit where it does.

    Args:
        recipes: Some that may be drawn.
        devices: Those to use.
        pool: The workers of the search, which have nothing to do yet: it gets as many as that.
        memory_bytes: What the user lets one trial take; None for its share.
        cache: Folder in which the measurement is kept.
    """
    heaviest = max(recipes, key=_work)
    packing = pack(heaviest, devices, pool, memory_bytes=memory_bytes, cache=cache)
    say(packing.sentence)
    chosen, threads = devices_for(packing, devices)
    pool.resize(len(chosen))
    return chosen, threads


def _work(recipe: Recipe) -> float:
    try:
        return epoch_work(recipe, num_train=1, num_scored=0) * recipe.training.batch_size
    except ConfigError:
        return 0.0  # it cannot be built: a bad draw
