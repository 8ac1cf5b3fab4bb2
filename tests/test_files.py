import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from workbench.access import full_disk_told
from workbench.data.lines import read_lines
from workbench.errors import AccessError, DiskFullError, told
from workbench.files import (
    PART,
    finished,
    hash_file,
    read_json,
    sweep,
    write_json,
    write_text,
)
from workbench.folders import finished_folder, sweep_spare


def test_a_finished_file_is_there_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "note.txt"
    with finished(path) as part:
        part.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert list(path.parent.iterdir()) == [path]


def test_a_body_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write_half() -> None:
        with finished(tmp_path / "note.txt") as part:
            part.write_text("half")
            raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_fails_on_a_full_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.txt"

    def write() -> None:
        with finished(path) as part:
            part.write_text("half")
            raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr("workbench.files.shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(DiskFullError, match=r"The disk is full: .*note.txt could not be written"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def write_half() -> None:
        with finished(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_swept_away(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "note.txt", "kept")
    (tmp_path / "deep" / f"{PART}x7.txt").write_text("half")
    sweep(tmp_path)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["note.txt"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    texts = {letter * 200_000 for letter in "ab"}
    write_text(path, "a" * 200_000)
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        for text in texts:
            write_text(path, text)
    stop.set()
    reader.join()
    assert seen
    assert seen <= texts


def test_the_temporary_name_has_the_suffix_of_the_file(tmp_path: Path) -> None:
    with finished(tmp_path / "table.parquet") as part:
        assert part.suffix == ".parquet"
        assert part.parent == tmp_path


def test_a_body_that_removes_its_file_is_an_error(tmp_path: Path) -> None:
    def write_none() -> None:
        with finished(tmp_path / "note.txt") as part:
            part.unlink()

    with pytest.raises(FileNotFoundError):
        write_none()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_finished_file_is_for_the_umask_to_say(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "note.txt", "x")
        with finished(tmp_path / "table.csv") as part:
            assert part.stat().st_mode & 0o777 == mode  # while it is written, too
        with finished(tmp_path / "weights.safetensors") as part:
            save_file({"a": np.zeros(3)}, part)
    finally:
        os.umask(before)
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == mode
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == mode
    assert (tmp_path / "table.csv").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("write", [finished, finished_folder])
def test_what_may_not_be_begun_is_told_by_its_own_name(
    write: Callable[[Path], AbstractContextManager[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(part: Path, *_: object, **__: object) -> None:
        if part.name.startswith(PART):
            raise PermissionError(errno.EACCES, "Permission denied", str(part))

    path = tmp_path / "note.txt"
    with monkeypatch.context() as patch:  # not until the end: what cleans up opens files too
        patch.setattr("workbench.files.os.open", refuse)
        patch.setattr("workbench.files.Path.mkdir", refuse)
        with pytest.raises(PermissionError) as caught, write(path):
            pass
    assert told(caught.value).startswith(f"{path}: permission denied. ")


def test_a_link_under_the_temporary_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    monkeypatch.setattr("workbench.files.secrets.token_hex", lambda _: "foreseen")
    (tmp_path / f"{PART}foreseen.txt").symlink_to(other)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "note.txt", "yours")
    assert other.read_text() == "mine"


def test_nothing_has_a_known_name_in_the_shared_temporary_folder() -> None:
    """Another user can put a link there; `tempfile` makes names that nobody foresees."""
    sources = (Path(__file__).parents[1] / "workbench").rglob("*.py")
    shared = re.compile(r"gettempdir|mktemp\b|/tmp\b|/dev/shm|TMPDIR")
    found = {path.name for path in sources if shared.search(path.read_text())}
    # They ask whether that disk is full, or say so.
    assert found == {"disks.py", "temporary.py", "filling.py"}


def test_json_comes_back_as_it_went(tmp_path: Path) -> None:
    value = {"name": "Zoë", "rates": [1e-5, 0.1, 3], "none": None, "deep": {"yes": True}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert "Zoë" in (tmp_path / "value.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_nan(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"loss": value})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"x" * 3_000_000)
    assert hash_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_part_folder_of_a_killed_writer_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "deep" / f"{PART}x7" / "inside").mkdir(parents=True)
    (tmp_path / "deep" / f"{PART}x7" / "inside" / f"{PART}y").write_text("half")
    sweep(tmp_path)
    assert list((tmp_path / "deep").iterdir()) == []


def test_what_is_being_written_is_not_swept_away(tmp_path: Path) -> None:
    with finished(tmp_path / "note.txt") as part, finished_folder(tmp_path / "folder") as folder:
        part.write_text("whole")
        (folder / "inside.txt").write_text("whole")
        sweep(tmp_path)
    assert (tmp_path / "note.txt").read_text() == "whole"
    assert (tmp_path / "folder" / "inside.txt").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_writer_that_was_killed_leaves_nothing_that_a_sweep_does_not_find(
    tmp_path: Path, kind: str
) -> None:
    writer = {"file": "finished", "folder": "finished_folder"}[kind]
    program = (
        "import os, signal; from pathlib import Path; from workbench.files import *\n"
        "from workbench.folders import *\n"
        f"with {writer}(Path({str(tmp_path)!r}) / 'out'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_a_part_is_left_until_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("workbench.files.fcntl.flock", refuse)
    young, old = tmp_path / f"{PART}young", tmp_path / f"{PART}old"
    for path in (young, old):
        path.write_text("half")
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [young]
    write_text(tmp_path / "note.txt", "written all the same")
    assert (tmp_path / "note.txt").read_text() == "written all the same"


def test_a_folder_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def write_half() -> None:
        with finished_folder(tmp_path / "out") as part:
            (part / "half.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_sweeps_what_killed_ones_left_beside_it_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{PART}{'0f' * 8}" / "half").mkdir(parents=True)
    mine = [tmp_path / f"{PART}mine", tmp_path / f"{PART}{'0f' * 9}", tmp_path / ".export-2026"]
    for path in mine:
        path.mkdir()
    with finished_folder(tmp_path / "first") as one, finished_folder(tmp_path / "second") as other:
        assert sorted(tmp_path.iterdir()) == sorted([*mine, one, other])
    sweep_spare(tmp_path, ".export-")
    assert sorted(tmp_path.iterdir()) == sorted([*mine, tmp_path / "first", tmp_path / "second"])


def test_a_folder_that_another_made_meanwhile_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with finished_folder(tmp_path / "out") as part:
            (part / "ours").touch()
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").touch()

    with pytest.raises(AccessError, match="was made by another command meanwhile"):
        write()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "prepared.json").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_json(tmp_path / "prepared.json", {})
    assert told(caught.value).startswith(f"{tmp_path / 'prepared.json'} is a folder, where a file ")
    assert [path.name for path in tmp_path.iterdir()] == ["prepared.json"]


def test_json_that_is_nested_without_end_is_none(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"[1]\n" + b"[" * 100_000 + b"\n[2]\n")
    assert list(read_lines(tmp_path / "lines")) == [[1]]


def test_a_full_disk_is_told_though_what_was_begun_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As safetensors says it: it knows no number of an error.
    with pytest.raises(DiskFullError, match=r"is full\. Make space"), full_disk_told(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    # Of several disks, the one with the least space.
    usage = shutil.disk_usage(tmp_path)
    with pytest.raises(RuntimeError, match="another"), full_disk_told(tmp_path):
        raise RuntimeError("another")
    free = {tmp_path: 10**9, tmp_path / "other": 10**8}
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free[path]))
    with pytest.raises(DiskFullError, match="other is full"), full_disk_told(*free):
        raise OSError(errno.ENOSPC, "No space left on device")
    copied = OSError(errno.ENOSPC, "No space left on device", "from.bin", None, "to.bin")
    assert told(copied) == "There is no space left for to.bin. Make some; run this again."
