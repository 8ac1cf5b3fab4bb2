"""Known recipes: files that say the whole of a recipe, to be trained alone or first in a search.

A file has the keys of a search space, every one of them a plain value, and says its own `views`
as an experiment does; `data`, `rulebook`, `objective` and `plugins` may be there as in an
experiment.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench.console import cut_text
from workbench.data.dataset import read_tree
from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.parts.model import backboned
from workbench.parts.plugins import Plugin
from workbench.space.backbone_options import is_by_view
from workbench.space.experiment import Experiment, build_experiment
from workbench.space.space import (
    SampledConfig,
    Space,
    read_tree_as_space,
    require_backbones,
)
from workbench.validation import shown
from workbench.yaml_files import build_said, parse_yaml

OF_EXPERIMENT = ("data", "rulebook", "objective", "plugins")


def read_preset(path: Path, settings: Sequence[str] = ()) -> tuple[Experiment, Space]:
    """Return a known recipe as an experiment of its own and a space that holds it alone.

    Args:
        path: Its file.
        settings: What to change of it, each `dotted.key=value` with the value as in YAML.

    Raises:
        ConfigError: a key or a value cannot make a recipe, or leaves something to be drawn.
    """
    tree = read_tree(path)
    if "search_space" in tree:
        raise ConfigError(
            f"{path} is an experiment, not a recipe. Run it by `workbench search {path}`, "
            "or name a file such as those in experiments/recipes."
        )
    of_views = [setting for setting in settings if setting.startswith("backbone.")]
    for setting in settings:
        if setting not in of_views:
            change(tree, setting)
    experiment = take_experiment(tree, path)
    if of_views and isinstance(name := tree.get("backbone"), str):
        tree["backbone"] = dict.fromkeys(backboned(experiment.views), name)
    for setting in of_views:
        change(tree, setting)
    whole = {**tree, "views": list(experiment.views)}
    return experiment, space_of_one(whole, str(path), experiment)


def take_experiment(tree: dict[Any, Any], path: Path) -> Experiment:
    """Take the views and what else is an experiment's out of a recipe's tree; return that.

    Raises:
        ConfigError: they are none, or not those of an experiment.
    """
    about = {key: tree.pop(key) for key in OF_EXPERIMENT if key in tree}
    if not isinstance(views := tree.pop("views", None), dict):
        raise ConfigError(
            f"{path}: `views` is {shown(views)}. A recipe says its views itself, "
            "e.g. `views: {mel: {kind: mel}}`."
        )
    own = {"name": path.stem, "views": views, "search_space": str(path)}
    return build_experiment({**own, "pruning": {"kind": "none"}, **about}, path)


def space_of_one(tree: dict[Any, Any], where: str, experiment: Experiment) -> Space:
    """Return the space that a recipe's tree says, which holds that recipe alone.

    Raises:
        ConfigError: it says none, or leaves something to be drawn. `where` names it.
    """
    space = read_tree_as_space(tree, where, tuple(experiment.views))
    require_backbones(space, experiment.views)
    if drawn := [dimension.name for dimension in space.dimensions()]:
        raise ConfigError(
            f"{where}: {cut_text(', '.join(drawn), 300)} would be drawn, and a recipe says one "
            "value of each. Write the value, or search the file as a `search_space`."
        )
    return space


def draft_for(
    path: Path, views: Mapping[str, AnyView], plugins: Collection[Plugin] = ()
) -> SampledConfig:
    """Return the known recipe `path` as a draft on the views of another experiment.

    Raises:
        ConfigError: it reads a view that is not among them, or has a plugin that the other
            experiment has not, or in another version.
    """
    experiment, space = read_preset(path)
    if lacking := [plugin for plugin in experiment.plugins if plugin not in plugins]:
        raise ConfigError(
            f"{path} has the plugin {lacking[0].label}, which the experiment does not have. Add "
            "it to the experiment's `plugins`, or train the recipe alone by `workbench train`."
        )
    called: dict[str, str] = {}
    for own, view in experiment.views.items():
        # Each stands for one: of two that are equal, both would be the same view.
        free = {name: other for name, other in views.items() if name not in called.values()}
        same = [name for name, other in free.items() if other == view]
        if not same:
            tree = {"kind": view.kind, **view.model_dump(mode="json", exclude_defaults=True)}
            said = yaml.safe_dump(tree, default_flow_style=True, width=1000).strip()
            raise ConfigError(
                f"{path} reads the view {said}, which the experiment does not have. Add it to "
                "the experiment's `views`, or train the recipe alone by `workbench train`."
            )
        called[own] = same[0]
    backbone = space.tree["backbone"]
    if is_by_view(backbone):
        backbone = {called[own]: name for own, name in backbone.items()}
    tree = {**space.tree, "views": list(called.values()), "backbone": backbone}
    return build_said(SampledConfig, tree, where=str(path))


def change(tree: dict[Any, Any], setting: str) -> None:
    """Set the key of a recipe's tree that `dotted.key=value` names, the value as in YAML.

    Raises:
        ConfigError: it is no such setting, or its key stands below one that holds none.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting} is no `key=value`, e.g. num_epochs=1.")
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        below = node.get(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {setting}: `{parent}` of the recipe holds no keys.")
        node[parent] = {**below}  # its own: by an alias (*name) other keys may hold the same one
        node = node[parent]
    node[last] = parse_yaml(text, where=f"--set {setting}")
