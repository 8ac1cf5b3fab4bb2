"""Which modules of this package a module needs, found in its source: nothing is imported."""

import ast
import sys
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple


class Closure(NamedTuple):
    """A module and all that it imports, wherever in a file an import stands."""

    files: tuple[Path, ...]
    """The package's own files, relative to the folder that holds the package; packages on the way
    included."""

    libraries: frozenset[str]
    """Top-level names of the other imports, the standard library left out."""


def closure(module: str, root: Path, written: Mapping[Path, bytes] | None = None) -> Closure:
    """Return what `module` needs.

    Args:
        module: Its full name, e.g. `workbench.submission.api`.
        root: The folder that holds the package.
        written: The source of files that are others than in that folder, or not in it at all, by
            their place in it.
    """
    package = module.partition(".")[0]
    files: dict[str, Path] = {}
    libraries: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, root, written or {})
        if name in files or path is None:
            continue
        files[name] = path
        waiting += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        source = (written or {}).get(path) or (root / path).read_bytes()
        for imported in _imports(source, path, name):
            if imported.partition(".")[0] == package:
                waiting.append(imported)
            else:
                libraries.add(imported.partition(".")[0])
    libraries -= sys.stdlib_module_names
    return Closure(tuple(sorted(files.values())), frozenset(libraries))


def _imports(code: bytes, path: Path, module: str) -> Iterator[str]:
    """Yield the names that source code imports; of `from a import b`, both `a` and `a.b`."""
    parent = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(code, filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), parent)
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _file(module: str, root: Path, written: Mapping[Path, bytes]) -> Path | None:
    """Return the file of a module relative to `root`; none if the name is not a module's."""
    stem = Path(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path in written or (root / path).is_file():
            return path
    return None
