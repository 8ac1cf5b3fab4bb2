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
from collections.abc import Iterable, Mapping
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
    def _run(self) -> Self:
        if _running.get(self.module) != self.sha256:
            _forget(self.module)
            _run(self)
            _running[self.module] = self.sha256
        return self

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
        kinds = [str(part.model_fields["kind"].default) for part in _parts[self.module]]
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


def module_of(backbone: str) -> str:
    """Return the module that brings a backbone, by its name with or without a tag."""
    timm, arch = import_timm(), backbone.partition(".")[0]
    return str(timm.model_entrypoint(arch).__module__) if timm.is_model(arch) else ""


def _run(plugin: Plugin) -> None:
    """Import a plugin, and note what it brings.

    Raises:
        ValueError: it cannot be run, brings nothing, or brings what there is already.
    """
    timm = import_timm()
    there = {name: timm.model_entrypoint(name) for name in timm.list_models()}
    sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    module = sys.modules[plugin.module] = ModuleType(plugin.module)
    # So that tracebacks show its lines.
    lines = plugin.source.splitlines(keepends=True)
    linecache.cache[plugin.file] = (len(plugin.source), None, lines, plugin.file)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Overwriting ")  # refused below
        try:
            exec(compile(plugin.source, plugin.file, "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            raise ValueError(f"it ends with {said}{_line(error)}") from error
        now = {name: timm.model_entrypoint(name) for name in timm.list_models()}
        backbones = [name for name, make in now.items() if make.__globals__ is vars(module)]
        taken = [n for n in backbones if n in there and there[n].__module__ != plugin.module]
        for name in taken:
            timm.models.register_model(there[name])
        if taken:
            raise ValueError(
                f"there is a model {taken[0]} already, of {there[taken[0]].__module__}: give "
                "yours another name"
            )
    parts: list[type[Part]] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Part)
        and issubclass(value, tuple(_bases))
        and value.__module__ == plugin.module
        and not inspect.isabstract(value)
    ]
    for part in parts:
        kind = part.model_fields["kind"].default
        if not isinstance(kind, str):
            raise ValueError(f"{part.__name__} has no kind: write e.g. kind: Literal['x'] = 'x'")
        if kind in _kinds_beside(part):
            raise ValueError(f"there is a kind {kind} already: give {part.__name__} another")
    if not parts and not backbones:
        raise ValueError(
            "it brings nothing: no subclass of Loss, Optimizer or Schedule, and no backbone that "
            "it registers with timm"
        )
    _parts[plugin.module] = parts
    OWN_VERSIONS.update(dict.fromkeys(backbones, plugin.sha256[:12]))
    feature_width.cache_clear()


def _line(error: BaseException) -> str:
    """Return where in the plugin an error was raised, in words."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
    return f" (line {lines[1]})" if len(lines) > 1 else ""  # the first is of this module


def _kinds_beside(part: type[Part]) -> set[str]:
    """Return the kinds that the other parts of this sort have."""
    found: set[str] = set()
    waiting = [base for base in _bases if issubclass(part, base)]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        is_old = one.__module__ == part.__module__  # of this version, or of one before it
        if not is_old and isinstance(kind := one.model_fields["kind"].default, str):
            found.add(kind)
    return found


def _forget(module: str) -> None:
    _parts.pop(module, None)
    _running.pop(module, None)
    sys.modules.pop(module, None)


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
            if issubclass(part, self.base) and part.model_fields["kind"].default == kind:
                return part.model_validate(value)
        return read(value)


def _written(part: Part, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if type(part).__module__.startswith(f"{PACKAGE}."):
        return part.model_dump(mode=info.mode)
    return write(part)
