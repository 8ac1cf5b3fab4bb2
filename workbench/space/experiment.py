"""An experiment: one YAML file that says what a study is about."""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from workbench.data.dataset import Dataset, read_experiment_tree
from workbench.errors import ConfigError
from workbench.gate import is_inside
from workbench.rules.rulebook import Rulebook
from workbench.space.space import Space, read_space, require_backbones
from workbench.trial.recipe import Objective, Recipe
from workbench.values import Frozen, build


class Tryout(Frozen):
    """Less than a recipe asks for, to see whether its training is worth it."""

    image_share: float = Field(1.0, gt=0, le=1)
    """Of the side of its pictures, to the next 32 pixels; a backbone that takes one side alone
    cannot be tried out on another."""

    data_share: float = Field(1.0, gt=0, le=1)
    """Of the training files that it takes."""

    def of(self, recipe: Recipe, *, num_epochs: int) -> Recipe:
        """Return the recipe that `recipe` is tried out by."""
        sampling, data_share = recipe.training.sampling, self.data_share
        subset = sampling.subset * data_share
        if isinstance(sampling.subset, int):
            subset = max(2, round(subset))
        image_px = min(
            recipe.model.image_px,
            max(32, 32 * round(recipe.model.image_px * self.image_share / 32)),
        )
        return recipe.replaced(
            image_px=min(recipe.model.image_px, image_px),
            sampling=sampling.model_copy(update={"subset": subset}),
            num_epochs=min(num_epochs, recipe.training.num_epochs),
        )


class Pruning(Frozen):
    """When a trial is stopped because others did better at the same epoch."""

    kind: Literal["median", "halving", "none"] = "halving"
    """By successive halving over the epochs, where a trial that is not among the best waits and may
    go on later (`search.halving`); or for good, below the median of earlier trials."""

    startup_trials: int = Field(5, ge=0)
    """Trials that run in full before any is stopped (median)."""

    warmup_epochs: int = Field(2, ge=0)
    """Epochs that no trial is stopped in (median); epochs before the first halving."""

    factor: int = Field(2, ge=2)
    """One trial in so many goes on at a halving; the next one comes after so many times the epochs.

    By 3, or after one epoch, less is trained and the best is missed: see
    tests/benchmarks/BENCHMARKS.md.
    """

    tryout: Tryout | None = None
    """What a trial is tried out on before its own training, for the epochs before the first
    halving, which then is of the tryouts (halving); without one, nothing cheaper comes first."""

    @model_validator(mode="after")
    def _tryouts_are_halved(self) -> Self:
        if self.tryout and self.kind != "halving":
            raise ValueError(f"`tryout` needs `kind: halving`, and it is {self.kind}")
        return self


class Sampler(Frozen):
    """What draws recipes from the search space."""

    kind: Literal["tpe", "tpe-flat", "gp", "random"] = "tpe"
    """A tree-structured Parzen estimator, with each branch of the space modelled apart (`tpe`) or
    with the branches that were not taken drawn too and all modelled together (`tpe-flat`); a
    Gaussian process of the same, which after hundreds of trials takes seconds a draw; or chance
    alone. What each is shown of a study: `search.samplers`."""

    startup_trials: int = Field(10, ge=1)
    """Trials drawn by chance before what is known counts."""


LEAST_SCREENED = 4
"""Backbones from which on they are screened unless the experiment says otherwise."""


class Experiment(Dataset):
    """What a study is about: data, views, rules, search space and objective."""

    rulebook: Rulebook = Rulebook()
    search_space: str
    """Path of the search space file, relative to the experiment file's folder: a `.yaml` or `.yml`
    file in that folder or the one above, links followed."""

    objective: Objective = Objective()
    pruning: Pruning = Pruning()
    sampler: Sampler = Sampler()
    screening: Literal["auto", "on", "off"] = "auto"
    """Whether a probe of each backbone's features chooses which are trained (`screening`);
    `auto` does where there are at least `LEAST_SCREENED` to choose from."""

    def as_begun(self, begun: "Experiment") -> Self:
        """Return this experiment with the versions that the views of a begun study have.

        So a study goes on with the arrays it began with; a version that the file itself names is
        left as it is.
        """
        views = dict(self.views)
        for name, view in self.views.items():
            was = begun.views.get(name)
            if was and was.kind == view.kind and "version" not in view.model_fields_set:
                views[name] = view.model_copy(update={"version": was.version})
        return self.model_copy(update={"views": views})

    def is_screened(self, num_backbones: int) -> bool:
        """Say whether a study of so many backbones begins with a screening."""
        if self.screening == "auto":
            return num_backbones >= LEAST_SCREENED
        return self.screening == "on"


def read_experiment(path: Path) -> tuple[Experiment, Space]:
    """Return the experiment that YAML file `path` holds, and its search space.

    Raises:
        ConfigError: one line for each wrong key of either file; or the search space lies where no
            experiment may point.
    """
    tree = read_experiment_tree(path)
    experiment: Experiment = build(Experiment, tree, where=str(path))
    # experiments/../search_spaces/x.yaml reads badly in an error.
    file = Path(os.path.normpath(path.parent / experiment.search_space))
    _require_in_project(file, path)
    space = read_space(file, tuple(experiment.views), experiment.rulebook)
    require_backbones(space, experiment.views)
    return experiment, space


def _require_in_project(space: Path, experiment: Path) -> None:
    """Refuse a search space that is not beside the experiment: experiments come from strangers.

    What the file holds is quoted where it is wrong, so a path of theirs reads no file of elsewhere.
    """
    project = experiment.absolute().parent.parent
    if is_inside(space, project):
        endings = {space.suffix, Path(os.path.realpath(space)).suffix}
        if endings <= {".yaml", ".yml"}:
            return
    raise ConfigError(
        f"{experiment}: `search_space` is {space}, and it must be a .yaml file in {project} or "
        "below, links followed. Copy the file there and name it relative to the experiment."
    )
