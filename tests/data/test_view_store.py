import json
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from workbench.access import locked
from workbench.data.rows import CHECKED
from workbench.data.view_store import (
    NEUTRAL_ROW,
    Outcome,
    StoreWriter,
    ViewStore,
    open_rows,
    write_row,
)
from workbench.errors import CacheError, DataError
from workbench.files import read_json, write_json
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.view import View

VIEW = Image(image_px=16)
ROW_BYTES = 16 * 16 * 3


def pixels(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, VIEW.stored_shape, dtype=np.uint8)


def add(store: ViewStore, writer: StoreWriter, content: str, values: npt.NDArray[np.uint8]) -> None:
    """Store the values of one content, as a decoding process and the bookkeeper do."""
    row = writer.reserve()
    write_row(store.array_file, row, values)
    writer.add(content, Outcome(row, "ok"))


def fill(store: ViewStore, **seeds: int) -> None:
    """Store the pixels of each seed under its name."""
    with store.writing() as writer:
        for content, seed in seeds.items():
            add(store, writer, content, pixels(seed))


def check(store: ViewStore, **seeds: int) -> None:
    """Check that exactly these contents are stored with these pixels, and row 0 is neutral."""
    array, outcomes = open_rows(store.array_file, VIEW), store.outcomes()
    assert outcomes.keys() == seeds.keys()
    for content, seed in seeds.items():
        assert outcomes[content].status == "ok"
        np.testing.assert_array_equal(array[outcomes[content].row], pixels(seed))
    np.testing.assert_array_equal(array[NEUTRAL_ROW], VIEW.neutral())


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    assert store.outcomes() == {}
    fill(store, a=1, b=2)
    check(store, a=1, b=2)
    fill(store, c=3)
    check(ViewStore(tmp_path, VIEW), a=1, b=2, c=3)
    assert open_rows(store.array_file, VIEW).shape == (4, *VIEW.stored_shape)


def test_the_array_cannot_be_written_to(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    with pytest.raises(ValueError, match="read-only"):
        open_rows(store.array_file, VIEW)[0] = 0


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    own = tmp_path / "own.txt"
    own.write_text("somebody's")
    store.array_file.unlink()
    store.array_file.symlink_to(own)
    with pytest.raises(CacheError, match="is a link"):
        fill(store, b=2)
    assert own.read_text() == "somebody's"


def test_failures_have_no_row_of_their_own(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    with store.writing() as writer:
        writer.add("a", Outcome(NEUTRAL_ROW, "broken", 'it says "né\n"'))
        add(store, writer, "b", pixels(2))
        writer.add("c", Outcome(NEUTRAL_ROW, "silent"))
    assert store.outcomes() == {
        "a": Outcome(NEUTRAL_ROW, "broken", 'it says "né\n"'),
        "b": Outcome(1, "ok"),
        "c": Outcome(NEUTRAL_ROW, "silent"),
    }
    assert len(open_rows(store.array_file, VIEW)) == 2
    np.testing.assert_array_equal(open_rows(store.array_file, VIEW)[NEUTRAL_ROW], VIEW.neutral())


def test_a_row_that_was_given_back_is_given_out_again(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    with store.writing() as writer:
        first, second = writer.reserve(), writer.reserve()
        assert (first, second) == (1, 2)
        writer.release(first)
        assert [writer.reserve(), writer.reserve()] == [1, 3]


def test_another_setting_is_another_store(tmp_path: Path) -> None:
    views: list[View] = [VIEW, Image(image_px=32), Mel(image_px=16), Mel(image_px=16, num_mels=64)]
    folders = {ViewStore(tmp_path, view).folder for view in views}
    assert len(folders) == len(views)
    fill(ViewStore(tmp_path, VIEW), a=1)
    assert ViewStore(tmp_path, views[1]).outcomes() == {}
    assert read_json(ViewStore(tmp_path, VIEW).folder / "view.json") == VIEW.model_dump()


def test_non_contiguous_pixels_are_stored_as_they_look(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    mirrored = pixels(1)[:, :, ::-1]
    with store.writing() as writer:
        add(store, writer, "a", mirrored)
    np.testing.assert_array_equal(open_rows(store.array_file, VIEW)[1], mirrored)


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_last_line_is_redone(tmp_path: Path, cut: int) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1, b=2)
    index = store.folder / "index.jsonl"
    index.write_bytes(index.read_bytes()[:-cut])
    check(store, a=1)
    fill(store, c=3)
    check(store, a=1, c=3)
    fill(store, b=2)
    check(store, a=1, b=2, c=3)


def test_pixels_without_a_line_are_written_over(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    with store.array_file.open("ab") as array:
        array.write(bytes(ROW_BYTES + 100))
    check(store, a=1)
    fill(store, b=2, c=3, d=4)
    check(store, a=1, b=2, c=3, d=4)
    assert store.array_file.stat().st_size == 5 * ROW_BYTES


def test_a_half_written_neutral_row_is_written_anew(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    store.folder.mkdir(parents=True)
    store.array_file.write_bytes(bytes(100))
    fill(store, a=1)
    check(store, a=1)


@pytest.mark.parametrize("left", [0, ROW_BYTES, 2 * ROW_BYTES + 1])
def test_an_index_whose_pixels_are_gone_is_not_believed(tmp_path: Path, left: int) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1, b=2, c=3)
    with store.array_file.open("r+b") as array:
        array.truncate(left)
    assert store.outcomes() == {}
    fill(store, c=3)
    check(store, c=3)
    fill(store, d=4, e=5)  # no row may come back under an old name
    check(store, c=3, d=4, e=5)


def test_an_index_without_its_array_is_not_believed(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    store.array_file.unlink()
    fill(store, b=2)
    check(store, b=2)


def test_what_was_flushed_survives_an_error(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)

    def write_until_killed() -> None:
        with store.writing() as writer:
            add(store, writer, "a", pixels(1))
            writer.flush()
            write_row(store.array_file, writer.reserve(), pixels(2))
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_until_killed()
    check(store, a=1)
    fill(store, b=2)
    check(store, a=1, b=2)


def test_an_array_without_a_row_is_refused(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    store.array_file.write_bytes(bytes(ROW_BYTES - 1))
    with pytest.raises(DataError, match="cut short"):
        open_rows(store.array_file, VIEW)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    entered = threading.Event()

    store = ViewStore(tmp_path, VIEW)

    def second() -> None:
        with ViewStore(tmp_path, VIEW).writing() as writer:
            entered.set()
            assert "a" in writer.outcomes
            add(store, writer, "b", pixels(2))

    thread = threading.Thread(target=second)
    with ViewStore(tmp_path, VIEW).writing() as writer:
        thread.start()
        assert not entered.wait(0.2)
        add(store, writer, "a", pixels(1))
    thread.join(10)
    check(ViewStore(tmp_path, VIEW), a=1, b=2)


def spoil(store: ViewStore, row: int) -> None:
    """Write other bytes over a row; the time tells, however coarse the clock of the disk."""
    write_row(store.array_file, row, pixels(99))
    now = store.array_file.stat().st_mtime_ns + 10**9
    os.utime(store.array_file, ns=(now, now))


def lines(store: ViewStore) -> list[list[Any]]:
    return [json.loads(line) for line in (store.folder / "index.jsonl").read_text().splitlines()]


def test_rows_get_checksums_even_where_an_older_version_wrote_them(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1, b=2)  # without checksums, as an older version
    (store.folder / CHECKED).unlink()
    (store.folder / "store.json").unlink()
    assert store.uid == ""
    assert store.is_to_check()
    assert lines(store) == [["a", 1, "ok", ""], ["b", 2, "ok", ""]]
    with store.writing():
        pass
    sums = [zlib.crc32(pixels(seed).tobytes()) for seed in (1, 2)]
    assert lines(store)[2:] == [["a", 1, "ok", "", sums[0]], ["b", 2, "ok", "", sums[1]]]
    assert [outcome.sum for outcome in store.outcomes().values()] == sums
    assert len(store.uid) == 32
    assert not store.is_to_check()
    check(store, a=1, b=2)


def test_a_changed_row_is_no_longer_known_and_its_content_gets_it_back(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1, b=2, c=3)
    with store.writing(thorough=True):
        pass
    uid = store.uid
    spoil(store, 2)
    assert store.is_to_check()
    with store.writing() as writer:
        assert writer.num_damaged == 1
        assert sorted(writer.outcomes) == ["a", "c"]
        row = writer.reserve("d")
        assert row == 4
        assert writer.reserve("b") == 2
        sums = [
            write_row(store.array_file, place, pixels(seed)) for place, seed in ((4, 4), (2, 2))
        ]
        writer.add("d", Outcome(4, "ok", sum=sums[0]))
        writer.add("b", Outcome(2, "ok", sum=sums[1]))
    check(store, a=1, b=2, c=3, d=4)
    assert (store.uid, store.is_to_check()) == (uid, False)


def test_a_changed_row_stays_unknown_if_nobody_decodes_it(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1, b=2)
    with store.writing(thorough=True):
        pass
    spoil(store, 1)
    with store.writing():
        pass
    assert sorted(store.outcomes()) == ["b"]
    fill(store, a=1)
    check(store, a=1, b=2)


def test_a_changed_neutral_row_is_written_anew(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    spoil(store, NEUTRAL_ROW)
    with store.writing():
        pass
    check(store, a=1)


@pytest.mark.parametrize("name", [CHECKED, "store.json"])
@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_damaged_note_of_the_store_is_written_anew(tmp_path: Path, name: str, text: str) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    (store.folder / name).write_text(text)
    assert store.is_to_check()
    with store.writing():
        pass
    assert not store.is_to_check()
    check(store, a=1)


def test_nothing_is_checked_while_another_process_writes(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    spoil(store, 1)
    assert store.is_to_check()
    with locked(store.folder / "lock"):
        assert not store.is_to_check()


def test_a_store_that_is_made_anew_is_another(tmp_path: Path) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    first = store.uid
    fill(store, b=2)
    assert store.uid == first
    store.array_file.unlink()
    fill(store, a=1)
    assert store.uid != first


@pytest.mark.parametrize(
    "line", ["123", "{}", '["b", 1]', '["b", "1", "ok", ""]', '["b",-1,"",""]']
)
def test_a_line_of_another_form_is_left_out(tmp_path: Path, line: str) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    with (store.folder / "index.jsonl").open("a") as file:
        file.write(f"{line}\n")
    check(store, a=1)
    fill(store, c=3)
    check(store, a=1, c=3)


@pytest.mark.parametrize("row", [2, 0])
def test_a_line_that_names_the_row_of_another_content_is_not_believed(
    tmp_path: Path, row: int
) -> None:
    store = ViewStore(tmp_path, VIEW)
    with store.writing() as writer:
        for content, seed in (("a", 1), ("b", 2), ("c", 3)):
            place = writer.reserve()
            total = write_row(store.array_file, place, pixels(seed))
            writer.add(content, Outcome(place, "ok", sum=total))
    index = store.folder / "index.jsonl"
    first, *others = index.read_text().splitlines()
    assert first.startswith('["a", 1,')
    index.write_text("\n".join([first.replace("1", str(row), 1), *others]) + "\n")
    kept = {"b": 2, "c": 3} if row == 0 else {"c": 3}
    check(store, **kept)
    fill(store, **{name: seed for name, seed in (("a", 1), ("b", 2)) if name not in kept})
    check(store, a=1, b=2, c=3)


def test_arrays_that_were_moved_to_another_views_place_are_refused(tmp_path: Path) -> None:
    one, other = ViewStore(tmp_path, VIEW), ViewStore(tmp_path, Image(image_px=16, version=1))
    assert one.folder != other.folder
    for store, seed in ((one, 1), (other, 2)):
        fill(store, a=seed)
    one.folder.rename(tmp_path / "away")
    other.folder.rename(one.folder)
    with pytest.raises(CacheError, match="holds arrays of another view"):
        one.outcomes()
    with pytest.raises(CacheError, match="holds arrays of another view"), one.writing():
        pass
    one.folder.rename(other.folder)
    (tmp_path / "away").rename(one.folder)
    check(one, a=1)
    check(other, a=2)


PLAIN, WITH_HEIF = "av 17.0.0, PIL 11.3.0", "av 17.0.0, PIL 11.3.0, pillow-heif 1.0"


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        ([PLAIN], WITH_HEIF, None),  # a note that knew less
        ([WITH_HEIF], PLAIN, None),
        ([], WITH_HEIF, None),
        ([WITH_HEIF], "av 17.0.0, PIL 11.3.0, pillow-heif 1.1", [WITH_HEIF]),
        ([PLAIN, WITH_HEIF], "av 17.0.0, PIL 11.3.0, pillow-heif 1.1", [WITH_HEIF]),
        ([PLAIN], "av 17.0.1, PIL 11.3.0, pillow-heif 1.0", [PLAIN]),
        (["av 16.0.0, PIL 11.3.0", PLAIN], WITH_HEIF, None),  # that of av was told
        (["odd", 3], PLAIN, None),
    ],
)
def test_only_a_library_of_another_version_is_told_and_once(
    tmp_path: Path, before: list[object], now: str, named: list[str] | None
) -> None:
    store = ViewStore(tmp_path, VIEW)
    fill(store, a=1)
    file = store.folder / "store.json"
    write_json(file, {"uid": store.uid, "made_with": before})
    said = store.note_libraries(now)
    if named is None:
        assert said == ""
    else:
        assert f"was made with {', or with '.join(named)}, and what is added now" in said
        assert f"is made with {now}, by which" in said
    assert read_json(file)["made_with"] == [*map(str, before), now]
    assert store.note_libraries(now) == ""
