"""What a study comes to: decision, rivals, slices and what would change it."""

import math
from pathlib import Path

import pandas as pd
import pytest

from tests.report.sliced import COPIES, GENERATORS, NUM_FILES, make_sliced
from tests.selection.studies import MadeStudy, champion, normal_scores
from workbench.selection.contenders import Contender
from workbench.selection.evidence import times_as_many, what_would_change_it
from workbench.selection.slice_values import (
    auc_gap,
    main_slice,
    read_labelled_scores,
    slice_values,
)
from workbench.selection.summary import Summary, describe_summary, summarise
from workbench.trial.delong import Z95, auc
from workbench.trial.recipe import Objective


def summary_of(study: MadeStudy) -> Summary:
    return summarise(study.folder, study.rows, study.objective)[0]


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    return make_sliced(tmp_path_factory.mktemp("sliced"), num_trials=3)


def write_champion(study: MadeStudy, number: int, **changes: object) -> None:
    recipe = study.rows[number].recipe
    about: dict[str, object] = {"study": study.folder.name, "objective": study.objective}
    record = champion(number, recipe=recipe, **about, **changes)
    study.folder.champion.write_text(record.model_dump_json())


def test_a_study_without_trials_comes_to_nothing(tmp_path: Path) -> None:
    found = summary_of(MadeStudy(tmp_path))
    assert (found.decision, found.contenders, describe_summary(found)) == ((), (), "")


def test_the_best_would_be_promoted(sliced: MadeStudy) -> None:
    found = summary_of(sliced)
    promoted, expected, cost = found.decision
    best = max(sliced.rows, key=lambda row: row.objective or 0).number
    assert promoted.startswith(f"Trial {best} (test_resnet on mel) would be promoted")
    assert "best auc on val of 3 complete trials" in promoted
    corrected = found.contenders[0].expected
    assert corrected is not None
    assert corrected.expected is not None
    assert expected.startswith(
        f"On new data of this kind, expect auc {corrected.expected:.3f} ({corrected.low:.3f} to "
    )
    assert "is corrected for the choice among 3 trials" in expected
    assert expected.endswith("the spread over 8 other slices.")
    assert cost.startswith("It obeys the rulebook: 1.23M parameters of 200M allowed, ")
    assert [row.role for row in found.contenders] == ["best", "runner-up"]
    assert found.contenders[0].cost.macs is not None
    assert found.contenders[1].behind == pytest.approx(
        found.contenders[0].value - found.contenders[1].value
    )


@pytest.mark.parametrize("generators", [0, 1, 2])
def test_val_is_of_another_kind_in_no_objective_that_has_it(
    tmp_path: Path, generators: int
) -> None:
    """Most experiments ask for the worst of val and generators, and few data have generators."""
    objective = Objective(over=("val", "generators"), aggregate="worst")
    study = MadeStudy(tmp_path, objective=objective)
    half = range(NUM_FILES // 2), range(NUM_FILES // 4, NUM_FILES)
    slices = {f"generators.g{n}": half[n] for n in range(generators)}
    study.add(*normal_scores(0.5, seed=0, num=NUM_FILES), slices=slices)
    _, expected, _ = summary_of(study).decision
    _, elsewhere = expected.split("; ")
    assert "(val)" not in elsewhere
    assert elsewhere.count("(generators.g") == generators
    if not generators:
        assert elsewhere.startswith("of another kind nothing is known")


def test_the_choice_of_an_epoch_of_the_only_trial_is_said(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(0.5, seed=0), num_epochs=20)
    _, expected, _ = summary_of(study).decision
    assert "or rather less: the best of its 20 epochs was taken" in expected


def test_trials_that_the_same_files_stopped_are_said(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(1.0, seed=0))
    study.add(*normal_scores(0.2, seed=1), state="pruned")
    more = "the same files stopped or paused 1 more trial"
    assert f", its value on val, or rather less: {more}; " in summary_of(study).decision[1]
    study.add(*normal_scores(0.5, seed=2))
    said = summary_of(study).decision[1]
    assert "choice among 2 trials, but not for 1 more that the same files stopped or" in said


def test_finalists_beside_a_champion_that_is_none_are_told_as_they_are_compared(
    sliced: MadeStudy,
) -> None:
    found, scores = summarise(sliced.folder, sliced.rows, sliced.objective)
    first, other = found.contenders
    again = other.model_copy(
        update={"role": "finalist", "mean": other.value - 0.1, "num_seeds": 2, "is_repeat": True}
    )

    def told(*contenders: Contender) -> tuple[str, ...]:
        return what_would_change_it(contenders, found.slices, scores, sliced.objective)

    seeds = next(line for line in told(first, again) if line.startswith("Other seeds"))
    assert f"of these, trial {first.number} is no finalist that was trained again" in seeds
    assert "none is a finalist that was trained again" in " ".join(told(first, other))
    # The gap is that of two models, to which the mean of one does not lead.
    assert not any("times the seeds" in line for line in told(first, again))
    both = first.model_copy(update={"mean": first.value, "num_seeds": 2})
    assert any("times the seeds" in line for line in told(both, again))
    said = describe_summary(found.model_copy(update={"contenders": (first, again)}))
    assert (
        f"Finalist: trial {other.number}, mean {other.value - 0.1:.5f}; the repeat nearest it, "
        f"{other.value:.5f}, behind by {first.value - other.value:.5f}"
    ) in said
    said = describe_summary(found.model_copy(update={"contenders": (both, again)}))
    assert f"mean {other.value - 0.1:.5f}, behind by" in said


def test_beside_a_promoted_soup_the_value_of_a_repeat_is_called_that(sliced: MadeStudy) -> None:
    found = summary_of(sliced).model_copy(update={"is_soup_promoted": True})
    first, *others = found.contenders
    named = f"{first.value:.5f}, the best"
    assert f"\nOf trial {first.number}, {named} single one of" in describe_summary(found)
    again = first.model_copy(update={"is_repeat": True})
    told = describe_summary(found.model_copy(update={"contenders": (again, *others)}))
    assert f"\nOf the repeat of trial {first.number} nearest its mean, {named} finalist:" in told


def test_the_promoted_trial_stands_first_whatever_is_best(sliced: MadeStudy) -> None:
    write_champion(sliced, 0, chosen_by="by hand")
    try:
        found = summary_of(sliced)
        first, rival = found.contenders
        assert (first.number, first.role) == (0, "champion")
        assert "is promoted, named by hand; by auc on val it is number 3 of 3" in found.decision[0]
        assert rival.behind is not None
        assert rival.behind < 0
        assert "ahead by" in describe_summary(found)
        assert "is promoted" not in describe_summary(found, is_after_promotion=True)
    finally:
        sliced.folder.champion.unlink()


def test_the_terminal_says_it_in_about_ten_lines(sliced: MadeStudy) -> None:
    lines = describe_summary(summary_of(sliced)).splitlines()
    assert 7 <= len(lines) <= 11
    assert any(line.startswith("TPR on val ") for line in lines)
    assert any(line.startswith("Calibration on val: ECE ") for line in lines)


def test_every_slice_of_two_classes_has_its_value(sliced: MadeStudy) -> None:
    scores = read_labelled_scores(sliced.folder, sliced.rows)
    found = slice_values(scores, Objective(over=("generators", "val")))
    names = [*(f"generators.{name}" for name in GENERATORS)]
    assert sorted(found.slices) == sorted([*names, "val", *(f"degraded.{name}" for name in COPIES)])
    # The test slice has no labels, and `speakers.ada` one class. The objective's come first.
    assert found.of_objective == (True,) * 4 + (False,) * 5
    assert set(found.slices[:4]) == {*names, "val"}
    val = scores[1][scores[1]["slice"] == "val"]
    assert found.of(1)["val"] == auc(val["target"], val["score"]).value
    assert found.of(0)["generators.face-swap"] == 1.0


def test_the_slice_that_is_looked_at_is_val_or_else_of_the_objective() -> None:
    table = pd.DataFrame({"slice": ["phone", "val"]})
    assert main_slice(table, Objective(over=("phone",))) == "val"
    assert main_slice(table[:1], Objective(over=("phone",))) == "phone"


def test_a_gap_needs_the_same_files(sliced: MadeStudy) -> None:
    scores = read_labelled_scores(sliced.folder, sliced.rows)
    gap = auc_gap(scores[2], scores[0], "val")
    assert gap is not None
    assert gap.value == pytest.approx(
        (sliced.rows[2].objective or 0) - (sliced.rows[0].objective or 0)
    )
    assert auc_gap(scores[2], scores[0].iloc[3:], "val") is None
    assert auc_gap(scores[2], scores[0], "speakers.ada") is None


def test_samples_grow_with_the_square_of_error_over_gap() -> None:
    # 1.96 x 0.02 is four gaps of 0.0098: sixteen times as many.
    assert times_as_many(0.0098, 0.02) == pytest.approx(16)


def test_the_files_that_would_tell_two_apart_are_counted(sliced: MadeStudy) -> None:
    found = summary_of(sliced)
    rival = found.contenders[1]
    assert rival.behind is not None
    assert rival.behind_standard_error is not None
    times = (Z95 * rival.behind_standard_error / rival.behind) ** 2
    more = next(line for line in found.evidence if line.startswith("More files"))
    assert times > 1
    needed = int(more.partition("about ")[2].split()[0].replace(",", ""))
    assert times * NUM_FILES <= needed <= math.ceil(times * NUM_FILES * 1.1)


@pytest.mark.parametrize("gap", [0.0, 1e-16])  # a difference of sums in another order
def test_no_number_of_files_parts_two_that_are_level(sliced: MadeStudy, gap: float) -> None:
    scores = read_labelled_scores(sliced.folder, sliced.rows)
    values = slice_values(scores, sliced.objective)
    first, rival, *others = summary_of(sliced).contenders
    level = rival.model_copy(update={"behind": gap, "behind_standard_error": 0.02})
    said = what_would_change_it([first, level, *others], values, scores, sliced.objective)
    assert any("no number of files like those of val is sure to part the two" in s for s in said)


def test_a_slice_on_which_another_trial_is_surely_better_is_named(sliced: MadeStudy) -> None:
    found = summary_of(sliced)
    (other,) = [line for line in found.evidence if line.startswith("Data like")]
    assert other.startswith("Data like generators.face-swap: there trial 0 is ahead by ")


def test_a_model_that_cannot_be_built_is_said_not_raised(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(0.8, seed=0), backbone="no_such_backbone")
    found = summary_of(study)
    assert found.decision[2].startswith("Whether it obeys the rulebook cannot be told")
    assert found.contenders[0].cost.macs is None
