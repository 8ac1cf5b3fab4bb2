"""Parts that a user brings in a file of their own: losses, optimizers, schedules and backbones.

The file is a program and is run as one. Its text travels in the recipe, so that a worker, a repeat
and a bundle's training run the code that the trial is named by, wherever they run.
"""

import hashlib
import inspect
import itertools
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from workbench.errors import ConfigError
from workbench.gate import read_file, within
from workbench.parts.backbones import feature_width
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import OWN_VERSIONS
from workbench.values import Frozen, Part

PACKAGE = "workbench.plugins"
"""Where a plugin's module is found; in a bundle it is a folder of that name."""

MOST_BYTES = 1 << 18
_FILE = r"^[a-z][a-z0-9_]{0,63}\.py$"

_parts: dict[str, list[type[Part]]] = {}
"""What the plugins that run now bring, by the name of their module."""

_bases: list[type[Part]] = []
"""What a part of one's own may be."""

_running: dict[str, str] = {}
"""The hash of each one's text, by the name of its module."""


class Plugin(Frozen):
    """A file of one's own parts; it is run when it is read. An experiment writes its path alone."""

    file: str = Field(pattern=_FILE)
    """Its name, without the folder; small letters, digits and _, and `.py`."""

    source: str = Field(max_length=MOST_BYTES)
    """Its text."""

    @model_validator(mode="after")
    def _runs(self) -> Self:
        self.run()
        return self

    def run(self) -> None:
        """Let this process have what it brings, in place of another version of the same file.

        Raises:
            ValueError: it cannot be run, brings nothing, or brings what there is already.
        """
        if _running.get(self.module) != self.sha256:
            _forget(self.module)
            _run(self)

    @property
    def module(self) -> str:
        """The name that it is imported by."""
        return f"{PACKAGE}.{self.file.removesuffix('.py')}"

    @property
    def sha256(self) -> str:
        """Of its text."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def label(self) -> str:
        """Its name, and which version of it."""
        return f"{self.file} ({self.sha256[:12]})"

    @property
    def brings(self) -> str:
        """What it brings, in words."""
        kinds = [_kind(part) for part in _parts[self.module]]
        own = [name for name, of in OWN_VERSIONS.items() if self.sha256.startswith(of)]
        return ", ".join([*kinds, *own])


def read_plugin(folder: Path, name: str) -> Plugin:
    """Read and run the file `name` in the folder of an experiment.

    Raises:
        ConfigError: the path leaves the folder, there is no such file, or it cannot be used.
    """
    path = within(folder, name, what="plugin")
    if not re.fullmatch(_FILE, path.name):
        raise ConfigError(
            f"The plugin {path} cannot be imported by that name. Call it by small letters, digits "
            "and _, e.g. my_parts.py."
        )
    try:
        source = read_file(path, limit_bytes=MOST_BYTES).decode()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigError(f"The plugin {path} cannot be read: {why}. Correct `plugins`.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The plugin {path} is no UTF-8 text. Save it as such.") from error
    try:
        return Plugin(file=path.name, source=source)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ").rstrip(".")
        raise ConfigError(f"The plugin {path} cannot be used: {why}. Correct it.") from error


def used(
    plugins: Iterable[Plugin], parts: Iterable[Part], backbones: Iterable[str]
) -> tuple[Plugin, ...]:
    """Return the plugins that bring one of these parts or backbones."""
    modules = {type(part).__module__ for part in parts} | set(map(module_of, backbones))
    return tuple(plugin for plugin in plugins if plugin.module in modules)


def needed(plugins: Iterable[Plugin], backbones: Iterable[str]) -> tuple[Plugin, ...]:
    """Return those that bring one of the backbones of a model, by the names of their files.

    Args:
        plugins: Of the recipe of the model, or of those of all members of a pack.
        backbones: Of the model.

    Raises:
        ConfigError: two members of a pack need two versions of one file.
    """
    found = sorted(used(dict.fromkeys(plugins), (), backbones), key=lambda one: one.file)
    for first, second in itertools.pairwise(found):
        if first.file == second.file:
            # A process runs one version, and would build the models of both by it.
            raise ConfigError(
                f"Members of the pack need two versions of the plugin {first.file}, and one module "
                "can hold one. Leave out the members of one of them."
            )
    return tuple(found)


def module_of(backbone: str) -> str:
    """Return the module that brings a backbone, by its name with or without a tag."""
    timm, arch = import_timm(), backbone.partition(".")[0]
    return str(timm.model_entrypoint(arch).__module__) if timm.is_model(arch) else ""


def _run(plugin: Plugin) -> None:
    """Import a plugin, and note what it brings; one that is refused leaves nothing behind."""
    timm = import_timm()
    there = {name: timm.model_entrypoint(name) for name in timm.list_models()}
    try:
        module = _imported(plugin)
        backbones = _backbones_of(plugin.module)
        for name in backbones:
            if name in there:
                raise ValueError(
                    f"there is a model {name} already, of {there[name].__module__}: give yours "
                    f"another name{_or_apart(there[name], plugin)}"
                )
        parts = [value for value in vars(module).values() if _is_part_of(value, plugin.module)]
        parts = list(dict.fromkeys(parts))
        for place, part in enumerate(parts):
            if not isinstance(_kind(part), str):
                raise ValueError(
                    f"{part.__name__} has no kind: write e.g. kind: Literal['x'] = 'x'"
                )
            if other := _of_same_kind(part, parts[:place]):
                raise ValueError(
                    f"there is a kind {_kind(part)} already, {other.__name__} of "
                    f"{other.__module__}: give {part.__name__} another{_or_apart(other, plugin)}"
                )
        if not parts and not backbones:
            raise ValueError(
                "it brings nothing: no subclass of Loss, Optimizer or Schedule, and no backbone "
                "that it registers with timm"
            )
    except ValueError:
        taken = [name for name in _backbones_of(plugin.module) if name in there]
        _forget(plugin.module)
        for name in taken:
            timm.models.register_model(there[name])
        raise
    _parts[plugin.module], _running[plugin.module] = parts, plugin.sha256
    OWN_VERSIONS.update(dict.fromkeys(backbones, plugin.sha256[:12]))
    feature_width.cache_clear()


def _imported(plugin: Plugin) -> ModuleType:
    """Return a plugin's module.

    Raises:
        ValueError: it cannot be run.
    """
    sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    module = sys.modules[plugin.module] = ModuleType(plugin.module)
    # So that tracebacks show its lines.
    lines = plugin.source.splitlines(keepends=True)
    linecache.cache[plugin.file] = (len(plugin.source), None, lines, plugin.file)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Overwriting ")  # refused by `_run`
        try:
            exec(compile(plugin.source, plugin.file, "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            raise ValueError(f"it ends with {said}{_line(error)}") from error
    return module


def _backbones_of(module: str) -> list[str]:
    """Return the models that a module has registered with timm."""
    timm = import_timm()
    return [n for n in timm.list_models() if timm.model_entrypoint(n).__module__ == module]


def _is_part_of(value: Any, module: str) -> bool:
    """Return whether something of a module is a part that is to be chosen by its kind."""
    return (
        inspect.isclass(value)
        and issubclass(value, Part)
        and issubclass(value, tuple(_bases))
        and value.__module__ == module
        and not inspect.isabstract(value)
    )


def _kind(part: type[Part]) -> Any:
    return part.model_fields["kind"].default


def _line(error: BaseException) -> str:
    """Return where in the plugin an error was raised, in words."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
    return f" (line {lines[1]})" if len(lines) > 1 else ""  # the first is of this module


def _of_same_kind(part: type[Part], before: Sequence[type[Part]]) -> type[Part] | None:
    """Return what has the kind of `part` already: of `before`, of a plugin that runs, or of ours.

    The classes of a plugin that runs no more may be there still, and have no kind any more.
    """
    there = [*before, *itertools.chain(*_parts.values())]
    bases = [base for base in _bases if issubclass(part, base)]
    waiting = [*bases]
    while waiting:
        there.append(one := waiting.pop())
        waiting += [sub for sub in one.__subclasses__() if not _is_plugin(sub)]
    return next((o for o in there if issubclass(o, tuple(bases)) and _kind(o) == _kind(part)), None)


def _is_plugin(part: Any) -> bool:
    return part.__module__.startswith(f"{PACKAGE}.")


def _or_apart(other: Any, plugin: Plugin) -> str:
    """Return what else can be done where another plugin has what this one brings."""
    is_apart = _is_plugin(other) and other.__module__ != plugin.module
    return ", or open the studies of the two files in two processes" if is_apart else ""


def _forget(module: str) -> None:
    """Undo what a plugin brought to this process."""
    _parts.pop(module, None)
    _running.pop(module, None)
    sys.modules.pop(module, None)
    registry = import_timm().models._registry  # which has no public way to take a model out
    for name in _backbones_of(module):
        registry._clear_model_entries(name)
        del registry._model_entrypoints[name]
        OWN_VERSIONS.pop(name, None)


@dataclass(frozen=True)
class Kinds:
    """Lets a union of parts, told apart by their `kind`, take those of plugins as well."""

    base: type[Part]
    """What they all are."""

    def __post_init__(self) -> None:
        """Let plugins bring parts of this sort."""
        if self.base not in _bases:
            _bases.append(self.base)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Ask the plugins first: no kind of theirs is one of the union."""
        union = handler.generate_schema(Annotated[source, Field(discriminator="kind")])
        return core_schema.no_info_wrap_validator_function(
            self._read,
            union,
            serialization=core_schema.wrap_serializer_function_ser_schema(_written, info_arg=True),
        )

    def _read(self, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
        for part in itertools.chain(*_parts.values()):
            if issubclass(part, self.base) and _kind(part) == kind:
                return part.model_validate(value)
        return read(value)


def _written(part: Part, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if _is_plugin(type(part)):
        return part.model_dump(mode=info.mode)
    return write(part)


def own_versions(backbones: Iterable[str]) -> dict[str, str]:
    """Return those of some backbones: what is kept about them must be told apart by it."""
    names = {name.partition(".")[0] for name in backbones}
    return {f"own.{name}": OWN_VERSIONS[name] for name in sorted(names & OWN_VERSIONS.keys())}
