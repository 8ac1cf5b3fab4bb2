"""The manifest of a bundle, in which it says what its files are."""

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from workbench.errors import BundleError, ConfigError
from workbench.files import read_json
from workbench.submission.places import MANIFEST, MOST_TEMPERATURE, PROGRAM, WEIGHTS
from workbench.validation import build
from workbench.values import Frozen

MOST_MANIFEST_BYTES = 4 << 20
"""A bundle has some hundred files; the manifest of 10,000 of them takes 2 MB."""


def _checked_name(name: str) -> str:
    """Return the path of a file within a bundle, or raise ValueError: it is a stranger's word."""
    plain = name.isprintable() and "\\" not in name and 0 < len(name) <= 255
    if not plain or name.startswith("/") or PurePosixPath(name).as_posix() != name:
        raise ValueError("no plain path within a bundle")
    if name == "." or ".." in name.split("/"):
        raise ValueError("a path out of the bundle")
    if name == MANIFEST:
        raise ValueError("the manifest does not name itself")
    if name.lower().endswith((".pyc", ".pyo")) or "__pycache__" in name.split("/"):
        raise ValueError("bytecode, which a bundle does not hold")
    return name


FileName = Annotated[str, AfterValidator(_checked_name)]


class FileRecord(Frozen):
    """One file of a bundle."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class Temperature(Frozen):
    """By what the logit of every score is divided; see `parts.temperature`."""

    temperature: float = Field(gt=0, le=MOST_TEMPERATURE, allow_inf_nan=False)
    slice: str
    """The slice that it was fitted on."""

    num_files: int
    """Files of it."""


class Contents(Frozen):
    """What a bundle is, and the hash of every other file in it."""

    study: str
    trial: int | None
    """The trial; none where it is a pack or a soup of several."""

    recipe: str
    """The uid of the recipe, of the pack, or of the soup."""

    is_soup: bool = False
    """Whether it is the mean of several trials' weights."""

    name_column: str
    """Of the prediction template."""

    score_column: str
    created: str
    """UTC, ISO 8601."""

    python: str
    """The version it was made with."""

    versions: dict[str, str]
    """Of the packages that its code needs."""

    device: str = ""
    """What the predictions were computed on: `cpu`, or the name of a GPU. Unknown of older ones."""

    test_media: str = ""
    """The folder of the test media within the data folder; unknown of older ones."""

    files: dict[FileName, FileRecord]
    """By path within the bundle; the manifest itself is left out."""


def read_manifest_of_bundle(bundle: Path) -> Contents:
    """Return the manifest of a bundle.

    Raises:
        BundleError: there is none, or it cannot be read.
    """
    path = bundle / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{bundle} is no bundle: it has no {MANIFEST}. Name an exported folder.")
    try:
        if path.stat().st_size > MOST_MANIFEST_BYTES:
            raise BundleError(
                f"{path} is larger than any manifest ({MOST_MANIFEST_BYTES >> 20} MiB). "
                "Export the bundle again."
            )
        contents: Contents = build(Contents, read_json(path), where=str(path))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # also of a number with too many digits
        raise BundleError(
            f"{path} is not JSON ({_said(error)}). Export the bundle again."
        ) from error
    except ConfigError as error:
        raise BundleError(f"{_said(error)}. Export the bundle again.") from error
    for name in (PROGRAM, WEIGHTS):
        if name not in contents.files:
            raise BundleError(f"{path} does not name {name}. Export the bundle again.")
    return contents


def _said(error: Exception) -> str:
    """Return the beginning of what an error says, fit for a terminal: it quotes a stranger."""
    said = " ".join(str(error).split())[:300].rstrip(".")
    return "".join(letter if letter.isprintable() else "?" for letter in said)
