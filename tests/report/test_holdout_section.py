from pathlib import Path

from tests.report.test_report import EVIL, Page
from tests.selection.studies import MadeStudy
from workbench.report.page import holdout_section
from workbench.study.looks import Look, append_look


def look(trial: int, value: float, *, of_trial: int, is_told: bool = True) -> Look:
    return Look(
        when="2025-02-03T04:05:06+00:00",
        who=EVIL,
        trial=trial,
        recipe=f"{trial:012x}",
        holdout="0123456789ab",
        num_files=40,
        metric="auc",
        is_told=is_told,
        of_trial=of_trial,
        of_recipe=f"{of_trial:012x}",
        value=value,
        low=value - 0.1,
        high=value + 0.1,
    )


def test_without_a_look_there_is_no_section(tmp_path: Path) -> None:
    assert holdout_section(MadeStudy(tmp_path).folder) == ""


def test_every_look_is_seen(tmp_path: Path) -> None:
    folder = MadeStudy(tmp_path).folder
    append_look(folder, look(3, 0.7, of_trial=3))
    append_look(folder, look(5, 0.7, of_trial=3, is_told=False))
    text = holdout_section(folder)
    assert "2 looks, each logged" in text
    first, second = Page(text).cells[1:]
    assert [first[0], first[3], first[6], first[7]] == [
        "1",
        "trial 3",
        "0.7000 [0.6000, 0.8000]",
        "trial 3",
    ]
    assert [second[0], second[3], second[7]] == ["2", "trial 5", "trial 3"]
    assert EVIL not in text


def test_a_damaged_log_is_said(tmp_path: Path) -> None:
    folder = MadeStudy(tmp_path).folder
    folder.looks.write_text("{}\n")
    assert "is damaged" in holdout_section(folder)
