"""The log of looks: whole lines, written before anything is told, and read as they were written."""

from pathlib import Path

import pytest

from workbench.errors import DamagedFileError
from workbench.study.folder import StudyFolder
from workbench.study.looks import Look, append_look, describe_looks, read_looks


def look(trial: int, value: float = 0.75) -> Look:
    return Look(
        when="2026-11-26T22:00:00+00:00",
        who="ann",
        trial=trial,
        recipe=f"{trial:012x}",
        holdout="0123456789ab",
        num_files=40,
        metric="auc",
        is_told=True,
        of_trial=trial,
        of_recipe=f"{trial:012x}",
        value=value,
        low=0.6,
        high=0.9,
    )


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


def test_looks_are_read_as_they_were_written(folder: StudyFolder) -> None:
    assert read_looks(folder) == []
    for trial in (3, 5):
        append_look(folder, look(trial))
    assert read_looks(folder) == [look(3), look(5)]
    assert folder.looks.read_bytes().count(b"\n") == 2


def test_of_a_line_that_a_kill_cut_short_nothing_is_left(folder: StudyFolder) -> None:
    append_look(folder, look(3))
    whole = folder.looks.read_bytes()
    for length in range(1, len(whole)):
        folder.looks.write_bytes(whole + whole[:length])
        assert read_looks(folder) == [look(3)]
    append_look(folder, look(5))
    assert read_looks(folder) == [look(3), look(5)]


def test_a_damaged_line_is_an_error_that_names_it(folder: StudyFolder) -> None:
    append_look(folder, look(3))
    append_look(folder, look(5))
    first, second, _ = folder.looks.read_bytes().split(b"\n")
    folder.looks.write_bytes(first[:-2] + b"\n" + second + b"\n")
    with pytest.raises(DamagedFileError, match="line 1, is no look"):
        read_looks(folder)


def test_what_is_said_of_looks() -> None:
    assert describe_looks([]) == "The holdout was never looked at."
    assert describe_looks([look(3)]) == (
        "The holdout was looked at once, last by ann on 2026-11-26: auc 0.7500 (0.6000 to 0.9000, "
        "95%) of trial 3."
    )
    assert "2 times" in describe_looks([look(3), look(5)])
