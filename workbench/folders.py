"""Folders are finished or absent, as files are; apart from those, since no bundle makes any."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import AccessError
from workbench.files import PART, locked_part, named, remove_left

_RANDOM_BYTES = 8
"""In the name of a temporary folder."""


@contextmanager
def finished_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` if the body succeeds.

    What a killed process left of another one beside it goes.

    Raises:
        AccessError: `path` is there by now and is no empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_spare(path.parent, PART)
    with locked_part(lambda: _new_folder(path)) as temporary:
        try:
            yield temporary
            try:
                temporary.replace(path)
            except OSError as error:
                if not os.path.lexists(path):
                    raise
                raise AccessError(_meanwhile(path, "folder")) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def put_new(temporary: Path, path: Path) -> None:
    """Give a whole file its name, and take nobody else's from under it.

    Raises:
        AccessError: `path` is there by now, or cannot be written.
    """
    with named(path):
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise AccessError(_meanwhile(path, "file")) from error
        except OSError as error:  # a file system without hard links
            if os.path.lexists(path):
                raise AccessError(_meanwhile(path, "file")) from error
            temporary.replace(path)


def _meanwhile(path: Path, kind: str) -> str:
    return f"{path} was made by another command meanwhile. Name another {kind}."


@contextmanager
def spare_folder(folder: Path, begin: str) -> Iterator[Path]:
    """Yield a new folder in `folder` whose name begins so; it goes when the body ends.

    What a killed process leaves of it, `sweep_spare` removes.
    """
    with locked_part(lambda: _new_folder(folder / "spare", begin)) as spare:
        try:
            yield spare
        finally:
            shutil.rmtree(spare, ignore_errors=True)


def sweep_spare(folder: Path, begin: str) -> None:
    """Remove what in `folder` begins so and is a spare folder that no living process holds.

    It may be a person's own folder, with others of theirs, so what is removed is named as here.
    """
    remove_left(folder.glob(f"{begin}{'[0-9a-f]' * 2 * _RANDOM_BYTES}/"))


def _new_folder(path: Path, begin: str = PART) -> Path:
    part = path.parent / f"{begin}{secrets.token_hex(_RANDOM_BYTES)}"
    with named(path):
        part.mkdir()
    return part
