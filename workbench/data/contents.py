"""The contents of media files: their hashes, read once and remembered, and why one is not read."""

import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from workbench.console import track
from workbench.files import finished, hash_file
from workbench.media.source import is_passing


class Stamp(NamedTuple):
    """What tells that a file was written to or replaced, unless somebody took pains to hide it."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    """When its content or its rights last changed: no program sets this one."""


class _Known(NamedTuple):
    """What is remembered of a path."""

    stamp: Stamp
    inode: int
    """Of the file itself: a link may lead to another one that was written in the same moment."""

    content: str


class ReadContents(NamedTuple):
    """What became of reading the files that are there, by their paths."""

    hashes: dict[str, str]
    refused: dict[str, str]
    """The status of those that could not be read."""

    stamps: dict[str, Stamp]
    altered: tuple[str, ...]
    """Whose content is another than was remembered, with the same size and time."""


def _hash_or_error(path: Path) -> str | OSError:
    try:
        return hash_file(path)
    except OSError as error:
        return error


def read_file_contents(
    paths: Sequence[str], folder: Path, *, cache: Path, verify: bool
) -> ReadContents:
    """Return the SHA-256 of each file, reading only what changed since the last time.

    Paths are relative to the data folder. With `verify`, every file is read.
    """
    memory_file = _memory_file(folder, cache)
    there = {path: (folder / path).stat() for path in paths}
    stamps = {path: _stamp_of(found) for path, found in there.items()}
    memory = _remembered(memory_file)
    hashes = {
        path: content
        for path, now in stamps.items()
        if not verify and path in memory
        if (content := _same(now, there[path].st_ino, memory[path]))
    }
    unread = [path for path in paths if path not in hashes]
    with ThreadPoolExecutor() as pool:  # hashing and reading both let other threads run
        read = pool.map(_hash_or_error, [folder / path for path in unread])
        found = dict(zip(unread, track(read, "hash", unit="file", total=len(unread)), strict=True))
    refused = {p: status_of(error) for p, error in found.items() if isinstance(error, OSError)}
    hashes |= {path: content for path, content in found.items() if isinstance(content, str)}
    altered = [
        path
        for path in unread
        if path in memory and path in hashes
        if memory[path].stamp[:2] == stamps[path][:2] and memory[path].content != hashes[path]
    ]
    kept = {path: _Known(stamps[path], there[path].st_ino, c) for path, c in hashes.items()}
    if kept != memory:
        # Not above: each process that decodes would load it, for longer than many files take.
        import pandas as pd

        # As text: a file's number may be larger than any of a table's.
        rows = [(path, *k.stamp, str(k.inode), k.content) for path, k in kept.items()]
        columns = ["path", *Stamp._fields, "inode", "content"]
        with finished(memory_file) as part:
            pd.DataFrame(rows, columns=columns).to_parquet(
                part, index=False, write_page_checksum=True
            )
    return ReadContents(hashes, refused, stamps, tuple(altered))


def changed_files(contents: Mapping[str, str], folder: Path, *, cache: Path) -> list[str]:
    """Return the paths of files that are there and no longer hold what they held, in order.

    Args:
        contents: What each held, as a SHA-256, by its path within `folder`; empty if it could not
            be read.
        folder: The data folder.
        cache: It remembers when a file was read: one that was not written to since is not read.
    """
    memory = _remembered(_memory_file(folder, cache))
    changed = []
    for path, content in track(contents.items(), "compare", unit="file", total=len(contents)):
        file = folder / path
        try:
            found = file.stat()
            if not file.is_file() or not (found.st_size or content):
                continue
            same = _same(_stamp_of(found), found.st_ino, memory[path]) if path in memory else ""
            now = same or hash_file(file)
        except (OSError, ValueError):
            continue  # gone, or not for this user
        if now != content:
            changed.append(path)
    return changed


def _memory_file(folder: Path, cache: Path) -> Path:
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return cache / "contents" / f"{place}.parquet"


def _remembered(file: Path) -> dict[str, _Known]:
    """Return what is known of each path, if it can be read.

    An older version's stamps lack their last time, and what it knew the file's number.
    """
    import pandas as pd

    try:
        known = pd.read_parquet(file, page_checksum_verification=True)
        if "ctime_ns" not in known:
            known["ctime_ns"] = 0
        if "inode" not in known:
            known["inode"] = "0"
        known["inode"] = [int(number) for number in known["inode"]]
        columns = [known[name].tolist() for name in ("path", *Stamp._fields, "inode", "content")]
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):  # Arrow's, and no such file
        return {}
    return {
        path: _Known(Stamp(*numbers), inode, content)
        for path, *numbers, inode, content in zip(*columns, strict=True)
    }


def _same(now: Stamp, inode: int, known: _Known) -> str:
    """Return the remembered content of a file that has not changed since, else nothing."""
    is_same = known.stamp in (now, now._replace(ctime_ns=0)) and known.inode in (inode, 0)
    return known.content if is_same else ""


def why_unread(status: str) -> str:
    """Return why nothing was read of a file whose `status` is not ok."""
    return "permission denied" if status == "denied" else f"the file is {status}"


def status_of(error: OSError) -> str:
    """Return the status of a file that cannot be read by `error`."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "denied"
    if is_passing(error):
        return "unreadable"
    return "missing" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "broken"


def stamp(path: Path) -> Stamp:
    """Return the stamp of the file `path`."""
    return _stamp_of(path.stat())


def _stamp_of(found: os.stat_result) -> Stamp:
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
