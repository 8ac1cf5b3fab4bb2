"""An experiment: one YAML file that says what a study is about."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from workbench.addresses import check_database, check_server
from workbench.console import say
from workbench.data.dataset import Dataset, read_experiment_tree
from workbench.errors import ConfigError
from workbench.gate import is_inside
from workbench.parts.plugins import Plugin, read_plugin
from workbench.rules.ranking import parse_size
from workbench.rules.rulebook import Rulebook
from workbench.space.space import Space, read_space, require_backbones
from workbench.trial.constraints import Constraints
from workbench.trial.recipe import Objective
from workbench.values import Frozen
from workbench.yaml_files import build_said


class Pruning(Frozen):
    """When a trial is stopped because others did better at the same epoch."""

    kind: Literal["median", "halving", "none"] = "halving"
    """`halving`: successive halving over the epochs; a trial that is not among the best waits, and
    may go on later. `median`: a trial below the median of earlier ones is stopped for good."""

    startup_trials: int = Field(5, ge=0)
    """For `median`: trials that run to their end before any is stopped."""

    warmup_epochs: int = Field(2, ge=0)
    """Epochs before the first halving; for `median`, epochs in which no trial is stopped."""

    factor: int = Field(2, ge=2)
    """For `halving`: one trial in this many goes on, and the next halving comes after this many
    times the epochs. With 3, or a first halving after one epoch, less is trained but the best trial
    is missed: see tests/benchmarks/BENCHMARKS.md."""

    @model_validator(mode="before")
    @classmethod
    def _without_tryout(cls, tree: Any) -> Any:
        """Read what version 0.1 wrote with every study: that it has no tryouts."""
        if not isinstance(tree, dict) or tree.get("tryout", True) is not None:
            return tree
        return {key: value for key, value in tree.items() if key != "tryout"}


class Sampler(Frozen):
    """What draws recipes from the search space."""

    kind: Literal["tpe", "gp", "random"] = "tpe"
    """`tpe`: a tree-structured Parzen estimator, with each branch of the space modelled apart.
    `gp`: Optuna's Gaussian process, which learns from complete trials only, draws by chance the
    keys that only some trials have, and takes seconds a draw after hundreds of trials. `random`:
    chance alone."""

    startup_trials: int = Field(10, ge=1, le=2000)
    """Trials that are drawn by chance before the sampler uses what earlier ones scored; at most as
    many as it is shown of a long study."""


PLACES = ("storage", "tracking", "disk_budget", "gpus_per_trial")
"""Keys of an experiment that say where a study is kept, how much of it, and what it runs on; but
for rounding they change no number, and may be changed while it goes on."""

LEAST_SCREENED = 4
"""Backbones from which on they are screened unless the experiment says otherwise."""


class Experiment(Dataset):
    """What a study is about: data, views, rules, search space and objective."""

    rulebook: Rulebook = Rulebook()
    search_space: str
    """Path of the search space file, relative to the experiment file's folder: a `.yaml` or `.yml`
    file in that folder or the one above, links followed."""

    plugins: tuple[Plugin, ...] = ()
    """Files of your own losses, optimizers, schedules and backbones, e.g. `[my_parts.py]`, in the
    folder of the experiment file. They are run as programs: see docs/extending.md."""

    objective: Objective = Objective()
    constraints: Constraints = Field(default_factory=dict)
    """Bounds of metrics, of `params` and of `ms_per_file`. They teach the sampler, and a trial that
    breaks one is not promoted unless it is named by hand."""

    slices: tuple[str, ...] = ()
    """Slices and families that the report shows beside the objective's; finished trials are scored
    on them too."""

    num_clusters: int = Field(4, ge=2, le=50)
    """Number of clusters of the fakes, where `objective.over` or `slices` names `clusters`."""

    pruning: Pruning = Pruning()
    sampler: Sampler = Sampler()
    screening: Literal["auto", "on", "off"] = "auto"
    """Whether a quick look at each backbone's features chooses which are trained; `auto` does where
    there are four or more to choose from."""

    disk_budget: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(parse_size)] = None
    """Bytes that the study's folder may take (YAML may say `2GB`): while it takes more, the worst
    trials' weights are deleted. It may be changed while the study goes on.
    """

    gpus_per_trial: int = Field(1, ge=1, le=16)
    """GPUs of this machine that train each trial together; each takes a part of every batch. It may
    be changed while the study goes on."""

    storage: Annotated[str | None, BeforeValidator(check_database)] = None
    """PostgreSQL database for Optuna's records of the trials, `postgresql://HOST/DATABASE`; null: a
    journal file in the study's folder. This and `tracking` may be changed while the study goes on.
    """

    tracking: Annotated[str | None, BeforeValidator(check_server)] = None
    """MLflow server for runs, artifacts and registered models; null: the store in `mlruns`. The
    user and password of server and database come from the environment."""

    calibrated: bool = False
    """Whether the logits of exported scores are divided by a temperature, fitted on the champion's
    scores of `val`. It changes the log-loss, and no ranking."""

    @property
    def named_slices(self) -> tuple[str, ...]:
        """The slices and families that the objective and the report name."""
        return tuple(dict.fromkeys((*self.objective.over, *self.slices)))

    def as_begun(self, begun: "Experiment") -> Self:
        """Return this experiment with what a begun study has where the file does not say.

        So a study goes on with the versions of views, and so the arrays, that it began with, and
        with what it took for one single model.
        """
        views = dict(self.views)
        for name, view in self.views.items():
            was = begun.views.get(name)
            if was and was.kind == view.kind and "version" not in view.model_fields_set:
                views[name] = view.model_copy(update={"version": was.version})
        rulebook = self.rulebook
        if "single_model" not in rulebook.model_fields_set:
            was_one = begun.rulebook.single_model
            rulebook = rulebook.model_copy(update={"single_model": was_one})
        return self.model_copy(update={"views": views, "rulebook": rulebook})

    def is_screened(self, num_backbones: int) -> bool:
        """Say whether a study of so many backbones begins with a screening."""
        if self.screening == "auto":
            return num_backbones >= LEAST_SCREENED
        return self.screening == "on"


def require_no_gone_setting(tree: Mapping[str, Any], *, of: str, remedy: str) -> None:
    """Refuse an experiment's tree that asks for what version 0.1 could do and later ones cannot.

    Args:
        tree: The experiment, as a file has it.
        of: Names what asks for it, at the beginning of a sentence.
        remedy: What to do, as a sentence.

    Raises:
        ConfigError: it has tryouts, or the sampler `tpe-flat`.
    """
    pruning, sampler = tree.get("pruning"), tree.get("sampler")
    gone = ""
    if isinstance(pruning, Mapping) and pruning.get("tryout") is not None:
        gone = "`pruning.tryout`"
    elif isinstance(sampler, Mapping) and sampler.get("kind") == "tpe-flat":
        gone = "`sampler.kind: tpe-flat`"
    if gone:
        raise ConfigError(f"{of} asks for {gone}, which only version 0.1 had. {remedy}")


def read_experiment(path: Path) -> tuple[Experiment, Space]:
    """Return the experiment that YAML file `path` holds, and its search space.

    Raises:
        ConfigError: one line for each wrong key of either file; or the search space lies where no
            experiment may point.
    """
    tree = read_experiment_tree(path)
    require_no_gone_setting(tree, of=str(path), remedy="Remove it.")
    experiment = build_experiment(tree, path)
    # experiments/../search_spaces/x.yaml reads badly in an error.
    file = Path(os.path.normpath(path.parent / experiment.search_space))
    _require_in_project(file, path)
    space = read_space(file, tuple(experiment.views), experiment.rulebook)
    require_backbones(space, experiment.views)
    return experiment, space


def build_experiment(tree: Mapping[str, Any], path: Path) -> Experiment:
    """Return the experiment of a tree that file `path` says, with its plugins read and run.

    Raises:
        ConfigError: one line for each wrong key; or a plugin cannot be read or run.
    """
    if isinstance(names := tree.get("plugins"), list):
        read = [read_plugin(path.parent, one) if isinstance(one, str) else one for one in names]
        tree = {**tree, "plugins": read}
    experiment: Experiment = build_said(Experiment, tree, where=str(path))
    for plugin in experiment.plugins:
        say(f"The plugin {plugin.label} brings {plugin.brings}.")
    return experiment


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
