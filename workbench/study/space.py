"""A search space: one YAML file of what a trial may choose.

It is a tree of the keys of a `Draft`. A leaf is a value, or a draw: `{choice: [a, b]}`,
`{float: [low, high], log: true}`, `{int: [low, high]}`. A choice may be between mappings, which may
hold draws themselves; those exist only where their mapping is chosen.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.parts.augment import Augment
from workbench.parts.losses import AnyLoss, CrossEntropy
from workbench.parts.optimizers import AnyOptimizer
from workbench.parts.schedules import AnySchedule, Constant
from workbench.parts.weights import Weights
from workbench.trial.recipe import Objective, Recipe
from workbench.values import Frozen, build, read_yaml

Scalar = str | int | float | bool | None


class Suggest(Protocol):
    """What draws values; an Optuna trial is one."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Return one of `choices`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return a number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return a whole number in [low, high]."""


class Draft(Frozen):
    """A recipe as a search space draws it: before data, weights and objective are known."""

    views: tuple[str, ...] = Field(min_length=1)
    """Names of the experiment's views that the model reads."""

    backbone: str
    pretrained: Literal["auto", "hub", "local", "none"] = "auto"
    """Where pretrained weights come from; `auto` takes what can be had, and says what."""

    frozen: bool = False
    image_px: int = Field(224, ge=32, le=1024)
    dropout: float = Field(0.0, ge=0, lt=1)
    loss: AnyLoss = CrossEntropy()
    optimizer: AnyOptimizer
    schedule: AnySchedule = Constant()
    augment: Augment = Augment()
    batch_size: int = Field(32, ge=1, le=4096)
    num_epochs: int = Field(5, ge=1, le=1000)

    def recipe(
        self,
        *,
        data: str,
        views: Mapping[str, AnyView],
        weights: Weights,
        objective: Objective,
        seed: int,
    ) -> Recipe:
        """Return the recipe of this draft for one data set."""
        same = {name: getattr(self, name) for name in Draft.model_fields}
        del same["pretrained"]
        same["views"] = {name: views[name] for name in self.views}
        return Recipe(data=data, weights=weights, objective=objective, seed=seed, **same)


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


class Space(Frozen):
    """A search space, read and checked."""

    file: str
    tree: dict[Any, Any]
    """As the file says it."""

    def draw(self, trial: Suggest) -> Draft:
        """Return a draft drawn by `trial`; every dimension is named by its dotted key."""
        drawn = _draw(self.tree, "", trial, self.file)
        return build(Draft, drawn, where=self.file)

    def backbones(self) -> list[str]:
        """Return the backbones that can be drawn."""
        return [str(name) for name in _options(self.tree["backbone"], "backbone", self.file)]

    def view_sets(self) -> list[tuple[str, ...]]:
        """Return the sets of views that can be drawn."""
        return [tuple(names) for names in _options(self.tree["views"], "views", self.file)]

    def pretrained_modes(self) -> list[Any]:
        """Return the ways to weights that can be drawn."""
        return list(_options(self.tree.get("pretrained", "auto"), "pretrained", self.file))

    def least_image_px(self) -> int:
        """Return a picture side that can be drawn."""
        return int(next(_options(self.tree.get("image_px", 224), "image_px", self.file)))


def read_space(path: Path, views: tuple[str, ...]) -> Space:
    """Return the search space that YAML file `path` holds, every option of it checked.

    Raises:
        ConfigError: a key, an option or a bound cannot make a recipe; or a view is not one of
            the experiment's `views`.
    """
    tree = read_yaml(path)
    where = str(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{where} is not a mapping of keys to values. Start from a shipped one.")
    for key in ("views", "backbone"):
        if key not in tree:
            raise ConfigError(f"{where}: `{key}` is missing. Add it.")
    space = Space(file=where, tree=tree)
    for drawer in _Corner.all_of(space):
        draft = space.draw(drawer)
        unknown = [name for name in draft.views if name not in views]
        if unknown or len(set(draft.views)) < len(draft.views):
            raise ConfigError(
                f"{where}: `views` {list(draft.views)} must name each view once, and the "
                f"experiment has {', '.join(views)}. Use those names."
            )
    return space


class _Corner:
    """Draws the first of everything, but one wanted value for one dimension."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted
        self.seen: dict[str, list[Any]] = {}

    @staticmethod
    def all_of(space: Space) -> Iterator["_Corner"]:
        """Yield drawers that together draw every option and every bound of `space`."""
        waiting: list[dict[str, Any]] = [{}]
        tried: set[tuple[str, Any]] = set()
        while waiting:
            wanted = waiting.pop()
            probe = _Corner(wanted)
            _draw(space.tree, "", probe, space.file)
            for name, values in probe.seen.items():
                for value in values:
                    # What a choice opens is looked at with that choice made.
                    if (name, repr(value)) not in tried:
                        tried.add((name, repr(value)))
                        waiting.append({**wanted, name: value})
            yield _Corner(wanted)

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.seen[name] = choices
        return self._wanted.get(name, choices[0])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.seen[name] = [low, high]
        return float(self._wanted.get(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.seen[name] = [low, high]
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


def _parse(node: Any, key: str, where: str) -> Any:
    """Return a node of the tree as the draw that it says, or as it is."""
    if not isinstance(node, dict) or not node.keys() & {"choice", "float", "int"}:
        return node
    known = (
        {"choice"} if "choice" in node else {"float", "log"} if "float" in node else {"int", "log"}
    )
    if extra := node.keys() - known:
        raise ConfigError(
            f"{where}: `{key}` is a draw with the unknown keys {', '.join(map(str, extra))}. "
            f"It may have {' and '.join(sorted(known))}."
        )
    if "choice" in node:
        options = node["choice"]
        if not isinstance(options, list) or not options:
            raise ConfigError(f"{where}: `{key}.choice` is {options!r}: give a list of options.")
        labelled = {_label(option): option for option in options}
        if len(labelled) < len(options):
            raise ConfigError(f"{where}: `{key}.choice` holds an option twice. Keep one of each.")
        return build(Choice, {"options": labelled}, where=f"{where}, `{key}.choice`")
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
            f"{where}: `{key}` is {node!r}: give `{kind}: [low, high]`, low first"
            + (", and low above 0 with `log: true`." if log else ".")
        )
    return Range(low=bounds[0], high=bounds[1], whole=kind == "int", log=log)


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
