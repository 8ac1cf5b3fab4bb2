"""The code of a bundle: what prediction imports, with no views and backbones but its model's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.media.view import View
from workbench.parts.plugins import Plugin
from workbench.submission.import_closure import closure

PACKAGE = Path(__file__).parents[1]
ENTRY = "workbench.submission.api"
_VIEWS = Path(PACKAGE.name, "media", "views.py")
_MODELS = Path(PACKAGE.name, "parts", "own_models.py")
_HEADS = Path(PACKAGE.name, "parts", "any_head.py")
_LINEAR_HEAD = '''"""The head of this bundle's model."""

from workbench.parts.heads import LinearHead

AnyHead = LinearHead
'''
_OVER_FRAMES = Path(PACKAGE.name, "parts", "any_over_frames.py")
_MEAN_OF_FRAMES = '''"""How the frames of a view become one in this bundle's model."""

from workbench.parts.over_frames import MeanOfFrames

AnyOverFrames = MeanOfFrames
'''
_INPUT = Path(PACKAGE.name, "parts", "picture_input.py")
_COLOURS = '''"""What the backbones of this bundle's model see of pictures."""

from typing import Literal

from torch import nn

PictureInput = Literal["rgb"]
CHANNELS: dict[str, int] = {}


def transform(picture_input: PictureInput) -> nn.Module:
    """Return what leaves pictures as they are."""
    return nn.Identity()
'''
_ROOT = Path(PACKAGE.name, "__init__.py")

_NOTEBOOK = Path(PACKAGE.name, "notebook.py")
_NO_NOTEBOOK = '''"""What a bundle shows is for a terminal."""

from collections.abc import Iterator
from typing import Any


def in_notebook() -> bool:
    """Return whether what is shown is for a notebook."""
    return False


def track_in_notebook(items: Any, label: str, **how: Any) -> Iterator[Any]:
    """Yield `items`."""
    yield from items
'''

_ANY_MODEL = Path(PACKAGE.name, "scoring", "any_model.py")
_ONE_MODEL = '''"""Reading and scoring the one model of this bundle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from workbench.parts.model_spec import ModelSpec
from workbench.scoring.evaluator import Evaluator, ViewSource


def read_spec(tree: Any) -> ModelSpec:
    """Return the spec that JSON values are; raise ValueError if they are none."""
    return ModelSpec.model_validate(tree)


def scores_of(
    spec: ModelSpec,
    model: nn.Module,
    source_for: Callable[[ModelSpec], ViewSource],
    *,
    batch_size: int,
) -> npt.NDArray[np.float64]:
    """Return the probability of each file to be fake, (files,)."""
    return Evaluator(spec, model).scores(source_for(spec), batch_size=batch_size)
'''


@dataclass(frozen=True)
class Code:
    """Modules that need each other and libraries, and nothing else."""

    files: Mapping[Path, bytes]
    """By the place below the folder that holds the package."""

    libraries: frozenset[str]
    """Top-level names of what they import, the standard library left out."""


def code_for(
    views: Collection[type[View]],
    backbones: Collection[str],
    *,
    is_pack: bool = False,
    has_own_head: bool = False,
    has_over_frames: bool = False,
    has_picture_input: bool = False,
    plugins: Collection[Plugin] = (),
) -> Code:
    """Return the code that scores files by a model, or a pack, of such views and backbones.

    `plugins` are the files of its user that bring some of the backbones.
    """
    written = {
        _VIEWS: views_module(views).encode(),
        _MODELS: models_module(backbones, plugins).encode(),
        **{place_of(plugin): plugin.source.encode() for plugin in plugins},
        _NOTEBOOK: _NO_NOTEBOOK.encode(),
        # The whole package's names are not here.
        _ROOT: b'"""What this bundle needs of workbench."""\n',
    }
    if not is_pack:
        written[_ANY_MODEL] = _ONE_MODEL.encode()
    if not has_own_head:
        written[_HEADS] = _LINEAR_HEAD.encode()
    if not has_over_frames:
        written[_OVER_FRAMES] = _MEAN_OF_FRAMES.encode()
    if not has_picture_input:
        written[_INPUT] = _COLOURS.encode()
    found = closure(ENTRY, PACKAGE.parent, written)
    files = {
        file: written[file] if file in written else (PACKAGE.parent / file).read_bytes()
        for file in found.files
    }
    return Code(files, found.libraries)


def views_module(views: Collection[type[View]]) -> str:
    """Return the source of `media/views.py` for these views alone."""
    places = sorted((view.__module__, view.__name__) for view in views)
    imports = "".join(f"from {module} import {name}\n" for module, name in places)
    one = " | ".join(name for _, name in places)
    kind = f'Annotated[{one}, Field(discriminator="kind")]' if len(places) > 1 else one
    return (
        '"""The views that the model of this bundle reads."""\n\n'
        "from typing import Annotated\n\nfrom pydantic import Field\n\n"
        f"{imports}\nAnyView = {kind}\n"
    )


def place_of(plugin: Plugin) -> Path:
    """Return where a bundle has a plugin, below the folder that holds the package."""
    return Path(*plugin.module.split(".")).with_suffix(".py")


def models_module(backbones: Collection[str], plugins: Collection[Plugin] = ()) -> str:
    """Return the source of `parts/own_models.py` for these backbones and plugins alone."""
    names = {backbone.partition(".")[0] for backbone in backbones}
    lines = (PACKAGE.parent / _MODELS).read_text(encoding="utf-8").splitlines()
    kept = [
        line
        for line in lines
        if not line.startswith("import ")
        or any(name.startswith(line.split()[1].rpartition(".")[2]) for name in names)
    ]
    kept += [f"import {plugin.module}" for plugin in plugins]
    return "\n".join(kept) + "\n"
