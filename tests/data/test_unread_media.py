"""Folders and files that a disk or a network does not give, and links that lead nowhere."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_layouts import of_classes, put, read
from workbench.api import prediction
from workbench.data.data_files import list_data
from workbench.data.inspection import inspect_data
from workbench.data.layout import Layout
from workbench.data.manifest import read_labelled, read_manifest_to_use
from workbench.data.media_files import sizes_in
from workbench.errors import DataError

CLASSES = Layout(kind="class-folders")
NOWHERE = "of a link that leads nowhere, a pipe or a device"


def fail_at(monkeypatch: pytest.MonkeyPatch, place: Path, number: int, *, listing: bool) -> None:
    """Let `place` end in an error where it is listed, or where it is looked at."""
    owner, name = (os, "scandir") if listing else (Path, "stat")
    good: Callable[..., Any] = getattr(owner, name)

    def failing(path: Any, **options: Any) -> Any:
        if str(path) == str(place):
            raise OSError(number, os.strerror(number), str(path))
        return good(path, **options)

    monkeypatch.setattr(owner, name, failing)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two folders of fakes in one, as of two generators."""
    return of_classes(tmp_path / "data", "real", "fake", "fake/g1", "fake/g2")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EBADMSG])
def test_a_folder_that_cannot_be_listed_is_no_empty_one(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_at(monkeypatch, data / "fake/g2", number, listing=True)
    for ask in (
        lambda: read(data, CLASSES),
        lambda: inspect_data(data),
        lambda: read_labelled(data, CLASSES, cache=data.parent / "cache"),
        lambda: prediction.predict("bundle", data),
    ):
        with pytest.raises(DataError, match=f"fake/g2 cannot be read: {os.strerror(number)}"):
            ask()


def test_a_folder_that_goes_while_others_are_listed_is_none_and_one_that_stays_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As below autofs: the folder is there, and what should be mounted on it is not.
    fail_at(monkeypatch, data / "fake/g2", errno.ENOENT, listing=True)
    with pytest.raises(DataError, match="fake/g2 cannot be read: No such file"):
        sizes_in(data, "train")
    monkeypatch.undo()
    good = os.scandir

    def removing(path: Any) -> Any:
        if str(path) == str(data / "fake/g2"):
            for file in (data / "fake/g2").iterdir():
                file.unlink()
            (data / "fake/g2").rmdir()
        return good(path)

    monkeypatch.setattr(os, "scandir", removing)
    assert len(sizes_in(data, "train")) == 18


def test_a_link_to_a_folder_that_cannot_be_reached_is_no_file_of_another_kind(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "fake/g3").symlink_to("nowhere")
    fail_at(monkeypatch, data / "fake/g3", errno.ESTALE, listing=False)
    with pytest.raises(DataError, match="fake/g3 cannot be read: Stale"):
        read(data, CLASSES)


def test_links_to_folders_that_lead_nowhere_are_told_wherever_media_are_listed(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("fake/g3", "spoof", "test"):  # within a class, another class, a split
        (data / place).symlink_to("../nowhere")
    said = f"skipped in .: 3 names {NOWHERE}, e.g. fake/g3, spoof, test"
    assert said in read(data, CLASSES).understood
    assert said in inspect_data(data).lines()
    # Of a holdout and a slice.
    assert said in read_labelled(data, CLASSES, cache=data.parent / "cache").understood

    def score(bundle: Path, files: list[Path], out: Path, device: str, **_: object) -> None:
        assert len(files) == 24
        out.write_text("name,score\n")

    monkeypatch.setattr(prediction, "run_predict", score)
    monkeypatch.setattr(prediction, "read_columns", lambda _: ("name", "score"))
    prediction.predict("bundle", data)
    assert said.replace(" .:", f" {data}:") in capsys.readouterr().err


def test_so_are_those_beside_and_within_folders_of_splits(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "train/real", "train/fake", "test")
    put(data, "more/a.txt")
    for place in ("train/fake/g2", "train/spoof", "test/g2", "val", "more/b"):
        (data / place).symlink_to("nowhere")
    said = [line for line in list_data(data, CLASSES).understood if "skipped" in line]
    assert said == [
        f"skipped in train/: 2 names {NOWHERE}, e.g. fake/g2, spoof",
        f"skipped in .: 2 names {NOWHERE}, e.g. more/b, val",
        f"skipped in test/: 1 name {NOWHERE}, e.g. g2",
    ]


def test_so_is_a_folder_of_files_to_predict(tmp_path: Path) -> None:
    data = put(tmp_path, *(f"m/{number}.wav" for number in range(6)))
    rows = [f"{number}.wav,{number % 2}" for number in range(6)]
    (data / "labels.csv").write_text("\n".join(["file,label", *rows]))
    layout = Layout(kind="table", media=("m",), test_media=("testset",))
    before = list_data(data, layout).understood
    (data / "testset").symlink_to("nowhere")
    said = f"skipped in .: 1 name {NOWHERE}, e.g. testset"
    assert list_data(data, layout).understood == (*before, said)


def test_a_file_that_cannot_be_looked_at_for_now_is_unreadable_and_nothing_is_begun_on_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, data / "fake/e0.wav", errno.EIO, listing=False)
    found = read(data, CLASSES)
    table = found.table.set_index("path")
    assert table.loc["fake/e0.wav", "status"] == "unreadable"
    assert not any("skipped" in line for line in found.understood)
    cache = data.parent / "cache"
    for ask in (read_manifest_to_use, read_labelled):
        with pytest.raises(DataError, match=r"^1 file cannot be read for now, e\.g\. fake/e0\.wav"):
            ask(data, CLASSES, cache=cache)
    monkeypatch.undo()
    assert len(read_manifest_to_use(data, CLASSES, cache=cache).table) == 24
