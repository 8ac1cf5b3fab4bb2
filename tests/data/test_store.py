import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from workbench.data.store import NEUTRAL_ROW, Outcome, ViewStore, Writer, open_rows, write_row
from workbench.errors import DataError
from workbench.files import read_json
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.view import View

VIEW = Image(image_px=16)
ROW_BYTES = 16 * 16 * 3


def pixels(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, VIEW.stored_shape, dtype=np.uint8)


def add(store: ViewStore, writer: Writer, content: str, values: npt.NDArray[np.uint8]) -> None:
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
