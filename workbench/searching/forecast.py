"""What the next trial will cost, from the trials that this study has trained on this machine."""

import itertools
import statistics
from collections import deque
from collections.abc import Iterable, Sequence

from workbench.errors import WorkbenchError
from workbench.searching.costs import (
    CostForecast,
    Past,
    epoch_work,
    past_of,
    predict_cost,
    wanted_of,
)
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result

SHOWN_AFTER, USED_AFTER = 10, 3
"""Trials whose forecasts are held against what they took: before a person is shown any, and before
they decide what is tried first where time is short."""

LEARNT_FROM = 200
"""It learns from at most so many of the latest trials."""

TOLERANCE = 2.0
"""The last forecasts must not have been off by more than this factor."""


class Forecast:
    """Learns from every trial that ends, and how well it would have foretold it.

    Args:
        num_train: Files that are trained on.
        num_scored: Files of the objective's slices, as an epoch scores them.
        num_folds: How often each trial is trained, each time without another fold.
    """

    def __init__(self, *, num_train: int, num_scored: int, num_folds: int = 1) -> None:
        self._num_train, self._num_scored = num_train, num_scored
        self._num_folds = num_folds
        self._past = deque[Past](maxlen=LEARNT_FROM)
        self._besides = deque[float](maxlen=LEARNT_FROM)
        """Seconds that trials took besides their epochs' usual pace: the start, what a first epoch
        takes longer, and the scoring of other slices."""

        self._good = deque[bool](maxlen=SHOWN_AFTER)
        """Whether each of the last trials took what was foretold, within the tolerance."""

    @property
    def is_shown(self) -> bool:
        """Whether the last trials were foretold well enough for a person to be told."""
        return len(self._good) >= SHOWN_AFTER and all(self._good)

    @property
    def is_used(self) -> bool:
        """Whether the last trials were foretold well enough to choose the next by."""
        return len(self._good) >= USED_AFTER and all(self._good)

    def learn(self, recipe: Recipe, result: Result) -> None:
        """Take in how a trial ended."""
        if not result.epochs:
            return
        sides = list(itertools.islice(itertools.cycle(recipe.train_sides), len(result.epochs)))
        works = [work for side in sides if (work := self._work(recipe, [side]))]
        if len(works) < len(sides) or (past := past_of(recipe, result, works)) is None:
            return
        if (foretold := self._of(recipe, sides)) and result.seconds > 0:
            ratio = foretold.seconds / result.seconds
            self._good.append(1 / TOLERANCE <= ratio <= TOLERANCE)
        self._past.append(past)
        self._besides.append(max(0.0, result.seconds - past.seconds))

    def of(self, recipe: Recipe, done: Iterable[Epoch] = ()) -> CostForecast | None:
        """Return what is left of a trial after the epochs `done`; nothing before any trial ended.

        Its seconds hold the start of the trial and the scoring of other slices, too.
        """
        sides = recipe.train_sides * self._num_folds  # fold after fold
        return self._of(recipe, sides[sum(1 for _ in done) :])

    def _of(self, recipe: Recipe, sides: Sequence[int]) -> CostForecast | None:
        """Return what epochs with pictures of these sides cost, with what it takes besides."""
        if not self._past:
            return None
        work = self._work(recipe, sides)
        whole = work and predict_cost(self._past, wanted_of(recipe, work))
        if not whole:
            return None
        seconds = whole.epoch_seconds * len(sides) + statistics.median(self._besides)
        return CostForecast(seconds, whole.epoch_seconds, whole.memory_bytes, whole.spread)

    def seconds_of(self, recipe: Recipe, done: Iterable[Epoch] = ()) -> float:
        """Return the seconds of what `of` returns; 0 if nothing is known."""
        expected = self.of(recipe, done)
        return expected.seconds if expected else 0.0

    def _work(self, recipe: Recipe, sides: Sequence[int]) -> float | None:
        """Return the multiply-adds of an epoch; nothing where the trial itself will tell why."""
        segments = max(view.num_segments for view in recipe.model.views.values())
        try:
            return epoch_work(
                recipe,
                num_train=segments * self._num_train,
                num_scored=segments * self._num_scored,
                sides=sides,
            )
        except WorkbenchError:
            return None
