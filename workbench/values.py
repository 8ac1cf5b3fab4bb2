"""Frozen values, and the parts a search chooses between."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: no unknown fields, no changes after it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(Frozen):
    """One choice in a search space, named by its `kind`."""

    kind: str


def kinds(union: Any) -> dict[str, type[Part]]:
    """Return the parts of an `Annotated[A | B, ...]` union, keyed by kind."""
    members = get_args(get_args(union)[0])
    return {member.model_fields["kind"].default: member for member in members}
