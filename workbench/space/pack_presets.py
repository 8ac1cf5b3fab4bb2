"""Known recipes of packs: files that say every member, trained one by one and joined.

A file has the keys of a known recipe (see `presets`), which all members share, and `members`, a
list of what each has besides or otherwise.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workbench.data.dataset import read_tree
from workbench.errors import ConfigError, RuleError
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.parts.per_view import apply
from workbench.rules.judge import judge_spec
from workbench.space.experiment import Experiment
from workbench.space.presets import change, read_preset, space_of_one, take_experiment
from workbench.space.space import SampledConfig, Space, read_tree_as_space
from workbench.space.weights_finder import WeightsFinder
from workbench.validation import shown
from workbench.yaml_files import build_said

MEMBERS = "members"


class PackPreset(NamedTuple):
    """A known recipe of a pack."""

    experiment: Experiment
    space: Space
    """Holds the backbones and views of all members, for what is checked and prepared."""

    drafts: dict[str, SampledConfig]
    """The members in order, each by what says it."""


def is_pack(path: Path) -> bool:
    """Return whether the known recipe in file `path` is one of a pack."""
    return MEMBERS in read_tree(path)


def read_known(path: Path, settings: Sequence[str]) -> PackPreset:
    """Return a known recipe, of one model or of a pack.

    Of one model there are no drafts: its space holds it alone.

    Raises:
        ConfigError: it says no recipe.
    """
    if not is_pack(path):
        return PackPreset(*read_preset(path, settings), {})
    return read_pack_preset(path, settings)


def read_pack_preset(path: Path, settings: Sequence[str] = ()) -> PackPreset:
    """Return the known recipe of a pack.

    Args:
        path: Its file.
        settings: What to change of every member, each `dotted.key=value`.

    Raises:
        ConfigError: a key or a value cannot make a recipe, leaves something to be drawn, or two
            members are the same.
    """
    tree = read_tree(path)
    members = tree.pop(MEMBERS, None)
    if not isinstance(members, list) or len(members) < 2:
        raise ConfigError(
            f"{path}: `members` is {shown(members)}. Write a list of two or more, each with the "
            "keys that it has of its own."
        )
    experiment = take_experiment(tree, path)
    drafts: dict[str, SampledConfig] = {}
    trees = []
    for number, own in enumerate(members, 1):
        where = f"{path}, member {number}"
        if not isinstance(own, dict):
            raise ConfigError(f"{where} is {shown(own)}. Write its keys, e.g. `backbone: NAME`.")
        whole = {"views": list(experiment.views), **_merged(tree, own)}
        for setting in settings:
            change(whole, setting)
        space = space_of_one(whole, where, experiment)
        draft: SampledConfig = build_said(SampledConfig, space.tree, where=where)
        if draft in drafts.values():
            raise ConfigError(
                f"{where} is the same as one before it, and would score the same. Change a key of "
                "it, e.g. its augmentation."
            )
        drafts[where] = draft
        trees.append(whole)
    return PackPreset(experiment, _space_of_all(path, experiment, trees), drafts)


def require_legal_members(
    experiment: Experiment, drafts: Mapping[str, SampledConfig], finder: WeightsFinder
) -> None:
    """Judge the pack of these members as one model, before anything is decoded or trained.

    Raises:
        RuleError: the rulebook refuses it.
    """

    def spec(draft: SampledConfig) -> ModelSpec:
        return draft.recipe(
            data="",
            views=experiment.views,
            weights=apply(lambda name: finder.find(name, draft.pretrained), draft.backbone),
            objective=experiment.objective,
            seed=0,
            bfloat16=False,
        ).model

    members = tuple(map(spec, drafts.values()))
    even = MeanOfProbabilities(weights=(1 / len(members),) * len(members))
    verdict = judge_spec(experiment.rulebook, PackSpec(members=members, joint=even))
    if not verdict.legal:
        raise RuleError(f"{experiment.search_space}: {verdict.sentence} Nothing was trained.")


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shared keys with those of a member; a part with another `kind` is replaced."""
    merged = dict(shared)
    for key, value in own.items():
        before = merged.get(key)
        is_same_part = (
            isinstance(before, dict)
            and isinstance(value, dict)
            and before.get("kind") == value.get("kind", before.get("kind"))
        )
        merged[key] = _merged(before, value) if is_same_part and before else value
    return merged


def _space_of_all(path: Path, experiment: Experiment, trees: list[dict[str, Any]]) -> Space:
    """Return a space that holds every backbone and every set of views of the members."""
    whole = dict(trees[0])
    for key in ("backbone", "views"):
        each = [tree[key] for tree in trees]
        different = [value for place, value in enumerate(each) if value not in each[:place]]
        is_plain = key == "views" or all(isinstance(value, str) for value in different)
        if len(different) > 1 and is_plain:
            whole[key] = {"choice": different}
    return read_tree_as_space(whole, str(path), tuple(experiment.views))
