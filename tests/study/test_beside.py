"""What is made beside a search is recorded once, by the thread that searches."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from workbench.searching.beside import Beside


def test_files_are_recorded_once_by_the_one_who_looks() -> None:
    go_on, recorded = threading.Event(), list[tuple[Sequence[Path], int]]()

    def make() -> list[Path]:
        assert go_on.wait(60)
        return [Path("sheet.png")]

    beside = Beside(make, lambda files: recorded.append((files, threading.get_ident())))
    beside.look()
    beside.look()
    assert recorded == []  # nobody waits
    go_on.set()
    beside.finish()
    beside.look()
    assert recorded == [([Path("sheet.png")], threading.get_ident())]


def test_what_making_raises_reaches_the_one_who_looks() -> None:
    def make() -> list[Path]:
        raise OSError("no room")

    beside = Beside(make, lambda files: None)
    with pytest.raises(OSError, match="no room"):
        beside.finish()
    beside.look()  # told once
