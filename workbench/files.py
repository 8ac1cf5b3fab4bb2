"""Files are finished or absent: written beside the final name, then renamed."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from workbench.errors import DamagedFileError, DiskFullError, LockError

PART = ".part-"

_NO_LOCKS = "WORKBENCH_NO_LOCKS"


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the body succeeds.

    The temporary name keeps the suffix of `path`, since writers choose formats by it.

    Raises:
        DiskFullError: the body failed, and the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except Exception as error:
        # Each library has its own error for a full disk, so the disk is asked.
        if no_space(path.parent):
            raise DiskFullError(f"The disk is full: {path} could not be written.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left half-written below `folder`, which nobody else writes now."""
    for part in folder.rglob(f"{PART}*"):
        part.unlink()


def no_space(folder: Path) -> bool:
    """Say whether the disk of `folder` is full, or next to it."""
    return shutil.disk_usage(folder).free < 2**20


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
