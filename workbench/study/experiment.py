"""An experiment: one YAML file that says what a study is about."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from workbench.data.dataset import Dataset, read_tree
from workbench.rules.rulebook import Rulebook
from workbench.study.space import Space, read_space
from workbench.trial.recipe import Objective
from workbench.values import Frozen, build


class Pruning(Frozen):
    """When a trial is stopped because others did better at the same epoch."""

    kind: Literal["median", "halving", "none"] = "median"
    """Below the median of earlier trials, or by successive halving over the epochs."""

    startup_trials: int = Field(5, ge=0)
    """Trials that run in full before any is stopped (median)."""

    warmup_epochs: int = Field(1, ge=0)
    """Epochs that no trial is stopped in (median); least epochs of a trial (halving)."""


class Experiment(Dataset):
    """What a study is about: data, views, rules, search space and objective."""

    rulebook: Rulebook = Rulebook()
    search_space: str
    """Path of the search space file, relative to the experiment file's folder."""

    objective: Objective = Objective()
    pruning: Pruning = Pruning()


def read_experiment(path: Path) -> tuple[Experiment, Space]:
    """Return the experiment that YAML file `path` holds, and its search space.

    Raises:
        ConfigError: one line for each wrong key of either file.
    """
    tree = read_tree(path)
    experiment: Experiment = build(Experiment, tree, where=str(path))
    # experiments/../search_spaces/x.yaml reads badly in an error.
    file = Path(os.path.normpath(path.parent / experiment.search_space))
    space = read_space(file, tuple(experiment.views), experiment.rulebook)
    return experiment, space
