"""How records become values, and what a person is told of one that is wrong."""

import difflib
import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from workbench.addresses import without_secrets
from workbench.console import cut_text
from workbench.errors import ConfigError, DamagedFileError

V = TypeVar("V")

_SHOWN_LETTERS = 80
_SHOWN_KEYS = 20
_LOOKED_THROUGH = 10_000


def read_bytes(path: Path, *, remedy: str) -> bytes:
    """Return the bytes of a file that this program wrote.

    Raises:
        DamagedFileError: it is gone, or cannot be read; ends with `remedy`.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is gone. {remedy}") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DamagedFileError(f"{path} cannot be read: {why}. {remedy}") from error


def build(kind: type[V] | Any, value: Any, *, where: str) -> V:
    """Return `value` as a `kind`; `where` names its source (a file) in the error.

    Raises:
        ConfigError: one line per wrong key, with the value given and what is allowed.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(describe_invalid(error, where=where, kind=kind)) from error


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


def describe_invalid(error: ValidationError, *, where: str, kind: Any = None) -> str:
    """Return pydantic's report as one sentence for each wrong key; of a `kind`, with near names."""
    lines = []
    wrong = error.errors(include_url=False)
    for item in wrong[:_SHOWN_KEYS]:
        key = cut_text(".".join(cut_text(str(step), 60) for step in item["loc"]) or "the file", 300)
        given = item.get("input")
        if item["type"] == "missing":
            lines.append(f"{where}: `{key}` is missing. Add it.")
        elif item["type"] == "extra_forbidden":
            lines.append(
                f"{where}: `{key}` is not a known key (given {shown(given)}). Remove or rename it."
                + _near(kind, item["loc"])
            )
        elif item["type"] == "union_tag_invalid":
            kinds, tag = item["ctx"]["expected_tags"], item["ctx"]["tag"]
            lines.append(f"{where}: `{key}.kind` is {shown(tag)}: should be one of {kinds}.")
        elif item["type"] == "union_tag_not_found":
            lines.append(f"{where}: `{key}.kind` is missing (given {shown(given)}). Add it.")
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            lines.append(
                f"{where}: `{key}` is {shown(given)}: {cut_text(message, 1000).rstrip('.')}."
            )
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
    """Return `value` as an error shows it: its beginning, however much it holds, and no secret."""
    return cut_text(_SHORT.repr(value), _SHOWN_LETTERS)


class _Short(reprlib.Repr):
    """Looks at no more of a value than is shown of it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 8
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = 40
        self.maxlong = self.maxother = 2 * _SHOWN_LETTERS

    def repr_str(self, x: str, level: int) -> str:
        # Looked through first: what is cut off may be what tells a password from a path.
        return repr(without_secrets(x[:_LOOKED_THROUGH])[: 2 * _SHOWN_LETTERS])

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
