"""YAML files of strangers, read safely and within limits."""

import copy
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from workbench.addresses import without_secrets
from workbench.console import cut_text
from workbench.errors import ConfigError
from workbench.gate import read_file
from workbench.validation import build

V = TypeVar("V")

MAX_YAML_BYTES = 1 << 20
MAX_YAML_DEPTH = 64
"""Mappings and lists within each other, aliases written out."""

MAX_YAML_VALUES = 10_000
"""Keys and values of a file, aliases written out; a long text counts as one for each hundred
letters. To read so many takes a third of a second."""

_NUMBER_LETTERS = 100


def _told_apart(key: yaml.Node) -> object:
    """Return what a key is equal by."""
    return (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)


class _Extent(NamedTuple):
    """What a node comes to, aliases written out."""

    values: int
    depth: int


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-5` is a number, as every reader of it expects, and no key repeats.

    Its limits hold while it is read: a file of strangers may be a few letters long and come to
    billions of values by aliases of aliases.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._num_open = 0
        self._num_read = 0
        # By the node's id: the document, or an anchor, keeps each one alive.
        self._extents: dict[int, _Extent] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._num_read += 1
        self._num_open += 1
        self._check(_Extent(self._num_read, self._num_open), event)
        node = super().compose_node(parent, index)
        self._num_open -= 1
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode) and re.search("[\ud800-\udfff]", node.value):
            said = "a text holds half a character (\\ud800 to \\udfff), which no file can keep"
            raise yaml.composer.ComposerError(None, None, said, event.start_mark)
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and id(node) not in self._extents:
            raise yaml.composer.ComposerError(
                None,
                None,
                "an alias (*name) stands inside the value that it repeats (&name)",
                event.start_mark,
            )
        if not is_alias:
            self._extents[id(node)] = self._extent(node)
        self._check(self._extents[id(node)], event)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # PyYAML 6.0.4 takes a merged key for said again, or not, by where its text lies in memory.
        own: list[tuple[yaml.Node, yaml.Node]] = []
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:value":  # a key of `=`
                key.tag = "tag:yaml.org,2002:str"
            if key.tag != "tag:yaml.org,2002:merge":
                own.append((key, value))
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(part, yaml.MappingNode):
                    raise yaml.constructor.ConstructorError(
                        None, None, "`<<` merges something that is not a mapping", part.start_mark
                    )
                self.flatten_mapping(part)
                merged += part.value
        # A mapping's own key counts, else the first one that is merged.
        pairs: dict[object, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in (*own, *merged):
            pairs.setdefault(_told_apart(key), (key, value))
        node.value = [
            pairs[name] for name in dict.fromkeys(_told_apart(k) for k, _ in merged + own)
        ]

    def _extent(self, node: yaml.Node) -> _Extent:
        if isinstance(node, yaml.ScalarNode):
            return _Extent(1 + len(node.value) // 100, 1)
        children = (
            [child for pair in node.value for child in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        extents = [self._extents[id(child)] for child in children]
        return _Extent(
            1 + sum(extent.values for extent in extents),
            1 + max((extent.depth for extent in extents), default=0),
        )

    def _check(self, extent: _Extent, event: Any) -> None:
        said = ""
        if extent.depth > MAX_YAML_DEPTH:
            said = f"values are nested over {MAX_YAML_DEPTH} deep"
        elif extent.values > MAX_YAML_VALUES:
            said = f"it comes to over {MAX_YAML_VALUES:,} values, its aliases written out"
        if said:
            raise yaml.composer.ComposerError(None, None, said, event.start_mark)

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        # Looked at as written: a merge (`<<`) later puts the keys of another mapping in.
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"the key {key.value!r} is written twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return node


# YAML 1.1, which PyYAML follows, wants a dot and a signed exponent: 1e-5 would be a string.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node)
    is_int = node.tag.endswith(":int")
    value: int | float = 0
    if len(text) <= _NUMBER_LETTERS:
        of_yaml = loader.construct_yaml_int if is_int else loader.construct_yaml_float
        value = of_yaml(node)
    if len(text) > _NUMBER_LETTERS or (is_int and not -(2**63) <= value < 2**63):
        raise yaml.constructor.ConstructorError(
            None, None, "a number is too long for 64 bits", node.start_mark
        )
    # Nobody who writes `epochs: 010` beside `epochs: 09` means 8 and 9, or 90 by `1:30`.
    if ":" in text or (is_int and re.fullmatch("[-+]?0[0-7_]+", text)):
        said = f"{text} would be read as {value}: write the number in decimals, or put it in quotes"
        raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
    return value


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number)

# What PyYAML itself raises on values such as 2024-13-45, `!!bool x`, `!!timestamp x`, `!!int ''`.
_BAD_VALUES = (ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


def read_yaml(path: Path) -> Any:
    """Return what the YAML file `path` holds, read safely.

    Raises:
        ConfigError: the file is absent, no regular one, not text, too large, or not YAML.
    """
    try:
        text = read_file(path, limit_bytes=MAX_YAML_BYTES).decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist. Name an existing YAML file.") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder. Name a YAML file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8."
        ) from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> Any:
    """Return what YAML `text` holds, read safely; `where` names its source in the error.

    Raises:
        ConfigError: it is not YAML, or comes to more than is read of any file.
    """
    try:
        return copy.deepcopy(_parsed(text))
    except (yaml.YAMLError, *_BAD_VALUES) as error:
        raise ConfigError(f"{where} is not valid YAML: {_one_line(error, text)}") from error


# A command reads the experiment of its study some thirty times.
@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


def build_said(kind: type[V] | Any, tree: Any, *, where: str) -> V:
    """Return what a person wrote in YAML as a `kind`; see `build`.

    Raises:
        ConfigError: as `build`, or a switch (`yes`, `off`, ...) stands where a number is asked for,
            which would be 1 or 0.
    """
    built: V = build(kind, tree, where=where)
    if key := _switch_for_number(tree, built, ""):
        raise ConfigError(
            f"{where}: `{cut_text(key, 300)}` is yes or no (as on, off, true or false are) where a "
            "number is asked for. Write the number."
        )
    return built


def _switch_for_number(tree: Any, built: Any, key: str) -> str:
    """Return the key under which a tree has a truth value and what was built of it a number."""
    if isinstance(tree, bool):
        is_number = isinstance(built, int | float) and not isinstance(built, bool)
        return key if is_number else ""
    pairs: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(tree, dict):
        values = built if isinstance(built, dict) else getattr(built, "__dict__", {})
        pairs = [(name, value, values.get(name)) for name, value in tree.items()]
    elif isinstance(tree, list) and isinstance(built, list | tuple) and len(tree) == len(built):
        pairs = zip(range(len(tree)), tree, built, strict=True)
    prefix = f"{key}." if key else ""
    found = (_switch_for_number(value, of, f"{prefix}{name}") for name, value, of in pairs)
    return next(filter(None, found), "")


def _one_line(error: Exception, text: str) -> str:
    said = str(error).replace('in "<unicode string>", ', "at ")
    if isinstance(error, yaml.MarkedYAMLError) and without_secrets(text) != text:
        # PyYAML quotes a piece of the line that is wrong, which may begin within a password.
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        said = f"{error.problem} (line {line})"
    return cut_text(" ".join(said.split()), 400)
