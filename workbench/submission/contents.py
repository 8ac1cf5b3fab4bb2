"""The files of a bundle, and the manifest in which it says what they are."""

import json
from pathlib import Path

from workbench.errors import BundleError, ConfigError
from workbench.files import read_json
from workbench.values import Frozen, build

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.csv"
WEIGHTS = "model.safetensors"
RECIPE = "recipe.json"
PROGRAM = "predict.py"
CODE = "code"


class FileRecord(Frozen):
    """One file of a bundle."""

    sha256: str
    size_bytes: int


class Contents(Frozen):
    """What a bundle is, and the hash of every other file in it."""

    study: str
    trial: int
    recipe: str
    """The recipe's uid."""

    name_column: str
    """Of the prediction template."""

    score_column: str
    created: str
    """UTC, ISO 8601."""

    python: str
    """The version it was made with."""

    versions: dict[str, str]
    """Of the packages that its code needs."""

    files: dict[str, FileRecord]
    """By path within the bundle; the manifest itself is left out."""


def read_contents(bundle: Path) -> Contents:
    """Return the manifest of a bundle.

    Raises:
        BundleError: there is none, or it cannot be read.
    """
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(f"{bundle} is no bundle: it has no {MANIFEST}. Name an exported folder.")
    try:
        return build(Contents, read_json(path), where=str(path))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({error}). Export the bundle again.") from error
    except ConfigError as error:
        raise BundleError(f"{error} Export the bundle again.") from error
