"""Files are finished or absent: written beside the final name, then renamed."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from workbench.errors import AccessError, DamagedFileError, DiskFullError, LockError

PART = ".part-"

OLD_PART_S = 24 * 3600.0
"""A part whose writer cannot be asked, on a file system without locks, is left alone for so long
after its last change."""

_NO_LOCKS = "WORKBENCH_NO_LOCKS"


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the body succeeds.

    The temporary name keeps the suffix of `path`, since writers choose formats by it.

    Raises:
        DiskFullError: the body failed, and the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part(lambda: _new_file(path)) as temporary:
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        except Exception as error:
            # Each library has its own error for a full disk, so the disk is asked.
            if no_space(path.parent):
                raise DiskFullError(f"The disk is full: {path} could not be written.") from error
            raise
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def finished_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` if the body succeeds.

    Raises:
        AccessError: `path` is there by now and is no empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part(lambda: _new_folder(path)) as temporary:
        try:
            yield temporary
            try:
                temporary.replace(path)
            except OSError as error:
                if not os.path.lexists(path):
                    raise
                raise AccessError(
                    f"{path} was made by another command meanwhile. Name another folder."
                ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left half-written below `folder`; what is being written stays."""
    for part in list(folder.rglob(f"{PART}*")):
        # Another one may have swept it, or it may be inside a folder that is swept already. What
        # cannot be removed harms nobody.
        with suppress(OSError):
            handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _is_left(handle):
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
            finally:
                os.close(handle)


def _new_file(path: Path) -> Path:
    # Who may read it is for the user's umask to say: `tempfile` would keep it from everyone else.
    # Nothing that is there under this name, a link above all, is ever written to.
    part = path.parent / f"{PART}{secrets.token_hex(8)}{path.suffix}"
    with _named(path):
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return part


def _new_folder(path: Path) -> Path:
    part = path.parent / f"{PART}{secrets.token_hex(8)}"
    with _named(path):
        part.mkdir()
    return part


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error of the body be about `path`: nobody knows the name of a part."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def _part(make: Callable[[], Path]) -> Iterator[Path]:
    """Yield a new part, locked as long as its writer lives: `sweep` asks by that lock.

    The system drops the lock with the process, however that ends.
    """
    while True:
        part = make()
        handle = os.open(part, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: `sweep` goes by age there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if part.exists():
            break
        os.close(handle)  # swept in the moment before it was locked
    try:
        yield part
    finally:
        os.close(handle)


def _is_left(handle: int) -> bool:
    """Say whether the writer of an open part is gone."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(handle).st_mtime > OLD_PART_S
    return True


def no_space(folder: Path) -> bool:
    """Say whether the disk of `folder` is full, or next to it."""
    return shutil.disk_usage(folder).free < 2**20


def require_writable(path: Path) -> None:
    """Check that a file can be read and written, and that files can be made in a folder.

    What is not there yet could be made in the folder above.

    Raises:
        AccessError: it cannot.
    """
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
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
    except Exception as error:
        for folder in folders:
            if folder.exists() and no_space(folder):
                raise DiskFullError(
                    f"The disk of {folder} is full. Make space; the same command then goes on."
                ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` in one step."""
    with finished(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value that JSON file `path` holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the bytes of `path`, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path, *, remedy: str) -> bytes:
    """Return the bytes of a file that this program wrote.

    Raises:
        DamagedFileError: it is gone, or cannot be read; ends with `remedy`.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is gone. {remedy}") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DamagedFileError(f"{path} cannot be read: {why}. {remedy}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; it waits for another process that holds it.

    Raises:
        LockError: there can be no lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as lock:
        take_lock(lock)
        yield


def open_lock(path: Path) -> IO[str]:
    """Return the lock file `path`, open for reading and writing; made if there is none.

    Raises:
        LockError: something else has that name, or it cannot be written.
    """
    try:
        return path.open("a+", encoding="utf-8")
    except IsADirectoryError as error:
        raise LockError(f"{path} is a folder, and a lock file belongs there. Remove it.") from error
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
