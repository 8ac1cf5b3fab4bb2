"""Constraints: what a trial must keep to, besides having the best objective."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator, model_validator

from workbench.rules.rulebook import num_params
from workbench.trial.recipe import MetricName
from workbench.values import Frozen

ConstraintName = MetricName | Literal["params", "ms_per_file"]
"""A metric over the objective's slices; the parameters of the model, the larger of the two counts;
or what scoring took of a file, from its stored views on, in milliseconds."""


def _in_millions(value: Any) -> Any:
    """Return a number written as `50M`; anything else as it is."""
    is_counted = isinstance(value, str) and value.strip()[-1:].upper() in ("K", "M", "B")
    return num_params(value) if is_counted else value


Limit = Annotated[float, BeforeValidator(_in_millions)]


class Bound(Frozen):
    """Bounds that a value must keep."""

    at_least: Limit | None = None
    """The least that is allowed."""

    at_most: Limit | None = None
    """The most that is allowed."""

    @model_validator(mode="after")
    def _is_one(self) -> "Bound":
        if self.at_least is None and self.at_most is None:
            raise ValueError("write `at_least`, `at_most` or both")
        if None not in (self.at_least, self.at_most) and self.at_least > self.at_most:  # type: ignore[operator]
            raise ValueError("`at_least` is above `at_most`: nothing lies between")
        return self

    def excess(self, value: float) -> float:
        """Return by how much of the bound `value` is beyond it; 0 or less within.

        So the excesses of several constraints, which a sampler adds up, are of one size.
        """
        beyond = []
        if self.at_least is not None:
            beyond.append((self.at_least - value) / (abs(self.at_least) or 1.0))
        if self.at_most is not None:
            beyond.append((value - self.at_most) / (abs(self.at_most) or 1.0))
        return max(beyond)

    def __str__(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(
            f"{word} {_shown(bound)}" for word, bound in bounds if bound is not None
        )


Constraints = dict[ConstraintName, Bound]


class ScoredTrial(Protocol):
    """What is known of a trial that was scored."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Over the objective's slices."""

    @property
    def ms_per_file(self) -> float | None:
        """What scoring took of a file."""


def constrained_values(trial: ScoredTrial, *, params: Iterable[int | None]) -> dict[str, float]:
    """Return what constraints are about of one trial; what is not known is left out.

    Args:
        trial: Its result.
        params: Counts of its model's parameters; the largest counts.
    """
    values = dict(trial.metrics)
    if counts := [count for count in params if count is not None]:
        values["params"] = float(max(counts))
    if trial.ms_per_file is not None:
        values["ms_per_file"] = trial.ms_per_file
    return values


def excesses(constraints: Constraints, values: Mapping[str, float]) -> dict[str, float]:
    """Return the excess of each constraint whose value is known; see `Bound.excess`."""
    return {
        name: bound.excess(values[name]) for name, bound in constraints.items() if name in values
    }


def broken(constraints: Constraints, values: Mapping[str, float]) -> tuple[str, ...]:
    """Return the constraints that these values break, each in words.

    One whose value is not known is broken: nothing says that it is kept.
    """
    beyond = excesses(constraints, values)
    return tuple(
        f"{name} is {_shown(values[name])}, not {bound}"
        if name in values
        else f"{name} is not known, to be {bound}"
        for name, bound in constraints.items()
        if beyond.get(name, 1) > 0
    )


def _shown(value: float) -> str:
    return f"{value / 1e6:.6g}M" if abs(value) >= 1e5 else f"{value:.6g}"
