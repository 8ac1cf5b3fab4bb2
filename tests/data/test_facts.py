"""Facts are remembered by content, and a kill leaves none that is not so."""

from pathlib import Path

import numpy as np
import pytest

from workbench.data.facts import FactsStore
from workbench.media.facts import Facts

CLIP = Facts(container="mov", duration_s=2.5, width=64, height=48, audio_codec="aac")


def fill(store: FactsStore, **facts: Facts) -> None:
    with store.writing() as writer:
        for content, value in facts.items():
            writer.add(content, value)


def test_facts_come_back_as_a_row_each_and_unknown_ones_empty(tmp_path: Path) -> None:
    store = FactsStore(tmp_path)
    fill(store, a=CLIP)
    fill(FactsStore(tmp_path), b=Facts(container="wav", loudness_db=-20.0))
    table = FactsStore(tmp_path).table(["b", "a", "never read"])
    assert list(table.index) == ["b", "a", "never read"]
    assert list(table.columns) == list(Facts.model_fields)
    assert table.loc["a", "duration_s"] == 2.5
    assert table["container"].tolist() == ["wav", "mov", ""]
    assert np.isnan(table.loc["never read", "loudness_db"])  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_last_line_is_not_believed_and_written_over(tmp_path: Path, cut: int) -> None:
    store = FactsStore(tmp_path)
    fill(store, a=CLIP, b=CLIP)
    (file,) = tmp_path.glob("facts-*.jsonl")
    file.write_bytes(file.read_bytes()[:-cut])
    assert store.read().keys() == {"a"}
    fill(store, c=CLIP)
    assert store.read().keys() == {"a", "c"}


def test_what_was_added_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    store = FactsStore(tmp_path)

    def interrupted() -> None:
        with store.writing() as writer:
            writer.add("a", CLIP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.read().keys() == {"a"}


@pytest.mark.parametrize("line", ['"x"', "7", "{}", "[]", '["b", 3]', '["b"]', "[[], {}]"])
def test_a_line_of_another_form_is_left_out(tmp_path: Path, line: str) -> None:
    store = FactsStore(tmp_path)
    with store.writing() as writer:
        writer.add("a", Facts())
    known = store.read()
    with next(tmp_path.glob("facts-*.jsonl")).open("a") as file:
        file.write(f"{line}\n")
    assert store.read() == known
    with store.writing() as writer:
        writer.add("c", Facts())
    assert store.read().keys() == {"a", "c"}
