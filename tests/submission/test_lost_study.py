"""A pack whose members are trials of two studies, one of which was deleted."""

import shutil
from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy, champion, normal_scores
from tests.selection.test_promotion import save_weights
from tests.study.test_looks import look
from workbench.files import write_text
from workbench.maintenance.deletion import describe_study, lost_elsewhere, packs_of
from workbench.parts.joint import MeanOfProbabilities
from workbench.selection.packing import Ingredient, record_of, write_pack
from workbench.study.looks import append_look
from workbench.submission.training_files import averages_told, trained_models
from workbench.workspace import Workspace


def test_a_pack_outlives_the_study_of_a_member_and_its_deletion_tells_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path)
    one, two = (MadeStudy(workspace.studies, name) for name in ("one", "two"))
    for seed, study in enumerate((one, two)):
        save_weights(study, study.add(*normal_scores(0.5, seed=seed)), seed=seed)
    ingredients = [Ingredient(study.folder, study.rows[0]) for study in (one, two)]
    even = MeanOfProbabilities(weights=(0.5, 0.5))
    record = record_of(ingredients, even, one.objective, num_trials=2)
    write_pack(one.folder, record, ingredients)
    told = {"number": None, "members": ("0", "two:0")}
    promoted = champion(0, study="one", recipe=record.uid).model_copy(update=told)
    write_text(one.folder.champion, promoted.model_dump_json())

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
