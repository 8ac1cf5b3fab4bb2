"""Trials that were scored on other files than the later ones are not ranked with them."""

from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy
from workbench.errors import StudyError
from workbench.selection.leaderboard import rank
from workbench.selection.promotion import choose_trial
from workbench.study.alike import measured_alike

OLD = ([1, 1, 0, 0, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.3, 0.95])
NEW = ([1, 1, 0, 0, 0], [0.9, 0.6, 0.1, 0.6, 0.3])


@pytest.fixture
def study(tmp_path: Path) -> MadeStudy:
    """Two trials of six files, which look better, a failed one, and two of five."""
    study = MadeStudy(tmp_path)
    for targets, scores in (OLD, OLD):
        study.add(targets, scores)
    study.add(state="failed", reason="it broke")
    for targets, scores in (NEW, NEW):
        study.add(targets, scores)
    return study


def test_earlier_trials_of_other_files_lose_their_place(study: MadeStudy) -> None:
    rows, said = measured_alike(study.folder, study.rows)
    assert [row.objective is None for row in rows] == [True, True, True, False, False]
    assert [row.number for row in rank(rows, study.objective)] == [3, 4, 0, 1, 2]
    assert "2 trials were scored on 6 files of val (e.g. trial 0), and now 5 are scored" in said
    assert "search into a new study" in said
    with pytest.raises(StudyError, match=r"Trial 0 cannot be promoted: it was scored on other fi"):
        choose_trial(rows, study.objective, 0)


def test_a_search_knows_how_many_files_are_scored_now(study: MadeStudy) -> None:
    _, said = measured_alike(study.folder, study.rows[:1], num_files=5)
    assert "trial 0 was scored on 6 files of val, and now 5 are scored" in said
    rows, said = measured_alike(study.folder, study.rows[:1], num_files=6)
    assert (rows, said) == (study.rows[:1], "")


def test_trials_of_the_same_files_and_lost_scores_stay(study: MadeStudy) -> None:
    rows = study.rows[:2]
    assert measured_alike(study.folder, rows) == (rows, "")
    study.folder.trial(rows[0].recipe).scores.write_bytes(b"torn")
    study.folder.trial(rows[1].recipe).scores.unlink()
    assert measured_alike(study.folder, rows) == (rows, "")
    assert measured_alike(study.folder, []) == ([], "")


def test_as_many_other_files_are_told_whatever_the_order(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    names = [f"f{number}.mp4" for number in range(5)]
    study.add(*NEW, names=[*names[:4], "was decoded then.mp4"])
    study.add(NEW[0][::-1], NEW[1][::-1], names=names[::-1])
    study.add(*NEW, names=names)
    rows, said = measured_alike(study.folder, study.rows)
    assert [row.objective is None for row in rows] == [True, False, False]
    assert "trial 0 was scored on 5 files of val, and now other 5 are scored" in said
