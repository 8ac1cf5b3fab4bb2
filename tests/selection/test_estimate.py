"""What is expected of the best of several trials, read from the files of a made study."""

from pathlib import Path

import numpy as np
import pytest

from tests.selection.studies import MadeStudy, normal_scores
from workbench.selection.estimate import expect
from workbench.selection.promotion import choose_trial
from workbench.study.scored import read_scored_trials
from workbench.trial.metrics import binary_metrics

TARGETS = [1, 1, 1, 0, 0, 0]
ORDERED = [0.9, 0.8, 0.3, 0.7, 0.2, 0.1]  # AUC 8/9


def test_one_trial_keeps_its_own_value(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, ORDERED)
    found = expect(study.folder, study.rows, study.objective)
    assert found.naive == found.expected == pytest.approx(8 / 9)
    assert (found.num_trials, found.rank, found.num_groups) == (1, 1, 6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 8 / 9 < found.high < 1
    assert "the only trial" in found.sentence


def test_of_the_only_trial_the_choice_of_its_epoch_is_told(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, ORDERED, num_epochs=20)
    found = expect(study.folder, study.rows, study.objective)
    assert found.num_epochs == 20
    assert "the best of 20 epochs of the only trial, which flatters it" in found.sentence
    assert "not flattered" not in " ".join(found.lines)
    assert any("The best of up to 20 epochs of each trial" in line for line in found.caveats)


def test_trials_that_were_stopped_by_the_same_files_are_told(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, ORDERED)
    study.add(TARGETS, ORDERED[::-1], state="pruned")
    study.add(state="pruned", reason="too many parameters")  # never trained
    found = expect(study.folder, study.rows, study.objective)
    assert found.num_trials == 1
    assert found.caveats[0].startswith("1 more trial was stopped early by values on the same")
    assert "which flatters those that went on" in " ".join(found.lines)
    told = expect(study.folder, study.rows[:1], study.objective)
    assert "stopped early" not in " ".join(told.lines)


def test_trials_that_wait_for_the_next_search_are_told_as_stopped_ones_are(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, ORDERED)
    waits = study.add(TARGETS, ORDERED[::-1], state="pruned")
    files = study.folder.trial(waits.uid)
    result = files.read_result()
    assert result is not None
    files.write_result(result.model_copy(update={"state": "paused"}))  # the time was up
    found = expect(study.folder, study.rows[:1], study.objective)
    assert found.caveats[0].startswith("1 more trial was paused by values on the same files")
    assert found.interval.endswith("95%: the only complete trial)")
    study.add(TARGETS, ORDERED[::-1], state="pruned")
    both = expect(study.folder, [study.rows[0], study.rows[2]], study.objective)
    assert both.caveats[0].startswith("2 more trials were stopped early or paused by values")


def test_the_best_of_equal_trials_is_expected_to_be_what_they_all_are(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    for seed in range(12):
        study.add(*normal_scores(0.5, seed=seed, noise=1.5))
    found = expect(study.folder, study.rows, study.objective)
    values = [row.objective for row in study.rows if row.objective is not None]
    assert found.expected is not None
    assert found.naive == pytest.approx(max(values))
    # Their spread is all chance: what is left is near their mean, and below the best.
    assert found.expected < found.naive - 0.01
    assert found.expected == pytest.approx(np.mean(values), abs=0.03)
    assert f"the best of {len(values)}" in found.sentence
    assert expect(study.folder, study.rows, study.objective) == found


def test_a_trial_named_by_hand_is_corrected_for_its_own_rank(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    for seed in range(6):
        study.add(*normal_scores(0.5, seed=seed, noise=1.5))
    last = min(study.rows, key=lambda row: row.objective or 0)
    found = expect(study.folder, study.rows, study.objective, number=last.number)
    assert (found.number, found.rank) == (last.number, 6)
    # The worst of equal trials had bad luck.
    assert found.expected is not None
    assert found.expected > found.naive
    assert "number 6 of 6" in found.sentence


def test_what_breaks_a_constraint_whatever_the_files_was_none_to_choose_from(
    tmp_path: Path,
) -> None:
    study = MadeStudy(tmp_path, constraints={"params": {"at_most": 2e6}})
    for seed in range(4):
        study.add(*normal_scores(0.5, seed=seed, noise=1.5))
    best = max(study.rows, key=lambda row: row.objective or 0)
    too_large = {"params_true": 3_000_000, "breaks": ("params is 3M, not at most 2M",)}
    rows = [
        row.model_copy(update=too_large) if row.number == best.number else row for row in study.rows
    ]
    others = [row for row in rows if row.number != best.number]
    found = expect(study.folder, rows, study.objective)
    assert found == expect(study.folder, others, study.objective)
    assert (found.rank, found.num_trials, found.num_breaking) == (1, 3, 0)
    by_hand = expect(study.folder, rows, study.objective, number=best.number)
    assert by_hand.num_trials == 4


def test_constraints_on_metrics_are_held_to_anew_on_each_part(tmp_path: Path) -> None:
    # Equal trials: who keeps the bound and is the best there owes both to the files.
    free, bound = (
        MadeStudy(tmp_path, name, constraints=constraints)
        for name, constraints in (("free", {}), ("bound", {"fpr": {"at_most": 0.3}}))
    )
    for study in (free, bound):
        for seed in range(12):
            study.add(*normal_scores(0.5, seed=seed, noise=1.5))
    rows = read_scored_trials(bound.folder)
    kept = [row for row in rows if not row.breaks]
    assert 1 < len(kept) < 12
    found = expect(bound.folder, rows, bound.objective)
    assert (found.number, found.num_trials) == (
        choose_trial(rows, bound.objective).number,
        len(kept),
    )
    assert found.num_breaking == 12 - len(kept)
    assert found.choice == f"the choice among {len(kept)} trials that keep the constraints"
    # As if the others had never been, what passing the bound owes to the files would stay in.
    alone = expect(free.folder, [free.rows[row.number] for row in kept], free.objective)
    assert found.expected is not None and alone.expected is not None
    assert abs(found.expected - alone.expected) > 0.005


def test_the_only_one_that_keeps_a_constraint_is_corrected_for_that(tmp_path: Path) -> None:
    drawn = [normal_scores(0.5, seed=seed, noise=1.5) for seed in range(12)]
    first, second, *_ = sorted(binary_metrics(np.array(y), np.array(s))["fpr"] for y, s in drawn)
    study = MadeStudy(tmp_path, constraints={"fpr": {"at_most": (first + second) / 2}})
    for targets, scores in drawn:
        study.add(targets, scores)
    rows = read_scored_trials(study.folder)
    assert sum(not row.breaks for row in rows) == 1
    found = expect(study.folder, rows, study.objective)
    assert (found.num_trials, found.num_breaking, found.rank) == (1, 11, 1)
    assert found.expected is not None and found.expected != found.naive
    assert found.choice == "being the only one of 12 trials that keeps the constraints"
    assert "95%: the only one of 12 that keeps the constraints)" in found.sentence


def test_copies_are_counted_once(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    targets, scores = normal_scores(0.7, seed=1, num=60)
    names = [f"{copy}-{i}.mp4" for copy in "abc" for i in range(60)]
    study.add(targets * 3, scores * 3, names=names)
    groups = {name: name.split("-")[1] for name in names}
    apart = expect(study.folder, study.rows, study.objective)
    together = expect(study.folder, study.rows, study.objective, groups=groups)
    once = MadeStudy(tmp_path, "once")
    once.add(targets, scores)
    single = expect(once.folder, once.rows, once.objective)
    assert (apart.num_groups, together.num_groups) == (180, 60)
    assert together.low == pytest.approx(single.low)
    assert together.high == pytest.approx(single.high)
    assert apart.low is not None
    assert single.low is not None
    assert apart.low > single.low


def test_a_class_with_one_file_tells_nothing(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add([1, 0, 0], [0.9, 0.1, 0.2])
    study.add([1, 0, 0], [0.3, 0.1, 0.4])
    found = expect(study.folder, study.rows, study.objective)
    assert (found.naive, found.expected, found.low) == (1.0, None, None)
    assert "too few files" in found.sentence


def test_trials_of_other_samples_are_left_out(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, ORDERED)
    study.add(TARGETS, ORDERED[::-1], names=[f"other{i}.mp4" for i in range(6)])
    found = expect(study.folder, study.rows, study.objective)
    assert (found.number, found.num_trials, found.expected) == (0, 1, found.naive)
    assert "left out of this: 1" in found.caveats[0]


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "best_f1"])
def test_other_metrics_have_an_expected_value_too(tmp_path: Path, metric: str) -> None:
    study = MadeStudy(tmp_path, metric=metric)  # type: ignore[arg-type]
    for seed in range(3):
        study.add(*normal_scores(0.5, seed=seed, num=60, noise=1.5))
    found = expect(study.folder, study.rows, study.objective)
    assert found.expected is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.expected < found.high


def test_the_best_f1_is_lower_where_its_threshold_was_not_chosen(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(0.5, seed=0, num=100, noise=1.5))
    found = expect(study.folder, study.rows, study.objective)
    assert found.best_f1 is not None
    assert found.best_f1 < study.rows[0].metrics["best_f1"]
