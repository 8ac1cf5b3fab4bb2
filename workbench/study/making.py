"""From what a search space draws to the recipe of a trial, and whether it may be trained."""

from dataclasses import dataclass

from workbench.errors import ConfigError
from workbench.parts.weights import Mode
from workbench.rules.rulebook import Verdict
from workbench.study.experiment import Experiment
from workbench.study.space import Draft
from workbench.study.weights import WeightsFinder, judge_start
from workbench.trial.recipe import Recipe


@dataclass(frozen=True)
class RecipeMaker:
    """What all recipes of a study have in common."""

    experiment: Experiment
    fingerprint: str
    """Of the data."""

    finder: WeightsFinder
    seed: int
    bfloat16: bool
    """Whether a draft that leaves its precision open is trained in bfloat16."""

    def make(self, draft: Draft) -> Recipe:
        """Return the recipe of a draft."""
        return draft.recipe(
            data=self.fingerprint,
            views=self.experiment.views,
            weights=self.finder.find(draft.backbone, draft.pretrained),
            objective=self.experiment.objective,
            seed=self.seed,
            bfloat16=self.bfloat16,
        )

    def judge(self, recipe: Recipe, mode: Mode) -> tuple[Verdict | None, str]:
        """Return the rulebook's verdict, if there can be one, and why not to train; empty if to."""
        try:
            verdict = judge_start(
                self.experiment.rulebook,
                recipe.backbone,
                mode,
                recipe.views,
                image_px=recipe.image_px,
                finder=self.finder,
            )
        except ConfigError as error:
            # Only these two do not fit, the backbone and the side drawn with it: a bad draw.
            return None, str(error)
        return verdict, "" if verdict.legal else verdict.sentence
