"""The reference of all keys: of experiments, search spaces and what may be chosen there.

It is read from the values themselves: names, defaults and bounds from the fields, meanings from
their docstrings. `python -m workbench.space.reference docs` writes it as pages.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types as bounds
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workbench.files import write_text
from workbench.space.experiment import Experiment
from workbench.space.space import SampledConfig


class Key(NamedTuple):
    """One key that a YAML file may have."""

    name: str
    """Dotted, as an error names it: `transfer.layer_decay`."""

    kind: str
    """What it may be, in words: `number, 0 to 1`."""

    default: str
    """As YAML writes it; empty where there is none."""

    meaning: str
    """What it says, in a paragraph of plain text; empty where the name says it all."""


class Section(NamedTuple):
    """Keys that belong together: of one mapping, or of one `kind` of it."""

    title: str
    """The dotted key of the mapping, and which kind; empty for the file itself."""

    about: str
    """What it is, in a paragraph."""

    keys: tuple[Key, ...]


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[Section]:
    """Yield the keys of `model`, and then those of each mapping that it may hold.

    Args:
        model: The value that a file is read into.
        prefix: Its dotted key in the file.
    """
    dotted = f"{prefix}." if prefix else ""
    meanings = _field_docstrings(model)
    keys: list[Key] = []
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        if name == "kind" and _kind_of(model):
            continue
        found = list(_models_in(field.annotation))
        held = f"{dotted}{name}" + (".NAME" if get_origin(_bare(field.annotation)) is dict else "")
        inner += [(held, one) for one in found]
        meaning = meanings.get(name, "")
        if not meaning and len(found) == 1:
            meaning = _first_sentence(_paragraph(inspect.getdoc(found[0])))
        keys.append(Key(f"{dotted}{name}", _kind(field), _default(field), meaning))
    title = f"{prefix}: {{kind: {_kind_of(model)}}}" if _kind_of(model) else prefix
    yield Section(title, _paragraph(inspect.getdoc(model)), tuple(keys))
    for held, one in inner:
        yield from sections(one, held)


def matching(word: str) -> list[Section]:
    """Return the sections of both files whose keys hold `word`, with those keys alone."""
    found = []
    for model in (Experiment, SampledConfig):
        for section in sections(model):
            # A drawn dimension is called by its kind too: `schedule.plateau.gamma`.
            place = section.title.replace(": {kind: ", ".").removesuffix("}")
            whole = word in section.title or word in place
            keys = [key for key in section.keys if whole or word in _names_of(key, place)]
            if keys or whole:
                found.append(section._replace(keys=tuple(keys)))
    return found


def _names_of(key: Key, place: str) -> str:
    return f"{key.name} {place}.{key.name.rpartition('.')[2]}"


def keys_as_text(found: Iterable[Section], width: int) -> str:
    """Return keys as a terminal shows them, in lines of at most `width` letters."""
    blocks = []
    for section in found:
        if section.title:
            blocks.append(textwrap.fill(f"{section.title}  {section.about}", width))
        for key in section.keys:
            may_be = key.kind.replace("`", "")
            head = f"  {key.name}: {may_be}" + (f" [{key.default}]" if key.default else "")
            blocks.append(textwrap.fill(head, width, subsequent_indent="    "))
            indent = " " * 6
            meaning = textwrap.fill(
                key.meaning, width, initial_indent=indent, subsequent_indent=indent
            )
            blocks.append(meaning)
        blocks.append("")
    return "\n".join(blocks).rstrip()


def keys_as_markdown(model: type[BaseModel], title: str, about: str) -> str:
    """Return the page of one file's keys."""
    lines = [f"# {title}", "", about, ""]
    for section in sections(model):
        if section.title:
            lines += [f"## `{section.title}`", "", section.about, ""]
        if section.keys:
            lines += ["| key | what it may be | default | meaning |", "| --- | --- | --- | --- |"]
            lines += [_row(key) for key in section.keys]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[str, str]:
    """Return the reference pages by the name of their file."""
    made = "Made from the program by `python -m workbench.space.reference docs`."
    return {
        "experiment-keys.md": keys_as_markdown(
            Experiment,
            "Every key of an experiment",
            f"An experiment is a YAML file in `experiments/`. {made}",
        ),
        "search-space-keys.md": keys_as_markdown(
            SampledConfig,
            "Every key of a search space",
            "A search space is a YAML file in `search_spaces/`. Each value below may also be a "
            "draw: `{choice: [a, b]}`, `{float: [low, high]}`, `{int: [low, high]}`, the latter "
            f"two with `log: true` where sizes matter and not differences. {made}",
        ),
    }


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default else ""
    cells = (f"`{key.name}`", key.kind, default, key.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _bare(annotation: Any) -> Any:
    """Return an annotation without what `Annotated` adds to it."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _kind_of(model: type[BaseModel]) -> str:
    """Return the `kind` that names a part of a choice; empty for a model that is none."""
    field = model.model_fields.get("kind")
    names = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(names[0]) if len(names) == 1 else ""


def _options(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows, each bare."""
    bare = _bare(annotation)
    if get_origin(bare) in (Union, UnionType):
        return [one for part in get_args(bare) for one in _options(part)]
    return [bare]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a value may be or hold."""
    for option in _options(annotation):
        if inspect.isclass(option) and issubclass(option, BaseModel):
            yield option
        elif get_origin(option) in (dict, tuple, list):
            for part in get_args(option):
                if part is not Ellipsis:
                    yield from _models_in(part)


def _kind(field: FieldInfo) -> str:
    words = list(dict.fromkeys(filter(None, map(_in_words, _options(field.annotation)))))
    kinds = [f"`{name}`" for one in _options(field.annotation) if (name := _part_name(one))]
    if len(kinds) > 1:
        names = ", ".join(kinds)
        words = [*(word for word in words if word != "mapping"), f"mapping of a `kind`: {names}"]
    said = " or ".join(words)
    return f"{said}, {limits}" if (limits := _limits(field.metadata)) else said


def _part_name(option: Any) -> str:
    is_model = inspect.isclass(option) and issubclass(option, BaseModel)
    return _kind_of(option) if is_model else ""


def _in_words(option: Any) -> str:
    """Return what a YAML file writes for a value of one type."""
    plain = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    if option in plain:
        return plain[option]
    if option in (None, NoneType):
        return "null"
    origin, parts = get_origin(option), get_args(option)
    if origin is Literal:
        return " ".join(f"`{value}`" for value in parts)
    if origin in (tuple, list):
        return f"list of {_several(parts)}"
    if origin is dict:
        return f"mapping of names to {_several(parts[1:])}"
    return "mapping" if inspect.isclass(option) and issubclass(option, BaseModel) else "text"


def _several(parts: tuple[Any, ...]) -> str:
    """Return what a list or a mapping holds."""
    inner = [one for part in parts if part is not Ellipsis for one in _options(part)]
    words = list(dict.fromkeys(map(_in_words, inner)))
    kinds = [f"`{name}`" for one in inner if (name := _part_name(one))]
    if kinds:
        return "mappings of a `kind`: " + ", ".join(kinds)
    return " or ".join({"text": "texts", "mapping": "mappings"}.get(word, word) for word in words)


def _limits(metadata: list[Any]) -> str:
    """Return the bounds of a number or of a list: `0 to 1`, `above 0, at most 10`."""
    low = high = ""
    for one in metadata:
        match one:
            case bounds.Ge(ge=value):
                low = f"at least {value}"
            case bounds.Gt(gt=value):
                low = f"above {value}"
            case bounds.Le(le=value):
                high = f"at most {value}"
            case bounds.Lt(lt=value):
                high = f"below {value}"
            case bounds.MinLen(min_length=value):
                low = f"{value} or more of them"
    if low.startswith("at least") and high.startswith("at most"):
        return f"{low.removeprefix('at least ')} to {high.removeprefix('at most ')}"
    return ", ".join(filter(None, (low, high)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        tree = value.model_dump(mode="json")
        kind = tree.get("kind")
        return f"{{kind: {kind}}}" if kind else "{}"
    return _in_yaml(value)


def _in_yaml(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_in_yaml, value))}]"
    return str(value) if value != "" else '""'


def _field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings below the fields of a model and of those that it is made from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (inspect.isclass(base) and issubclass(base, BaseModel)) or base is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            said = after.value if isinstance(after, ast.Expr) else None
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                found[field.target.id] = _paragraph(said.value)
    return found


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].removesuffix(".") + "." if text else ""


def _paragraph(text: str | None) -> str:
    """Return the lines of a docstring as one, its paragraphs apart by a space."""
    return " ".join((text or "").split())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, page in pages().items():
        write_text(folder / name, page)
