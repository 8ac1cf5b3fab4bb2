"""What a trial is asked for, and how one ends that has no result. All are values.

A `Job` names no file and no device, so that any machine may run it: where a study's data, a trial's
folder, the pretrained weights and the cache lie is for whoever runs it to know.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.trial.compiling import Compile


@dataclass(frozen=True)
class Job:
    """One trial to run."""

    study: str
    """The study's name."""

    trial: int
    """The trial's number in it."""

    uid: str
    """The recipe's, which names the trial's folder."""

    recipe: str
    """As JSON."""

    memory_bytes: int | None = None
    """What the user allows a trial of its device's memory; None for its share."""

    compiled: "Compile" = "off"
    """Whether its training pass is compiled; see `trial.compiling`."""


@dataclass(frozen=True)
class Bug:
    """An error that no trial should end with."""

    traceback: str


@dataclass(frozen=True)
class Full:
    """The disk has no space left for what the trial writes."""

    reason: str


@dataclass(frozen=True)
class Blocked:
    """What the trial reads or writes cannot be used any more, and nor can it by another trial."""

    reason: str


@dataclass(frozen=True)
class Died:
    """The process that ran the trial ended without a result."""

    reason: str


class RankDiedError(Exception):
    """The process of a further rank of a trial died, which has to begin again like a dead worker's.

    The message is a sentence.
    """
