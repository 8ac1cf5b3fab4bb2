"""What a pack may cost, and what each trial costs in it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemberCost:
    """What a trial costs as a member of a pack."""

    params: int
    ms_per_file: float | None = None
    """Unknown where no time was measured: such a trial is no member under a limit of time."""

    has_weights: bool = True
    """Whether they are there: without, it cannot be a member."""

    keeps_constraints: bool = True
    """On all samples: else it is neither a member nor the best single trial."""

    is_trial: bool = True
    """Else it is a soup: it may be a member, and is not the best single trial."""


@dataclass(frozen=True)
class PackLimits:
    """What a pack may cost: a limit is kept if it is met exactly."""

    params: int | None = None
    """Of its distinct members together."""

    ms_per_file: float | None = None
    """The same."""

    members: int = 8
    """Distinct ones."""
