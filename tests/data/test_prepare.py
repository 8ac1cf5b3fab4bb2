import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.data.byte_views import Bytes, Picky
from tests.layouts import picture
from workbench.data import decoding, filling, unexpected
from workbench.data.contents import stamp
from workbench.data.decoding import Done, Task
from workbench.data.facts import FactsStore
from workbench.data.labels import Template
from workbench.data.manifest import Manifest
from workbench.data.out_of_fold import with_all_folds
from workbench.data.prepare import Prepared, prepare, stored_arrays
from workbench.data.prepared_report import (
    describe_prepared,
    prepared_as_table,
    require_all,
    require_classes,
    require_read,
)
from workbench.data.prepared_table import PREPARED_TABLE, write_prepared_table
from workbench.data.unexpected import Unexpected
from workbench.data.view_store import Outcome, ViewStore
from workbench.errors import CacheError, DataError
from workbench.files import hash_file, read_json, write_json
from workbench.media.audio_features import Features
from workbench.media.facts import Facts
from workbench.media.image import Image
from workbench.media.view import View


def write_data(folder: Path, **contents: str) -> Path:
    (folder / "m").mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / "m" / name).write_text(content)
    return folder


def manifest_of(folder: Path, *absent: str) -> Manifest:
    """Every file of the folder as training data, and `absent` names besides."""
    names = [*sorted(path.name for path in (folder / "m").iterdir()), *absent]
    paths = [folder / "m" / name for name in names]
    table = pd.DataFrame(
        {
            "split": "train",
            "name": names,
            "path": [f"m/{name}" for name in names],
            "target": np.arange(len(names), dtype=np.int8) % 2,
            "status": ["ok" if path.exists() else "missing" for path in paths],
            "content": [hash_file(path) if path.exists() else "" for path in paths],
        }
    )
    rows = pd.DataFrame({"video_name": names, "y_pred": ""})
    template = Template(rows, "video_name", "y_pred", folder / "prediction.csv")
    return Manifest(table, template, 0)


def decoded(folder: Path) -> list[str]:
    """The names decoded since the last call."""
    log = folder / "decoded"
    names = sorted(log.read_text().split()) if log.exists() else []
    log.unlink(missing_ok=True)
    return names


def run(
    folder: Path,
    *absent: str,
    view: View | None = None,
    jobs: int = 1,
    limit_s: float = 60,
    retry: bool = False,
) -> Prepared:
    views = {"v": view or Bytes()}
    manifest, cache = manifest_of(folder, *absent), folder / "cache"
    return prepare(manifest, folder, views, cache=cache, jobs=jobs, limit_s=limit_s, retry=retry)


def levels(prepared: Prepared) -> dict[str, int]:
    """The grey level of each file's stored picture."""
    array = prepared.open_array("v")
    rows = zip(prepared.table["name"], prepared.table["row.v"], strict=True)
    return {name: int(array[row].mean()) for name, row in rows}


def statuses(prepared: Prepared) -> dict[str, str]:
    return dict(zip(prepared.table["name"], prepared.table["status.v"], strict=True))


def test_only_what_is_new_is_decoded(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B", bad="!", twin="A")
    first = run(data, "gone")
    # Equal contents are decoded once, whichever of them.
    assert decoded(data) == ["a", "b", "bad"]
    assert levels(first) == {"a": 65, "b": 66, "bad": 128, "gone": 128, "twin": 65}
    assert statuses(first) == {
        "a": "ok",
        "b": "ok",
        "bad": "broken",
        "gone": "missing",
        "twin": "ok",
    }
    assert list(first.table["reason.v"]) == ["", "", "it begins with !", "", "the file is missing"]
    assert describe_prepared(first) == [
        "v: 1 file broken, e.g. m/bad: it begins with !",
        "v: 1 file missing, e.g. m/gone: the file is missing",
    ]
    assert list(first.rows("train")["name"]) == ["a", "b", "twin"]

    second = run(data, "gone")
    assert decoded(data) == []
    pd.testing.assert_frame_equal(second.table, first.table)

    write_data(data, c="C", d="D", other="B")
    third = run(data)
    assert decoded(data) == ["c", "d"]
    assert levels(third) == {
        "a": 65,
        "b": 66,
        "bad": 128,
        "c": 67,
        "d": 68,
        "other": 66,
        "twin": 65,
    }

    before = levels(third)
    next((data / "cache").rglob("array.u8")).unlink()
    assert levels(run(data)) == before
    assert decoded(data) == ["a", "b", "bad", "c", "d"]


@pytest.mark.parametrize("times", [1, 9])
def test_a_store_that_is_removed_as_soon_as_it_is_filled_is_filled_anew_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    folder = write_data(tmp_path / "data", a="A", b="B")
    left = iter(range(times))
    fill = filling._fill

    def fill_and_lose(
        stores: dict[str, ViewStore], *rest: Any, **named: Any
    ) -> dict[str, dict[str, Outcome]]:
        found = fill(stores, *rest, **named)
        if next(left, None) is not None:  # by `workbench clean`, which waited for the writer
            shutil.rmtree(stores["v"].folder)
        return found

    monkeypatch.setattr(filling, "_fill", fill_and_lose)
    if times > 1:
        with pytest.raises(CacheError, match=r"removed from .* by another command"):
            run(folder)
    else:
        assert levels(run(folder)) == {"a": 65, "b": 66}


def test_rows_by_other_libraries_than_those_there_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data", a="A")
    run(data)
    store = next((data / "cache" / "views").iterdir()) / "store.json"
    uid = read_json(store)["uid"]
    assert "av " in str(read_json(store)["made_with"])
    monkeypatch.setattr(filling, "libraries", lambda: "av 99")
    run(data)  # nothing is added
    assert "made with" not in capsys.readouterr().err
    for name, times in (("b", 1), ("c", 0)):
        write_data(data, **{name: name})
        run(data)
        assert capsys.readouterr().err.count("what is added now is made with av 99") == times
    assert read_json(store)["uid"] == uid
    write_json(store, {"uid": uid})  # an older version's
    write_data(data, d="D")
    run(data)
    assert "made with" not in capsys.readouterr().err


def test_what_reads_further_pictures_is_among_the_libraries_if_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "pillow-jxl-plugin":
            raise PackageNotFoundError(name)
        return f"{name}'s"

    own = unexpected.reader_version.__wrapped__()
    monkeypatch.setattr(unexpected, "version", version)
    found = unexpected.libraries.__wrapped__()
    assert found.endswith(", soxr soxr's, pillow-heif pillow-heif's")
    monkeypatch.setattr(unexpected, "libraries", lambda: found)
    assert unexpected.reader_version.__wrapped__() != own


def test_a_moved_data_folder_is_not_decoded_again(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A")
    run(data)
    decoded(data)
    moved = Path(shutil.move(data, tmp_path / "moved"))
    assert levels(run(moved)) == {"a": 65}
    assert decoded(moved) == []


def test_two_settings_are_two_arrays(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A")
    views = {"small": Bytes(), "large": Bytes(image_px=4)}
    made = prepare(manifest_of(data), data, views, cache=tmp_path / "cache", jobs=1)
    assert made.open_array("small").shape == (2, 1, 1, 2, 2, 1)
    assert made.open_array("large").shape == (2, 1, 1, 4, 4, 1)
    assert made.arrays["small"] != made.arrays["large"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_kills_its_decoder_costs_no_other_file(tmp_path: Path, jobs: int) -> None:
    contents = {f"f{index}": chr(65 + index) for index in range(7)}
    data = write_data(tmp_path / "data", **{**contents, "f5": "die"})
    made = run(data, jobs=jobs)
    expected = dict.fromkeys(contents, "ok") | {"f5": "crashed"}
    assert statuses(made) == expected
    assert levels(made) == {name: ord(c) for name, c in contents.items()} | {"f5": 128}
    reasons = dict(zip(made.table["name"], made.table["reason.v"], strict=True))
    assert reasons["f5"] == "the decoder died on this file (exit code 3)"
    decoded(data)
    run(data, jobs=2)
    assert decoded(data) == []


def test_a_file_that_takes_too_long_or_too_much_memory_costs_no_other_file(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="hang", c="eat", d="D")
    made = run(data, limit_s=4)
    assert statuses(made) == {"a": "ok", "b": "timed_out", "c": "too_large", "d": "ok"}
    assert levels(made) == {"a": 65, "b": 128, "c": 128, "d": 68}
    assert describe_prepared(made) == [
        "v: 1 file timed_out, e.g. m/b: decoding took over 4 s",
        "v: 1 file too_large, e.g. m/c: decoding takes over 4 GiB of memory",
    ]
    assert not multiprocessing.active_children()


def test_what_may_be_the_machines_fault_is_tried_again_when_asked(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", bad="!", b="die")
    run(data)
    assert decoded(data) == ["a", "b", "bad"]
    run(data, retry=True)
    assert decoded(data) == ["b", "bad"]


def test_what_a_disk_did_not_give_is_never_stored(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="disk")
    failing = tmp_path / "data" / "failing"
    failing.touch()
    made = run(data)
    assert statuses(made) == {"a": "ok", "b": "unreadable"}
    # Nor is anything trained or measured then: the next trials would be on other files.
    said = "1 file cannot be read for now, e.g. m/b: the file cannot be read: Input/output error"
    with pytest.raises(DataError, match=said):
        require_read(made)
    with pytest.raises(DataError, match=said):
        require_read(replace(made, table=made.table[:0], beside={"other": made}))
    require_read(replace(made, table=made.table.assign(split="test")))
    assert decoded(data) == ["a", "b"]
    failing.unlink()
    made = run(data)
    assert statuses(made) == {"a": "ok", "b": "ok"}
    require_read(made)
    assert decoded(data) == ["b"]
    run(data)
    assert decoded(data) == []


def test_the_facts_of_what_is_tried_again_are_read_again(tmp_path: Path) -> None:
    data, view = tmp_path / "data", Image(image_px=16)
    picture(data / "m" / "a.png", fake=False, seed=0)
    content = hash_file(data / "m" / "a.png")
    with ViewStore(data / "cache", view).writing() as store:
        store.add(content, Outcome(0, "crashed", "the decoder died"))
    with FactsStore(data / "cache").writing() as facts:
        facts.add(content, Facts())
    for retry, status, width in ((False, "crashed", None), (True, "ok", 32)):
        made = run(data, view=view, retry=retry)
        assert made.table["status.v"].tolist() == [status]
        assert FactsStore(data / "cache").read()[content]["width"] == width


def test_views_of_one_file_are_made_in_one_go_and_a_new_one_alone(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    one, two = {"one": Bytes()}, {"two": Bytes(image_px=4)}
    cache = data / "cache"
    prepare(manifest_of(data), data, one, cache=cache, jobs=1)
    before = next((cache / "views").glob("*/array.u8")).read_bytes()
    decoded(data)
    made = prepare(manifest_of(data), data, one | two, cache=cache, jobs=1)
    assert decoded(data) == ["a", "b"]  # for the second view alone: once a file
    assert made.arrays["one"].read_bytes() == before
    assert [made.open_array("two")[row].max() for row in made.table["row.two"]] == [65, 66]


def test_a_full_disk_stops_with_a_reason_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data", a="A", b="full", c="C")
    with pytest.raises(DataError, match=r"no space left for .*what was decoded is kept"):
        run(data)
    write_data(data, b="B")
    decoded(data)
    assert levels(run(data)) == {"a": 65, "b": 66, "c": 67}
    assert "a" not in decoded(data)


def test_a_disk_that_is_full_from_the_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    data = write_data(tmp_path / "data", a="A")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="no space left for"):
        run(data)


def test_strict_turns_any_trouble_into_an_error(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A")
    require_all(run(data))
    write_data(data, bad="!")
    with pytest.raises(DataError, match="1 file could not be decoded as asked"):
        require_all(run(data))


def test_a_note_is_told_and_counted_and_is_no_trouble(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B~", c="C~", bad="!")
    made = run(data)
    assert statuses(made) == {"a": "ok", "b": "ok", "bad": "broken", "c": "ok"}
    assert list(made.table["reason.v"]) == [
        "",
        "it ends with ~",
        "it begins with !",
        *["it ends with ~"],
    ]
    assert describe_prepared(made) == [
        "v: 1 file broken, e.g. m/bad: it begins with !",
        "v: 2 files ok with a note, e.g. m/b: it ends with ~",
    ]
    (data / "m" / "bad").unlink()
    assert run(data).table.query("name == 'b'")["reason.v"].item() == "it ends with ~"  # stored
    require_all(run(data))


def test_the_table_counts_the_files_of_each_status(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B", bad="!")
    assert prepared_as_table(run(data, "gone")).splitlines() == [
        "view  array of one file        files  ok  broken  missing",
        "----  -----------------------  -----  --  ------  -------",
        "v     uint8 1 x 1 x 2 x 2 x 1      4   2       1        1",
    ]


def test_more_processes_give_the_same(tmp_path: Path) -> None:
    contents = {f"f{index:02}": chr(40 + index) for index in range(10)} | {"bad": "!"}
    one, two = (write_data(tmp_path / name, **contents) for name in ("one", "two"))
    first, second = run(one, jobs=1), run(two, jobs=2)
    assert decoded(one) == decoded(two)
    assert (
        levels(first)
        == levels(second)
        == {n: ord(c[0]) for n, c in contents.items()} | {"bad": 128}
    )
    assert statuses(first) == statuses(second)


def test_what_nobody_foresaw_is_the_outcome_of_its_file_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data", a="A", none="", z="Z")
    made = run(data)
    assert statuses(made) == {"a": "ok", "none": "broken", "z": "ok"}
    assert levels(made) == {"a": 65, "none": 128, "z": 90}
    said = "unexpected IndexError: index out of range"
    assert list(made.table["reason.v"]) == ["", said, ""]
    log = data / "cache" / "unexpected.log"
    assert (
        f"1 file could not be read for a reason that nobody foresaw; the tracebacks are in {log}"
        in (capfd.readouterr().err)
    )
    assert str(data / "m" / "none") in log.read_text()
    assert "in of_file" in log.read_text()
    assert log.read_text().count("IndexError") == 1
    decoded(data)
    assert statuses(run(data)) == statuses(made)
    assert decoded(data) == []


def test_what_nobody_foresaw_is_tried_again_when_asked_and_by_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data", a="A", none="")
    run(data)
    decoded(data)
    run(data, retry=True)
    assert decoded(data) == ["none"]
    monkeypatch.setattr("workbench.data.unexpected.reader_version", lambda: "other")
    run(data)
    assert decoded(data) == ["none"]
    run(data)
    assert decoded(data) == []


def test_a_view_at_fault_leaves_the_others_of_the_file(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", odd="B?")
    views: dict[str, View] = {"v": Bytes(), "picky": Picky()}
    made = prepare(manifest_of(data), data, views, cache=data / "cache", jobs=1)
    assert list(made.table["status.v"]) == ["ok", "ok"]
    assert list(made.table["status.picky"]) == ["ok", "broken"]
    assert levels(made) == {"a": 65, "odd": 66}


def test_one_exception_on_many_files_stops_and_is_not_believed_of_them(tmp_path: Path) -> None:
    contents = {f"f{index:02}": f"{index}" for index in range(21)}
    odd = {f"odd{index:02}": f"?{index}" for index in range(20)}
    data = write_data(tmp_path / "data", **contents, **odd)
    for _ in range(2):  # nothing is kept of the odd ones, so they stop it again
        with pytest.raises(DataError, match=r"20 of 41 files .* ZeroDivisionError") as stopped:
            run(data, view=Picky())
        assert "in of_file" in str(stopped.value)
    assert decoded(data).count("f00") == 1
    for name in odd:
        (data / "m" / name).unlink()
    assert set(statuses(run(data, view=Picky())).values()) == {"ok"}


def test_many_odd_files_among_very_many_are_odd_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.media.decoders.MANY_FILES", 2)
    monkeypatch.setattr("workbench.media.decoders.MANY_SHARE", 0.5)
    data = write_data(tmp_path / "data", a="A", b="B", odd="?1", other="?2")
    assert list(statuses(run(data, view=Picky())).values()) == ["ok", "ok", "broken", "broken"]
    # Those of an earlier preparation count.
    write_data(data, third="?3")
    with pytest.raises(DataError, match="3 of 5 files"):
        run(data, view=Picky())


def test_prepared_data_come_back_as_they_went(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="no picture")
    made = run(data, view=Image(image_px=16))
    assert statuses(made) == {"a": "broken"}
    made.save(tmp_path / "study")
    loaded = Prepared.load(tmp_path / "study")
    assert (loaded.views, loaded.arrays) == (made.views, made.arrays)
    assert loaded.fingerprint == made.fingerprint
    pd.testing.assert_frame_equal(loaded.table, made.table)
    assert loaded.open_array("v").shape == (1, 1, 1, 16, 16, 3)
    assert made.rows("train").empty

    made.arrays["v"].unlink()
    with pytest.raises(DataError, match="are gone"):
        Prepared.load(tmp_path / "study")
    with pytest.raises(DataError, match="holds no prepared data"):
        Prepared.load(tmp_path / "nowhere")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process, which starts no other, and read `Bytes` back."""

    def decode_all(tasks: Iterator[Task], **_: object) -> Iterator[tuple[Task, Done]]:
        return ((task, decoding._decode(task)) for task in tasks)

    monkeypatch.setattr("workbench.data.filling.decode_all", decode_all)
    monkeypatch.setattr("workbench.data.prepare.AnyView", Bytes)


def spoil(array: Path, row: int) -> None:
    """Write a random byte over a row of four; the time tells, however coarse the disk's clock."""
    with array.open("r+b") as file:
        file.seek(4 * row)
        file.write(b"\x07")
    now = array.stat().st_mtime_ns + 10**9
    os.utime(array, ns=(now, now))


@pytest.mark.usefixtures("here")
def test_a_row_changed_on_disk_is_decoded_again_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data", a="A", b="B", c="C")
    made = run(data)
    decoded(data)
    row = dict(zip(made.table["name"], made.table["row.v"], strict=True))["b"]
    spoil(made.arrays["v"], row)
    capsys.readouterr()
    again = run(data)
    assert decoded(data) == ["b"]
    assert levels(again) == {"a": 65, "b": 66, "c": 67}
    assert list(again.table["row.v"]) == list(made.table["row.v"])
    assert "1 cached rows were changed on disk." in capsys.readouterr().err
    assert levels(made) == levels(again)  # of those who opened it before, too
    run(data)
    assert decoded(data) == []


@pytest.mark.usefixtures("here")
def test_what_changed_without_a_trace_is_found_when_it_is_read_or_when_asked(
    tmp_path: Path,
) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    made = run(data)
    decoded(data)
    array = made.arrays["v"]
    before = array.stat()
    spoil(array, 1)
    os.utime(array, ns=(before.st_atime_ns, before.st_mtime_ns))
    run(data)
    assert decoded(data) == []
    manifest, views, cache = manifest_of(data), {"v": Bytes()}, data / "cache"
    prepare(manifest, data, views, cache=cache, jobs=1, verify=True)
    assert len(decoded(data)) == 1

    before = array.stat()
    spoil(array, 1)
    os.utime(array, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CacheError, match="its row 1 is not what was decoded"):
        levels(run(data))
    decoded(data)
    levels(run(data))  # whoever comes next mends it
    assert len(decoded(data)) == 1


@pytest.mark.usefixtures("here")
def test_anothers_pixels_under_the_same_labels_are_never_read(tmp_path: Path) -> None:
    one = write_data(tmp_path / "one", a="A", b="B")
    two = write_data(tmp_path / "two", a="C", b="D")
    made, other = run(one), run(two)
    made.save(tmp_path / "study")
    array = made.arrays["v"]

    # The array alone: the same size, the same rows.
    kept = array.read_bytes()
    array.write_bytes(other.arrays["v"].read_bytes())
    with pytest.raises(CacheError, match="is not what was decoded"):
        levels(Prepared.load(tmp_path / "study"))
    array.write_bytes(kept)
    assert levels(Prepared.load(tmp_path / "study")) == {"a": 65, "b": 66}

    # The whole cache: whole and sound, and of other data.
    shutil.move(one / "cache", tmp_path / "away")
    shutil.copytree(two / "cache", one / "cache")
    with pytest.raises(CacheError, match="were replaced since, or belong to other data"):
        Prepared.load(tmp_path / "study")
    with pytest.raises(CacheError, match="were replaced since"):
        made.open_array("v")
    decoded(one)
    assert levels(run(one)) == {"a": 65, "b": 66}
    assert decoded(one) == ["a", "b"]


@pytest.mark.usefixtures("here")
def test_a_cache_that_is_gone_or_cut_short_is_told(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    made = run(data)
    made.save(tmp_path / "study")
    array = made.arrays["v"]
    whole = array.read_bytes()
    array.write_bytes(whole[:-4])
    with pytest.raises(CacheError, match="are cut short"):
        Prepared.load(tmp_path / "study")
    array.write_bytes(whole[:2])
    with pytest.raises(CacheError, match="is cut short"):
        made.open_array("v")
    shutil.rmtree(data / "cache")
    for read in (lambda: Prepared.load(tmp_path / "study"), lambda: made.open_array("v")):
        with pytest.raises(CacheError, match="are gone"):
            read()


@pytest.mark.usefixtures("here")
def test_a_copy_of_a_study_and_its_cache_reads_its_own_arrays(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    run(write_data(original / "data", a="A", b="B")).save(original / "study")
    shutil.copytree(original, copy)
    shutil.rmtree(original)
    loaded = Prepared.load(copy / "study")
    assert loaded.arrays["v"].is_relative_to(copy)
    assert levels(loaded) == {"a": 65, "b": 66}
    # A cache elsewhere is no part of what is moved, and stays where it is.
    made = run(write_data(tmp_path / "elsewhere", a="A"))
    made.save(copy / "study")
    shutil.move(copy, original)
    assert Prepared.load(original / "study").arrays == made.arrays


@pytest.mark.usefixtures("here")
def test_prepared_data_of_an_older_version_are_read(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    made = run(data)
    table = made.table.drop(columns="sum.v")
    Prepared(table, made.views, made.arrays, made.fingerprint).save(tmp_path / "study")
    file = tmp_path / "study" / "prepared.json"
    saved = json.loads(file.read_text())
    del saved["views"]["v"]["store"]
    file.write_text(json.dumps(saved))
    assert levels(Prepared.load(tmp_path / "study")) == {"a": 65, "b": 66}


@pytest.mark.usefixtures("here")
def test_what_is_gone_or_changes_before_it_is_decoded_is_no_fault_of_its_content(
    tmp_path: Path,
) -> None:
    data = write_data(tmp_path / "data", a="A", b="B", c="C")
    paths = {name: data / "m" / name for name in "abc"}
    manifest = manifest_of(data)
    stamps = {f"m/{name}": stamp(path) for name, path in paths.items()}
    paths["a"].unlink()
    paths["b"].write_text("other")
    views = {"v": Bytes()}
    made = prepare(replace(manifest, stamps=stamps), data, views, cache=data / "cache", jobs=1)
    assert statuses(made) == {"a": "missing", "b": "changed", "c": "ok"}
    assert levels(made) == {"a": 128, "b": 128, "c": 67}
    assert list(made.table["reason.v"])[:2] == [
        "the file is missing",
        "the file changed while it was read",
    ]
    write_data(data, a="A", b="B")
    assert levels(run(data)) == {"a": 65, "b": 66, "c": 67}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("first", [True, False])
def test_what_a_disk_does_not_open_before_or_after_decoding_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    opened, good = [] if first else ["b"], os.open

    def failing(path: Any, *rest: Any, **options: Any) -> int:
        if path == data / "m" / "a":
            opened.append("a")
            if len(opened) != 2:  # of twice, before and after
                raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return good(path, *rest, **options)

    manifest = manifest_of(data)
    monkeypatch.setattr(os, "open", failing)
    made = prepare(manifest, data, {"v": Bytes()}, cache=data / "cache", jobs=1)
    assert decoded(data) == (["b"] if first else ["a", "b"])
    assert statuses(made) == {"a": "unreadable", "b": "ok"}
    with pytest.raises(DataError, match="m/a: the file cannot be read: Stale file handle"):
        require_read(made)
    monkeypatch.undo()
    assert levels(run(data)) == {"a": 65, "b": 66}


def two_views(**columns: list[str] | list[int]) -> Prepared:
    """Prepared data that no file stands behind; row 0 of a view is neutral."""
    table = pd.DataFrame(columns)
    table["path"] = table["split"] + "set/" + table["name"]
    for view in ("a", "b"):
        table[f"status.{view}"] = ["ok" if row else "broken" for row in table[f"row.{view}"]]
        table[f"reason.{view}"] = ["" if row else "it is torn" for row in table[f"row.{view}"]]
    return Prepared(table, {"a": Bytes(), "b": Bytes()}, {}, "0" * 12)


def test_what_is_learnt_and_what_is_measured_needs_one_readable_view() -> None:
    made = two_views(
        split=["train"] * 3 + ["val"] * 5 + ["test"] * 2,
        name=["both", "one", "none", "v0", "v1", "v2", "v3", "v4", "t0", "t1"],
        target=[0, 1, 1, 0, 1, 1, 1, 0, -1, -1],
        **{"row.a": [1, 0, 0, 3, 4, 0, 0, 0, 6, 0], "row.b": [1, 2, 0, 3, 0, 5, 0, 0, 6, 0]},
    )
    assert list(made.rows("train")["name"]) == ["both", "one"]
    assert list(made.rows("val")["name"]) == ["v0", "v1", "v2"]
    # A submission needs a score for every file.
    assert list(made.rows("test")["name"]) == ["t0", "t1"]
    assert list(made.left_out()["name"]) == ["none", "v3", "v4"]
    assert describe_prepared(made)[-1] == (
        "val: 3 of 5 files are measured; 2 of which no view could be made (1 fake) are left out of "
        "every score, e.g. valset/v3"
    )
    require_classes(made)


def test_a_class_of_which_nothing_can_be_decoded_is_told() -> None:
    made = two_views(
        split=["train"] * 2 + ["val"] * 3,
        name=["x", "y", "v0", "v1", "v2"],
        target=[0, 1, 0, 1, 1],
        **{"row.a": [1, 2, 3, 0, 0], "row.b": [1, 2, 3, 0, 0]},
    )
    with pytest.raises(
        DataError, match=r"3 files of val, 1 real and 0 fake can .*valset/v1: it is torn\)"
    ):
        require_classes(made)


def test_a_vector_view_is_a_table_of_named_values(tmp_path: Path) -> None:
    view = Features()
    table = pd.DataFrame(
        {
            "split": ["train", "val", "train", "train"],
            "name": ["a", "b", "c", "mute"],
            "row.f": [2, 1, 1, 0],
        }
    )
    values = np.arange(3 * 74, dtype=np.float32).reshape(3, 74)
    values.tofile(tmp_path / "array")
    made = Prepared(table, {"f": view}, {"f": tmp_path / "array"}, "0" * 12)
    vectors = made.vectors("f", "train")  # a file without the view has nothing to learn from
    assert list(vectors.index) == ["a", "c"]
    assert tuple(vectors.columns) == view.names
    np.testing.assert_array_equal(vectors.to_numpy(), values[[2, 1]])
    # Of files that validate in turn each is in both splits.
    whole = replace(
        made, table=with_all_folds(table.assign(fold=[1, 2, 0, 0], target=[0, 1, 1, 0]))
    )
    with pytest.raises(DataError, match=r"2 folds validate in turn.*prepared\.for_fold\(1\)"):
        whole.vectors("f", "train")
    for fold, own in ((1, "a"), (2, "b")):
        assert [*whole.for_fold(fold).vectors("f", "val").index] == [own]
        assert own not in whole.for_fold(fold).vectors("f", "train").index


@pytest.mark.parametrize(
    "said", ["[]", "7", '{"a": 1}', '{"image-x": {"b": 1}}', '{"a": {"b": [1]}}']
)
def test_a_record_of_the_unexpected_of_another_form_is_none(tmp_path: Path, said: str) -> None:
    (tmp_path / "unexpected.json").write_text(said)
    unexpected = Unexpected(tmp_path, {"image": "x"}, {"b": "b.png"})
    assert unexpected.stale("image") == set()


@pytest.mark.usefixtures("here")
def test_a_table_that_gives_a_file_the_row_of_another_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    made = run(data)
    table = made.table.assign(**{"row.v": made.table["row.v"].max()})
    wrong = Prepared(table, made.views, made.arrays, made.fingerprint, made.stores)
    with pytest.raises(CacheError, match="Two files share a row"):
        wrong.open_array("v")


@pytest.mark.usefixtures("here")
def test_a_changed_bit_in_what_a_study_keeps_of_its_data_is_told(tmp_path: Path) -> None:
    names = {f"f{index:02}": "ABCDEFG"[index % 7] for index in range(40)}
    made = run(write_data(tmp_path / "data", **names))
    made.save(tmp_path / "study")
    for name in (PREPARED_TABLE, "prepared.json"):
        file = tmp_path / "study" / name
        whole = file.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            changed = bytearray(whole)
            changed[at] ^= 4
            file.write_bytes(changed)
            with suppress(CacheError):
                loaded = Prepared.load(tmp_path / "study")
                pd.testing.assert_frame_equal(loaded.table, made.table)
        file.write_bytes(whole)
    assert levels(Prepared.load(tmp_path / "study")) == levels(made)


@pytest.mark.usefixtures("here")
def test_the_table_of_another_study_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", a="A", b="B")
    made = run(data)
    made.save(tmp_path / "study")
    other = made.table.assign(target=1 - made.table["target"])
    write_prepared_table(other, tmp_path / "study" / PREPARED_TABLE)
    with pytest.raises(CacheError, match="belongs to other data"):
        Prepared.load(tmp_path / "study")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["..", ".", "../../elsewhere", "/etc"])
def test_data_beside_lie_beside(tmp_path: Path, name: str) -> None:
    run(write_data(tmp_path / "data", a="A")).save(tmp_path / "study")
    file = tmp_path / "study" / "prepared.json"
    write_json(file, {**read_json(file), "beside": [name]})
    for read in (Prepared.load, stored_arrays):
        with pytest.raises(CacheError, match=r"prepared\.json is damaged"):
            read(tmp_path / "study")
