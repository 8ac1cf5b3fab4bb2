"""The language of search spaces: trees of values and draws."""

import math
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from workbench.console import cut_text
from workbench.errors import ConfigError
from workbench.validation import build, shown
from workbench.values import Frozen

MAX_WALKED = 5_000_000
"""Options of all choices of a file times its values: each option is checked in a draft of its own,
for which all of the file is walked. So many take five seconds; the 1,700 tagged models of timm in
one choice make three million."""


class Suggest(Protocol):
    """What draws values; an Optuna trial is one."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Return one of `choices`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return a number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return a whole number in [low, high]."""


class Fixed:
    """Draws the wanted values, else the first option or the low bound; keeps what it was asked."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted
        self.asked: dict[str, list[Any]] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Return the wanted option, or the first."""
        self.asked[name] = choices
        return self._wanted.get(name, choices[0])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return the wanted number, or `low`."""
        self.asked[name] = [low, high]
        return float(self._wanted.get(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return the wanted number, or `low`."""
        self.asked[name] = [low, high]
        return int(self._wanted.get(name, low))


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


def draw_node(node: Any, key: str, trial: Suggest, where: str) -> Any:
    """Return the value of a node of the tree, drawn by `trial` where it is a draw."""
    match _parse(node, key, where):
        case Range() as r if r.whole:
            return trial.suggest_int(key, int(r.low), int(r.high), log=r.log)
        case Range() as r:
            return trial.suggest_float(key, r.low, r.high, log=r.log)
        case Choice(options=options):
            label = trial.suggest_categorical(key, list(options))
            return draw_node(options[label], f"{key}.{label}", trial, where)
        case dict() as mapping:
            prefix = f"{key}." if key else ""
            return {k: draw_node(v, f"{prefix}{k}", trial, where) for k, v in mapping.items()}
        case value:
            return value


def locate_node(node: Any, key: str, value: Any, drawn: dict[str, Any], where: str) -> bool:
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
                if locate_node(option, f"{key}.{label}", value, inner, where):
                    drawn |= {key: label, **inner}
                    return True
            return False
        case dict() as mapping:
            prefix = f"{key}." if key else ""
            return isinstance(value, dict) and all(
                k in value and locate_node(v, f"{prefix}{k}", value[k], drawn, where)
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
            f"{where}: `{cut_text(key, 300)}` is a draw with the unknown keys {in_words(extra)}. "
            f"It may have {' and '.join(sorted(known - {'asked'}))}."
        )
    if "choice" in node:
        options = node["choice"]
        if not isinstance(options, list) or not options:
            raise ConfigError(
                f"{where}: `{cut_text(key, 300)}.choice` is {shown(options)}: give a list of "
                "options."
            )
        labelled = {_label(option): option for option in options}
        if len(labelled) < len(options):
            raise ConfigError(
                f"{where}: `{cut_text(key, 300)}.choice` holds an option twice. Keep one of each."
            )
        return build(Choice, {"options": labelled}, where=f"{where}, `{cut_text(key, 300)}.choice`")
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
            f"{where}: `{cut_text(key, 300)}` is {shown(node)}: give `{kind}: [low, high]`, low "
            "first" + (", and low above 0 with `log: true`." if log else ".")
        )
    return Range(low=bounds[0], high=bounds[1], whole=kind == "int", log=log)


def labelled_options(node: Any, key: str, where: str) -> dict[Any, Any] | None:
    """Return the options of a choice by their labels; None of a node that is no choice."""
    parsed = _parse(node, key, where)
    return dict(parsed.options) if isinstance(parsed, Choice) else None


def options_of(node: Any, key: str, where: str) -> Iterator[Any]:
    """Yield what a node can be: each option of a choice, the low bound of a range, or its value."""
    match _parse(node, key, where):
        case Choice(options=options):
            for option in options.values():
                yield from options_of(option, key, where)
        case Range(low=low):
            yield low
        case value:
            yield value


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


def in_words(keys: Iterable[Any]) -> str:
    """Return keys as an error names them."""
    return cut_text(", ".join(cut_text(str(key), 60) for key in keys), 300)


def require_checkable(tree: dict[Any, Any], where: str) -> None:
    """Refuse a tree that would take minutes to check."""
    options, values = _count(tree)
    if options * values > MAX_WALKED:
        raise ConfigError(
            f"{where} has {options:,} options among {values:,} values, more than are checked in a "
            "few seconds. Leave some out, or draw a number by `float` or `int`."
        )


def require_draws_spelt(tree: Any, where: str, key: str = "") -> None:
    """Refuse a mapping of one list whose key is nearly `choice` or `float`: no value is one."""
    inner = dict(enumerate(tree)) if isinstance(tree, list) else tree
    if not isinstance(inner, dict):
        return
    for name, value in inner.items():
        if isinstance(tree, dict) and len(tree) == 1 and isinstance(value, list):
            near = get_close_matches(str(name)[:60], ["choice", "float"], n=1, cutoff=0.75)
            if near and near != [name]:
                raise ConfigError(
                    f"{where}: `{cut_text(key, 300)}` has the key `{cut_text(str(name), 60)}`: a "
                    f"draw is written `{near[0]}`."
                )
        require_draws_spelt(value, where, f"{key}.{name}" if key else str(name))


def _count(tree: Any) -> tuple[int, int]:
    """Return how many options the choices of a tree have in all, and how many values it has."""
    if not isinstance(tree, dict | list):
        return 0, 1
    options = tree.get("choice") if isinstance(tree, dict) else None
    parts = [_count(value) for value in (tree.values() if isinstance(tree, dict) else tree)]
    own = len(options) if isinstance(options, list) else 0
    return own + sum(part[0] for part in parts), 1 + sum(part[1] for part in parts)
