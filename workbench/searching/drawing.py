"""New recipes for a search: what the sampler draws, none twice; the cheapest of a few if asked."""

from collections.abc import Callable
from typing import NamedTuple

import optuna

from workbench.searching.proposals import Proposals
from workbench.space.recipe_builder import RecipeBuilder
from workbench.space.space import SampledConfig
from workbench.trial.recipe import Recipe

MOST_REPEATS = 200
"""Draws of recipes that were tried, in a row, after which the search space counts as used up."""

CANDIDATES = 4
"""Recipes of which the cheapest is taken where time is short: more would leave the sampler's word
behind."""


class Drawn(NamedTuple):
    """A recipe that is no trial of the study yet."""

    trial: optuna.Trial
    draft: SampledConfig
    recipe: Recipe


class Drawing:
    """Draws the recipes of a search."""

    def __init__(self, proposals: Proposals, builder: RecipeBuilder) -> None:
        self._proposals, self._builder = proposals, builder
        self._held: list[Drawn] = []
        """Drawn and not taken: others were cheaper."""

    def next(self) -> Drawn | None:
        """Return a new recipe; nothing if the search space is used up."""
        return self._held.pop(0) if self._held else self._draw()

    def cheapest(self, first: Drawn, cost: Callable[[Recipe], float], *, most: int) -> Drawn:
        """Return the cheapest of `first` and a few more; the others are kept for the next time.

        Args:
            first: What `next` returned.
            cost: Of training a recipe; of equals, the first drawn is taken.
            most: So many recipes may be drawn at all.
        """
        candidates = [first, *self._held]
        while len(candidates) < min(CANDIDATES, most) and (drawn := self._draw(candidates)):
            candidates.append(drawn)
        best = min(range(len(candidates)), key=lambda place: cost(candidates[place].recipe))
        taken = candidates.pop(best)
        self._held = candidates
        return taken

    def requeue(self) -> None:
        """Have what was drawn and not taken asked again the next time."""
        for drawn in self._held:
            self._proposals.requeue(drawn.trial, "drawn, and not begun")
        self._held = []

    def _draw(self, besides: list[Drawn] | None = None) -> Drawn | None:
        tried = self._proposals.uids() | {drawn.recipe.uid for drawn in besides or ()}
        for repeats in range(MOST_REPEATS):
            trial, draft = self._proposals.ask()
            recipe = self._builder.make(draft)
            if recipe.uid not in tried:
                return Drawn(trial, draft, recipe)
            self._proposals.hide(trial, f"drew the known recipe {recipe.uid}")
            if repeats == MOST_REPEATS // 4:
                self._proposals.draw_by_chance(seed=len(tried))
        return None
