"""Frozen values, the parts a search chooses between, and how YAML and records become values."""

import difflib
import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from workbench.errors import ConfigError, DamagedFileError
from workbench.files import read_bytes
from workbench.gate import read_file

V = TypeVar("V")

MAX_YAML_BYTES = 1 << 20
MAX_YAML_DEPTH = 64
"""Mappings and lists within each other, aliases written out."""

MAX_YAML_VALUES = 10_000
"""Keys and values of a file, aliases written out; a long text counts as one for each hundred
letters. To read so many takes a third of a second."""

_NUMBER_LETTERS = 100
_SHOWN_LETTERS = 80
_SHOWN_KEYS = 20


class Frozen(BaseModel):
    """A value: no unknown fields, no changes after it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(Frozen):
    """One choice in a search space, named by its `kind`."""

    kind: str


def kinds(union: Any) -> dict[str, type[Part]]:
    """Return the parts of an `Annotated[A | B, ...]` union, keyed by kind."""
    members = get_args(get_args(union)[0])
    return {member.model_fields["kind"].default: member for member in members}


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
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and id(node) not in self._extents:
            raise yaml.composer.ComposerError(
                None, None, "an alias stands within what it is the alias of", event.start_mark
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
                        None, None, "what is merged is no mapping", part.start_mark
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
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, *_BAD_VALUES) as error:
        raise ConfigError(f"{where} is not valid YAML: {_one_line(error)}") from error


def build(kind: type[V] | Any, value: Any, *, where: str) -> V:
    """Return `value` as a `kind`; `where` names its source (a file) in the error.

    Raises:
        ConfigError: one line per wrong key, with the value given and what is allowed.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(describe(error, where=where, kind=kind)) from error


def read_record(kind: type[V], path: Path, *, remedy: str) -> V:
    """Return the JSON file `path`, which this program wrote, as a `kind`.

    Raises:
        DamagedFileError: it is gone, cannot be read, or is not what was written; ends with
            `remedy`.
    """
    data = read_bytes(path, remedy=remedy)
    if not data.strip():
        raise DamagedFileError(f"{path} is damaged: it is empty. {remedy}")
    try:
        return build(kind, json.loads(data), where=str(path))
    except ConfigError as error:
        first, *more = str(error).splitlines()
        and_more = f" (and {len(more)} more)" if more else ""
        why = first.removeprefix(f"{path}: ").rstrip(".")
        raise DamagedFileError(f"{path} is damaged: {why}{and_more}. {remedy}") from error
    except (ValueError, RecursionError) as error:  # no JSON, or not even text
        raise DamagedFileError(f"{path} is damaged: it is not JSON. {remedy}") from error


def describe(error: ValidationError, *, where: str, kind: Any = None) -> str:
    """Return pydantic's report as one sentence for each wrong key; of a `kind`, with near names."""
    lines = []
    wrong = error.errors(include_url=False)
    for item in wrong[:_SHOWN_KEYS]:
        key = cut(".".join(cut(str(step), 60) for step in item["loc"]) or "the file", 300)
        given = item.get("input")
        if item["type"] == "missing":
            lines.append(f"{where}: `{key}` is missing. Add it.")
        elif item["type"] == "extra_forbidden":
            lines.append(
                f"{where}: `{key}` is not a known key (given {shown(given)}). Remove or rename it."
                + _near(kind, item["loc"])
            )
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            lines.append(f"{where}: `{key}` is {shown(given)}: {cut(message, 1000).rstrip('.')}.")
    if len(wrong) > _SHOWN_KEYS:
        lines.append(f"{where}: {len(wrong) - _SHOWN_KEYS:,} more keys are wrong.")
    return "\n".join(lines)


def _near(kind: Any, steps: tuple[int | str, ...]) -> str:
    """Return a sentence that names the keys like the unknown one at `steps`; if none is, all."""
    *parents, last = steps
    for step in parents:
        fields = _fields(kind)
        if step not in fields:
            return ""
        kind = fields[step].annotation
    known = list(_fields(kind))
    names = difflib.get_close_matches(str(last)[:60], known) or known[: 0 if not parents else None]
    return f" There is {', '.join(f'`{name}`' for name in names)}." if names else ""


def _fields(kind: Any) -> Mapping[Any, FieldInfo]:
    """Return the fields of a model, by name; none of anything else."""
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def shown(value: Any) -> str:
    """Return `value` as an error shows it: its beginning, however much it holds."""
    return cut(_SHORT.repr(value), _SHOWN_LETTERS)


def cut(text: str, length: int) -> str:
    """Return the beginning of `text`, of at most `length` letters."""
    return text if len(text) <= length else text[: length - 3] + "..."


class _Short(reprlib.Repr):
    """Looks at no more of a value than is shown of it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 8
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = 40
        self.maxlong = self.maxother = 2 * _SHOWN_LETTERS

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: 2 * _SHOWN_LETTERS])

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # In its own order, which reprlib gives up.
        if level <= 0:
            return "{...}" if x else "{}"
        pairs = [
            f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}"
            for key, _ in zip(x, range(self.maxdict), strict=False)
        ]
        return f"{{{', '.join(pairs)}}}"


_SHORT = _Short()


def _one_line(error: Exception) -> str:
    return cut(" ".join(str(error).split()), 400)
