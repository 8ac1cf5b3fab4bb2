"""Promotion, with a list in the place of the model registry where MLflow would be slow."""

import getpass
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.selection.studies import MadeStudy, champion, row
from workbench.api.comparison import compare_trials
from workbench.errors import DamagedFileError, StudyError
from workbench.files import hash_file, read_json, write_json
from workbench.scoring.evaluator import fake_probability
from workbench.selection.champion import (
    Champion,
    cut_off_promotion,
    describe_champion,
    read_champion,
    write_champion,
)
from workbench.selection.promotion import choose_trial, lead_of, promote, promote_best
from workbench.selection.summary import kept_champion, summarise
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Objective, Recipe

AUC = Objective(metric="auc")
TARGETS = [1, 1, 0, 0, 0]
GOOD = [0.9, 0.6, 0.1, 0.6, 0.3]  # AUC 11/12
BAD = [0.8, 0.2, 0.1, 0.4, 0.5]  # AUC 2/3; see test_statistics.py for the errors


class ListedModels:
    """Keeps what was registered in a list."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def set_champion(self, name: str, uid: str, study_id: str, weights: str) -> str | None:
        for number, kept in enumerate(self.kept, 1):
            known = kept["tags"].get("workbench.weights_sha256", weights)
            if (kept["name"], kept["tags"]["workbench.uid"], known) == (name, uid, weights):
                return str(number)
        return None

    def register_champion(
        self,
        name: str,
        *,
        model: torch.nn.Module,
        example: np.ndarray,
        run_id: str,
        pip_requirements: Sequence[str],
        tags: Mapping[str, str],
        description: str,
    ) -> str:
        self.kept.append(
            {
                "name": name,
                "model": model,
                "example": example,
                "run_id": run_id,
                "pip": list(pip_requirements),
                "tags": dict(tags),
                "description": description,
            }
        )
        return str(len(self.kept))


def save_weights(study: MadeStudy, recipe: Recipe, seed: int) -> torch.nn.Module:
    """Write the weights that the trial of `recipe` could have learned; return its model."""
    torch.manual_seed(seed)
    model = recipe.build_model().eval()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, study.folder.trial(recipe.uid).weights)
    return model


@pytest.fixture
def study(tmp_path: Path) -> MadeStudy:
    """Trial 0 is good, 1 is bad, 2 failed; the complete ones have weights."""
    made = MadeStudy(tmp_path, "fakes")
    save_weights(made, made.add(TARGETS, GOOD, run="run-0"), seed=0)
    save_weights(made, made.add(TARGETS, BAD, run="run-1"), seed=1)
    made.add(state="failed", reason="out of memory on cuda:0.")
    return made


def test_the_best_complete_trial_is_chosen() -> None:
    rows = [row(0, 0.7), row(1, 0.9), row(2, 0.99, state="pruned"), row(3, 0.8)]
    assert choose_trial(rows, AUC).number == 1
    assert choose_trial(rows, Objective(metric="log_loss")).number == 0


def test_a_named_trial_is_chosen_over_a_better_one() -> None:
    assert choose_trial([row(0, 0.7), row(1, 0.9)], AUC, 0).number == 0


class _KilledError(BaseException):
    """What no code may catch, as a kill is."""


class _KilledOnce(ListedModels):
    """Ends the process, so to say, once the registry has a new champion."""

    def set_champion(self, name: str, uid: str, study_id: str, weights: str) -> str | None:
        version = super().set_champion(name, uid, study_id, weights)
        if version is not None:
            raise _KilledError
        return version

    def register_champion(self, name: str, **told: Any) -> str:
        super().register_champion(name, **told)
        raise _KilledError


def test_a_promotion_that_a_kill_cut_off_behind_the_registry_is_told_until_repeated(
    study: MadeStudy,
) -> None:
    models = ListedModels()
    promote(study.folder, models, 0)
    assert cut_off_promotion(study.folder) == ""
    killed = _KilledOnce()
    killed.kept = models.kept
    for number in (1, 0):  # one that was never registered, and one that was
        with pytest.raises(_KilledError):
            promote(study.folder, killed, number)
        with study.folder.promoting():  # one that runs may be between the two just now
            assert cut_off_promotion(study.folder) == ""
        assert "may lead to another model than the champion" in cut_off_promotion(study.folder)
        assert compare_trials(study.folder, page=False).note == cut_off_promotion(study.folder)
        champion = promote(study.folder, models, number)
        assert read_champion(study.folder) == champion and champion.number == number
        assert cut_off_promotion(study.folder) == ""


def test_a_better_trial_that_cannot_be_ranked_is_told(
    study: MadeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    result = study.folder.trial(study.rows[0].recipe).result
    result.write_text(json.dumps({**json.loads(result.read_text()), "objective": 0.2}))
    assert promote(study.folder, ListedModels()).number == 1
    assert "Trial 0 is left out: scores.parquet does not give the auc" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["recipe.json", "result.json"])
def test_a_better_trial_whose_record_is_lost_is_told(
    study: MadeStudy, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    best, other = study.rows[:2]
    # Exchanged, as by a copy to the wrong place; and gone.
    shutil.copyfile(
        study.folder.trial(other.recipe).path / file, study.folder.trial(best.recipe).path / file
    )
    assert promote(study.folder, ListedModels()).number == 1
    assert f"Trial 0 is left out: {file} is " in capsys.readouterr().err
    (study.folder.trial(best.recipe).path / file).unlink()
    assert promote(study.folder, ListedModels()).number == 1
    assert f"Trial 0 is left out: {file} is gone" in capsys.readouterr().err


def test_a_trial_that_was_trained_again_to_other_weights_is_registered_again(
    study: MadeStudy,
) -> None:
    # As after its study was put back from a copy that did not know it yet.
    registry, trial = ListedModels(), study.folder.trial(study.rows[0].recipe)

    def trained(seed: int) -> None:
        save_weights(study, trial.read_recipe(), seed)
        told = json.loads(trial.result.read_text())
        trial.result.write_text(json.dumps({**told, "weights_sha256": hash_file(trial.weights)}))

    trained(3)
    assert [promote(study.folder, registry).model_version for _ in range(2)] == ["1", "1"]
    trained(4)
    assert [promote(study.folder, registry).model_version for _ in range(2)] == ["2", "2"]
    old, new = (kept["model"].state_dict() for kept in registry.kept)
    assert any(not torch.equal(old[name], new[name]) for name in old)


def test_the_champion_of_another_study_is_none_of_this(
    study: MadeStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(study.folder, ListedModels(), 1)
    other = MadeStudy(tmp_path, "others")
    save_weights(other, other.add(TARGETS, GOOD, run="run-0"), seed=0)
    promote(other.folder, ListedModels())
    shutil.copyfile(study.folder.champion, other.folder.champion)
    assert kept_champion(other.folder) is None
    with pytest.raises(DamagedFileError, match=r"champion\.json is of another study, 'fakes'\."):
        read_champion(other.folder)
    assert promote_best(other.folder, ListedModels()).study == "others"
    assert "is of another study, 'fakes'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (7, r"There is no ended trial 7: they are 0 to 3\."),
        (2, r"Trial 2 is pruned \(pruned after epoch 1\), not complete"),
        (3, r"Trial 3 is failed, not complete"),
    ],
)
def test_a_trial_that_cannot_be_promoted_says_why(number: int, message: str) -> None:
    rows = [
        row(0, 0.7),
        row(1, 0.9),
        row(2, 0.99, state="pruned", reason="pruned after epoch 1."),
        row(3, None, state="failed"),
    ]
    with pytest.raises(StudyError, match=message):
        choose_trial(rows, AUC, number)
    with pytest.raises(StudyError, match="There is no ended trial 1: it was cut off"):
        choose_trial([rows[0], *rows[2:]], AUC, 1)


def test_nothing_can_be_promoted_while_no_trial_is_complete() -> None:
    rows = [row(0, None, state="failed"), row(1, 0.9, state="pruned")]
    with pytest.raises(StudyError, match=r"No trial is complete \(2 ended\)"):
        choose_trial(rows, AUC)
    with pytest.raises(StudyError, match=r"No trial is complete \(0 ended\)"):
        choose_trial([], AUC, 3)


def test_promotion_keeps_the_champion_with_its_margin(study: MadeStudy) -> None:
    models = ListedModels()
    champion = promote(study.folder, models)
    assert champion == read_champion(study.folder)
    assert (champion.study, champion.number, champion.chosen_by) == ("fakes", 0, "best")
    assert champion.recipe == study.rows[0].recipe
    assert champion.objective == AUC
    assert champion.value == pytest.approx(11 / 12)
    assert champion.standard_error == pytest.approx(1 / math.sqrt(72))
    assert champion.runner_up is not None
    assert champion.runner_up.number == 1
    assert champion.runner_up.objective == pytest.approx(2 / 3)
    assert champion.margin == pytest.approx(1 / 4)
    assert champion.margin_standard_error == pytest.approx(1 / math.sqrt(12))
    # A quarter over 1 / sqrt(12) is 0.866 standard errors.
    assert champion.confidence == pytest.approx(0.8068, abs=1e-4)
    assert "cannot be told apart" in champion.sentence
    assert champion.why == "It has the best auc on val of 2 complete trials."
    assert (champion.model_name, champion.model_version) == ("fakes", "1")
    assert (champion.params_thop, champion.params_true) == (1_000_000, 1_234_567)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(champion.when)).total_seconds()) < 60
    assert json.loads(study.folder.champion.read_text(encoding="utf-8"))["number"] == 0


def test_the_registered_model_computes_what_the_trial_learned(study: MadeStudy) -> None:
    models = ListedModels()
    promote(study.folder, models)
    (kept,) = models.kept
    assert (kept["name"], kept["run_id"]) == ("fakes", "run-0")
    assert kept["tags"] == {"workbench.trial": "0", "workbench.uid": study.rows[0].recipe}
    assert f"torch=={torch.__version__.partition('+')[0]}" in kept["pip"]
    assert kept["example"].shape == (2, 32 * 32)
    assert kept["example"].dtype == np.uint8

    recipe = study.folder.trial(study.rows[0].recipe).read_recipe()
    trained = save_weights(study, recipe, seed=0)
    pixels = torch.randint(0, 256, (3, 1, 32, 32, 1), dtype=torch.uint8)
    with torch.inference_mode():
        inputs = {"mel": pixels.movedim(-1, 2).float() / 255}
        expected = fake_probability(trained, inputs, recipe.model)
        found = kept["model"](pixels.flatten(1))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_promoting_the_champion_again_makes_no_second_version(study: MadeStudy) -> None:
    models = ListedModels()
    first = promote(study.folder, models)
    again = promote(study.folder, models, 0, why="It is the one.")
    assert len(models.kept) == 1
    assert again.model_version == first.model_version
    assert (again.chosen_by, again.why) == ("by hand", "It is the one.")
    assert read_champion(study.folder) == again


@pytest.mark.parametrize("is_registered", [True, False])
def test_what_was_promoted_by_hand_stays_that_recipe_whatever_its_number(
    study: MadeStudy, capsys: pytest.CaptureFixture[str], is_registered: bool
) -> None:
    """A journal that was lost with MLflow's runs may number the trials anew."""
    models = ListedModels()
    before = promote(study.folder, models, 1, why="It is the one.")
    renumbered = before.model_copy(update={"number": 0})
    study.folder.champion.write_text(renumbered.model_dump_json())
    kept = promote_best(study.folder, models if is_registered else (models := ListedModels()))
    assert (kept.number, kept.recipe, kept.value) == (1, before.recipe, before.value)
    assert (kept.chosen_by, kept.why) == ("by hand", "It is the one.")
    assert [one["tags"]["workbench.uid"] for one in models.kept] == [before.recipe]
    assert read_champion(study.folder) == kept
    assert "Promoted by hand was trial 0, auc 0.66667: that" in capsys.readouterr().err


@pytest.mark.parametrize("why", ["", "It is the one."])
def test_what_was_promoted_by_hand_is_told_among_the_trials_that_ended_since(
    study: MadeStudy, why: str
) -> None:
    models = ListedModels()
    before = promote(study.folder, models, 0, why=why)
    assert before.expected and before.expected.num_trials == 2
    assert before.sentence.startswith("It is ahead of trial 1")
    study.add(TARGETS, [0.1 + 0.8 * target for target in TARGETS])
    kept = promote_best(study.folder, models)
    same = {"recipe", "number", "value", "who", "when", "chosen_by", "model_version"}
    assert kept.model_dump(include=same) == before.model_dump(include=same)
    assert kept.sentence.startswith("It is behind trial 3 by ")
    assert kept.expected and (kept.expected.num_trials, kept.expected.rank) == (3, 2)
    assert kept.why == why or kept.why.endswith("by auc on val it is number 2 of 3.")
    assert read_champion(study.folder) == kept


def test_a_champion_of_an_older_version_is_told_on_the_slices_that_there_are(
    tmp_path: Path,
) -> None:
    both = Objective(over=("val", "generators"), aggregate="worst")
    study, models = MadeStudy(tmp_path, objective=both), ListedModels()
    for seed, scores in enumerate((GOOD, BAD)):
        save_weights(study, study.add(TARGETS, scores, run="run"), seed=seed)
    before = promote(study.folder, models, 0)
    assert before.expected
    # It named families of which the data have no slice.
    old = before.expected.model_copy(update={"place": both.place})
    record = before.model_copy(update={"objective": both, "expected": old})
    study.folder.champion.write_text(record.model_dump_json(), encoding="utf-8")
    for file in study.folder.path.glob("trials/*/result.json"):
        result = read_json(file)
        write_json(file, {**result, "by_slice": {"val": result["metrics"]}})
    first = read_champion(study.folder)
    assert first.expected and first.expected.place == first.objective.place == "val"
    kept = promote_best(study.folder, models)
    assert (kept.chosen_by, kept.value) == ("by hand", before.value)
    assert f"auc {before.value:.5f} on val." in describe_champion(kept)
    assert both.place not in describe_champion(kept)


def test_no_other_trial_takes_the_place_of_a_lost_one_that_was_promoted_by_hand(
    study: MadeStudy,
) -> None:
    before = promote(study.folder, ListedModels(), 1)
    lost = before.model_copy(update={"recipe": "0" * 12})  # the study was put back from a copy
    study.folder.champion.write_text(lost.model_dump_json())
    with pytest.raises(StudyError, match="no longer has what was promoted by hand as trial 1, nor"):
        promote_best(study.folder, ListedModels())
    assert read_champion(study.folder) == lost


def test_a_worse_trial_named_by_hand_is_promoted_with_its_deficit(study: MadeStudy) -> None:
    models = ListedModels()
    promote(study.folder, models)
    champion = promote(study.folder, models, 1)
    assert (champion.number, champion.model_version) == (1, "2")
    assert champion.chosen_by == "by hand"
    assert champion.margin == pytest.approx(-1 / 4)
    assert champion.confidence == pytest.approx(1 - 0.8068, abs=1e-4)
    assert champion.sentence.startswith("It is behind trial 0 by 0.25000 in auc ± 0.56580")
    assert champion.why == "It was named by hand; by auc on val it is number 2 of 2."


def test_a_lead_that_the_samples_show_is_not_called_chance(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    targets = [0, 1] * 100
    noise = np.random.default_rng(0).normal(size=200)
    study.add(targets, (1 / (1 + np.exp(-noise - 2 * np.array(targets)))).tolist())
    study.add(targets, (1 / (1 + np.exp(-noise))).tolist())
    lead = lead_of(study.folder, study.rows, AUC, study.rows[0])
    assert lead.confidence is not None
    assert lead.confidence > 0.999
    assert "paired DeLong" in lead.sentence
    assert "chance" not in lead.sentence


def test_the_only_complete_trial_has_no_margin(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, GOOD)
    lead = lead_of(study.folder, study.rows, AUC, study.rows[0])
    assert (lead.runner_up, lead.margin, lead.margin_standard_error) == (None, None, None)
    assert "only complete trial" in lead.sentence


def test_models_that_rank_the_samples_alike_cannot_be_told_apart(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, GOOD)
    study.add(TARGETS, [score / 2 for score in GOOD])
    lead = lead_of(study.folder, study.rows, AUC, study.rows[0])
    assert (lead.margin, lead.margin_standard_error, lead.confidence) == (0.0, 0.0, None)
    assert "cannot tell the two apart" in lead.sentence
    assert "flatters" not in lead.sentence
    study.add(TARGETS, [score / 3 for score in GOOD])
    level = lead_of(study.folder, study.rows, AUC, study.rows[0])
    assert level.margin == 0
    assert level.sentence.endswith("being picked as the best of 3 trials flatters it.")


def test_other_objectives_have_a_margin_but_no_error(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path, metric="log_loss")
    study.add([1, 0], [0.5, 0.5])  # ln 2
    study.add([1, 0], [0.75, 0.25])  # ln 4/3
    save_weights(study, study.add([1, 0], [0.8, 0.2], run="run-2"), seed=0)  # ln 5/4
    champion = promote(study.folder, ListedModels())
    assert champion.number == 2
    assert champion.margin == pytest.approx(math.log(4 / 3) - math.log(5 / 4))
    assert (champion.standard_error, champion.margin_standard_error) == (None, None)
    assert "no standard error" in champion.sentence


def test_the_weights_of_another_model_are_refused(study: MadeStudy) -> None:
    weights = study.folder.trial(study.rows[0].recipe).weights
    save_file({"head.weight": torch.zeros(2, 3)}, weights)
    with pytest.raises(StudyError, match="does not hold the model of its recipe"):
        promote(study.folder, ListedModels())
    weights.write_bytes(b"not tensors at all")
    with pytest.raises(StudyError, match="not a safetensors file"):
        promote(study.folder, ListedModels())
    weights.unlink()
    with pytest.raises(StudyError, match="weights of trial 0 are gone"):
        promote(study.folder, ListedModels())
    assert not study.folder.champion.exists()


def test_a_changed_recipe_is_refused(study: MadeStudy) -> None:
    row = study.rows[0]
    files = study.folder.trial(row.recipe)
    files.write_recipe(files.read_recipe().replaced(dropout=0.5))
    assert study.rows[0].state == "failed"  # another backbone would stand beside its value
    with pytest.raises(StudyError, match=r"recipe\.json is not what the trial wrote"):
        promote(study.folder, ListedModels(), row.number)


def test_a_trial_without_a_run_cannot_be_registered(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    save_weights(study, study.add(TARGETS, GOOD), seed=0)
    with pytest.raises(StudyError, match="Trial 0 has no run in the tracking store"):
        promote(study.folder, ListedModels())


def test_a_study_without_a_champion_says_how_to_get_one(study: MadeStudy) -> None:
    with pytest.raises(StudyError, match=r"fakes has no champion yet\. Run `workbench promote`"):
        read_champion(study.folder)


def test_a_user_without_a_name_can_promote(
    study: MadeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert promote(study.folder, ListedModels()).who == "unknown"


def test_the_terminal_is_told_what_why_and_how_sure(study: MadeStudy) -> None:
    champion = promote(study.folder, ListedModels())
    before = champion.model_copy(update={"expected": None})
    assert describe_champion(before).splitlines() == [
        "Champion: trial 0, auc 0.91667 (0.39381 to 0.99404, 95%, DeLong) on val.",
        "The interval reaches 0.5, which guessing has: nothing tells that it learnt anything.",
        "It has the best auc on val of 2 complete trials.",
        "It is ahead of trial 1 by 0.25000 in auc ± 0.56580 (95%, paired DeLong), which chance "
        "alone could make: the two cannot be told apart.",
        "Registered as fakes, version 1, alias champion.",
    ]
    # An interval that knows nothing of the choice is not said beside one that does.
    first, second, *_ = describe_champion(champion).splitlines()
    assert first == "Champion: trial 0, auc 0.91667 on val."
    assert second.startswith("auc 0.9167 on val; expected on new data of this kind 0.9")
    assert second.endswith("95%: the best of 2).")


def test_a_champion_of_an_older_version_is_read(study: MadeStudy) -> None:
    champion = promote(study.folder, ListedModels())
    tree = json.loads(study.folder.champion.read_text(encoding="utf-8"))
    assert tree.pop("expected")["num_trials"] == 2
    study.folder.champion.write_text(json.dumps(tree), encoding="utf-8")
    assert read_champion(study.folder) == champion.model_copy(update={"expected": None})


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.7, 0.1, ""),  # its interval ends at 0.504
        (0.69, 0.1, "The interval reaches 0.5"),
        (0.49, 0.001, "That is below 0.5: guessing"),
        (0.49, None, "That is below 0.5: guessing"),
        (0.51, None, ""),
    ],
)
def test_a_champion_that_may_be_a_guess_is_told(
    study: MadeStudy, value: float, error: float | None, said: str
) -> None:
    champion = promote(study.folder, ListedModels())
    changes = {"value": value, "standard_error": error, "expected": None, "low": None, "high": None}
    champion = champion.model_copy(update=changes)
    second = describe_champion(champion).splitlines()[1]
    assert second.startswith(said or champion.why)
    # Of a loss, 0.5 is no chance.
    other = champion.model_copy(update={"objective": Objective(metric="log_loss")})
    assert describe_champion(other).splitlines()[1] == champion.why


@pytest.mark.slow
def test_the_champion_can_be_loaded_from_the_registry(tmp_path: Path) -> None:
    import mlflow.pyfunc
    from mlflow import MlflowClient

    tracking = Tracking(tmp_path / "mlruns")
    study = MadeStudy(tmp_path, "fakes")
    parent = tracking.open_study("fakes", tags={"workbench.study_id": study.folder.info().id})
    run = tracking.start_trial(
        parent, number=0, uid="0" * 12, name="test_resnet", recipe={}, tags={}
    )
    tracking.end_trial(run, state="complete")
    recipe = study.add(TARGETS, GOOD, run=run)
    trained = save_weights(study, recipe, seed=0)
    registry = ModelRegistry(tmp_path / "mlruns")
    champion: Champion = promote(study.folder, registry)
    promote(study.folder, registry)

    client = MlflowClient(tracking.store.uri, tracking.store.uri)
    version = client.get_model_version_by_alias("fakes", "champion")
    assert str(version.version) == champion.model_version
    assert len(client.search_model_versions("name = 'fakes'")) == 1
    model = mlflow.pyfunc.load_model(version.source)
    pixels = torch.randint(0, 256, (5, 1, 32, 32, 1), dtype=torch.uint8)
    with torch.inference_mode():
        expected = fake_probability(
            trained, {"mel": pixels.movedim(-1, 2).float() / 255}, recipe.model
        )
    np.testing.assert_allclose(model.predict(pixels.flatten(1).numpy()), expected, atol=1e-5)


def test_what_scores_of_several_folds_are_is_told(study: MadeStudy) -> None:
    about = yaml.safe_load(study.folder.experiment_file.read_text())
    about["experiment"]["validation"] = {"kind": "stratified", "folds": 5, "use": 3}
    study.folder.experiment_file.write_text(yaml.safe_dump(about))
    champion = promote(study.folder, ListedModels())
    told = (
        "Scores on val are out of fold: each of 3 models scores the files that it was trained "
        "without, so they say what the recipe is worth; where one of them scores higher than "
        "another throughout, that lowers an AUC. The weights are those of the first model, which "
        "scores all other files too."
    )
    assert describe_champion(champion).splitlines().count(told) == 1
    assert summarise(study.folder, study.rows, AUC)[0].decision[1].endswith(f". {told}")
    one = champion.model_copy(update={"num_folds": 1})
    assert "out of fold" not in describe_champion(one)


def test_files_that_a_promoted_trial_saw_nothing_of_are_told(study: MadeStudy) -> None:
    models = ListedModels()
    older = promote(study.folder, models, 1)
    assert older.unseen == ""
    files = study.folder.trial(study.rows[1].recipe)
    scores = files.read_scores()
    files.write_scores(scores.assign(neutral=scores["target"] == 1))
    told = "2 of 5 files of val (2 fake) have none of the views that it reads: "
    # Of what an older version promoted by hand, too, whether the registry has it still or not.
    for registry in (models, ListedModels()):
        write_champion(study.folder, older)
        promoted = promote_best(study.folder, registry)
        assert promoted.unseen.startswith(told)
        assert promoted == read_champion(study.folder)
    assert promote(study.folder, models, 1).unseen.startswith(told)
    assert promote(study.folder, models, 0).unseen == ""


def test_the_interval_of_a_champion_stays_within_0_and_1() -> None:
    made = champion(value=0.99, standard_error=0.02, low=0.91, high=0.998)
    first = "Champion: trial 0, auc 0.99000 (0.91000 to 0.99800, 95%, DeLong) on val."
    assert describe_champion(made).splitlines()[0] == first
    # Of an older version, which kept the standard error alone.
    older = made.model_copy(update={"low": None, "high": None})
    assert "0.99000 (0.95080 to 1.00000, 95%, DeLong)" in describe_champion(older)


def test_a_registered_trial_whose_weights_are_gone_is_promoted_with_a_warning(
    study: MadeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = ListedModels()
    for _ in range(2):
        promote(study.folder, registry)
    assert "are gone" not in capsys.readouterr().err
    study.folder.trial(study.rows[0].recipe).weights.unlink()
    assert promote(study.folder, registry).number == 0
    assert "warning: The weights of trial 0 are gone (" in capsys.readouterr().err
