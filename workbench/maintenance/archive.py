"""The archive of a study that moves: a tar of plain files, with a manifest of their hashes first.

An archive comes from elsewhere, so it is read as a stranger's: regular files alone, by plain names
that the manifest tells before, each of the size and the SHA-256 that it tells, and no name twice.
Nothing of it is trusted to say where it goes, and no feature of tar beyond that is read.
"""

import hashlib
import io
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from workbench.errors import StudyError
from workbench.files import finished, hash_file
from workbench.gate import require_file
from workbench.tracking.transfer import StoredRuns
from workbench.validation import describe_invalid
from workbench.values import Frozen

MANIFEST = "manifest.json"
STUDY, RUNS = "study", "runs"
"""The folders of an archive: the study's files; artifacts, a folder for each run by its place."""

UNPACKED = ".import-"
"""Begins the name of the folder, beside the studies, where an archive is unpacked."""

MOST_MANIFEST_BYTES = 256 << 20
"""A trial of ten epochs takes some 25 kB of it."""

MOST_FILES = 500_000
MOST_ARCHIVE_BYTES = 1 << 40

SUFFIXES = frozenset(
    {".json", ".jsonl", ".yaml", ".log", ".txt", ".csv", ".parquet", ".npz"}
    | {".png", ".jpg", ".svg", ".safetensors", ".pt", ""}
)
"""Of files that an archive holds: what is only ever read as data. No page, and no program."""

_BLOCK = 512
_PIECE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._+=@,-]{0,99}")


def is_plain(name: str) -> bool:
    """Say whether a path below a folder can be that of a file in an archive."""
    parts = name.split("/")
    return (
        len(name.encode()) <= 200
        and _fits_in_a_header(parts)
        and 1 < len(parts) <= 10
        and parts[0] in (STUDY, RUNS)
        and all(_NAME.fullmatch(part) for part in parts)
        and Path(name).suffix in SUFFIXES
    )


def _fits_in_a_header(parts: list[str]) -> bool:
    """Say whether a tar's header holds a path: 100 letters, and of folders before them 155."""
    paths = ["/".join(parts[:cut]) for cut in range(len(parts))]
    return any(
        len(before) <= 155 and len("/".join(parts[cut:])) <= 100 for cut, before in enumerate(paths)
    )


def _checked_name(name: str) -> str:
    if not is_plain(name):
        raise ValueError("no plain path of a file that a study holds")
    return name


class FileEntry(Frozen):
    """One file of an archive."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0, le=MOST_ARCHIVE_BYTES)


class ArchiveManifest(Frozen):
    """What an archive holds."""

    format: Literal[1] = 1
    study: str
    study_id: str
    created: str
    """UTC, ISO 8601."""

    version: str
    """The program's that wrote it."""

    code_hash: str
    files: dict[Annotated[str, AfterValidator(_checked_name)], FileEntry]
    runs: StoredRuns
    """The study's runs in the tracking store; the artifacts of the nth are in `runs/n`."""

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(entry.size_bytes for entry in self.files.values())


def entry_of(file: Path) -> FileEntry:
    """Return the size and the hash of a file."""
    return FileEntry(sha256=hash_file(file), size_bytes=file.stat().st_size)


def write_archive(out: Path, manifest: ArchiveManifest, files: Mapping[str, Path]) -> None:
    """Write an archive in one step, of the files of its manifest, by where each lies.

    Raises:
        StudyError: a file was changed meanwhile.
        DiskFullError: it does not fit.
    """
    with finished(out) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        text = manifest.model_dump_json().encode()
        tar.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
        for name, entry in manifest.files.items():
            with files[name].open("rb") as file:
                hashed = _Hashed(file)
                try:
                    tar.addfile(_header(name, entry.size_bytes), hashed)
                except OSError as error:
                    if error.errno is not None:
                        raise
                    raise _changed(files[name]) from error  # it is shorter by now
                if hashed.sha256.hexdigest() != entry.sha256:
                    raise _changed(files[name])


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def _changed(file: Path) -> StudyError:
    return StudyError(f"{file} was changed while it was exported. Run the same command again.")


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def read_manifest(archive: Path) -> ArchiveManifest:
    """Return what an archive says that it holds.

    Raises:
        StudyError: it is none, a later version wrote it, or it cannot be read.
    """
    try:
        require_file(archive, limit_bytes=MOST_ARCHIVE_BYTES, kind=StudyError)
        with archive.open("rb") as file:
            return _manifest(file, archive)
    except OSError as error:
        raise StudyError(
            f"{archive} cannot be read: {(error.strerror or str(error)).lower()}. Name a file that "
            "`workbench study-export` wrote."
        ) from error


def _manifest(file: IO[bytes], archive: Path) -> ArchiveManifest:
    header = _next(file, archive)
    if header is None or header.name != MANIFEST or header.size > MOST_MANIFEST_BYTES:
        raise _damaged(archive, "it does not begin with a manifest")
    try:
        manifest = ArchiveManifest.model_validate_json(file.read(header.size))
    except ValidationError as error:
        why = describe_invalid(error, where="its manifest").splitlines()[0].rstrip(".")
        raise _damaged(archive, why) from error
    if len(manifest.files) > MOST_FILES or manifest.size_bytes > MOST_ARCHIVE_BYTES:
        raise _damaged(archive, "it is larger than any study")
    _skip_padding(file, header.size)
    return manifest


def extract(archive: Path, folder: Path) -> ArchiveManifest:
    """Write the files of an archive below an empty folder, each as its manifest says.

    Raises:
        StudyError: it is none, or holds anything else than its manifest says.
        OSError: it cannot be read.
    """
    require_file(archive, limit_bytes=MOST_ARCHIVE_BYTES, kind=StudyError)
    with archive.open("rb") as file:
        manifest = _manifest(file, archive)
        if shutil.disk_usage(folder).free < manifest.size_bytes:
            raise StudyError(
                f"{archive} holds {manifest.size_bytes / 1e6:.0f} MB, more than the disk of "
                f"{folder} has left. Make space, or import it elsewhere."
            )
        for name in _extracted(file, archive, manifest, folder):
            missing = manifest.files.keys() - name
    if missing:
        raise _damaged(archive, f"{min(missing)} is missing")
    return manifest


def _extracted(
    file: IO[bytes], archive: Path, manifest: ArchiveManifest, folder: Path
) -> Iterator[set[str]]:
    """Write one file after another; yield the names of those that are there, first of none."""
    done: set[str] = set()
    yield done
    while (header := _next(file, archive)) is not None:
        entry = manifest.files.get(header.name)
        if entry is None or header.name in done or header.size != entry.size_bytes:
            raise _damaged(archive, "it holds other files than its manifest says")
        hashed, left = hashlib.sha256(), header.size
        with _made(folder / header.name, archive) as out:
            while left and (piece := file.read(min(left, _PIECE))):
                hashed.update(piece)
                out.write(piece)
                left -= len(piece)
        if left or hashed.hexdigest() != entry.sha256:
            raise _damaged(archive, f"{header.name} is not what was exported")
        _skip_padding(file, header.size)
        done.add(header.name)
        yield done


def _made(target: Path, archive: Path) -> IO[bytes]:
    """Return a new file, open for writing, with the folders above it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise _damaged(archive, f"{target.name} is a file and a folder in it") from error


def _next(file: IO[bytes], archive: Path) -> tarfile.TarInfo | None:
    """Return the header of the next file; nothing at the end.

    Raises:
        StudyError: what comes next is no plain file.
    """
    block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise _damaged(archive, "it is no tar file, or is cut short") from error
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
        raise _damaged(archive, "it holds a link, a folder or a device")
    return header


def _skip_padding(file: IO[bytes], size: int) -> None:
    file.read(-size % _BLOCK)


def _damaged(archive: Path, why: str) -> StudyError:
    return StudyError(
        f"{archive} is no whole archive of a study: {why}. Copy it again from where it was "
        "exported."
    )
