"""What is let in of strangers' files, and what is told in a sentence."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.errors import ConfigError, DataError
from workbench.gate import is_inside, read_file, require_file, within

SECRET = "root:x:0:0"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def listening(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket may have 108 letters
        server.bind("socket")
        os.chdir(here)
    return folder / "socket"


def sparse(folder: Path) -> Path:
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 42)
    return folder / "huge"


def linked(folder: Path) -> Path:
    (folder / "link").symlink_to("/dev/zero")
    return folder / "link"


def circle(folder: Path) -> Path:
    (folder / "circle").symlink_to("circle")
    return folder / "circle"


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "x.yaml"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (circle, "cannot be opened: too many levels of symbolic links. Correct the path."),
        (below_a_file, "cannot be opened: not a directory"),
        (lambda folder: folder / ("a" * 5000), "a cannot be opened: file name too long"),
        (pipe, "is a pipe"),
        (listening, "is a socket"),
        (lambda _: Path("/dev/zero"), "is a device"),
        (linked, "is a device"),
        (sparse, "over 1 MiB"),
        (lambda _: Path("a\0b"), "is no path"),
    ],
    ids=[
        "circle",
        "below a file",
        "long name",
        "pipe",
        "socket",
        "device",
        "link to a device",
        "sparse",
        "zero byte",
    ],
)
@pytest.mark.parametrize("door", [require_file, read_file])
def test_what_is_no_file_of_a_sane_size_is_refused_at_once(
    tmp_path: Path, door: Callable[..., object], make: Callable[[Path], Path], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        door(make(tmp_path), limit_bytes=1 << 20, kind=DataError)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_file(file, limit_bytes=5) == b"12345"
    with pytest.raises(ConfigError, match="Check that it is the right one"):
        read_file(file, limit_bytes=4)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, limit_bytes=5)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "absent", limit_bytes=5)


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "a/b/../../../x", "/etc/passwd", "a\0b", "../data2/x"]
)
@pytest.mark.parametrize("may_link_out", [False, True])
def test_a_name_that_leaves_its_folder_is_refused(
    tmp_path: Path, name: str, may_link_out: bool
) -> None:
    (tmp_path / "data2").mkdir()
    (tmp_path / "data2" / "x").write_text(SECRET)
    with pytest.raises(ConfigError, match="Name the table relative to that folder") as refused:
        within(tmp_path / "data", name, what="table", may_link_out=may_link_out)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", ["x", "a/x", "a/../x", "./x", "...", "..x", "absent"])
def test_a_name_inside_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    assert within(tmp_path, name, what="table") == tmp_path / name


def test_a_link_may_lead_out_only_where_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text(SECRET)
    data = tmp_path / "data"
    data.mkdir()
    (data / "folder").symlink_to(tmp_path / "outside")
    (data / "up").symlink_to("../outside/x")
    (data / "x").write_text("mine")
    (data / "within").symlink_to("x")
    for name in ("folder/x", "up"):
        with pytest.raises(ConfigError, match="a link that leads out of"):
            within(data, name, what="table")
        assert within(data, name, what="media", may_link_out=True) == data / name
    assert within(data, "within", what="table") == data / "within"
    # The folder itself may be reached by a link.
    (tmp_path / "alias").symlink_to(data)
    assert within(tmp_path / "alias", "x", what="table") == tmp_path / "alias" / "x"
    assert is_inside(data / "x", tmp_path / "alias")
    assert not is_inside(tmp_path / "data2", data)
