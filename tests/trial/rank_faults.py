"""Ranks that something happens to; spawned processes import them by name."""

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import torch

from workbench.errors import CacheError
from workbench.trial import training
from workbench.trial.followers import Followed, follow
from workbench.trial.ranks import Group
from workbench.trial.stepping import backward


def follow_into(fault: str) -> None:
    """Let this process meet a fault in the second batch that it trains."""
    batches = 0

    def fail(*args: Any, **named: Any) -> torch.Tensor:
        nonlocal batches
        batches += 1
        if batches == 2:
            match fault:
                case "memory":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB")
                case "cache":
                    raise CacheError("The cached arrays are gone.")
                case "bug":
                    raise ZeroDivisionError("a bug of one rank")
                case "death":
                    os.kill(os.getpid(), signal.SIGKILL)
        return backward(*args, **named)

    vars(training)["backward"] = fail


def follow_out_of_memory(pipe: Connection, trial: Followed, group: Group) -> None:
    """Run out of memory once, unless batches go in parts."""
    if trial.plan.micro_batch is None:
        follow_into("memory")
    follow(pipe, trial, group)


def follow_without_cache(pipe: Connection, trial: Followed, group: Group) -> None:
    """Find the decoded data gone."""
    follow_into("cache")
    follow(pipe, trial, group)


def follow_into_a_bug(pipe: Connection, trial: Followed, group: Group) -> None:
    """Raise what nobody foresaw."""
    follow_into("bug")
    follow(pipe, trial, group)


def follow_and_die(pipe: Connection, trial: Followed, group: Group) -> None:
    """Be killed."""
    follow_into("death")
    follow(pipe, trial, group)


def die_before(pipe: Connection, trial: Followed, group: Group) -> None:
    """Be gone before the first epoch."""
    os._exit(3)
