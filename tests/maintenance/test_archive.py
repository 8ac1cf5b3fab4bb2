"""An archive that comes from elsewhere is whole, or is refused and leaves nothing."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import StudyError
from workbench.files import hash_file
from workbench.maintenance.archive import (
    MANIFEST,
    ArchiveManifest,
    entry_of,
    extract,
    is_plain,
    read_manifest,
    write_archive,
)
from workbench.tracking.transfer import StoredRuns

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files of a study; one of no bytes, one of just a block, one of more."""
    contents = {
        "study/study.json": b"",
        "study/trials/0a/log.txt": bytes(512),
        "study/a.csv": b"x" * 700,
    }
    for number, content in enumerate(contents.values()):
        (tmp_path / str(number)).write_bytes(content)
    return {name: tmp_path / str(number) for number, name in enumerate(contents)}


def manifest_of(files: dict[str, Path]) -> ArchiveManifest:
    return ArchiveManifest(
        study="mine",
        study_id="0",
        created="2026-01-01T00:00:00+00:00",
        version="1",
        code_hash="0",
        files={name: entry_of(file) for name, file in files.items()},
        runs=StoredRuns(),
    )


@pytest.fixture
def archive(tmp_path: Path, files: dict[str, Path]) -> Path:
    write_archive(tmp_path / "a.tar", manifest_of(files), files)
    return tmp_path / "a.tar"


def test_what_is_written_comes_back(tmp_path: Path, archive: Path, files: dict[str, Path]) -> None:
    (tmp_path / "out").mkdir()
    assert extract(archive, tmp_path / "out") == read_manifest(archive) == manifest_of(files)
    there = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert there == files.keys()
    for name, file in files.items():
        assert hash_file(tmp_path / "out" / name) == hash_file(file)
    # Any tar can list it.
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [MANIFEST, *files]


def members(archive: Path) -> list[Member]:
    with tarfile.open(archive) as tar:
        found = []
        for one in tar.getmembers():
            file = tar.extractfile(one)
            assert file is not None
            found.append((one, file.read()))
        return found


def rewritten(archive: Path, changed: list[Member]) -> Path:
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for header, content in changed:
            header.size = len(content) if header.isreg() else 0
            tar.addfile(header, io.BytesIO(content))
    return archive


def with_manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[list[Member]], None]:
    def apply(some: list[Member]) -> None:
        tree = json.loads(some[0][1])
        change(tree)
        some[0] = (some[0][0], json.dumps(tree).encode())

    return apply


def _named(name: str) -> Callable[[list[Member]], None]:
    """Name a file otherwise, in the manifest and in its header."""

    def apply(some: list[Member]) -> None:
        old = some[1][0].name

        def rename(tree: dict[str, Any]) -> None:
            tree["files"][name] = tree["files"].pop(old)

        with_manifest(rename)(some)
        some[1][0].name = name

    return apply


def _link(kind: bytes, target: str) -> Callable[[list[Member]], None]:
    def apply(some: list[Member]) -> None:
        some[1][0].type, some[1][0].linkname = kind, target

    return apply


def _resize(tree: dict[str, Any]) -> None:
    tree["files"]["study/a.csv"]["size_bytes"] = 2**45


def _double(some: list[Member]) -> None:
    some.append(some[-1])


def _unnamed(some: list[Member]) -> None:
    some.append((tarfile.TarInfo("study/more.json"), b"{}"))


def _byte(some: list[Member]) -> None:
    some[-1] = (some[-1][0], b"y" + some[-1][1][1:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_named("../../escaped.json"), "no plain path"),
        (_named("study/../../escaped.json"), "no plain path"),
        (_named("/tmp/escaped.json"), "no plain path"),
        (_named("study/page.html"), "no plain path"),
        (_named("study/program.py"), "no plain path"),
        (_named("study/.hidden.json"), "no plain path"),
        (_named("study/a.csv/below.json"), "is a file and a folder in it"),
        (_link(tarfile.SYMTYPE, "/etc/passwd"), "a link, a folder or a device"),
        (_link(tarfile.LNKTYPE, "study/a.csv"), "a link, a folder or a device"),
        (_link(tarfile.CHRTYPE, ""), "a link, a folder or a device"),
        (_link(tarfile.DIRTYPE, ""), "a link, a folder or a device"),
        (_link(tarfile.GNUTYPE_SPARSE, ""), "a link, a folder or a device"),
        (with_manifest(_resize), "less than or equal"),
        (with_manifest(lambda tree: tree.update(format=2)), "`format` is 2"),
        (with_manifest(lambda tree: tree.pop("study_id")), "`study_id` is missing"),
        (_double, "other files than its manifest says"),
        (_unnamed, "other files than its manifest says"),
        (_byte, "study/a.csv is not what was exported"),
        (lambda some: some.pop(), "study/a.csv is missing"),
        (lambda some: some.pop(0), "does not begin with a manifest"),
    ],
)  # fmt: skip
def test_what_is_not_as_its_manifest_says_is_refused(
    tmp_path: Path, archive: Path, change: Callable[[list[Member]], None], said: str
) -> None:
    changed = members(archive)
    change(changed)
    rewritten(archive, changed)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(StudyError, match="is no whole archive of a study") as error:
        extract(archive, out)
    assert said in str(error.value)
    assert not list(tmp_path.rglob("escaped*"))
    assert not any(path.is_symlink() for path in out.rglob("*"))


@pytest.mark.parametrize("length", [0, 100, 512, 1000, 2200])
def test_one_that_is_cut_short_is_refused(tmp_path: Path, archive: Path, length: int) -> None:
    archive.write_bytes(archive.read_bytes()[:length])
    (tmp_path / "out").mkdir()
    with pytest.raises(StudyError, match="is no whole archive"):
        extract(archive, tmp_path / "out")


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path, files: dict[str, Path]) -> None:
    manifest = manifest_of(files)
    files["study/a.csv"].write_bytes(b"y" * 700)
    with pytest.raises(StudyError, match="was changed while it was exported"):
        write_archive(tmp_path / "a.tar", manifest, files)
    files["study/a.csv"].write_bytes(b"x" * 600)
    with pytest.raises(StudyError, match="was changed while it was exported"):
        write_archive(tmp_path / "a.tar", manifest, files)
    assert not (tmp_path / "a.tar").exists()


def test_a_folder_or_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StudyError, match="is a pipe, which is not read"):
        read_manifest(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("study/trials/0123456789ab/model.safetensors", True),
        ("runs/0/augmentations/geometry 1.png", True),
        ("study/study.json", True),
        ("study.json", False),
        ("other/study.json", False),
        ("study//study.json", False),
        ("study/a\n.json", False),
        ("study/a.pkl", False),
        ("study/" + "a" * 120 + ".json", False),
        (f"study/{'a' * 51}/{'b' * 95}/{'c' * 41}", True),
        (f"study/{'a' * 51}/{'b' * 100}/{'c' * 41}", False),  # no tar's header holds it
    ],
)
def test_names_of_files_are_plain(name: str, *, plain: bool) -> None:
    assert is_plain(name) == plain
