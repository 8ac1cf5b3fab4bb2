"""Soups: the mean of the weights of trials that fit, chosen, built, scored and kept whole."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.selection.studies import MadeStudy, champion, row
from tests.selection.test_promotion import ListedModels
from tests.trial.pictures import prepare_pictures, recipe_for
from workbench.data.out_of_fold import FOLD, with_all_folds
from workbench.data.prepare import Prepared
from workbench.errors import DamagedFileError, StudyError
from workbench.files import PART, hash_file, sweep, write_text
from workbench.media.image import Image
from workbench.parts.optimizers import AdamW
from workbench.parts.transfer import Transfer
from workbench.parts.weights import Weights
from workbench.selection.champion import describe_champion, read_champion
from workbench.selection.leaderboard import complete_trials, rank
from workbench.selection.pack_promotion import promote_pack
from workbench.selection.pack_proposal import Limits, make_pack, propose_pack
from workbench.selection.pack_summary import describe_pack, summarise_pack
from workbench.selection.promotion import promote_best
from workbench.selection.refit import refit_champion
from workbench.selection.registration import load_trained
from workbench.selection.soup import (
    choose_greedily,
    is_of_all,
    make_soup,
    misfit,
    num_groups,
)
from workbench.selection.soup_decision import decision_for_soup, worth_of_soup
from workbench.selection.soup_promotion import promote_newest_soup, register_soup
from workbench.selection.soup_scoring import SoupScorer
from workbench.selection.soup_told import describe_soup, is_clearly_behind, soup_as_json
from workbench.selection.summary import describe_summary, summarise
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, held_to
from workbench.study.scored import gives, read_scored_trials, read_scores
from workbench.study.soups import Soup, read_soup, row_of_soup, soup_uid
from workbench.submission.api import Predictor
from workbench.submission.bundle import describe_bundle, export
from workbench.submission.technical_report import REPORT
from workbench.submission.training_record import read_training
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking
from workbench.trial.constraints import Bound, Constraints
from workbench.trial.delong import Estimate
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import TrialFolder
from workbench.trial.train import run_trial
from workbench.workspace import Workspace

AUC = Objective()


class TrainedStudy(MadeStudy):
    """A study whose trials were trained, each for an epoch."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        torch.set_num_threads(1)
        self.prepared: Prepared = prepare_pictures(root / "pictures")
        self.prepared.save(self.folder.path)

    def train(self, **changes: Any) -> Recipe:
        recipe = recipe_for(self.prepared, num_epochs=1, **changes)
        files = self.folder.trial(recipe.uid)
        result = run_trial(
            recipe, self.prepared, files.path, device="cpu", report=lambda _: "go on"
        )
        self._enter(recipe, "complete", "", result.objective, {}, 1.0, f"run{recipe.uid}")
        return recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedStudy:
    """Three trials of one model and one start, and one of another start. Make soups elsewhere."""
    study = TrainedStudy(tmp_path_factory.mktemp("soups"))
    for lr in (1e-3, 3e-3, 1e-2):
        study.train(optimizer=AdamW(lr=lr))
    study.train(seed=1)
    return study


@pytest.fixture
def study(trained: TrainedStudy) -> Iterator[TrainedStudy]:
    """The same, without the soups that a test makes."""
    yield trained
    for soup in filter(None, read_soups(trained.folder)):
        for file in trained.folder.soup(soup.recipe).path.iterdir():
            file.unlink()
        trained.folder.soup(soup.recipe).path.rmdir()


def read_soups(folder: StudyFolder) -> list[Soup | None]:
    files = folder.path.glob("soups/*/soup.json")
    names = sorted(file.parent.name for file in files if not file.parent.name.startswith(PART))
    return [read_soup(folder, name) for name in names]


def states_of(study: TrainedStudy, numbers: Sequence[int]) -> list[dict[str, torch.Tensor]]:
    rows = study.rows
    return [load_file(study.folder.trial(rows[number].recipe).weights) for number in numbers]


def test_the_weights_are_the_mean_and_the_norms_are_estimated_anew(study: TrainedStudy) -> None:
    made = make_soup(study.folder, [0, 1, 2], device="cpu")
    assert made.soup and made.is_new
    files = study.folder.soup(made.soup.recipe)
    kept, states = load_file(files.weights), states_of(study, (0, 1, 2))
    model = files.read_recipe().model.build()
    learned = {name for name, _ in model.named_parameters()}
    for name in learned:
        mean = sum(state[name].double() for state in states) / 3
        torch.testing.assert_close(kept[name].double(), mean, rtol=1e-6, atol=1e-9)
    # The first norm sees what the mean of the first convolutions makes of the training pictures.
    model.load_state_dict(kept)
    first, norm = next(
        (name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)
    )
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach()))
    pictures = study.prepared.open_array("image")[study.prepared.rows("train")["row.image"]]
    inputs = torch.from_numpy(pictures.copy()).flatten(0, 1).movedim(-1, -3).float() / 255
    model.eval()
    model({"image": inputs})
    torch.testing.assert_close(kept[f"{first}.running_mean"], seen[0].mean((0, 2, 3)))
    means = torch.stack([state[f"{first}.running_mean"] for state in states]).mean(0)
    assert not torch.allclose(kept[f"{first}.running_mean"], means, rtol=1e-3)


def test_what_is_left_out_has_no_say_in_which_norms_are_estimated_anew(
    study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, scopes = study.rows[:2], {row.recipe: "last_block" for row in study.rows[:2]}
    read = TrialFolder.read_recipe

    def read_recipe(self: TrialFolder) -> Recipe:
        uid = self.path.name
        transfer = Transfer.model_validate({"scope": scopes.get(uid, "all")})
        return read(self).replaced(transfer=transfer).named(uid)

    monkeypatch.setattr(TrialFolder, "read_recipe", read_recipe)
    beside, alone = (
        SoupScorer(study.folder, study.prepared, rows, device="cpu").model(taken).state_dict()
        for rows in (study.rows[:3], taken)
    )
    assert all(torch.equal(beside[name], alone[name]) for name in alone)


def test_a_soup_is_kept_as_a_trial_is_and_found_by_its_name(study: TrainedStudy) -> None:
    rows = read_scored_trials(study.folder)
    made = make_soup(study.folder, [0, 1], device="cpu")
    assert made.soup and made.row
    assert read_soups(study.folder) == [made.soup]
    assert made.soup.recipe == soup_uid(reversed([row.recipe for row in rows[:2]]))
    first = made.soup.ingredients[0]
    assert made.row == row_of_soup(study.folder, rows[first.number], made.soup)
    files = study.folder.trial(made.soup.recipe)
    assert files.path == study.folder.soup(made.soup.recipe).path
    assert files.read_recipe().fingerprint == first.recipe
    files.require_unchanged()
    load_trained(files, files.read_recipe().model, "the soup")
    assert made.row.objective is not None
    assert gives(read_scores(study.folder, made.row, AUC), AUC, made.row.objective)
    of_trial = study.folder.trial(first.recipe).read_scores()
    scores = files.read_scores()
    columns = ["slice", "name", "target"]
    assert scores[columns].equals(of_trial[columns])
    assert set(scores["slice"]) == {"val", "test"}
    # The trials of the study are what they were.
    assert read_scored_trials(study.folder) == rows


def test_the_same_soup_again_is_the_one_that_is_there(study: TrainedStudy) -> None:
    first = make_soup(study.folder, [1, 0], device="cpu")
    assert first.soup
    written = study.folder.soup(first.soup.recipe).weights.stat().st_mtime_ns
    again = make_soup(study.folder, [0, 1], device="cpu")
    assert not again.is_new and again.soup == first.soup and again.row == first.row
    assert study.folder.soup(first.soup.recipe).weights.stat().st_mtime_ns == written
    assert "It was there already." in describe_soup(again)
    ahead, even, behind = (
        replace(again, gain=Estimate(value=gain, standard_error=0.1))
        for gain in (0.05, -0.19, -0.2)
    )
    assert "The soup is 0.05000 ± 0.19600 ahead of it" in describe_soup(ahead)
    assert "The soup is 0.20000 ± 0.19600 behind it" in describe_soup(behind)
    # What chance explains is no reason against it.
    assert [is_clearly_behind(made) for made in (ahead, even, behind)] == [False, False, True]


def test_a_soup_of_weights_that_were_trained_since_is_not_the_one_that_is_there(
    study: TrainedStudy,
) -> None:
    made = make_soup(study.folder, [0, 1], device="cpu")
    assert made.soup
    place = study.folder.soup(made.soup.recipe).path / "soup.json"
    text = place.read_text()
    then = made.soup.ingredients[1].objective
    assert str(then) in text
    place.write_text(text.replace(str(then), str(then - 0.01)))
    with pytest.raises(StudyError, match=r"of other weights: trial .* had .* when it was made"):
        make_soup(study.folder, [0, 1], device="cpu")
    # Two trainings may reach the same value.
    last = made.soup.ingredients[1]
    assert last.weights_sha256 == hash_file(study.folder.trial(last.recipe).weights)
    place.write_text(text.replace(last.weights_sha256, "f" * 64))
    said = f"of other weights: trial {last.number} was trained again since"
    with pytest.raises(StudyError, match=said):
        make_soup(study.folder, [0, 1], device="cpu")


def test_a_record_of_other_trials_than_the_soup_has_is_refused(study: TrainedStudy) -> None:
    some, every = (
        make_soup(study.folder, these, device="cpu").soup for these in ([0, 1], [0, 1, 2])
    )
    assert some and every
    file = study.folder.soup(every.recipe).path / "soup.json"
    for changed, said in (
        (every.model_copy(update={"ingredients": some.ingredients}), "name of a soup of these"),
        (some, f"is of another soup, {some.recipe}"),
    ):
        file.write_text(changed.model_dump_json(), encoding="utf-8")
        with pytest.raises(DamagedFileError, match=said):
            read_soup(study.folder, every.recipe)
    file.write_text(every.model_dump_json(), encoding="utf-8")
    assert read_soup(study.folder, every.recipe) == every


def test_without_numbers_those_are_taken_that_fit_the_best_that_others_fit(
    study: TrainedStudy,
) -> None:
    made = make_soup(study.folder, device="cpu")
    assert made.soup and sorted(made.soup.numbers) == [0, 1, 2]


def test_without_numbers_those_without_weights_are_left_out_and_counted(
    study: TrainedStudy, tmp_path: Path
) -> None:
    weights = [study.folder.trial(row.recipe).weights for row in study.rows]
    gone = weights[1].rename(tmp_path / "gone")
    made = make_soup(study.folder, device="cpu")
    assert made.soup and made.soup.numbers
    assert sorted(made.soup.numbers) == [0, 2]
    assert "One more trial fits, and is left out: the weights are gone." in describe_soup(made)
    assert soup_as_json(made)["num_without_weights"] == 1
    other = weights[2].rename(tmp_path / "other")
    with pytest.raises(StudyError, match="Of 4 complete trials, 2 of which have their weights, no"):
        make_soup(study.folder, device="cpu")
    gone.rename(weights[1])
    other.rename(weights[2])


def test_the_choice_is_told_with_what_each_was_worth(
    study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {2: [0.9, 0.1]}  # of two trials: the second is taken, the third not
    monkeypatch.setattr(
        SoupScorer, "value", lambda self, rows: values[2].pop(0) + 10 * (len(rows) == 2)
    )
    made = make_soup(study.folder, [0, 1, 2], greedy=True, device="cpu")
    assert made.soup and made.soup.chosen == "greedily"
    assert [each.with_it for each in made.tried] == [None, 10.9, 0.1]
    assert made.soup.ingredients == made.tried[:2]
    assert made.soup.left_out == made.tried[2:]
    assert f"worse: trial {made.tried[2].number} (0.10000)" in describe_soup(made)
    told = soup_as_json(made)
    assert told["trials"] == [each.number for each in made.tried[:2]]


def test_where_the_best_alone_is_best_there_is_no_soup(
    study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SoupScorer, "value", lambda self, rows: -1.0)
    made = make_soup(study.folder, greedy=True, device="cpu")
    assert made.soup is None and read_soups(study.folder) == []
    assert "each of the other 2 makes it worse" in describe_soup(made)


def test_what_a_greedy_choice_adds_is_worth_what_its_soup_is(study: TrainedStudy) -> None:
    made = make_soup(study.folder, [0, 2], greedy=True, device="cpu")
    whole = make_soup(study.folder, [0, 2], device="cpu")
    assert whole.row
    assert made.tried[1].with_it == pytest.approx(whole.row.objective)


@pytest.mark.parametrize(
    ("values", "objective", "taken"),
    [
        # Adding 1 makes it better, 2 then worse, 3 as good.
        ({(0, 1): 0.8, (0, 1, 2): 0.79, (0, 1, 3): 0.8}, AUC, [0, 1, 3]),
        ({(0, 1): 0.6, (0, 2): 0.6, (0, 3): 0.6}, AUC, [0]),
        ({(0, 1): 0.8, (0, 1, 2): 0.9, (0, 1, 2, 3): 0.95}, AUC, [0, 1, 2, 3]),
        (
            {(0, 1): 0.8, (0, 2): 0.6, (0, 2, 3): 0.5},
            Objective(metric="log_loss"),
            [0, 2, 3],
        ),
    ],
)
def test_greedy_adds_what_does_not_make_it_worse(
    values: dict[tuple[int, ...], float], objective: Objective, taken: list[int]
) -> None:
    ranked = [row(number, 0.5) for number in range(4)]

    def value_of(rows: Sequence[TrialRow]) -> float:
        return {(0,): 0.7, **values}[tuple(each.number for each in rows)]

    assert [each.number for each in choose_greedily(ranked, value_of, objective)] == taken


def test_where_several_folds_validate_a_soup_would_be_scored_on_what_it_learned(
    study: TrainedStudy,
) -> None:
    table = study.prepared.table
    dealt = table.assign(**{FOLD: [1 + place % 2 for place in range(len(table))]})
    replace(study.prepared, table=with_all_folds(dealt)).save(study.folder.path)
    try:
        with pytest.raises(StudyError, match=r"2 folds validate in turn.*`use: 1`"):
            make_soup(study.folder, [0, 1], device="cpu")
    finally:
        study.prepared.save(study.folder.path)
    assert read_soups(study.folder) == []


def test_trials_that_do_not_fit_are_refused(study: TrainedStudy) -> None:
    with pytest.raises(StudyError, match=r"Trial \d cannot be averaged with trial \d: it starts"):
        make_soup(study.folder, [0, 3], device="cpu")
    with pytest.raises(StudyError, match="needs two trials or more"):
        make_soup(study.folder, [2, 2], device="cpu")
    with pytest.raises(StudyError, match="Trial 7 is no complete trial"):
        make_soup(study.folder, [0, 7], device="cpu")
    assert not (study.folder.path / "soups").exists() or read_soups(study.folder) == []


SAME = Weights(source="hub", name="x.in1k", sha256="0" * 64)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"optimizer": AdamW(lr=0.5), "num_epochs": 9, "frozen": True, "dropout": 0.5}, ""),
        ({"backbone": "test_resnet"}, "its `backbone` is 'test_resnet', not 'test_efficientnet'"),
        ({"image_px": 64}, "its `image_px` is 64, not 32"),
        ({"tta": "hflip"}, "its `tta` is 'hflip', not 'none'"),
        ({"seed": 5}, "it starts from the random numbers of seed 5, not 0"),
        ({"weights": SAME}, "starts from the weights 'x.in1k (hub), 000000000000', not 'random"),
        ({"views": {"other": Image(image_px=32)}}, "its views are other, not image"),
        ({"views": {"image": Image(image_px=64)}}, "its view image has other settings"),
    ],
)
def test_what_keeps_weights_from_being_averaged_is_said(
    trained: TrainedStudy, changes: dict[str, Any], says: str
) -> None:
    first = recipe_for(trained.prepared)
    why = misfit(first, recipe_for(trained.prepared, **changes))
    assert says in why and bool(why) == bool(says)


@pytest.mark.parametrize("cut", ["write_recipe", "write_scores", "write_result"])
def test_a_soup_that_is_cut_off_leaves_nothing(
    study: TrainedStudy, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrialFolder, cut, stop)
        with pytest.raises(KeyboardInterrupt):
            make_soup(study.folder, [0, 1], device="cpu")
    assert list((study.folder.path / "soups").iterdir()) == []
    made = make_soup(study.folder, [0, 1], device="cpu")
    assert made.is_new


def test_what_a_killed_one_left_is_no_soup_and_goes_away(study: TrainedStudy) -> None:
    made = make_soup(study.folder, [0, 1], device="cpu")
    assert made.soup
    left = study.folder.path / "soups" / f"{PART}0123"
    whole = study.folder.soup(made.soup.recipe).path
    left.mkdir()
    (left / "soup.json").write_text((whole / "soup.json").read_text())
    assert read_soups(study.folder) == [made.soup]
    sweep(study.folder.path)
    assert not left.exists() and whole.exists()


@pytest.fixture
def promoting(study: TrainedStudy) -> Iterator[TrainedStudy]:
    """The same, without the champion that a test promotes."""
    yield study
    for file in (study.folder.champion, study.folder.last_soup, study.folder.report):
        file.unlink(missing_ok=True)


def test_a_promoted_soup_goes_out_as_a_bundle_with_its_stored_scores(
    promoting: TrainedStudy, tmp_path: Path
) -> None:
    folder = promoting.folder
    made = make_soup(folder, [0, 1, 2], device="cpu")
    assert made.soup and made.row
    models = ListedModels()
    champion = promote_newest_soup(folder, models)
    assert champion == read_champion(folder)
    assert (champion.number, champion.recipe) == (None, made.soup.recipe)
    assert (champion.value, champion.chosen_by) == (made.row.objective, "by hand")
    numbers = made.soup.numbers
    names = f"{numbers[0]}, {numbers[1]} and {numbers[2]}"
    assert champion.title == f"the soup of trials {names}"
    (kept,) = models.kept
    assert kept["tags"] == {
        "workbench.soup": ",".join(map(str, numbers)),
        "workbench.uid": made.soup.recipe,
        "workbench.weights_sha256": hash_file(folder.soup(made.soup.recipe).weights),
    }
    assert kept["run_id"] == promoting.rows[numbers[0]].run_id

    data = promoting.folder.path.parent / "pictures" / "data"
    write_text(folder.template, (data / "prediction.csv").read_text(encoding="utf-8"))
    bundle = export(folder, tmp_path / "bundle")
    assert f"soup {made.soup.recipe} of made" in describe_bundle(bundle)
    readme = (bundle.path / "README.md").read_text(encoding="utf-8")
    assert f"# made: the soup of trials {names}" in readme
    assert f"| soup | {made.soup.recipe} |" in readme
    # A bundle of a soup says of which trainings it is, and how they are averaged again.
    report = (bundle.path / REPORT).read_text(encoding="utf-8")
    assert all(f"trial {number}" in report for number in numbers)
    assert f"Soup {made.soup.recipe} is the mean of the weights of trials {names}, which" in report
    training = read_training(bundle.path)
    assert bundle.contents.is_soup and (bundle.path / "train.py").exists()
    assert [one.uid for one in training.models] == [one.recipe for one in made.soup.ingredients]
    assert (training.soups, training.members) == ((made.soup,), (("made", made.soup.recipe),))

    files = folder.soup(made.soup.recipe)
    stored = files.read_scores().query("slice == 'test'").set_index("name")["score"]
    assert stored.nunique() > 1
    with Predictor(bundle.path, num_decoders=0) as predictor:
        again = predictor.predict_many([data / "testset" / name for name in stored.index])
    assert again == pytest.approx(stored.tolist(), abs=1e-5)
    with (bundle.path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        written = {row["img_name"]: float(row["y_pred"]) for row in csv.DictReader(file)}
    assert written == pytest.approx(stored.to_dict(), abs=1e-9)


def test_what_a_soup_is_worth_depends_on_how_its_trials_were_chosen(
    promoting: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = promoting.folder
    with monkeypatch.context() as patch:
        patch.setattr(SoupScorer, "value", lambda self, rows: 0.2 if len(rows) > 2 else 1.0)
        made = make_soup(folder, greedy=True, device="cpu")
    assert made.soup and len(made.soup.numbers) == 2
    greedy = promote_newest_soup(folder, ListedModels())
    assert (greedy.recipe, greedy.soup) == (made.soup.recipe, "greedily")
    assert greedy.why.startswith("Its 2 of 3 trials that can be averaged were chosen by the value")
    assert "of their mean on val, which flatters that" in greedy.why
    make_soup(folder, device="cpu")
    whole = promote_newest_soup(folder, ListedModels())
    assert whole.why.startswith("All 3 trials that can be averaged are in it, so none was chosen")
    worst = min(made.soup.numbers, key=lambda number: promoting.rows[number].objective or 0.0)
    other = next(number for number in (0, 1, 2) if number not in made.soup.numbers)
    make_soup(folder, [worst, other], device="cpu")
    some = promote_newest_soup(folder, ListedModels())
    assert some.why.startswith("It averages 2 of 3 trials that can be averaged: as far as")


def test_a_soup_of_one_of_several_groups_was_picked_too(tmp_path: Path) -> None:
    study = TrainedStudy(tmp_path)
    for seed in (0, 1):
        for lr in (1e-3, 1e-2):
            study.train(seed=seed, optimizer=AdamW(lr=lr))
    made = make_soup(study.folder, device="cpu")
    assert made.soup and len(made.soup.numbers) == 2
    assert num_groups(study.folder, study.rows) == 2
    assert not is_of_all(study.folder, made.soup, study.rows)
    said = worth_of_soup(study.folder, made.soup, study.rows)
    assert said.startswith("It averages all 2 trials of its model and start, one of 2 groups")
    assert "expect less on new data" in said
    alone = [row for row in study.rows if row.number in made.soup.numbers]
    assert is_of_all(study.folder, made.soup, alone)


def test_of_a_soup_of_all_trials_those_that_pruning_stopped_are_told(
    promoting: TrainedStudy,
) -> None:
    folder = promoting.folder
    made = make_soup(folder, device="cpu")
    assert made.soup
    stopped = promoting.rows[0].model_copy(update={"number": 9, "state": "pruned"})
    said = worth_of_soup(folder, made.soup, [*promoting.rows, stopped])
    assert said.startswith("All 3 complete trials that can be averaged are in it, so none of these")
    assert said.endswith("scores of stopped trials are not kept, so that is not corrected.")
    assert "1 more trial was stopped early by values on the same files" in said


def test_a_soup_that_breaks_a_constraint_says_so(
    promoting: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = promoting.folder
    limits: Constraints = {"auc": Bound(at_least=1.0)}
    monkeypatch.setattr("workbench.study.soups.held_to", lambda _, row: held_to(limits, row))
    made, models = make_soup(folder, device="cpu"), ListedModels()
    said = "It breaks a constraint: auc is "
    assert said in describe_soup(made) and soup_as_json(made)["breaks"]
    assert said in promote_newest_soup(folder, models).why
    assert said in promote_best(folder, models).why


def test_a_soup_has_the_parameters_of_its_own_trials_whatever_their_numbers_are(
    promoting: TrainedStudy,
) -> None:
    folder = promoting.folder
    made = make_soup(folder, [0, 1], device="cpu")
    assert made.soup
    file = folder.soup(made.soup.recipe).path / "soup.json"
    told = json.loads(file.read_text())
    for one in told["ingredients"]:  # the study's trials were numbered anew since
        one["number"] += 40
    file.write_text(json.dumps(told))
    assert promote_newest_soup(folder, ListedModels()).params_true is not None
    assert propose_pack(folder, soups=True).num_trials == 4


def test_the_study_tells_of_its_promoted_soup(promoting: TrainedStudy) -> None:
    folder = promoting.folder
    made = make_soup(folder, device="cpu")
    assert made.soup
    champion = promote_newest_soup(folder, ListedModels())
    rows = read_scored_trials(folder)
    # It stands against the best trial, though that is in it.
    best = rank(complete_trials(rows), AUC)[0]
    assert champion.runner_up and champion.runner_up.number == best.number
    assert champion.margin == pytest.approx(champion.value - champion.runner_up.objective)
    found, _ = summarise(folder, rows, AUC)
    title = f"{champion.title[0].upper()}{champion.title[1:]}"
    assert found.decision[0].startswith(f"{title} is promoted, named by hand")
    assert champion.why in found.decision[1]
    assert found.contenders[0].number == best.number and not found.is_pack_promoted
    _, after = describe_summary(found).split(f"Of trial {best.number}, ")
    assert after.startswith(f"{best.objective:.5f}, the best single one of this study:")
    assert "\nRunner-up: " in after
    assert "version 1, alias champion" in describe_champion(champion)
    with pytest.raises(StudyError, match=r"a mean of weights, which cannot be trained as one"):
        refit_champion(folder, Workspace(folder.path.parent), device="cpu")


def test_the_interval_of_a_soup_is_the_one_that_its_promotion_told() -> None:
    # Four files of a class that are told apart show no error, and still leave room for one.
    made = champion(value=1.0, standard_error=0.0, low=0.51, high=1.0)
    soup = made.model_copy(update={"number": None, "members": ("1", "2"), "soup": "all"})
    assert "It had auc 1.000 (0.510 to 1.000, 95%) on val." in decision_for_soup(soup, 10**8)[1]
    assert "auc 1.00000 (0.51000 to 1.00000, 95%, DeLong) on val." in describe_champion(soup)


def test_only_a_soup_that_is_there_can_be_promoted(promoting: TrainedStudy) -> None:
    with pytest.raises(StudyError, match=r"has no soup that was made last\. Run `workbench soup"):
        promote_newest_soup(promoting.folder, ListedModels())
    write_text(promoting.folder.last_soup, "../../elsewhere\n")
    with pytest.raises(StudyError, match="has no soup that was made last"):
        promote_newest_soup(promoting.folder, ListedModels())


def test_a_search_keeps_a_promoted_soup(promoting: TrainedStudy) -> None:
    folder = promoting.folder
    make_soup(folder, [0, 1], device="cpu")
    models = ListedModels()
    champion = promote_newest_soup(folder, models)
    assert promote_best(folder, models) == champion
    with pytest.raises(StudyError, match=r"lost the soup of trials .* promote --soup` again"):
        promote_best(folder, ListedModels())


def test_a_promoted_soup_is_told_as_it_stands_among_the_trials_that_ended_since(
    promoting: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, models = promoting.folder, ListedModels()
    rows = rank(read_scored_trials(folder)[:3], AUC)
    best, *others = rows
    make_soup(folder, [row.number for row in others], device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr("workbench.selection.soup_promotion.read_scored_trials", lambda _: others)
        then = promote_newest_soup(folder, models)
    assert then.runner_up and then.runner_up.number == others[0].number
    assert then.why.startswith("All 2 trials that can be averaged are in it")
    kept = promote_best(folder, models)
    assert kept == read_champion(folder)
    assert kept.runner_up and kept.runner_up.number == best.number
    assert kept.why.startswith("It averages 2 of 3 trials that can be averaged")
    now = promote_newest_soup(folder, models)
    assert kept == now.model_copy(update={"when": then.when})


@pytest.mark.slow
def test_a_soup_from_the_registry_gives_its_stored_scores(
    promoting: TrainedStudy, tmp_path: Path
) -> None:
    import mlflow.pyfunc
    from mlflow import MlflowClient

    made = make_soup(promoting.folder, [0, 1, 2], device="cpu")
    assert made.soup
    tracking = Tracking(tmp_path / "mlruns")
    parent = tracking.open_study("made", study_id="7", tags={})
    run = tracking.start_trial(parent, number=0, uid="0" * 12, name="any", recipe={}, tags={})
    tracking.end_trial(run, state="complete")
    rows = [row.model_copy(update={"run_id": run}) for row in promoting.rows]
    registry = ModelRegistry(tmp_path / "mlruns")
    version = register_soup(promoting.folder, registry, made.soup.recipe, rows)
    assert registry.set_champion("made", made.soup.recipe, "7") == version

    client = MlflowClient(tracking.store.uri, tracking.store.uri)
    found = client.get_model_version_by_alias("made", "champion")
    model = mlflow.pyfunc.load_model(found.source)
    prepared = promoting.prepared
    pixels = prepared.open_array("image")[prepared.rows("test")["row.image"]]
    scores = promoting.folder.soup(made.soup.recipe).read_scores().query("slice == 'test'")
    assert scores["name"].tolist() == prepared.rows("test")["name"].tolist()
    served = np.ravel(model.predict(pixels.reshape(len(pixels), -1)))
    np.testing.assert_allclose(served, scores["score"], atol=1e-5)


def test_a_soup_whose_trials_are_gone_goes_out_without_what_trains_it_again(
    promoting: TrainedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_soup(promoting.folder, [0, 1, 2], device="cpu")
    assert made.soup
    promote_newest_soup(promoting.folder, ListedModels())
    data = promoting.folder.path.parent / "pictures" / "data"
    write_text(promoting.folder.template, (data / "prediction.csv").read_text(encoding="utf-8"))
    away = tmp_path / "away"
    gone = promoting.folder.trial(made.soup.ingredients[1].recipe).path
    gone.rename(away)
    try:
        bundle = export(promoting.folder, tmp_path / "bundle").path
    finally:
        away.rename(gone)
    said = capsys.readouterr().err
    assert f"{gone} (trial {made.soup.numbers[1]}) is gone" in said
    assert "the bundle has no train.py" in said
    assert (
        not (bundle / "train.py").exists() and "train.py" not in (bundle / "README.md").read_text()
    )
    report = (bundle / REPORT).read_text(encoding="utf-8")
    assert "How all of it was trained is not known: a trial's folder is gone, or" in report
    [row] = [line for line in report.splitlines() if line.startswith("| Generated samples")]
    assert row.endswith("not known |") and "none" not in row
    assert "Whether any were generated is not known: a trial's folder is gone, or" in report
    weights = promoting.folder.soup(made.soup.recipe).weights
    assert (bundle / weights.name).read_bytes() == weights.read_bytes()


def test_a_soup_is_a_member_of_a_pack_with_its_own_weights_and_scores(
    promoting: TrainedStudy, tmp_path: Path
) -> None:
    folder = promoting.folder
    with pytest.raises(StudyError, match=r"There is no soup of made to be a member\. Make one by"):
        propose_pack(folder, soups=True)
    made = make_soup(folder, [0, 1, 2], device="cpu")
    assert made.soup
    uid = made.soup.recipe
    assert all(one.soup is None for one in propose_pack(folder).ingredients)
    proposal = propose_pack(folder, limits=Limits(joint="mean", members=5), soups=True)
    assert [one.soup for one in proposal.ingredients].count(made.soup) == 1
    assert (proposal.best.soup, proposal.caveat) == (None, "")  # all that fit are in it
    files, record = make_pack(folder, proposal)
    place = next(place for place, one in enumerate(record.members) if one.soup)
    assert record.members[place].soup == tuple(made.soup.numbers)

    own, whole = load_file(folder.soup(uid).weights), load_file(files.weights)
    assert all(torch.equal(whole[f"members.{place}.{name}"], own[name]) for name in own)
    tables = [folder.trial(one.recipe).read_scores() for one in record.members]
    ordered = [table.sort_values(["slice", "name"])["score"].to_numpy() for table in tables]
    by_hand = np.average(ordered, axis=0, weights=record.spec.joint.weights)
    np.testing.assert_allclose(files.read_scores()["score"], by_hand, atol=1e-12)

    name = f"soup {uid}"
    assert name in describe_pack(summarise_pack(folder, files))
    models = ListedModels()
    champion = promote_pack(folder, models, record.uid, run_id="r", why="", is_by_hand=True)
    told = f"trials {', '.join(str(one.number) for one in record.members if not one.soup)}"
    told = f"{' and '.join(told.rsplit(', ', 1))} and {name}"
    assert champion.title == f"the pack of {told}" and told in models.kept[0]["description"]
    assert summarise_pack(folder, files).title == told
    assert "pack of 5 models" in proposal.sentence
    assert name in models.kept[0]["tags"]["workbench.pack"]
    assert champion.sentence.startswith("It joins 4 of 4 trials and 1 soup")
    with pytest.raises(StudyError, match=f"has {name} as a member, a mean of weights"):
        refit_champion(folder, Workspace(folder.path.parent), device="cpu")

    data = folder.path.parent / "pictures" / "data"
    write_text(folder.template, (data / "prediction.csv").read_text(encoding="utf-8"))
    bundle = export(folder, tmp_path / "bundle")
    report = (bundle.path / REPORT).read_text(encoding="utf-8")
    assert all(f"trial {number}" in report for number in (0, 1, 2, 3))
    assert f"Soup {uid} is the mean of the weights of trials {made.soup.numbers[0]}, " in report
    training = read_training(bundle.path)
    assert len(training.models) == 4 and training.soups == (made.soup,)
    assert [uid for _, uid in training.members] == [one.recipe for one in record.members]
    stored = files.read_scores().query("slice == 'test'").set_index("name")["score"]
    with Predictor(bundle.path, num_decoders=0) as predictor:
        again = predictor.predict_many([data / "testset" / name for name in stored.index])
    assert again == pytest.approx(stored.tolist(), abs=1e-5)


def test_how_the_trials_of_a_member_were_picked_is_said(promoting: TrainedStudy) -> None:
    folder = promoting.folder
    made = make_soup(folder, [0, 1], device="cpu")  # two of three that fit
    assert made.soup
    proposal = propose_pack(folder, soups=True)
    said = f"how the trials in soup {made.soup.recipe} of made were picked, as far as that was by"
    assert said in proposal.caveat
    assert proposal.estimate.sentence.endswith("by these same files: expect less.")
    assert proposal.estimate.sentence.startswith("Expected on new data of this kind ")
