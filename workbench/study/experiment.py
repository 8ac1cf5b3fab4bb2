"""An experiment: one YAML file that says what a study is about."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.data.manifest import Layout
from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.rules.rulebook import Rulebook
from workbench.study.space import Space, read_space
from workbench.trial.recipe import Objective
from workbench.values import Frozen, build, read_yaml

STUDY_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def _one_or_many(value: Any) -> Any:
    """Let YAML say `train_media: clips` for a list of one."""
    if isinstance(value, dict):
        return {k: (v,) if isinstance(v, str) else v for k, v in value.items()}
    return value


class Pruning(Frozen):
    """When a trial is stopped because others did better at the same epoch."""

    kind: Literal["median", "halving", "none"] = "median"
    """Below the median of earlier trials, or by successive halving over the epochs."""

    startup_trials: int = Field(5, ge=0)
    """Trials that run in full before any is stopped (median)."""

    warmup_epochs: int = Field(1, ge=0)
    """Epochs that no trial is stopped in (median); least epochs of a trial (halving)."""


class Experiment(Frozen):
    """What a study is about: data, views, rules, search space and objective."""

    name: str = Field(pattern=f"^{STUDY_NAME}$")
    """The study's name unless `--study` gives another."""

    source: Literal["folder", "demo"] = "folder"
    """Where the data is without `--data`: nowhere, or in the demo that the program makes."""

    data: Annotated[Layout, BeforeValidator(_one_or_many)] = Layout()
    views: dict[str, AnyView] = Field(min_length=1)
    """The views that a search space may name."""

    rulebook: Rulebook = Rulebook()
    search_space: str
    """Path of the search space file, relative to the experiment file's folder."""

    objective: Objective = Objective()
    pruning: Pruning = Pruning()

    @model_validator(mode="after")
    def _names_are_plain(self) -> "Experiment":
        for name in self.views:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"the view name {name!r} may hold letters, digits, - and _ only")
        return self


def read_experiment(path: Path) -> tuple[Experiment, Space]:
    """Return the experiment that YAML file `path` holds, and its search space.

    Raises:
        ConfigError: one line for each wrong key of either file.
    """
    if not path.exists():
        near = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise ConfigError(
            f"{path} does not exist. "
            + (f"There is {', '.join(near)}." if near else "Run this in the project's folder.")
        )
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values. Start from a shipped one.")
    experiment: Experiment = build(Experiment, tree, where=str(path))
    # experiments/../search_spaces/x.yaml reads badly in an error.
    file = Path(os.path.normpath(path.parent / experiment.search_space))
    space = read_space(file, tuple(experiment.views))
    return experiment, space
