"""Files are finished or absent: written beside the final name, then renamed."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.errors import DiskFullError

PART = ".part-"

OLD_PART_S = 24 * 3600.0
"""A part whose writer cannot be asked, on a file system without locks, is left alone for so long
after its last change."""


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the body succeeds.

    The temporary name keeps the suffix of `path`, since writers choose formats by it.

    Raises:
        DiskFullError: the body failed, and the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked_part(lambda: _new_file(path)) as temporary:
        mode = temporary.stat().st_mode
        try:
            yield temporary
            # safetensors puts a file of its own in its place, which nobody else may read.
            if temporary.stat().st_mode != mode:
                temporary.chmod(mode & 0o777)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        except Exception as error:  # each library has its own for a full disk: the disk is asked
            if no_space(path.parent):
                raise DiskFullError(
                    f"The disk is full: {path} could not be written. Make space; run this again."
                ) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left half-written below `folder`; what is being written stays."""
    remove_left(folder.rglob(f"{PART}*"))


def remove_left(parts: Iterable[Path]) -> None:
    """Remove those of some files and folders that no living process is writing."""
    for part in list(parts):
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
    with named(path):
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return part


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error of the body be about `path`: nobody knows the name of a part."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def locked_part(make: Callable[[], Path]) -> Iterator[Path]:
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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` in one step."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step."""
    with finished(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value that JSON file `path` holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def require_readable(path: Path) -> None:
    """Raise the system's own error if a file may not be read.

    The library of safetensors says of each that it cannot open that it is not there.
    """
    with path.open("rb") as file:
        file.read(1)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the bytes of `path`, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
