"""The simulated studies, and how well a value and its interval hold in them."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from workbench.selection.choosing import SliceScores

COPIES, ALIKE = 3, 0.9
SPREAD, AHEAD = 0.12, 0.2

Floats = npt.NDArray[np.float64]


class Cell(NamedTuple):
    """One kind of study."""

    copies: bool
    samples: int
    """Of each class."""

    trials: int
    correlation: float
    truths: str
    auc: float


class Held(NamedTuple):
    """How a value and its interval held, over the repeats of a cell."""

    bias: float
    coverage: float
    width: float
    """Of the interval, the mean."""

    @property
    def is_good(self) -> bool:
        """Whether it meets the target."""
        return abs(self.bias) <= 0.01 and 0.93 <= self.coverage <= 0.98


def cells(quick: bool) -> Iterator[Cell]:
    """Yield the cells, the quick ones first."""
    sizes = (75, 200) if quick else (75, 200, 1000)
    trials = (10, 40) if quick else (10, 40, 100)
    kinds = itertools.product(
        sizes, (False, True), trials, (0.3, 0.6, 0.9), ("equal", "spread", "one ahead"), (0.7, 0.99)
    )
    for samples, copies, number, correlation, truths, true in kinds:
        yield Cell(copies, samples, number, correlation, truths, true)


def distances(cell: Cell, rng: np.random.Generator) -> Floats:
    """Return how far apart the classes are for each trial, in standard deviations."""
    middle = math.sqrt(2) * norm.ppf(cell.auc)
    if cell.truths == "spread":
        return np.asarray(middle + SPREAD * rng.normal(size=cell.trials))
    found = np.full(cell.trials, middle)
    if cell.truths == "one ahead":
        found[rng.integers(cell.trials)] += AHEAD
    return found


def draw(cell: Cell, of_trials: Floats, rng: np.random.Generator) -> SliceScores:
    """Return the scores of the trials of a study on its samples."""
    num = 2 * cell.samples
    targets = np.repeat([1, 0], cell.samples)
    place = np.arange(cell.samples) // COPIES if cell.copies else np.arange(cell.samples)
    groups = np.concatenate([place, place + place.max() + 1])

    def noise(rows: int) -> Floats:
        own = rng.standard_normal((rows, num), np.float32)
        if not cell.copies:
            return np.asarray(own, np.float64)
        shared = rng.standard_normal((rows, groups.max() + 1), np.float32)[:, groups]
        return np.asarray(math.sqrt(ALIKE) * shared + math.sqrt(1 - ALIKE) * own, np.float64)

    shared, rest = math.sqrt(cell.correlation), math.sqrt(1 - cell.correlation)
    scores = shared * noise(1) + rest * noise(cell.trials) + of_trials[:, None] * targets
    return SliceScores(targets=targets, scores=scores, groups=groups)


def seed_of(cell: Cell) -> list[int]:
    """Return the seed of a cell's draws."""
    return [int(1000 * part) if not isinstance(part, str) else len(part) for part in cell]
