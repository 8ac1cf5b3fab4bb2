"""A search space: one YAML file of what a trial may choose.

It is a tree of the keys of a `SampledConfig`. A leaf is a value, or a draw: `{choice: [a, b]}`,
`{float: [low, high], log: true}`, `{int: [low, high]}`. A choice may be between mappings, which may
hold draws themselves; those exist only where their mapping is chosen.

Instead of a list, `backbone` may ask the table of published figures (`parts.leaderboard`):
`{leaderboard: {sort: imagenet-r, top: 12, families: 2}}`, alone or among the options of a choice.
It becomes a plain choice when the space is read, with the question kept beside it as `asked`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.parts.augment import warnings
from workbench.parts.leaderboard import read_table
from workbench.parts.leaderboard_ranking import Limits, Query, rank
from workbench.parts.model_spec import ModelChoices, ModelSpec
from workbench.parts.weights import Weights
from workbench.rules.rulebook import Rulebook
from workbench.trial.recipe import Objective, Recipe, TrainingSpec
from workbench.values import Frozen, build, cut, shown
from workbench.yaml_files import read_yaml

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

    def recipe(
        self,
        *,
        data: str,
        views: Mapping[str, AnyView],
        weights: Weights,
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
        mode = "none" if recipe.model.weights.source == "none" else "auto"
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

    def draw(self, trial: Suggest, *, flat: bool = False) -> SampledConfig:
        """Return a draft drawn by `trial`; every dimension is named by its dotted key.

        Args:
            trial: Draws each dimension once.
            flat: Whether those are drawn too that exist only under options that were not taken.
        """
        if flat:
            everything = _Every(trial)
            for dimension in self.dimensions():
                _draw(self.tree, "", everything.under(dimension.where), self.file)
            return self.at(everything.drawn)
        drawn = _draw(self.tree, "", trial, self.file)
        return build(SampledConfig, drawn, where=self.file)

    def params_of(self, draft: SampledConfig) -> dict[str, Any] | None:
        """Return what has to be drawn to get `draft`; nothing if the space does not hold it.

        A draft that leaves its precision open is held whatever the space says of that.
        """
        precision = self.tree.get("precision")
        if draft.precision == "auto" and isinstance(precision, str):
            draft = draft.model_copy(update={"precision": precision})
        drawn: dict[str, Any] = {}
        held = _locate(self.tree, "", draft.model_dump(mode="json"), drawn, self.file)
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
            _draw(self.tree, "", probe, self.file)
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
        """Return the backbones that can be drawn."""
        return [str(name) for name in _options(self.tree["backbone"], "backbone", self.file)]

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
        asked = mine.get("asked") if isinstance(mine, dict) else None
        if asked is None or not isinstance(begun, dict) or begun.get("asked") != asked:
            return self
        return self.model_copy(update={"tree": {**self.tree, "backbone": begun}})


def read_space(path: Path, views: tuple[str, ...], rulebook: Rulebook | None = None) -> Space:
    """Return the search space that YAML file `path` holds, every option of it checked.

    Args:
        path: The file.
        views: The experiment's.
        rulebook: What a question to the table of figures is answered under; the default one if
            None. Every view of a model has its own backbone, so the limit is shared by them.

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
    for draft in space.corners():
        unknown = [name for name in draft.views if name not in views]
        if unknown or len(set(draft.views)) < len(draft.views):
            raise ConfigError(
                f"{where}: `views` {shown(list(draft.views))} must name each view once, and the "
                f"experiment has {', '.join(views)}. Use those names."
            )
    return space


def _answered(tree: dict[Any, Any], rulebook: Rulebook, where: str) -> dict[Any, Any]:
    """Return the tree with each question to the table of figures answered by a plain choice."""
    node = tree["backbone"]
    if not isinstance(node, dict) or "asked" in node:
        return tree  # a list, or answered before
    options = node["choice"] if isinstance(node.get("choice"), list) else [node]
    num_asked = sum(isinstance(option, dict) and "leaderboard" in option for option in options)
    if not num_asked:
        return tree
    if num_asked > MAX_QUESTIONS:
        raise ConfigError(
            f"{where}: `backbone` asks the table of figures {num_asked} times, and may do so "
            f"{MAX_QUESTIONS} times. Ask one question for more models."
        )
    sets = _options(tree["views"], "views", where)
    most_views = max(len(names) if isinstance(names, list) else 1 for names in sets)
    limits = Limits(
        max_params=max(1, rulebook.max_params // max(1, most_views)),
        pretraining=rulebook.pretraining,
        allowed_tags=rulebook.allowed_tags,
    )
    names: list[Any] = []
    for option in options:
        asks = isinstance(option, dict) and "leaderboard" in option
        found = _ask(option, limits, where) if asks else [option]
        names += [name for name in found if not asks or name not in names]
    return {**tree, "backbone": {"choice": names, "asked": node}}


def _ask(node: dict[Any, Any], limits: Limits, where: str) -> list[str]:
    """Return the models that a question asks for, the best first."""
    if extra := node.keys() - {"leaderboard"}:
        raise ConfigError(
            f"{where}: `backbone` is a `leaderboard` with the unknown keys "
            f"{_names(extra)}. Put them into it."
        )
    query: Query = build(Query, node["leaderboard"], where=f"{where}, `backbone.leaderboard`")
    ranking = rank(read_table(), query, limits)
    if not ranking.rows:
        counts = ", ".join(
            f"{number} by {reason}" for reason, number in ranking.num_excluded().items()
        )
        raise ConfigError(
            f"{where}: `backbone.leaderboard` finds no model: of its rows, {counts} are excluded "
            f"(the rulebook leaves {limits.max_params / 1e6:g}M parameters a view). Ask for less; "
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


class _Every:
    """Draws each dimension once, however often and under whichever options it is asked for."""

    def __init__(self, trial: Suggest) -> None:
        self._trial = trial
        self._where: Mapping[str, Any] = {}
        self.drawn: dict[str, Any] = {}

    def under(self, where: Mapping[str, Any]) -> "_Every":
        """Answer with the options `where` from here on, else with the first ones."""
        self._where = where
        return self

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        if name not in self.drawn:
            self.drawn[name] = self._trial.suggest_categorical(name, choices)
        return self._where.get(name, choices[0])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        if name not in self.drawn:
            self.drawn[name] = self._trial.suggest_float(name, low, high, log=log)
        return float(self.drawn[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        if name not in self.drawn:
            self.drawn[name] = self._trial.suggest_int(name, low, high, log=log)
        return int(self.drawn[name])


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
