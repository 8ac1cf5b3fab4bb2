"""The refit of a champion: what of a trial it takes over, and what is said of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.selection.studies import MEL, MadeStudy, champion
from workbench.errors import DamagedFileError, StudyError
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.selection.refit import _require_whole, refitted, require_carried_over
from workbench.study.folder import StudyFolder
from workbench.study.refits import RefitRecord, RefittedModel, read_refit, refit_of, write_refit
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result
from workbench.trial.training_spec import TrainingSpec


def recipe(**training: Any) -> Recipe:
    model = ModelSpec(views={"mel": MEL}, backbone="resnet18", weights=RANDOM)
    spec = TrainingSpec.model_validate({"optimizer": AdamW(lr=1e-3), **training})
    objective = Objective(over=("val", "generators"), aggregate="worst")
    return Recipe(data="data", model=model, training=spec, objective=objective, seed=3)


def epoch(number: int, objective: float, fold: int = 1) -> Epoch:
    return Epoch(
        epoch=number,
        train_loss=0.5,
        lr=0.1,
        metrics={},
        objective=objective,
        seconds=1.0,
        fold=fold,
    )


def test_a_refit_is_the_recipe_with_what_its_schedule_went_by() -> None:
    # The second fold's epochs are of another training.
    epochs = (epoch(1, 0.7), epoch(2, 0.8), epoch(3, 0.9, fold=2))
    one = recipe().named("0123456789ab")
    again = refitted(one, Result(recipe=one.uid, state="complete", epochs=epochs))
    assert again.refit is not None
    assert (again.refit.of, again.refit.history) == ("0123456789ab", (0.7, 0.8))
    assert (again.training, again.model, again.seed) == (one.training, one.model, one.seed)
    # Measured on files that it learns from, so on no more than it must.
    assert again.objective == Objective(over=("val",))
    assert again.uid not in (one.uid, one.fingerprint)


def test_an_average_that_goes_by_val_cannot_be_refitted() -> None:
    one = recipe(transfer={"average": {"kind": "swad"}})
    with pytest.raises(StudyError, match="SWAD, which needs the loss on val"):
        refitted(one, Result(recipe=one.uid, state="complete", epochs=(epoch(1, 0.7),)))


def record(**changes: Any) -> RefitRecord:
    model = RefittedModel(
        study="made",
        number=5,
        of="a" * 12,
        recipe="b" * 12,
        num_before=24,
        num_files=40,
        objective=0.86,
        at_last_epoch=0.84,
    )
    whole: dict[str, Any] = {
        "recipe": "b" * 12,
        "of": "a" * 12,
        "title": "trial 5",
        "models": (model,),
        "objective": Objective(),
        "value": 0.86,
        "expected": 0.81,
        "low": 0.7,
        "high": 0.9,
        "who": "a test",
        "when": "2026-01-01T00:00:00+00:00",
    }
    return RefitRecord.model_validate({**whole, **changes})


def test_the_value_is_carried_over_and_the_difference_is_told() -> None:
    first, second, third = record().lines("made")
    assert first == (
        "Trial 5 had auc 0.86000 on val; expected on new data of this kind 0.810 (0.700 to 0.900, "
        "95%)."
    )
    assert second.startswith("The refit was trained on 16 more files, those of val, and not")
    assert third.endswith("the last epoch had trial 5 0.84000 in place of 0.86000.")
    told = record(num_folds=5, has_holdout=True).lines("made")[3:]
    assert "out of fold: 5 models" in told[0]
    # What an epoch was measured on is a fifth of what the value is of.
    assert (
        "measured, on the first fold alone, the last epoch" in record(num_folds=5).lines("made")[2]
    )
    same = record().models[0].model_copy(update={"at_last_epoch": 0.86 - 1e-12})
    assert len(record(models=(same,)).lines("made")) == 2
    assert "holdout was not touched" in told[1]


def test_the_value_of_a_repeat_is_not_said_to_be_the_trials() -> None:
    lines = record(is_repeat=True).lines("made")
    assert lines[0].startswith("The repeat of trial 5 had auc 0.86000 on val; ")
    assert lines[2].endswith("had the repeat of trial 5 0.84000 in place of 0.86000.")


def test_members_of_another_study_are_told_with_it() -> None:
    (first,) = record().models
    second = first.model_copy(update={"study": "other", "at_last_epoch": 0.8})
    of_other = "trial 5 of other 0.80000 in place of 0.86000."
    both = record(models=(first, second)).lines("made")[2]
    assert both.endswith(f"had trial 5 0.84000 in place of 0.86000, {of_other}")
    # All members may be of one study, which is another than that of the pack.
    assert record(models=(second,)).lines("made")[2].endswith(f"had {of_other}")


def test_a_refit_of_another_champion_is_none(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "made")
    assert read_refit(folder) is None
    with pytest.raises(StudyError, match=r"has no refit, and its champion is trial 5\. Run"):
        refit_of(folder, "a" * 12, "trial 5")
    write_refit(folder, record())
    assert refit_of(folder, "a" * 12, "trial 5") == record()
    with pytest.raises(StudyError, match="has a refit of trial 5, and its champion is trial 6"):
        refit_of(folder, "c" * 12, "trial 6")
    with pytest.raises(StudyError, match="a refit of trial 5 as trained with another seed, and"):
        refit_of(folder, "c" * 12, "trial 5")


def test_a_record_that_names_the_refit_of_another_trial_is_refused(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    records = []
    for number, scores in enumerate(([0.9, 0.2], [0.8, 0.3])):
        files = made.folder.trial(made.add([1, 0], scores).uid)
        result = files.read_result()
        assert result is not None
        again = refitted(files.read_recipe(), result)
        made.folder.refit(again.uid).write_recipe(again)
        of = {"number": number, "of": result.recipe, "recipe": again.uid}
        model = record().models[0].model_copy(update={**of, "objective": 1.0, "at_last_epoch": 1.0})
        told: dict[str, Any] = {
            "recipe": again.uid,
            "of": result.recipe,
            "title": f"trial {number}",
        }
        told |= {"value": 1.0, "expected": None, "low": None, "high": None}
        records.append(record(**told, models=(model,)))
    mine, other = records
    of_mine = champion(0, recipe=mine.of, value=1.0)
    require_carried_over(made.folder, of_mine, mine)
    for changed in (
        {"recipe": other.recipe, "models": other.models},
        {"recipe": other.recipe},
        {"recipe": mine.of},  # the trial itself
        {"models": mine.models * 2},
    ):
        with pytest.raises(StudyError, match="names other models than the refit of trial 0"):
            require_carried_over(made.folder, of_mine, mine.model_copy(update=changed))


def test_a_damaged_refit_says_what_to_remove(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    files = made.folder.trial(made.add([1, 0], [0.9, 0.2]).uid)
    _require_whole(files)
    files.recipe.write_bytes(files.recipe.read_bytes() + b" ")
    with pytest.raises(DamagedFileError, match="Remove this folder and run the same command again"):
        _require_whole(files)
    files.recipe.unlink()
    with pytest.raises(DamagedFileError, match="is damaged or lacks a file"):
        _require_whole(files)
