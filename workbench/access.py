"""Whether a place may be written to: rights, space, and locks that keep two processes apart."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from workbench.errors import AccessError, DiskFullError, LockError
from workbench.files import no_space

_NO_LOCKS = "WORKBENCH_NO_LOCKS"


def require_writable(path: Path) -> None:
    """Check that a file can be read and written, and that files can be made in a folder.

    What is not there yet could be made in the folder above; not behind a link that leads nowhere.

    Raises:
        AccessError: it cannot.
    """
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not there.exists() or (there is not path and not there.is_dir()):
        why = "is not a folder" if there.exists() else "is a link that leads nowhere"
        raise AccessError(f"{path} cannot be written: {there} {why}. Name another place.")
    if not os.access(there, os.W_OK | (os.X_OK if there.is_dir() else os.R_OK)):
        why = "permission denied"
        if os.statvfs(there).f_flag & os.ST_RDONLY:
            why = "it is on a read-only file system"
        raise AccessError(
            f"{there}: {why}. Give the user who runs this the right to write there, or run it in "
            "another folder."
        )


@contextmanager
def full_disk_told(*folders: Path) -> Iterator[None]:
    """Let an error of the body be that a disk of `folders` is full, where one is.

    Each library that writes has its own error for that.

    Raises:
        DiskFullError: the body failed, and a disk is full.
    """
    try:
        yield
    except Exception as error:  # each library has its own for a full disk; raised again below
        # A body that takes back what it had begun to write has made space again.
        was_full = "No space left on device" in str(error)
        there = [folder for folder in folders if folder.exists()]
        fullest = min(there, key=lambda folder: shutil.disk_usage(folder).free, default=None)
        if fullest is not None and (was_full or no_space(fullest)):
            raise DiskFullError(
                f"The disk of {fullest} is full. Make space; the same command then goes on."
            ) from error
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; it waits for another process that holds it.

    Raises:
        LockError: there can be no lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open_lock(path) as lock:
            take_lock(lock)
            if is_at(lock, path):
                yield
                return


def is_at(lock: IO[str], path: Path) -> bool:
    """Say whether an open lock file is still that at `path`.

    One that was removed with its folder keeps nobody away: others take the new one.
    """
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def open_lock(path: Path) -> IO[str]:
    """Return the lock file `path`, open for reading and writing; made if there is none.

    Raises:
        LockError: something else has that name, or it cannot be written.
    """
    try:
        return path.open("a+", encoding="utf-8")
    except FileNotFoundError as error:
        raise LockError(
            f"{path.parent} was removed by another command meanwhile. Run the same command again."
        ) from error
    except IsADirectoryError as error:
        raise LockError(
            f"{path} is a folder, where a lock file has to be written. Remove the folder."
        ) from error
    except PermissionError as error:
        raise LockError(
            f"{path} cannot be written: permission denied. Allow it, or use another folder."
        ) from error


def take_lock(lock: IO[str], how: int = fcntl.LOCK_EX) -> None:
    """Lock an open file until it is closed; the system frees it when its holder ends.

    Args:
        lock: The file.
        how: As `fcntl.flock` takes it.

    Raises:
        BlockingIOError: another holds it, and `how` does not wait.
        LockError: the file system has no locks.
    """
    if _NO_LOCKS in os.environ:
        return
    try:
        fcntl.flock(lock, how)
    except BlockingIOError:
        raise
    except OSError as error:
        raise LockError(
            f"{Path(lock.name).parent} cannot be locked ({error.strerror}). Use a folder on "
            "another file system; or give --no-lock, and take care yourself that no two commands "
            "write there at once."
        ) from error


def go_without_locks() -> None:
    """Let this process and those that it starts take no locks; see `take_lock`.

    In the environment, since decoders and workers lock as well and are told nothing else of how
    the command was called.
    """
    os.environ[_NO_LOCKS] = "1"


def is_locked(path: Path) -> bool:
    """Say whether another process holds the lock file `path` now."""
    if _NO_LOCKS in os.environ:
        return False
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no such file, or there are no locks
        return False
    return False
