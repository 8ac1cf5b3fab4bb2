"""What a technical report says of how a champion was chosen."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from tests.selection.studies import MadeStudy, champion, normal_scores
from workbench.data.out_of_fold import FOLD, learned_told, with_all_folds
from workbench.data.prepared_table import has_views
from workbench.selection.champion import Champion, folds_told
from workbench.selection.estimate import expect
from workbench.study.packs import PackEstimate
from workbench.submission import technical_report
from workbench.submission.data_told import splits_told


def selection(made: MadeStudy, promoted: Champion, refit: str = "") -> str:
    again = SimpleNamespace(recipe=refit) if refit else None
    of: Any = SimpleNamespace(folder=made.folder, champion=promoted, refit=again)
    return technical_report._selection(of)


def test_trials_that_break_a_constraint_are_not_told_to_have_ended_since(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path, constraints={"fpr": {"at_most": 0.4}})
    for seed in (1, 2):
        kept = made.add(*normal_scores(1.5, seed=seed))
    targets, scores = normal_scores(1.5, seed=3)
    made.add(targets, [max(0.6, score) for score in scores])
    assert [bool(row.breaks) for row in made.rows] == [False, False, True]
    found = expect(made.folder, made.rows, made.objective, number=1)
    promoted = champion(1, recipe=kept.uid, expected=found)
    assert "complete trials; there are" not in selection(made, promoted)
    made.add(*normal_scores(1.5, seed=4))
    told = "That was told among 2 complete trials; there are 3 now."
    assert told in selection(made, promoted)


def test_samples_of_trainings_that_are_lost_are_not_told_to_be_none() -> None:
    of: Any = SimpleNamespace(models=())
    said = technical_report._extra_samples(of)
    assert (
        "None were generated" not in said and "is not known: a trial's folder is gone, or" in said
    )


def champion_pack(num_trials: int) -> Champion:
    """Return a promoted pack that was chosen among so many trials."""
    worth = {"expected": 0.8, "low": 0.7, "high": 0.9, "gain": 0.1, "gain_low": 0, "gain_high": 0.2}
    estimate = PackEstimate.model_validate({**worth, "num_trials": num_trials, "method": ""})
    return champion(0).model_copy(update={"number": None, "pack": estimate})


def test_trials_that_ended_since_a_pack_was_made_are_told(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for seed in range(3):
        made.add(*normal_scores(0.7, seed=seed))
    promoted = champion_pack(2)
    told = "That was told among 2 complete trials; there are 3 now."
    assert told in selection(made, promoted)
    # It counts trials of other studies, too.
    assert "complete trials; there are" not in selection(made, champion_pack(5))


def test_a_pack_is_chosen_among_trials_that_break_a_constraint_on_a_metric_too(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path, constraints={"fpr": {"at_most": 0.4}})
    targets, scores = normal_scores(1.5, seed=3)
    for _ in range(3):
        made.add(targets, [max(0.6, score) for score in scores])
    for seed in (1, 2):
        made.add(*normal_scores(1.5, seed=seed))
    assert [bool(row.breaks) for row in made.rows] == [True] * 3 + [False] * 2
    promoted = champion_pack(5)
    assert "complete trials; there are" not in selection(made, promoted)
    made.add(*normal_scores(1.5, seed=4))
    told = "That was told among 5 complete trials; there are 6 now."
    assert told in selection(made, promoted)


def test_what_is_exported_is_held_to_the_constraints_anew(tmp_path: Path) -> None:
    limits = {"fpr": {"at_most": 0.4}, "ms_per_file": {"at_most": 9.0}}
    made = MadeStudy(tmp_path, constraints=limits)
    targets, scores = normal_scores(1.5, seed=3)
    kept = made.add(targets, scores)
    other = made.add(targets, [max(0.6, score) for score in scores])
    for recipe, time in ((kept, 8.0), (other, 12.0)):
        files = made.folder.trial(recipe.uid)
        result = files.read_result()
        assert result is not None
        files.write_result(result.model_copy(update={"ms_per_file": time}))
    assert "a constraint" not in selection(made, champion(0, recipe=kept.uid))
    said = "breaks constraints: fpr is 1, not at most 0.4; ms_per_file is 12, not at most 9."
    # As one that an older version promoted, which knew of none that it breaks.
    assert f"- It {said}" in selection(made, champion(1, recipe=other.uid))
    named = champion(1, recipe=other.uid, why=f"It was named by hand. It {said}")
    assert selection(made, named).count(said) == 1
    # Of a refit nothing but its size and its time is known.
    told = selection(made, champion(0, recipe=kept.uid), refit=other.uid)
    assert "- The refit breaks a constraint: ms_per_file is 12, not at most 9." in told


@pytest.mark.parametrize(
    ("is_refit", "learned"),
    [(False, "5 of train's 8."), (True, "all 8 of train, being a refit's.")],
)
def test_it_says_what_the_weights_learned_from_where_several_folds_validate(
    is_refit: bool, learned: str
) -> None:
    dealt = pd.DataFrame(
        {
            "path": [f"{n}.wav" for n in range(9)],
            "split": ["train"] * 8 + ["test"],
            "target": [0, 1] * 4 + [-1],
            FOLD: [1, 1, 1, 2, 2, 2, 0, 0, 1],  # the first validates by three files
        }
    )
    line = learned_told(with_all_folds(dealt), is_refit=is_refit)
    assert line.endswith(f"The exported weights learned from {learned}")
    assert learned_told(dealt.drop(columns=FOLD), is_refit=is_refit) == ""
    assert ("first model" in folds_told(2, is_refit=is_refit)) is not is_refit


def prepared_table(**columns: list[int]) -> pd.DataFrame:
    """Return 9 files of `train`, 4 of `val` and 3 of `test`: whether they have sound and frames."""
    table = pd.DataFrame(
        {
            "path": [f"{n}.mp4" for n in range(16)],
            "split": ["train"] * 9 + ["val"] * 4 + ["test"] * 3,
            "target": [0, 1, 0, 1, 0, 1, 0, 1, 1] + [0, 1] * 2 + [-1] * 3,
            # Broken files are there, and only a view tells that nothing could be made of them.
            "status": ["empty"] + ["ok"] * 15,
            "row.mel": [0, 0, 0, 0, 1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 0, 1],
            "row.frames": [0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 1, 0, 2],
        }
    )
    return table.assign(**columns)


def test_it_counts_the_files_that_no_model_saw_in_each_split() -> None:
    table = prepared_table()
    assert splits_told(table, is_refit=False) == [
        "train: 9 files, 5 fake; of 3 (1 fake) no view could be made, so 6 are trained on",
        "val: 4 files, 2 fake; of 1 (0 fake) no view could be made, so 3 are measured",
        "test: 3 files, without labels; of 1 no view could be made",
    ]
    _, val, _ = splits_told(table, is_refit=True)
    assert val.endswith("no view could be made, so 3 are measured and, by the refit, trained on")
    whole = splits_told(table[has_views(table)], is_refit=False)
    assert whole[:2] == ["train: 6 files, 4 fake", "val: 3 files, 2 fake"]
    # Of a table that names no view nothing is known.
    assert "view" not in "".join(splits_told(table[["split", "target"]], is_refit=False))


def test_weights_of_a_fold_learned_from_no_file_that_nothing_could_be_made_of() -> None:
    # The first fold validates by the four files of val; the other models learn from them.
    table = with_all_folds(prepared_table(**{FOLD: [0] * 3 + [2] * 6 + [1] * 4 + [0] * 3}))
    *_, learned = splits_told(table, is_refit=False)
    assert learned.endswith("The exported weights learned from 6 of train's 9.")
    *_, learned = splits_told(table, is_refit=True)
    assert learned.endswith("The exported weights learned from all 9 of train, being a refit's.")
