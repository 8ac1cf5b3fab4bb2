"""Slices as a model reads them: a file that is in several of them is scored once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews

Scores = npt.NDArray[np.float64]


class StoredSlices:
    """The stored views of some slices, with each of their files once."""

    def __init__(self, slices: Sequence[Slice], stored: Callable[[Slice], StoredViews]) -> None:
        together: dict[int, list[Slice]] = {}
        for part in slices:
            together.setdefault(id(part.prepared), []).append(part)
        self.names = tuple(part.name for part in slices)
        """Of the slices."""

        self._wholes = [_whole(parts) for parts in together.values()]
        self.sources = [stored(whole) for whole in self._wholes]
        """One for each of the slices' data sets; each is to be scored by itself."""

        self._places: dict[str, tuple[int, npt.NDArray[np.int64]]] = {
            part.name: (number, found)
            for number, parts in enumerate(together.values())
            for part in parts
            if (found := self._found(number, part)) is not None
        }

    @property
    def num_files(self) -> int:
        """Files that are scored, each once."""
        return sum(source.num_files for source in self.sources)

    def by_slice(
        self, scores: Sequence[Scores]
    ) -> Mapping[str, tuple[npt.NDArray[np.int64], Scores]]:
        """Return the targets and the scores of each slice, by its name.

        Args:
            scores: Of the files of each source, (files,).
        """
        return {
            name: (self.sources[number].targets.numpy()[places], scores[number][places])
            for name, (number, places) in self._places.items()
        }

    def table(self, scores: Sequence[Scores]) -> pd.DataFrame:
        """Return a row of the scores file for each file of each slice; see `StoredViews.table`."""
        return pd.concat(
            [self._rows(scores, name, *self._places[name]) for name in self.names],
            ignore_index=True,
        )

    def table_of(self, other: Slice, scores: Sequence[Scores]) -> pd.DataFrame | None:
        """Return the same of another slice; nothing unless all of its files were scored."""
        for number, whole in enumerate(self._wholes):
            places = self._found(number, other) if whole.prepared is other.prepared else None
            if places is not None:
                return self._rows(scores, other.name, number, places)
        return None

    def split(self, scores: Scores) -> list[Scores]:
        """Return the scores of each source, of those of all sources in order, (num_files,)."""
        sizes = [source.num_files for source in self.sources]
        return np.split(scores, np.cumsum(sizes)[:-1])

    def _found(self, number: int, part: Slice) -> npt.NDArray[np.int64] | None:
        """Return where the files of a slice stand in a source; nothing if some do not."""
        places = _keys(self._wholes[number].rows).get_indexer(_keys(part.rows))
        return None if (places < 0).any() else places.astype(np.int64)

    def _rows(
        self, scores: Sequence[Scores], name: str, number: int, places: npt.NDArray[np.int64]
    ) -> pd.DataFrame:
        return self.sources[number].table(scores[number]).iloc[places].assign(slice=name)


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    """Return what names a file within its data."""
    return pd.MultiIndex.from_frame(rows[["split", "name"]])


def _whole(parts: Sequence[Slice]) -> Slice:
    """Return the files of all slices of one data set, in the order in which they come."""
    first = parts[0]
    if len(parts) == 1:
        return first
    rows = pd.concat([part.rows for part in parts]).drop_duplicates(["split", "name"])
    return replace(first, rows=rows.reset_index(drop=True))
