"""Frozen values, the parts a search chooses between, and how YAML and records become values."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from workbench.errors import ConfigError, DamagedFileError
from workbench.files import read_bytes

V = TypeVar("V")


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


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-5` is a number, as every reader of it expects, and no key repeats."""

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


# What PyYAML itself raises on values such as 2024-13-45, `!!bool x`, `!!timestamp x`, and on
# thousands of open brackets.
_BAD_VALUES = (ValueError, KeyError, AttributeError, RecursionError)


def read_yaml(path: Path) -> Any:
    """Return what the YAML file `path` holds, read safely.

    Raises:
        ConfigError: the file is absent, is not text, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
        ConfigError: it is not YAML.
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
        raise ConfigError(describe(error, where=where)) from error


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


def describe(error: ValidationError, *, where: str) -> str:
    """Return pydantic's report as one sentence for each wrong key."""
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(step) for step in item["loc"]) or "the file"
        given = item.get("input")
        if item["type"] == "missing":
            lines.append(f"{where}: `{key}` is missing. Add it.")
        elif item["type"] == "extra_forbidden":
            lines.append(
                f"{where}: `{key}` is not a known key (given {given!r}). Remove or rename it."
            )
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            shown = repr(given)
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            lines.append(f"{where}: `{key}` is {shown}: {message.rstrip('.')}.")
    return "\n".join(lines)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
