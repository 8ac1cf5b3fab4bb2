"""From what a search space draws to the recipe of a trial, and whether it may be trained."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench.console import say
from workbench.errors import ConfigError, RuleError
from workbench.media.declared import PICTURED
from workbench.parts.per_view import PerView, apply, in_short
from workbench.parts.plugins import used
from workbench.parts.suited import suits
from workbench.parts.weights import Mode, published
from workbench.rules.rulebook import HelpersRule, Verdict
from workbench.space.experiment import Experiment
from workbench.space.precisions import Precisions
from workbench.space.space import SampledConfig, Space
from workbench.space.weights_finder import WeightsFinder, judge_start
from workbench.trial.recipe import Recipe


@dataclass(frozen=True)
class RecipeBuilder:
    """What all recipes of a study have in common."""

    experiment: Experiment
    fingerprint: str
    """Of the data."""

    finder: WeightsFinder
    seed: int
    precisions: Precisions
    """What a draft that leaves it open is trained in."""

    names: Mapping[str, str] = field(default_factory=dict)
    """What the study calls recipes whose fingerprint is another by now, by the fingerprint."""

    counted: Path | None = None
    """The folder that keeps what was counted of a model; see `rules.judge.judge`."""

    def make(self, draft: SampledConfig) -> Recipe:
        """Return the recipe of a draft."""
        bfloat16 = False
        if draft.precision == "auto":
            views = [self.experiment.views[name] for name in draft.views]
            has_pictures = any(view.modality in PICTURED for view in views)
            bfloat16 = self.precisions.in_bfloat16(draft, has_pictures=has_pictures)
        return self._recipe(draft, bfloat16)

    def guess(self, draft: SampledConfig) -> Recipe:
        """Return what `make` may return, without measuring: for what costs about the same."""
        return self._recipe(draft, self.precisions.guess(draft))

    def _recipe(self, draft: SampledConfig, bfloat16: bool) -> Recipe:
        recipe = draft.recipe(
            data=self.fingerprint,
            views=self.experiment.views,
            weights=apply(lambda name: self.finder.find(name, draft.pretrained), draft.backbone),
            objective=self.experiment.objective,
            seed=self.seed,
            bfloat16=bfloat16,
        )
        parts = (draft.loss, draft.optimizer, draft.schedule)
        if own := used(self.experiment.plugins, parts, draft.backbone_names):
            recipe = recipe.replaced(plugins=own)
        name = self.names.get(recipe.fingerprint)
        return recipe.named(name) if name else recipe

    def judge(self, recipe: Recipe, mode: Mode) -> tuple[Verdict | None, str]:
        """Return the rulebook's verdict, if there can be one, and why not to train; empty if to."""
        try:
            verdict = judge_start(
                self.experiment.rulebook,
                recipe.model.backbone,
                mode,
                recipe.model.views,
                image_px=recipe.model.image_px,
                finder=self.finder,
                head=recipe.model.head,
                reading=recipe.model.reading,
                counted=self.counted,
            )
        except ConfigError as error:
            # Only these two do not fit, the backbone and the side drawn with it: a bad draw.
            return None, str(error)
        return verdict, "" if verdict.legal else verdict.sentence


def check_rules(experiment: Experiment, space: Space, finder: WeightsFinder) -> None:
    """Judge every backbone that can be drawn, before anything is decoded or trained.

    Where each view has backbones of its own, each is judged on its view alone, and the smallest of
    those that are allowed together: what is drawn is judged when it is.

    Raises:
        RuleError: the rulebook refuses them all.
    """
    refused: dict[str, Verdict] = {}

    def judged(backbone: PerView[str], mode: Mode, names: Iterable[str]) -> Verdict:
        verdict = judge_start(
            experiment.rulebook,
            backbone,
            mode,
            {name: experiment.views[name] for name in names},
            image_px=space.least_image_px(),
            finder=finder,
        )
        if not verdict.legal:
            refused.setdefault(verdict.sentence, verdict)
        return verdict

    of_view = space.backbones_by_view()
    for backbone in space.backbones():
        published(backbone)  # an unknown name is an error of its own
    drawn = list(itertools.product(space.pretrained_modes(), space.view_sets()))
    for_all = of_view.get("", [])
    legal = any(
        [
            judged(one, mode, names).legal
            for one in for_all
            for mode, names in drawn
            # What does not suit a view fails the trial that draws both.
            if all(suits(one, experiment.views[name]) for name in names)
        ]
    )
    for mode, names in [] if "" in of_view else drawn:
        smallest = {}
        for view in filter(of_view.__contains__, names):
            alone = {name: judged(name, mode, [view]) for name in of_view[view]}
            sizes = {name: each.params_counted for name, each in alone.items() if each.legal}
            smallest[view] = min(sizes, key=sizes.__getitem__, default="")
        if all(smallest.values()):
            legal |= judged(in_short(smallest), mode, names).legal
    for sentence in refused:
        say(sentence)
    if not legal:
        tried = dict.fromkeys(verdict.backbone for verdict in refused.values())
        remedy = "Put a legal one into `backbone`; `workbench backbones --check NAME` judges one."
        if all(verdict.breaks(HelpersRule.name) for verdict in refused.values()):
            remedy = (
                "Leave out the views that other models help to make, or write `helpers: allow` "
                "into the rulebook."
            )
        raise RuleError(
            f"{space.file}: the rulebook refuses every backbone that can be drawn "
            f"({', '.join(tried)}). {remedy}"
        )
