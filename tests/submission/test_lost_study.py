"""A pack whose members are of two studies, one of which was deleted, or searched anew."""

import shutil
from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy, champion, normal_scores
from tests.selection.test_promotion import save_weights
from tests.study.test_looks import look
from workbench.errors import StudyError
from workbench.files import hash_file, write_text
from workbench.maintenance.deletion import describe_study, lost_elsewhere, packs_of
from workbench.parts.joint import MeanOfProbabilities
from workbench.searching.recording import StudyRuns
from workbench.selection.champion import Champion
from workbench.selection.packing import Ingredient, record_of, write_pack
from workbench.selection.refit import _models, refitted
from workbench.study.looks import append_look
from workbench.study.refits import RefittedModel
from workbench.study.soups import Ingredient as SoupIngredient
from workbench.study.soups import Soup, soup_uid, write_soup
from workbench.submission.training_files import averages_told, trained_models
from workbench.trial.result import TrialFolder
from workbench.workspace import Workspace


def joined(root: Path) -> tuple[MadeStudy, MadeStudy, Champion]:
    """Return two studies, of which `one` has a pack of a trial of each as its champion."""
    one, two = (MadeStudy(root, name) for name in ("one", "two"))
    for seed, study in enumerate((one, two)):
        save_weights(study, study.add(*normal_scores(0.5, seed=seed)), seed=seed)
    ingredients = [Ingredient(study.folder, study.rows[0]) for study in (one, two)]
    even = MeanOfProbabilities(weights=(0.5, 0.5))
    record = record_of(ingredients, even, one.objective, num_trials=2)
    write_pack(one.folder, record, ingredients)
    told = {"number": None, "members": ("0", "two:0")}
    promoted = champion(0, study="one", recipe=record.uid).model_copy(update=told)
    write_text(one.folder.champion, promoted.model_dump_json())
    return one, two, promoted


def note(files: TrialFolder, weights: str) -> None:
    """Let a trial have ended with these weights, as one that was trained anew."""
    result = files.read_result()
    assert result is not None
    files.write_result(result.model_copy(update={"weights_sha256": weights}))


def test_a_pack_outlives_the_study_of_a_member_and_its_deletion_tells_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path)
    one, two, promoted = joined(workspace.studies)

    sentence = "The champion of one is a pack with trials of two: it keeps its weights"
    assert packs_of(two.folder, workspace).startswith(sentence)
    assert sentence in describe_study(two.folder, workspace)
    assert packs_of(one.folder, workspace) == ""
    append_look(two.folder, look(0))
    lost = lost_elsewhere(two.folder, workspace)
    assert lost.startswith(sentence)
    assert lost.endswith("studies of the same files no longer tell of them.")
    assert "The log of its 1 look at the holdout" in describe_study(two.folder, workspace)

    shutil.rmtree(two.folder.path)
    assert trained_models(one.folder, promoted, None) == ()
    assert "(trial 0 of two) is gone, so nothing says how all of " in capsys.readouterr().err
    assert averages_told(one.folder, promoted) == []


def test_the_training_of_other_weights_is_not_told_as_that_of_a_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, promoted = joined(tmp_path)
    files = two.folder.trial(two.rows[0].recipe)
    note(files, hash_file(files.weights))
    assert [each.title for each in trained_models(one.folder, promoted, None)] == ["trial 0"] * 2
    refitted = [each.title_in("one") for each in _models(one.folder, promoted)]
    assert refitted == ["trial 0", "trial 0 of two"]
    # Searched anew with as many trials, to other weights with the same value.
    note(files, "f" * 64)
    assert trained_models(one.folder, promoted, None) == ()
    said = f"warning: {files.path} (trial 0 of two) has other weights by now, so nothing says how "
    assert said in capsys.readouterr().err
    with pytest.raises(StudyError, match="has trial 0 of two as a member, which has other weights"):
        _models(one.folder, promoted)
    shutil.rmtree(one.folder.trial(one.rows[0].recipe).path)
    trained_models(one.folder, promoted, None)
    said = "(trial 0) is gone, and "
    assert said in capsys.readouterr().err


def test_soups_of_another_study_are_told_with_it_and_by_their_own_trainings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, promoted = joined(tmp_path)
    two.add(*normal_scores(0.5, seed=2))
    trials = [two.folder.trial(row.recipe) for row in two.rows]
    for number, files in enumerate(trials):
        note(files, f"{number}" * 64)
    averaged = tuple(
        SoupIngredient(
            number=row.number, recipe=row.recipe, objective=0.5, weights_sha256=f"{row.number}" * 64
        )
        for row in two.rows
    )
    soup = Soup(recipe=soup_uid(row.recipe for row in two.rows), chosen="all", ingredients=averaged)
    place = two.folder.soup(soup.recipe)
    shutil.copytree(trials[0].path, place.path)
    write_soup(place.path, soup)
    result = trials[0].read_result()
    assert result is not None
    place.write_result(
        result.model_copy(update={"recipe": soup.recipe, "weights_sha256": "a" * 64})
    )
    pack = one.folder.pack(promoted.recipe).read_pack()
    told = {"recipe": soup.recipe, "soup": (0, 1), "weights_sha256": "a" * 64}
    member = pack.members[1].model_copy(update=told)
    pack = pack.model_copy(update={"members": (pack.members[0], member)})
    made = one.folder.pack(pack.uid)
    made.write_pack(pack)
    promoted = promoted.model_copy(update={"recipe": pack.uid})

    assert averages_told(one.folder, promoted) == [
        f"Soup {soup.recipe} of two is the mean of the weights of trials 0 and 1 of two, which "
        "were trained as follows; it was not trained any further."
    ]
    (lost,) = averages_told(one.folder, promoted, is_known=False)
    assert lost.endswith("of trials 0 and 1 of two; it was not trained any further.")
    titles = ["trial 0", "trial 0", "trial 1"]
    assert [each.title for each in trained_models(one.folder, promoted, None)] == titles
    note(trials[1], "f" * 64)
    assert trained_models(one.folder, promoted, None) == ()
    assert "(trial 1 of two) has other weights by now" in capsys.readouterr().err
    note(trials[1], "1" * 64)
    note(place, "f" * 64)
    assert trained_models(one.folder, promoted, None) == ()
    assert f"(soup {soup.recipe} of two) has other weights by now" in capsys.readouterr().err


@pytest.mark.slow
def test_the_run_of_a_members_refit_has_the_study_in_its_name(tmp_path: Path) -> None:
    one, _, promoted = joined(tmp_path / "experiments")
    place = Workspace(tmp_path).tracking_of(one.folder.experiment().tracking)
    models = []
    for model, title in zip(_models(one.folder, promoted), ("", " of two"), strict=True):
        again = refitted(model.recipe, model.result)
        files = one.folder.refit(again.uid)
        files.write_recipe(again)
        files.write_result(model.result.model_copy(update={"recipe": again.uid}))
        told = RefittedModel(
            study=model.folder.name,
            number=0,
            of=model.recipe.uid,
            recipe=again.uid,
            num_before=1,
            num_files=2,
            objective=0.5,
            at_last_epoch=0.5,
        )
        models.append((told, f"000 {again.model.label}, refit{title}"))
    runs = StudyRuns(one.folder, place, {})
    for told, _ in models:
        runs.write_refit(told, {})
    found = runs.tracking.trial_runs(runs.parent, kind="refit")
    assert sorted(run.name for run in found) == sorted(name for _, name in models)
    runs.close("complete")
