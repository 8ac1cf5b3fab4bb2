"""Which finalist is the best, what is promoted of it, and what is said of seeds and luck."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.selection.studies import MadeStudy, normal_scores, row
from workbench.errors import StudyError
from workbench.report.calibration import calibration_section
from workbench.report.slices import slices_section
from workbench.searching.options import RunOptions
from workbench.selection import final_round, pack_proposal
from workbench.selection.calibration import Calibration, ReliabilityBin
from workbench.selection.champion import describe_champion, read_champion
from workbench.selection.estimate import expect
from workbench.selection.final_round import run_final_round
from workbench.selection.finalists import Finalist, Finalists, choose_finalists, read_finalists
from workbench.selection.finalists_told import (
    finalists_as_json,
    finalists_as_table,
    reason,
    sentences,
)
from workbench.selection.packing import Ingredient
from workbench.selection.promotion import promote
from workbench.selection.slice_values import SliceValues
from workbench.selection.summary import summarise
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.study.repeats import FinalistsPlan, Repeat, repeated, write_plan, write_repeat
from workbench.study.soups import Ingredient as Averaged
from workbench.study.soups import Soup, soup_uid
from workbench.trial.delong import auc, auc_difference, mean_auc_difference
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective
from workbench.trial.result import Result, State
from workbench.workspace import Workspace

AUC = Objective()


def finalist(number: int, picked: float, *values: float, num_seeds: int = 0) -> Finalist:
    repeats = tuple(row(number, value) for value in values)
    return Finalist(row=row(number, picked), repeats=repeats, num_seeds=num_seeds or len(values))


def of(*ranked: Finalist, objective: Objective = AUC) -> Finalists:
    return Finalists(objective=objective, ranked=ranked)


def test_what_seeds_move_is_pooled_over_the_finalists() -> None:
    # Variances 0.0002 of two and 0.0001 of three values: (1 x 0.0002 + 2 x 0.0001) / 3.
    found = of(finalist(0, 0.9, 0.80, 0.82), finalist(1, 0.8, 0.70, 0.71, 0.72))
    assert found.seed_deviation == pytest.approx((0.0004 / 3) ** 0.5)
    assert found.mean_deviation == pytest.approx(0.1 / 2**0.5)
    # 0.9 - 0.81 and 0.8 - 0.71.
    assert found.luck == pytest.approx(0.09)


def test_of_one_repeat_nothing_is_known_of_seeds() -> None:
    found = of(finalist(0, 0.9, 0.8))
    assert (found.seed_deviation, found.mean_deviation) == (None, None)
    assert found.luck == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("repeat", "said"),
    [
        (0.7, "0.10000 better on average than their repeats are: that is what picking owes"),
        (0.9, "0.10000 worse on average than their repeats are: that is what picking owes"),
        (0.8000001, "as good on average as their repeats are: picking owes nothing"),
    ],
)
def test_what_picking_owes_to_the_seed_is_told(repeat: float, said: str) -> None:
    assert f"they were {said} to the seed." in sentences(of(finalist(0, 0.8, repeat)))[-1]


def test_luck_of_an_objective_that_is_better_lower() -> None:
    lower = Objective(metric="log_loss")
    assert of(finalist(0, 0.3, 0.4, 0.6), objective=lower).luck == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "nearest"),
    [((0.7, 0.9, 0.8), 0.8), ((0.7, 0.8), 0.7), ((0.1, 0.5, 0.9, 0.52), 0.5), ((0.6,), 0.6)],
)
def test_the_repeat_nearest_the_mean_and_of_two_the_worse(
    values: tuple[float, ...], nearest: float
) -> None:
    assert finalist(0, 0.9, *values).nearest_mean(AUC).objective == nearest


def test_of_two_as_near_the_worse_where_lower_is_better() -> None:
    lower = Objective(metric="log_loss")
    assert finalist(0, 0.9, 0.7, 0.8).nearest_mean(lower).objective == 0.8


def test_none_is_the_best_before_all_have_ended() -> None:
    assert of(finalist(0, 0.9, 0.8, num_seeds=2)).best is None
    assert of(finalist(0, 0.9, 0.8)).best is not None


def test_the_mean_difference_of_one_row_each_is_the_difference() -> None:
    targets, first = normal_scores(1.0, seed=1)
    _, second = normal_scores(0.8, seed=2)
    one = auc_difference(targets, first, second)
    # The mean of equal rows is no surer.
    for rows in ([first], [first] * 3):
        found = mean_auc_difference(targets, rows, [second])
        assert found.model_dump() == pytest.approx(one.model_dump())


def test_the_mean_difference_is_that_of_the_means() -> None:
    targets, _ = normal_scores(1.0, seed=1)
    rows = [normal_scores(1.0, seed=seed)[1] for seed in range(4)]
    found = mean_auc_difference(targets, rows[:2], rows[2:])
    values = [auc(targets, one).value for one in rows]
    assert found.value == pytest.approx(np.mean(values[:2]) - np.mean(values[2:]))
    with pytest.raises(ValueError, match="rows of scores are needed"):
        mean_auc_difference(targets, [], rows)


class KnownModels:
    """A registry that has a version of some recipes, and takes no other."""

    def __init__(self, *recipes: str) -> None:
        self._recipes = recipes

    def set_champion(self, name: str, uid: str, study_id: str, weights: str) -> str | None:
        assert uid in self._recipes, "another model is promoted"
        return "1"

    def register_champion(self, name: str, **model: Any) -> str:
        raise AssertionError("nothing is to be registered")


class Round:
    """A made study whose trials are trained again."""

    def __init__(
        self, root: Path, constraints: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        self.study = MadeStudy(root, constraints=constraints)
        self.folder = self.study.folder

    def begin(self) -> None:
        self.trial(1.3, 0)
        self.trial(0.8, 1)
        self.trial(0.3, 2)
        self.plan(0, 1, num_seeds=3)

    def trial(self, shift: float, seed: int) -> None:
        self.study.add(*normal_scores(shift, seed=seed), run=f"run{seed}")

    def plan(self, *numbers: int, num_seeds: int) -> None:
        write_plan(self.folder, FinalistsPlan(numbers=numbers, num_seeds=num_seeds))

    def repeat(self, number: int, place: int, shift: float, *, state: State = "complete") -> str:
        trial = self.study.rows[number]
        recipe = repeated(self.folder.trial(trial.recipe).read_recipe(), place)
        targets, scores = normal_scores(shift, seed=100 * number + place)
        metrics = {str(k): v for k, v in binary_metrics(targets, scores).items()}
        metric = self.study.objective.metric
        self.folder.repeat(recipe.uid).path.mkdir(parents=True)
        files = self.folder.trial(recipe.uid)
        files.write_recipe(recipe)
        self.study._write_scores(recipe, targets, scores, None)
        files.write_result(
            Result(
                recipe=recipe.uid,
                state=state,
                reason="" if state == "complete" else "it diverged",
                objective=metrics[metric] if state == "complete" else None,
                metrics=metrics,
            )
        )
        run = f"run {number}.{place}"
        write_repeat(
            self.folder,
            Repeat(number=number, of=trial.recipe, place=place, recipe=recipe.uid, run=run),
        )
        return recipe.uid

    def read(self) -> Finalists:
        found = read_finalists(self.folder, self.study.rows)
        assert found is not None
        return found


@pytest.fixture
def final(tmp_path: Path) -> Round:
    """Trial 0 is the best by its value, trial 1 by the mean of its repeats."""
    made = Round(tmp_path)
    made.begin()
    return made


def fill(final: Round) -> None:
    for place, (first, second) in enumerate([(0.5, 0.7), (0.55, 0.8), (0.6, 0.9)], 1):
        final.repeat(0, place, first)
        final.repeat(1, place, second)


def test_the_finalists_are_the_best_by_the_ranking(final: Round) -> None:
    chosen = choose_finalists(final.study.rows, AUC, 2)
    assert [one.number for one in chosen] == [0, 1]
    with pytest.raises(StudyError, match="No trial is complete"):
        choose_finalists([], AUC, 2)


def test_the_best_mean_wins_and_the_trial_itself_does_not_count(final: Round) -> None:
    fill(final)
    found = final.read()
    assert [one.row.number for one in found.ranked] == [1, 0]
    best = found.best
    assert best and len(best.values) == 3
    assert best.mean == pytest.approx(sum(best.values) / 3)
    assert found.lead and found.lead.number == 0 and found.lead.margin > 0
    assert found.lead.standard_error and found.seed_deviation
    # Seeds alone would make it sqrt(2/3) of their deviation.
    assert found.lead.standard_error > found.seed_deviation * (2 / 3) ** 0.5


def test_the_repeat_nearest_the_mean_is_promoted(final: Round) -> None:
    fill(final)
    nearest = final.read().ranked[0].nearest_mean(AUC)
    champion = promote(final.folder, KnownModels(nearest.recipe))
    assert champion == read_champion(final.folder)
    assert (champion.number, champion.recipe) == (1, nearest.recipe)
    assert champion.value == nearest.objective and len(champion.repeats) == 3
    assert champion.runner_up and champion.runner_up.number == 0
    assert "best mean auc of 2 finalists" in champion.why
    assert "Its mean is ahead of that of trial 0" in champion.sentence


def test_the_page_names_the_repeats_that_stand_for_their_trials(final: Round) -> None:
    fill(final)
    found, _ = summarise(final.folder, final.study.rows, AUC)
    assert [one.title for one in found.contenders] == [
        "the repeat of trial 1",
        "the repeat of trial 0",
    ]
    values = {one.number: (0.7, 0.6) for one in found.contenders}
    slices = SliceValues(slices=("val", "other"), of_objective=(True, False), values=values)
    found = found.model_copy(update={"slices": slices})
    told = "It has the repeat of trial 1 and the repeat of trial 0, with other seeds that nobody"
    assert told in slices_section(found, final.study.rows, AUC)
    bins = (ReliabilityBin(score=0.4, share=0.5, low=0.2, high=0.8, count=20),)
    fitted = Calibration(
        temperature=2.0,
        log_loss=0.7,
        log_loss_after=0.6,
        ece=0.1,
        ece_after=0.05,
        num_samples=20,
        num_folds=5,
        bins=bins,
        bins_after=bins,
    )
    found = found.model_copy(update={"calibration": fitted})
    page = calibration_section(found)
    assert "Of the repeat of trial 1 on val" in page and "divides the exported scores so" in page
    page = calibration_section(found.model_copy(update={"is_pack_promoted": True}))
    assert "divides the scores of the promoted pack by a temperature of its own" in page


# The repeats of trial 0 have an FPR of 0.26, 0.25 and 0.26, those of trial 1 of 0.19, 0.2 and 0.18:
# the second is nearest their mean.
def test_a_repeat_that_breaks_a_constraint_is_not_promoted(tmp_path: Path) -> None:
    final = Round(tmp_path, {"fpr": {"at_most": 0.195}})
    final.begin()
    fill(final)
    nearest = final.read().ranked[0].nearest_mean(AUC)
    assert (nearest.number, nearest.metrics["fpr"], nearest.breaks) == (1, 0.19, ())
    assert promote(final.folder, KnownModels(nearest.recipe)).value == nearest.objective


def test_a_finalist_none_of_whose_repeats_keeps_the_constraints_comes_last(tmp_path: Path) -> None:
    final = Round(tmp_path, {"fpr": {"at_least": 0.24}})
    final.begin()
    fill(final)
    best = final.read().best
    assert best and best.row.number == 0
    champion = promote(final.folder, KnownModels(best.nearest_mean(AUC).recipe))
    assert "best mean auc of 1 finalist with a repeat within the constraints" in champion.why
    assert champion.margin is None  # trial 1 has the better mean, and may not be promoted
    assert champion.sentence.startswith("No other finalist has a complete repeat within the con")


def test_where_every_repeat_breaks_a_constraint_none_is_promoted(tmp_path: Path) -> None:
    final = Round(tmp_path, {"fpr": {"at_most": 0.17}})
    final.begin()
    fill(final)
    assert [row.breaks for row in final.study.rows[:2]] == [(), ()]
    with pytest.raises(
        StudyError, match=r"All repeats.* of trial 1, fpr is 0\.2, not at most 0\.17"
    ):
        promote(final.folder, KnownModels())
    decision = summarise(final.folder, final.study.rows, AUC)[0].decision[0]
    assert decision.startswith("Trial 1 (test_resnet on mel) would not be promoted by `workbench p")
    assert "it has the best mean auc of 2 finalists" in decision
    assert "but breaks a constraint (fpr is 0.2, not at most 0.17). Name" in decision
    told = "repeats break a constraint (one of trial 1: fpr is 0.19, not at most 0.17)"
    assert f"6 of 6 {told}" in " ".join(sentences(final.read()))


def test_by_hand_the_trial_itself_is_promoted(final: Round) -> None:
    fill(final)
    trial = final.study.rows[0].recipe
    champion = promote(final.folder, KnownModels(trial), 0)
    assert (champion.recipe, champion.repeats) == (trial, ())
    # What to expect of it is corrected for the choice among trials alone; its repeats tell more.
    [finalist] = [one for one in final.read().ranked if one.row.number == 0]
    told = (
        f"Trained again {len(finalist.values)} times with new seeds, it has a mean auc of "
        f"{finalist.mean:.5f}, which nobody picked."
    )
    assert told in describe_champion(champion).splitlines()
    final.folder.finalists.unlink()
    now = promote(final.folder, KnownModels(trial), 0)
    assert now.expected is not None and told not in now.expected.caveats


def test_a_round_that_is_not_whole_promotes_the_best_trial(
    final: Round, capsys: pytest.CaptureFixture[str]
) -> None:
    final.repeat(1, 1, 0.9)
    assert final.read().num_missing == 5
    trial = final.study.rows[0].recipe
    final.repeat(0, 1, 0.1)
    told = summarise(final.folder, final.study.rows, AUC)[0]
    own = told.contenders[0]
    # What would be promoted is the trial itself: the luck of one other seed is not its value.
    assert own.number == 0 and own.mean and abs(own.value - own.mean) > 0.1
    expected = expect(final.folder, final.study.rows, AUC, number=0)
    assert f"expect auc {expected.expected:.3f} (" in told.decision[1]
    assert f"its {own.value:.3f} on val is corrected for the choice among 3" in told.decision[1]
    again = (
        f"Trained again 1 time with new seeds, it has a mean auc of {own.mean:.5f}, which nobody"
    )
    assert again in told.decision[1]
    assert told.contenders[0].recipe == trial
    assert "would be promoted by `workbench promote`: it has the best auc on" in told.decision[0]
    assert promote(final.folder, KnownModels(trial)).recipe == trial
    said = "4 repeats of the finalists did not end or cannot be read, so the best trial is taken"
    assert said in capsys.readouterr().err
    assert "4 repeats are still to be trained" in finalists_as_table(final.read())


def test_the_mean_of_repeats_has_not_the_interval_of_one_model(final: Round) -> None:
    final.plan(0, num_seeds=3)
    for place, shift in enumerate((0.2, 0.9, 0.95), 1):
        final.repeat(0, place, shift)
    told = summarise(final.folder, final.study.rows, AUC)[0]
    first, mean = told.contenders[0], final.read().ranked[0].mean
    assert mean and first.low and first.value != mean
    assert f"expect auc {mean:.3f}, its mean over seeds" in told.decision[1]


def test_a_promoted_repeat_is_shown_by_its_own_values_when_others_are_the_finalists(
    final: Round,
) -> None:
    fill(final)
    nearest = final.read().ranked[0].nearest_mean(AUC)
    champion = promote(final.folder, KnownModels(nearest.recipe))
    of_trial = final.study.rows[1].objective
    assert champion.number == 1 and of_trial and champion.value != of_trial
    for others in ((0, 1), (0, 2)):
        final.plan(*others, num_seeds=3)
        first = summarise(final.folder, final.study.rows, AUC)[0].contenders[0]
        assert (first.number, first.role) == (1, "champion")
        assert (first.recipe, first.value) == (champion.recipe, champion.value)
        assert (first.low, first.high) == (champion.low, champion.high)
        assert first.expected is None  # that of the trial, which was chosen among others
    told = summarise(final.folder, final.study.rows, AUC)[0].decision[1]
    assert f"expect auc {champion.value:.3f} ({champion.low:.3f} to {champion.high:.3f}" in told
    assert "flatters it" not in told


def test_a_promoted_repeat_whose_scores_are_lost_is_not_shown_as_the_trial(final: Round) -> None:
    fill(final)
    nearest = final.read().ranked[0].nearest_mean(AUC)
    promote(final.folder, KnownModels(nearest.recipe))
    final.folder.trial(nearest.recipe).scores.unlink()
    told = summarise(final.folder, final.study.rows, AUC)[0]
    first = told.contenders[0]
    assert first.role == "best" and first.recipe != nearest.recipe
    assert told.decision[0].startswith("The model of trial 1 that is the champion is left out here")
    assert "would be promoted by `workbench promote`" in told.decision[0]


def test_a_finalist_of_which_a_repeat_failed_comes_last(final: Round) -> None:
    for place in (1, 2, 3):
        final.repeat(0, place, 0.4)
        final.repeat(1, place, 0.9, state="failed" if place == 3 else "complete")
    assert [one.row.number for one in final.read().ranked] == [0, 1]
    assert "failed" in finalists_as_table(final.read())


def test_a_better_trial_of_a_later_search_is_said_to_be_no_finalist(final: Round) -> None:
    fill(final)
    final.trial(2.0, 3)
    nearest = final.read().ranked[0].nearest_mean(AUC)
    champion = promote(final.folder, KnownModels(nearest.recipe))
    assert champion.number == 1
    assert "Trial 3 is the best of the study by now and no finalist" in champion.why


def test_a_promoted_finalist_that_another_has_overtaken_is_not_said_to_be_the_best(
    final: Round,
) -> None:
    final.plan(0, num_seeds=3)
    uids = {final.repeat(0, place, shift) for place, shift in enumerate([0.5, 0.55, 0.6], 1)}
    promote(final.folder, KnownModels(*uids))

    def told() -> str:
        return summarise(final.folder, final.study.rows, AUC)[0].decision[0]

    assert "is promoted: it has the best mean auc of 1 finalist, 0." in told()
    final.plan(0, 1, num_seeds=3)
    for place, shift in enumerate([0.7, 0.8, 0.9], 1):
        final.repeat(1, place, shift)
    assert "is promoted: it has the best auc on val of 3 complete trials" in told()


def test_the_table_and_json_say_the_same(final: Round) -> None:
    fill(final)
    found = final.read()
    table, tree = finalists_as_table(found), finalists_as_json(found)
    assert f"{found.ranked[0].mean:.4f}" in table
    assert [one["number"] for one in tree["finalists"]] == [1, 0]
    assert tree["finalists"][0]["mean"] == found.ranked[0].mean
    assert [r["objective"] for r in tree["finalists"][0]["repeats"]] == found.ranked[0].values
    assert "Seeds move auc by" in table and "that is what picking owes to the seed" in table
    assert f"{found.ranked[0].mean:.5f}" in reason(found)


def test_a_finalist_that_loses_its_place_by_a_damaged_repeat_is_told(
    final: Round, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(final)
    better = final.read().ranked[0].repeats[0]
    assert better.number == 1
    final.folder.trial(better.recipe).scores.write_bytes(b"torn")
    other = final.read().ranked[0].nearest_mean(AUC)
    champion = promote(final.folder, KnownModels(other.recipe))
    assert champion.number == 0
    assert "of 2 finalists, 1 of them last since repeats failed" in champion.why
    assert champion.margin and champion.margin < 0  # the better mean comes last
    said = f"Its mean is behind that of trial 1 by {-champion.margin:.5f} in auc"
    assert champion.sentence.startswith(said)
    said = capsys.readouterr().err
    assert "A repeat of trial 1 failed, so that this finalist comes last: scores.parquet" in said


def test_where_the_best_finalist_lacks_a_repeat_itself_none_is_said_to_come_last(
    final: Round, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(final)
    final.plan(1, num_seeds=3)
    [better] = final.read().ranked
    final.folder.trial(better.repeats[0].recipe).scores.write_bytes(b"torn")
    nearest = final.read().ranked[0].nearest_mean(AUC)
    champion = promote(final.folder, KnownModels(nearest.recipe))
    assert "best mean auc of 1 finalist, 0." in champion.why
    assert "A repeat of trial 1 failed: scores.parquet is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("at_most", [0.17, 0.195])
def test_a_pack_is_held_against_no_finalist_that_may_not_be_promoted(
    tmp_path: Path, at_most: float
) -> None:
    final = Round(tmp_path, {"fpr": {"at_most": at_most}})
    final.begin()
    fill(final)
    found = SimpleNamespace(of_pack=SimpleNamespace(value=0.9))
    usable = [Ingredient(final.folder, row) for row in final.study.rows]
    held = pack_proposal._finalist(final.folder, usable, found)  # type: ignore[arg-type]
    assert (held is None) == (at_most == 0.17)  # all repeats break the first, one keeps the other


def test_a_soup_does_not_pass_for_the_finalist_whose_number_it_has(final: Round) -> None:
    fill(final)
    tried = tuple(
        Averaged(number=row.number, recipe=row.recipe, objective=row.objective or 0.0)
        for row in (final.study.rows[1], final.study.rows[2])
    )
    soup = Soup(recipe=soup_uid(one.recipe for one in tried), chosen="all", ingredients=tried)
    usable = [Ingredient(final.folder, row) for row in final.study.rows]
    row = final.study.rows[1].model_copy(update={"recipe": soup.recipe})
    found = SimpleNamespace(of_pack=SimpleNamespace(value=0.9))
    held = pack_proposal._finalist(
        final.folder,
        [*usable, Ingredient(final.folder, row, soup)],
        found,  # type: ignore[arg-type]
    )
    assert held and held.number == 1


def test_a_plan_of_endless_seeds_is_read_at_once(final: Round) -> None:
    fill(final)
    final.plan(0, 1, num_seeds=10**12)
    assert final.read().num_missing == 2 * (10**12 - 3)
    assert final.read().best is None


def test_a_best_trial_whose_scores_are_damaged_is_told_where_others_are_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MadeStudy(tmp_path)
    best, other = (made.add(*normal_scores(shift, seed=1)) for shift in (1.5, 0.5))
    made.folder.trial(best.uid).scores.write_bytes(b"torn")
    chosen: list[str] = []

    def train(folder: StudyFolder, rows: Sequence[TrialRow], *_: object, **named: object) -> str:
        chosen.extend(row.recipe for row in rows)
        write_plan(folder, FinalistsPlan(numbers=(1,), num_seeds=1))
        return ""

    monkeypatch.setattr(final_round, "train_repeats", train)
    run_final_round(made.folder, Workspace(tmp_path), RunOptions(num_trials=1), top=1, num_seeds=1)
    assert chosen == [other.uid]
    assert "Trial 0 is left out: scores.parquet is damaged (" in capsys.readouterr().err
