"""The stores of decoded views, and which of them no study uses."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path

from workbench.access import is_locked, open_lock, take_lock
from workbench.data.prepare import stored_arrays
from workbench.errors import WorkbenchError
from workbench.study.disk import bytes_below
from workbench.study.folder import StudyFolder
from workbench.values import Frozen
from workbench.workspace import Workspace


class ViewCache(Frozen):
    """One store of decoded views."""

    folder: Path
    size_bytes: int
    is_used: bool
    """Whether a study reads it, or something writes to it now."""

    is_elsewhere: bool
    """Whether it lies outside of the studies' folder, by a link: others may use it."""


def studies_of(workspace: Workspace) -> list[StudyFolder]:
    """Return the studies of a workspace, by name."""
    return [StudyFolder(file.parent) for file in sorted(workspace.studies.glob("*/study.json"))]


def view_caches(workspace: Workspace) -> list[ViewCache]:
    """Return the stores of views, by name.

    All are in use while a study that begins, or one whose table of data cannot be read, may use
    any.
    """
    used: set[Path] = set()
    unknown = False
    for study in studies_of(workspace):
        try:
            used |= {array.parent.resolve() for array in stored_arrays(study.path)}
        except WorkbenchError:
            # Without a table of its data nothing of it was ever trained, unless it begins now.
            is_begun = (study.path / "prepared.json").exists() or study.is_held()
            unknown = unknown or is_begun
    found = []
    for folder in sorted((workspace.cache / "views").glob("*/")):
        is_used = unknown or folder.resolve() in used or is_locked(folder / "lock")
        found.append(
            ViewCache(
                folder=folder,
                size_bytes=bytes_below(folder),
                is_used=is_used,
                is_elsewhere=is_elsewhere(folder, workspace),
            )
        )
    return found


def is_elsewhere(path: Path, workspace: Workspace) -> bool:
    """Say whether a path leads out of the folder of the studies, which may be a link itself."""
    return not path.resolve().is_relative_to(workspace.studies.resolve())


def remove_cache(folder: Path) -> None:
    """Remove a store of views, unless another process has begun to write to it by now."""
    with open_lock(folder / "lock") as lock, suppress(BlockingIOError):
        take_lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
