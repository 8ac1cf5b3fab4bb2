"""A search space: one YAML file of what a trial may choose.

It is a tree of the keys of a `SampledConfig`. A leaf is a value, or a draw: `{choice: [a, b]}`,
`{float: [low, high], log: true}`, `{int: [low, high]}`. A choice may be between mappings, which may
hold draws themselves; those exist only where their mapping is chosen.

Instead of a list, `backbone` may ask the table of published figures (`parts.leaderboard`):
`{leaderboard: {sort: imagenet-r, top: 12, families: 2}}`, alone or among the options of a choice.
It becomes a plain choice when the space is read, with the question kept beside it as `asked`.

`backbone` may also be a mapping of views to such nodes: `{mel: {choice: [a, b]}, frames: c}`. Each
is a dimension of its own, `backbone.mel`, that is drawn where the drawn `views` hold its view.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import Field, model_validator

from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.parts.augment import warnings
from workbench.parts.leaderboard import read_table
from workbench.parts.model import picture_views
from workbench.parts.model_spec import ModelChoices, ModelSpec
from workbench.parts.per_view import in_short, values_of
from workbench.parts.weights import Weights
from workbench.rules.ranking import Query, rank
from workbench.rules.rulebook import Rulebook
from workbench.trial.recipe import Objective, Recipe, TrainingSpec
from workbench.values import Frozen, build, cut, read_yaml, shown

Scalar = str | int | float | bool | None

MAX_WALKED = 5_000_000
"""Options of all choices of a file times its values: each option is checked in a draft of its own,
for which all of the file is walked. So many take five seconds; the 1,700 tagged models of timm in
one choice make three million."""

MAX_QUESTIONS = 20
"""To the table of figures, in one choice."""


class Suggest(Protocol):
    """What draws values; an Optuna trial is one."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Return one of `choices`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return a number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return a whole number in [low, high]."""


class SampledConfig(ModelChoices, TrainingSpec):
    """A recipe as a search space draws it: before data, weights and objective are known."""

    views: tuple[str, ...] = Field(min_length=1)
    """Names of the experiment's views that the model reads."""

    pretrained: Literal["auto", "hub", "local", "none"] = "auto"
    """Where pretrained weights come from; `auto` takes what can be had, and says what."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # type: ignore[assignment]
    """What training computes in; `auto` takes bfloat16 where the study's device is faster so."""

    @model_validator(mode="after")
    def _in_short(self) -> Self:
        if isinstance(self.backbone, dict):
            object.__setattr__(self, "backbone", in_short(self.backbone))
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
        return Recipe(
            data=data,
            model=ModelSpec(
                views={name: views[name] for name in self.views}, weights=weights, **of_model
            ),
            training=TrainingSpec(**{**of_training, "precision": precision}),
            objective=objective,
            seed=seed,
        )

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return what becomes `recipe`.

        A recipe says which weights it starts from, not how they were asked for.
        """
        flat = {key: value for key, value in recipe.flat().items() if key in cls.model_fields}
        sources = {weights.source for weights in values_of(recipe.model.weights)}
        mode = "none" if sources == {"none"} else "auto"
        tree = {**flat, "views": list(recipe.model.views), "pretrained": mode}
        return cls.model_validate(tree)


class Range(Frozen):
    """A draw of a number."""

    low: float
    high: float
    whole: bool
    log: bool = False


class Choice(Frozen):
    """A draw of one of several values, by label."""

    options: dict[str | int | float | bool, Any]
    """Trees by their label, which is what the sampler sees."""


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
        return build(SampledConfig, self._drawn(trial), where=self.file)

    def _drawn(self, trial: Suggest) -> dict[Any, Any]:
        tree = self.tree
        if is_by_view(tree["backbone"]):
            views = _draw(tree["views"], "views", trial, self.file)
            tree = {**tree, "views": views, "backbone": self._backbones_for(views)}
        drawn: dict[Any, Any] = _draw(tree, "", trial, self.file)
        return drawn

    def _backbones_for(self, views: Any) -> dict[Any, Any]:
        """Return the node of each view that is read: what is not read must not be drawn."""
        nodes = self.tree["backbone"].items()
        return {view: node for view, node in nodes if isinstance(views, list) and view in views}

    def params_of(self, draft: SampledConfig) -> dict[str, Any] | None:
        """Return what has to be drawn to get `draft`; nothing if the space does not hold it.

        A draft that leaves its precision open is held whatever the space says of that.
        """
        precision = self.tree.get("precision")
        if draft.precision == "auto" and isinstance(precision, str):
            draft = draft.model_copy(update={"precision": precision})
        drawn: dict[str, Any] = {}
        tree, wanted = self.tree, draft.model_dump(mode="json")
        if is_by_view(tree["backbone"]):
            tree = {**tree, "backbone": self._backbones_for(wanted["views"])}
            if isinstance(draft.backbone, str):
                wanted["backbone"] = dict.fromkeys(tree["backbone"], draft.backbone)
        held = _locate(tree, "", wanted, drawn, self.file)
        return drawn if held and self.at(drawn) == draft else None

    def at(self, values: Mapping[str, Any]) -> SampledConfig:
        """Return the draft of `values` by dimension, of the first option or low bound elsewhere."""
        return self.draw(_Fixed(values))

    def dimensions(self) -> list[Dimension]:
        """Return all that can be drawn; what an option opens follows that option's dimension."""
        found: dict[str, Dimension] = {}
        waiting: list[dict[str, Any]] = [{}]
        while waiting:
            where = waiting.pop(0)
            probe = _Fixed(where)
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
        return {
            view: list(_options(node, key, self.file))
            for view, key, node in backbone_nodes(self.tree)
            if view in seen or not view
        }

    def most_backbones(self) -> int:
        """Return how many there are to choose from, for the view that has the most."""
        return max(map(len, self.backbones_by_view().values()), default=0)

    def view_sets(self) -> list[tuple[str, ...]]:
        """Return the sets of views that can be drawn."""
        return [tuple(names) for names in _options(self.tree["views"], "views", self.file)]

    def pretrained_modes(self) -> list[Any]:
        """Return the ways to weights that can be drawn."""
        return list(_options(self.tree.get("pretrained", "auto"), "pretrained", self.file))

    def warnings(self) -> list[str]:
        """Return what speaks against an augmentation that can be drawn, a sentence each."""
        said = (sentence for draft in self.corners() for sentence in warnings(draft.augment))
        return list(dict.fromkeys(said))

    def least_image_px(self) -> int:
        """Return a picture side that can be drawn."""
        return int(next(_options(self.tree.get("image_px", 224), "image_px", self.file)))

    def as_begun(self, tree: dict[Any, Any]) -> "Space":
        """Return this space with the answer that a begun study's `tree` has to the same question.

        So a study goes on with its backbones whatever a newer table of figures would say.
        """
        mine, begun = self.tree["backbone"], tree.get("backbone")
        if is_by_view(mine):
            each = begun if isinstance(begun, dict) and is_by_view(begun) else {}
            kept = {view: _kept_answer(node, each.get(view)) for view, node in mine.items()}
        else:
            kept = _kept_answer(mine, begun)
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
        raise ConfigError(f"{path} is not a mapping of keys to values. Start from a shipped one.")
    return read_tree_as_space(tree, str(path), views, rulebook)


def read_tree_as_space(
    tree: dict[Any, Any], where: str, views: tuple[str, ...], rulebook: Rulebook | None = None
) -> Space:
    """Return the search space that a file's tree says; see `read_space`. `where` names the file."""
    for key in ("views", "backbone"):
        if key not in tree:
            raise ConfigError(f"{where}: `{key}` is missing. Add it.")
    _require_few(tree, where)
    space = Space(file=where, tree=_answered(tree, rulebook or Rulebook(), where))
    _require_few(space.tree, where)
    for _, key, node in backbone_nodes(space.tree):
        for name in _options(node, key, where):
            if not isinstance(name, str):
                raise ConfigError(
                    f"{where}: `{key}` is {shown(name)}: write the name of one model. A mapping of "
                    "views to names or choices stands first: `backbone: {VIEW: {choice: [...]}}`."
                )
    for draft in space.corners():
        unknown = [name for name in draft.views if name not in views]
        if unknown or len(set(draft.views)) < len(draft.views):
            raise ConfigError(
                f"{where}: `views` {shown(list(draft.views))} must name each view once, and the "
                f"experiment has {', '.join(views)}. Use those names."
            )
    return space


def require_backbones(space: Space, views: Mapping[str, AnyView]) -> None:
    """Refuse a mapping of views to backbones that does not fit the views that can be drawn.

    Raises:
        ConfigError: it lacks a view of pictures, or names what is none.
    """
    if not is_by_view(node := space.tree["backbone"]):
        return
    pictures = picture_views(views)
    if wrong := [name for name in node if name not in pictures]:
        raise ConfigError(
            f"{space.file}: `backbone` names {_names(wrong)}, and the views that go through a "
            f"backbone are {', '.join(pictures) or 'none'}. Use those names."
        )
    drawn = dict.fromkeys(name for names in space.view_sets() for name in names)
    if lacking := [name for name in drawn if name in pictures and name not in node]:
        raise ConfigError(
            f"{space.file}: `backbone` names none for the view {', '.join(lacking)}, which can be "
            "drawn. Add it."
        )


def is_by_view(node: Any) -> bool:
    """Return whether the tree's `backbone` is a mapping of views to names or draws."""
    draws = {"choice", "float", "int", "leaderboard", "asked"}
    return isinstance(node, dict) and not node.keys() & draws


def backbone_nodes(tree: dict[Any, Any]) -> list[tuple[str, str, Any]]:
    """Return view, key and node of each that says a backbone; the view is "" for all of them."""
    node = tree["backbone"]
    if not is_by_view(node):
        return [("", "backbone", node)]
    return [(view, f"backbone.{view}", inner) for view, inner in node.items()]


def _kept_answer(mine: Any, begun: Any) -> Any:
    """Return what a begun study has in place of `mine`, if it answers the same question."""
    asked = mine.get("asked") if isinstance(mine, dict) else None
    same = asked is not None and isinstance(begun, dict) and begun.get("asked") == asked
    return begun if same else mine


def _answered(tree: dict[Any, Any], rulebook: Rulebook, where: str) -> dict[Any, Any]:
    """Return the tree with each question to the table of figures answered by a plain choice."""
    answers = {
        view: _answer(node, key, tree["views"], rulebook, where)
        for view, key, node in backbone_nodes(tree)
    }
    return {**tree, "backbone": answers if is_by_view(tree["backbone"]) else answers[""]}


def _answer(node: Any, key: str, views: Any, rulebook: Rulebook, where: str) -> Any:
    if not isinstance(node, dict) or "asked" in node:
        return node  # a name, or answered before
    options = node["choice"] if isinstance(node.get("choice"), list) else [node]
    num_asked = sum(isinstance(option, dict) and "leaderboard" in option for option in options)
    if not num_asked:
        return node
    if num_asked > MAX_QUESTIONS:
        raise ConfigError(
            f"{where}: `{key}` asks the table of figures {num_asked} times, and may do so "
            f"{MAX_QUESTIONS} times. Ask one question for more models."
        )
    sets = _options(views, "views", where)
    most_views = max(len(names) if isinstance(names, list) else 1 for names in sets)
    names: list[Any] = []
    for option in options:
        asks = isinstance(option, dict) and "leaderboard" in option
        found = _ask(option, key, rulebook, max(1, most_views), where) if asks else [option]
        names += [name for name in found if not asks or name not in names]
    return {"choice": names, "asked": node}


def _ask(
    node: dict[Any, Any], key: str, rulebook: Rulebook, num_views: int, where: str
) -> list[str]:
    """Return the models that a question asks for, the best first."""
    if extra := node.keys() - {"leaderboard"}:
        raise ConfigError(
            f"{where}: `{key}` is a `leaderboard` with the unknown keys "
            f"{_names(extra)}. Put them into it."
        )
    query: Query = build(Query, node["leaderboard"], where=f"{where}, `{key}.leaderboard`")
    ranking = rank(read_table(), query, rulebook, num_views=num_views)
    if not ranking.rows:
        first = ranking.excluded[0]
        counts = ", ".join(
            f"{number} by {reason}" for reason, number in ranking.num_excluded().items()
        )
        raise ConfigError(
            f"{where}: `{key}.leaderboard` finds no model: of its rows, {counts} are excluded "
            f"({first.row.model}, for one: {first.sentence}). Ask for less; "
            "`workbench backbones --excluded` says why each one is."
        )
    return [row.model for row in ranking.rows[: query.top]]


class _Fixed:
    """Draws the wanted values, else the first option or the low bound; keeps what it was asked."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted
        self.asked: dict[str, list[Any]] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked[name] = choices
        return self._wanted.get(name, choices[0])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked[name] = [low, high]
        return float(self._wanted.get(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.asked[name] = [low, high]
        return int(self._wanted.get(name, low))


def _draw(node: Any, key: str, trial: Suggest, where: str) -> Any:
    match _parse(node, key, where):
        case Range() as r if r.whole:
            return trial.suggest_int(key, int(r.low), int(r.high), log=r.log)
        case Range() as r:
            return trial.suggest_float(key, r.low, r.high, log=r.log)
        case Choice(options=options):
            label = trial.suggest_categorical(key, list(options))
            return _draw(options[label], f"{key}.{label}", trial, where)
        case dict() as mapping:
            prefix = f"{key}." if key else ""
            return {k: _draw(v, f"{prefix}{k}", trial, where) for k, v in mapping.items()}
        case value:
            return value


def _locate(node: Any, key: str, value: Any, drawn: dict[str, Any], where: str) -> bool:
    """Enter into `drawn` what makes `node` give `value`; say whether something can."""
    match _parse(node, key, where):
        case Range() as r:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not r.low <= value <= r.high or (r.whole and value != int(value)):
                return False
            drawn[key] = int(value) if r.whole else float(value)
            return True
        case Choice(options=options):
            for label, option in options.items():
                inner: dict[str, Any] = {}
                if _locate(option, f"{key}.{label}", value, inner, where):
                    drawn |= {key: label, **inner}
                    return True
            return False
        case dict() as mapping:
            prefix = f"{key}." if key else ""
            return isinstance(value, dict) and all(
                k in value and _locate(v, f"{prefix}{k}", value[k], drawn, where)
                for k, v in mapping.items()
            )
        case constant:
            return bool(constant == value)


def _parse(node: Any, key: str, where: str) -> Any:
    """Return a node of the tree as the draw that it says, or as it is."""
    if not isinstance(node, dict) or not node.keys() & {"choice", "float", "int"}:
        return node
    known = (
        {"choice", "asked"}
        if "choice" in node
        else {"float", "log"}
        if "float" in node
        else {"int", "log"}
    )
    if extra := node.keys() - known:
        raise ConfigError(
            f"{where}: `{cut(key, 300)}` is a draw with the unknown keys {_names(extra)}. "
            f"It may have {' and '.join(sorted(known - {'asked'}))}."
        )
    if "choice" in node:
        options = node["choice"]
        if not isinstance(options, list) or not options:
            raise ConfigError(
                f"{where}: `{cut(key, 300)}.choice` is {shown(options)}: give a list of options."
            )
        labelled = {_label(option): option for option in options}
        if len(labelled) < len(options):
            raise ConfigError(
                f"{where}: `{cut(key, 300)}.choice` holds an option twice. Keep one of each."
            )
        return build(Choice, {"options": labelled}, where=f"{where}, `{cut(key, 300)}.choice`")
    kind = "float" if "float" in node else "int"
    bounds, log = node[kind], node.get("log", False)
    numbers = (int, float) if kind == "float" else (int,)
    if not (
        isinstance(bounds, list)
        and len(bounds) == 2
        and all(isinstance(b, numbers) and not isinstance(b, bool) for b in bounds)
        and all(map(math.isfinite, bounds))
        and bounds[0] <= bounds[1]
        and (not log or bounds[0] > 0)
        and isinstance(log, bool)
    ):
        raise ConfigError(
            f"{where}: `{cut(key, 300)}` is {shown(node)}: give `{kind}: [low, high]`, low first"
            + (", and low above 0 with `log: true`." if log else ".")
        )
    return Range(low=bounds[0], high=bounds[1], whole=kind == "int", log=log)


def _require_few(tree: dict[Any, Any], where: str) -> None:
    """Refuse a tree that would take minutes to check."""
    options, values = _count(tree)
    if options * values > MAX_WALKED:
        raise ConfigError(
            f"{where} has {options:,} options among {values:,} values, more than are checked in a "
            "few seconds. Leave some out, or draw a number by `float` or `int`."
        )


def _count(tree: Any) -> tuple[int, int]:
    """Return how many options the choices of a tree have in all, and how many values it has."""
    if not isinstance(tree, dict | list):
        return 0, 1
    options = tree.get("choice") if isinstance(tree, dict) else None
    parts = [_count(value) for value in (tree.values() if isinstance(tree, dict) else tree)]
    own = len(options) if isinstance(options, list) else 0
    return own + sum(part[0] for part in parts), 1 + sum(part[1] for part in parts)


def _names(keys: Iterable[Any]) -> str:
    return cut(", ".join(cut(str(key), 60) for key in keys), 300)


def _label(option: Any) -> str | int | float | bool:
    """Return what the sampler and the tables call an option."""
    if isinstance(option, list):
        return "+".join(map(str, option))
    if isinstance(option, dict):
        rest = {k: v for k, v in option.items() if k != "kind"}
        constants = {k: v for k, v in rest.items() if not isinstance(v, dict)}
        said = ",".join(f"{k}={v}" for k, v in constants.items())
        kind = str(option.get("kind", ""))
        return f"{kind}({said})" if said else kind or repr(option)
    if option is None:
        return "null"
    return option if isinstance(option, str | int | float) else str(option)


def _options(node: Any, key: str, where: str) -> Iterator[Any]:
    match _parse(node, key, where):
        case Choice(options=options):
            for option in options.values():
                yield from _options(option, key, where)
        case Range(low=low):
            yield low
        case value:
            yield value
