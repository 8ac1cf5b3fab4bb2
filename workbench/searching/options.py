"""What a run of the search is asked for, as one value that is passed on whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from workbench.trial.compiling import Compile


class FinalistsAsked(NamedTuple):
    """How many finalists a final round has, and how often each is trained again."""

    top: int
    num_seeds: int


@dataclass(frozen=True)
class RunOptions:
    """How a study is searched this time; of all this only the seed changes a trial's numbers."""

    num_trials: int
    """Trials of the whole study, refused, pruned and failed ones included."""

    study: str | None = None
    """Its name; the experiment's by default."""

    data: Path | None = None
    """The data folder; by default the demo, where the experiment is about it."""

    slices: Mapping[str, Path] = field(default_factory=dict)
    """Other labelled folders, each a slice of this name."""

    seed: int = 0
    """Of the sampler and of every trial."""

    jobs: int | Literal["auto"] | None = None
    """Trials side by side: a number; or as many as the device is measured to be good for; or, by
    default, one on each GPU and one on each CPU core up to four."""

    device: str = "auto"
    """A torch device, or `auto`."""

    timeout_s: float | None = None
    """No epoch begins after so long; the trials in flight are kept and go on the next time."""

    finalists: FinalistsAsked | None = None
    """The final round that follows, for which time is left; what it trains is no trial."""

    stall_s: float = 900.0
    """A trial of which no batch ends for so long hangs."""

    compiled: Compile = "off"
    """Whether training passes are compiled; rounding apart, that changes no number."""

    stop_at_noise: bool = False
    """Whether no trial starts once chance moves the best one by more than is still to be gained."""

    memory_bytes: int | None = None
    """What one trial may take of its device's memory; by default its share."""

    strict: bool = False
    """Whether a file that cannot be decoded is an error."""
