"""Trials that break a constraint: ranked last, promoted by hand alone, and said so."""

from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy, normal_scores
from tests.selection.test_finalists import KnownModels
from workbench.errors import StudyError
from workbench.selection.leaderboard import as_json, as_table, rank
from workbench.selection.promotion import choose_trial, promote
from workbench.selection.summary import summarise
from workbench.study.records import TrialRow
from workbench.study.scored import read_scored_trials


def study(root: Path, least_auc: float) -> tuple[MadeStudy, list[TrialRow]]:
    """Return a study of the best log-loss with two trials, the first one better in both metrics."""
    made = MadeStudy(root, metric="log_loss", constraints={"auc": {"at_least": least_auc}})
    for shift in (1.5, 0.5):
        made.add(*normal_scores(shift, seed=1))
    return made, read_scored_trials(made.folder)


def test_a_trial_that_breaks_a_constraint_is_passed_by_unless_it_is_named(tmp_path: Path) -> None:
    made, rows = study(tmp_path, 0.0)
    auc = [row.metrics["auc"] for row in rows]
    assert auc[0] > auc[1] and [row.breaks for row in rows] == [(), ()]
    made, rows = study(tmp_path / "most", (auc[0] + auc[1]) / 2)
    assert choose_trial(rows, made.objective).number == 0
    made = MadeStudy(tmp_path / "least", constraints={"log_loss": {"at_least": 0.5}})
    made.add(*normal_scores(1.5, seed=1))
    made.add(*normal_scores(0.5, seed=1))
    rows = read_scored_trials(made.folder)
    assert rows[0].metrics["log_loss"] < 0.5 < rows[1].metrics["log_loss"]
    assert [row.number for row in rank(rows, made.objective)] == [1, 0]
    assert choose_trial(rows, made.objective).number == 1
    assert choose_trial(rows, made.objective, 0).number == 0
    said = f"log_loss is {rows[0].metrics['log_loss']:.6g}, not at least 0.5"
    assert rows[0].breaks == (said,)
    table = as_table(rows, made.objective)
    assert table.splitlines()[-1].endswith(f"is promoted by hand only: {said}.")
    assert [trial["breaks"] for trial in as_json(rows)] == [[said], []]


def test_one_that_breaks_a_constraint_is_none_that_the_champion_is_said_to_beat(
    tmp_path: Path,
) -> None:
    # Of the three the second is the best by far, and one to be named by hand.
    made = MadeStudy(tmp_path, metric="fpr", constraints={"recall": {"at_least": 0.3}})
    targets, scores = normal_scores(1.5, seed=1)
    made.add(targets, scores)
    made.add(targets, [score / 3 for score in scores])
    made.add(*normal_scores(1.0, seed=2))
    rows = read_scored_trials(made.folder)
    assert rows[1].objective == 0 and [bool(row.breaks) for row in rows] == [False, True, False]
    own = promote(made.folder, KnownModels(*(row.recipe for row in rows)))
    among = "best fpr on val of 2 complete trials that keep the constraints"
    assert own.why == f"It has the {among}."
    assert own.sentence.startswith("It is ahead of trial 2 by ") and "flatters" not in own.sentence
    decision = summarise(made.folder, rows, made.objective)[0].decision
    assert f"is promoted: it has the {among}." in decision[0]

    named = promote(made.folder, KnownModels(*(row.recipe for row in rows)), 1)
    last = "number 3 of 3, for it comes after those that keep the constraints."
    assert named.why.endswith(f"{last} It breaks a constraint: recall is 0, not at least 0.3.")
    # By the value it is the first, and that is what its choice is corrected for.
    assert named.expected is not None and named.expected.rank == 1
    decision = summarise(made.folder, rows, made.objective)[0].decision
    assert "number 3 of 3, after all that keep the constraints (recall is 0," in decision[0]


def test_beside_the_only_trial_that_keeps_them_it_is_said_that_the_other_does_not(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path, constraints={"fpr": {"at_most": 0.05}})
    targets, scores = normal_scores(1.0, seed=1)
    made.add(targets, scores)
    made.add(*normal_scores(0.5, seed=2))
    scores = [score / 3 for score in normal_scores(0.5, seed=3)[1]]
    made.add(targets, scores)
    rows = read_scored_trials(made.folder)
    assert [bool(row.breaks) for row in rows] == [True, True, False]
    own = promote(made.folder, KnownModels(*(row.recipe for row in rows)))
    assert own.why.endswith("of 1 complete trial that keeps the constraints.")
    assert own.sentence.startswith("It is behind trial 0, which breaks a constraint, by ")
    decision = summarise(made.folder, rows, made.objective)[0].decision
    assert "it is the only complete trial that keeps the constraints." in decision[0]


def test_where_all_break_one_none_is_promoted_and_it_is_said(tmp_path: Path) -> None:
    made, rows = study(tmp_path, 0.999)
    with pytest.raises(StudyError, match=r"All 2 complete trials break a constraint.*trial 0, auc"):
        choose_trial(rows, made.objective)
    assert choose_trial(rows, made.objective, 1).number == 1
    decision = summarise(made.folder, rows, made.objective)[0].decision[0]
    assert "Trial 0 (test_resnet on mel) would not be promoted" in decision
    best = "it has the best log_loss on val of 2 complete trials"
    assert f"{best}, but breaks" in decision
    named = promote(made.folder, KnownModels(*(row.recipe for row in rows)), 0)
    assert " of 2 complete trials. It breaks a constraint: auc is " in named.why
    decision = summarise(made.folder, rows, made.objective)[0].decision[0]
    assert f"is promoted, named by hand: {best}, but breaks a constraint (auc is " in decision


@pytest.mark.parametrize("lowered", [{"fpr": 0.0}, {}])
def test_a_metric_that_the_scores_do_not_give_lifts_no_constraint(
    tmp_path: Path, lowered: dict[str, float]
) -> None:
    made = MadeStudy(tmp_path, constraints={"fpr": {"at_most": 0.25}})
    better, other = (made.add(*normal_scores(shift, seed=1)) for shift in (0.5, 0.6))
    rows = read_scored_trials(made.folder)
    assert [row.metrics["fpr"] > 0.25 for row in rows] == [True, False]
    result = made.folder.trial(better.uid).read_result()
    assert result is not None
    kept = {name: value for name, value in result.metrics.items() if name != "fpr"}
    changed = result.model_copy(update={"metrics": kept | lowered})
    made.folder.trial(better.uid).write_result(changed)
    first, second = read_scored_trials(made.folder)
    assert first.state == "failed" and "does not give the fpr" in first.reason
    assert second.recipe == other.uid and second.breaks == ()


def test_a_log_loss_that_the_scores_do_not_give_puts_no_trial_first(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for _ in range(2):
        last = made.add(*normal_scores(0.5, seed=1))
    result = made.folder.trial(last.uid).read_result()
    assert result is not None
    changed = result.model_copy(update={"metrics": {**result.metrics, "log_loss": 0.01}})
    made.folder.trial(last.uid).write_result(changed)
    rows = read_scored_trials(made.folder)
    assert choose_trial(rows, made.objective).number == 0
    assert rows[1].state == "failed" and "does not give the log_loss" in rows[1].reason
