"""A search space: one YAML file of what a trial may choose.

It is a tree of the keys of a `SampledConfig`. A leaf is a value, or a draw: `{choice: [a, b]}`,
`{float: [low, high], log: true}`, `{int: [low, high]}`. A choice may be between mappings, which may
hold draws themselves; those exist only where their mapping is chosen.

Instead of a list, `backbone` may ask the table of published figures (`parts.leaderboard`):
`{leaderboard: {sort: imagenet-r, top: 12, families: 2}}`, alone or among the options of a choice.
It becomes a plain choice when the space is read, with the question kept beside it as `asked`.

`method` may be a choice, see `branches`: what a method does not read is not drawn for it.

`backbone` may also be a mapping of views to such nodes: `{mel: {choice: [a, b]}, frames: c}`. Each
is a dimension of its own, `backbone.mel`, that is drawn where the drawn `views` hold its view.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.parts.augment import warnings
from workbench.parts.model import backboned
from workbench.parts.model_spec import ModelChoices, ModelSpec
from workbench.parts.over_frames import MEAN
from workbench.parts.per_view import in_short, values_of
from workbench.parts.weights import Weights
from workbench.rules.rulebook import Rulebook
from workbench.space.backbone_options import answered, backbone_nodes, is_by_view, kept_answer
from workbench.space.branches import Node, as_written, branches, drawn_branch, nodes_of
from workbench.space.language import (
    Fixed,
    Suggest,
    draw_node,
    in_words,
    locate_node,
    options_of,
    require_checkable,
    require_draws_spelt,
)
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import shown
from workbench.values import Frozen
from workbench.yaml_files import build_said, read_yaml


class SampledConfig(ModelChoices, TrainingSpec):
    """A recipe as a search space draws it: before data, weights and objective are known."""

    views: tuple[str, ...] = Field(min_length=1)
    """Names of the experiment's views that the model reads."""

    pretrained: Literal["auto", "hub", "local", "none"] = "auto"
    """Where pretrained weights come from: the weights hub, or files on this machine (`local`);
    `none` is random weights. `auto` takes what can be had, and says what."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # type: ignore[assignment]
    """Number format of training; `auto` takes bfloat16 where the study's device is faster so."""

    @model_validator(mode="after")
    def _in_short(self) -> Self:
        if isinstance(self.backbone, dict):
            object.__setattr__(self, "backbone", in_short(self.backbone))
        if self.probe is not None:
            object.__setattr__(self, "dropout", 0.0)  # nothing is dropped where nothing is trained
            object.__setattr__(self, "over_frames", MEAN)
        return self

    def recipe(
        self,
        *,
        data: str,
        views: Mapping[str, AnyView],
        weights: Weights | dict[str, Weights],
        objective: Objective,
        seed: int,
        bfloat16: bool = False,
    ) -> Recipe:
        """Return the recipe of this draft for one data set.

        `bfloat16` says whether it is trained in that, if it leaves it open.
        """
        precision = self.precision
        if precision == "auto":
            precision = "bfloat16" if bfloat16 else "float32"
        of_model = {name: getattr(self, name) for name in ModelChoices.model_fields}
        of_training = {name: getattr(self, name) for name in TrainingSpec.model_fields}
        read = {name: views[name] for name in self.views}
        if self.probe is not None and not backboned(read):
            # No backbone at all: what was drawn of one says nothing.
            of_model, weights = {"backbone": {}}, {}
        return Recipe(
            data=data,
            model=ModelSpec(views=read, weights=weights, head=self.method.head, **of_model),
            training=TrainingSpec(**{**of_training, "precision": precision}),
            objective=objective,
            seed=seed,
        )

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return what becomes `recipe`, which does not say how its weights were asked for."""
        flat = {key: value for key, value in recipe.flat().items() if key in cls.model_fields}
        sources = {weights.source for weights in values_of(recipe.model.weights)}
        mode = "none" if sources == {"none"} else "auto"
        tree = {**flat, "views": list(recipe.model.views), "pretrained": mode}
        return cls.model_validate(tree)


class Dimension(Frozen):
    """One thing that a search space draws."""

    name: str
    """Its dotted key, with the label of each option that it stands in."""

    values: tuple[Any, ...]
    """Its options by label, or its bounds."""

    where: dict[str, Any]
    """The options, by dimension, under which it exists; first ones are left out."""


class Space(Frozen):
    """A search space, read and checked."""

    file: str
    tree: dict[Any, Any]
    """As the file says it, but for a question to the table of figures: see `read_space`."""

    def draw(self, trial: Suggest) -> SampledConfig:
        """Return a draft drawn by `trial`; every dimension is named by its dotted key."""
        return build_said(SampledConfig, self._drawn(trial), where=self.file)

    def _drawn(self, trial: Suggest) -> dict[Any, Any]:
        nodes = drawn_branch(self.tree, trial, self.file).nodes
        if is_by_view(nodes["backbone"].tree):
            name, tree = nodes["views"]
            views = draw_node(tree, name, trial, self.file)
            backbone = _backbones_for(views, nodes["backbone"])
            nodes = {**nodes, "views": Node(name, views), "backbone": backbone}
        return {key: draw_node(tree, name, trial, self.file) for key, (name, tree) in nodes.items()}

    def params_of(self, draft: SampledConfig) -> dict[str, Any] | None:
        """Return what has to be drawn to get `draft`; nothing if the space does not hold it.

        A draft that leaves its precision open is held whatever the space says of that. One of a
        probe without a backbone is held whatever the space says of the model: see `recipe`.
        """
        is_bare = draft.probe is not None and draft.backbone == {}
        unsaid = ModelChoices.model_fields.keys() if is_bare else set[str]()
        precision = self.tree.get("precision")
        if draft.precision == "auto" and isinstance(precision, str):
            draft = draft.model_copy(update={"precision": precision})
        for branch in branches(self.tree, self.file):
            drawn, wanted = branch.drawn_label(), draft.model_dump(mode="json")
            nodes = branch.nodes
            if is_by_view(nodes["backbone"].tree):
                backbone = _backbones_for(wanted["views"], nodes["backbone"])
                nodes = {**nodes, "backbone": backbone}
                if isinstance(draft.backbone, str):
                    wanted["backbone"] = dict.fromkeys(backbone.tree, draft.backbone)
            for key in unsaid & nodes.keys():
                name, tree = nodes[key]
                wanted[key] = draw_node(tree, name, Fixed({}), self.file)
            held = all(
                key in wanted
                and locate_node(as_written(key, tree), name, wanted[key], drawn, self.file)
                for key, (name, tree) in nodes.items()
            )
            same = {key: getattr(draft, key) for key in unsaid}
            if held and self.at(drawn).model_copy(update=same) == draft:
                return drawn
        return None

    def at(self, values: Mapping[str, Any]) -> SampledConfig:
        """Return the draft of `values` by dimension, of the first option or low bound elsewhere."""
        return self.draw(Fixed(values))

    def dimensions(self) -> list[Dimension]:
        """Return all that can be drawn; what an option opens follows that option's dimension."""
        found: dict[str, Dimension] = {}
        waiting: list[dict[str, Any]] = [{}]
        while waiting:
            where = waiting.pop(0)
            probe = Fixed(where)
            self._drawn(probe)
            for name, values in probe.asked.items():
                if name not in found:
                    found[name] = Dimension(name=name, values=tuple(values), where=where)
                    waiting += [{**where, name: value} for value in values]
        return list(found.values())

    def corners(self) -> Iterator[SampledConfig]:
        """Yield drafts that together have every option and every bound."""
        yield self.at({})
        for dimension in self.dimensions():
            for value in dimension.values:
                yield self.at({**dimension.where, dimension.name: value})

    def backbones(self) -> list[str]:
        """Return the backbones that can be drawn, each once."""
        return list(dict.fromkeys(itertools.chain(*self.backbones_by_view().values())))

    def backbones_by_view(self) -> dict[str, list[str]]:
        """Return those that can be drawn for each view; under "" those for all views, if so."""
        seen = {name for names in self.view_sets() for name in names}
        found: dict[str, list[str]] = {}
        for name, tree in nodes_of(self.tree, "backbone", self.file):
            for view, key, node in backbone_nodes(tree, name):
                if view in seen or not view:
                    known = found.setdefault(view, [])
                    options = options_of(node, key, self.file)
                    known += [option for option in options if option not in known]
        return found

    def most_backbones(self) -> int:
        """Return how many there are to choose from, for the view that has the most."""
        return max(map(len, self.backbones_by_view().values()), default=0)

    def view_sets(self) -> list[tuple[str, ...]]:
        """Return the sets of views that can be drawn."""
        return [tuple(names) for names in self._options("views")]

    def pretrained_modes(self) -> list[Any]:
        """Return the ways to weights that can be drawn."""
        return self._options("pretrained", "auto")

    def _options(self, key: str, default: Any = None) -> list[Any]:
        """Return what a key can be under some method, each once."""
        found = []
        for name, tree in nodes_of(self.tree, key, self.file, default):
            options = options_of(tree, name, self.file)
            found += [option for option in options if option not in found]
        return found

    def warnings(self) -> list[str]:
        """Return what speaks against an augmentation that can be drawn, a sentence each."""
        said = (sentence for draft in self.corners() for sentence in warnings(draft.augment))
        return list(dict.fromkeys(said))

    def least_image_px(self) -> int:
        """Return a picture side that can be drawn."""
        return int(self._options("image_px", 224)[0])

    def as_begun(self, tree: dict[Any, Any]) -> "Space":
        """Return this space with the answer that a begun study's `tree` has to the same question.

        So a study goes on with its backbones whatever a newer table of figures would say.
        """
        mine, begun = self.tree["backbone"], tree.get("backbone")
        if is_by_view(mine):
            each = begun if isinstance(begun, dict) and is_by_view(begun) else {}
            kept = {view: kept_answer(node, each.get(view)) for view, node in mine.items()}
        else:
            kept = kept_answer(mine, begun)
        if kept == mine:
            return self
        return self.model_copy(update={"tree": {**self.tree, "backbone": kept}})


def read_space(path: Path, views: tuple[str, ...], rulebook: Rulebook | None = None) -> Space:
    """Return the search space that YAML file `path` holds, every option of it checked.

    Args:
        path: The file.
        views: The experiment's.
        rulebook: What a question to the table of figures is answered under; the default one if
            None. Every view of a model has its own backbone, so the limit is shared by them, for
            one view's question too.

    Raises:
        ConfigError: a key, an option or a bound cannot make a recipe; or a view is not one of
            the experiment's `views`.
    """
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no `key: value` pairs. Copy search_spaces/demo.yaml.")
    return read_tree_as_space(tree, str(path), views, rulebook)


def read_tree_as_space(
    tree: dict[Any, Any], where: str, views: tuple[str, ...], rulebook: Rulebook | None = None
) -> Space:
    """Return the search space that a file's tree says; see `read_space`. `where` names the file."""
    for key in ("views", "backbone"):
        if key not in tree:
            raise ConfigError(f"{where}: `{key}` is missing. Add it.")
    require_checkable(tree, where)
    require_draws_spelt(tree, where)
    space = Space(file=where, tree=answered(tree, rulebook or Rulebook(), where))
    require_checkable(space.tree, where)
    for view, names in space.backbones_by_view().items():
        if wrong := [name for name in names if not isinstance(name, str)]:
            key = f"backbone.{view}" if view else "backbone"
            raise ConfigError(
                f"{where}: `{key}` is {shown(wrong[0])}: write one model's name. To choose "
                "for each view: `backbone: {VIEW: {choice: [...]}}`."
            )
    for draft in space.corners():
        unknown = [name for name in draft.views if name not in views]
        if unknown or len(set(draft.views)) < len(draft.views):
            raise ConfigError(
                f"{where}: `views` is {shown(list(draft.views))}, and must be views of the "
                f"experiment ({', '.join(views)}), each once. Correct it."
            )
    return space


def require_backbones(space: Space, views: Mapping[str, AnyView]) -> None:
    """Refuse a mapping of views to backbones that does not fit the views that can be drawn.

    Raises:
        ConfigError: it lacks a view of pictures, or names what is none.
    """
    if not is_by_view(node := space.tree["backbone"]):
        return
    pictures = backboned(views)
    if wrong := [name for name in node if name not in pictures]:
        raise ConfigError(
            f"{space.file}: `backbone` names {in_words(wrong)}, and the views that go through a "
            f"backbone are {', '.join(pictures) or 'none'}. Use those names."
        )
    drawn = dict.fromkeys(name for names in space.view_sets() for name in names)
    if lacking := [name for name in drawn if name in pictures and name not in node]:
        raise ConfigError(
            f"{space.file}: `backbone` names none for the view {', '.join(lacking)}, which can be "
            "drawn. Add it."
        )


def _backbones_for(views: Any, backbone: Node) -> Node:
    """Return the node of each view that is read: what is not read must not be drawn."""
    nodes = backbone.tree.items()
    read = {view: node for view, node in nodes if isinstance(views, list) and view in views}
    return Node(backbone.name, read)
