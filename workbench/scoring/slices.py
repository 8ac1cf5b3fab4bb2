"""Slices: the named parts of the data that a model is scored on.

To add a kind of them, write a function from the prepared data to its slices, and name it in
`_KINDS`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from workbench.data.prepare import Prepared
from workbench.errors import ConfigError

TEST = "test"
"""The slice whose labels nobody has: what a submission predicts."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Some files of the prepared data, under a name."""

    name: str
    prepared: Prepared
    rows: pd.DataFrame
    """Those of the files in the prepared table."""

    is_labelled: bool = True


def _splits(prepared: Prepared) -> Iterator[Slice]:
    """Yield what the data's own labels hold out, and the files without labels."""
    yield Slice("val", prepared, prepared.rows("val"))
    yield Slice(TEST, prepared, prepared.rows("test"), is_labelled=False)


_KINDS: tuple[Callable[[Prepared], Iterator[Slice]], ...] = (_splits,)


def slices_of(prepared: Prepared) -> dict[str, Slice]:
    """Return every slice of the data, by its name."""
    return {part.name: part for kind in _KINDS for part in kind(prepared)}


def labelled_slices(prepared: Prepared, names: Iterable[str]) -> list[Slice]:
    """Return the slices that an objective is measured on.

    Raises:
        ConfigError: the data have no such slice, or not its labels.
    """
    found = slices_of(prepared)
    labelled = {name: part for name, part in found.items() if part.is_labelled}
    for name in names:
        if name not in labelled:
            why = "has no labels" if name in found else "is no slice of the data"
            raise ConfigError(
                f"`objective.over` names {name!r}, which {why}. Name of these: "
                f"{', '.join(labelled)}."
            )
    return [labelled[name] for name in names]
