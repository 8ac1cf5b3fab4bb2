"""A trial whose folds' models score at different levels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.selection.studies import MadeStudy
from workbench.data.out_of_fold import FOLD
from workbench.data.prepared_table import write_prepared_table
from workbench.selection.fold_values import within_folds
from workbench.selection.summary import summarise

NAMES = [f"{number}.png" for number in range(24)]
TARGETS = np.arange(24) % 2
FOLDS = 1 + np.arange(24) // 8


def study_of(root: Path, levels: tuple[float, ...], *, in_turn: bool = True) -> MadeStudy:
    """A study of one trial that tells the classes apart within each fold, 0.05 apart."""
    study = MadeStudy(root, "folds")
    scores = 0.05 * TARGETS + np.array(levels)[FOLDS - 1]
    study.add(TARGETS.tolist(), scores.tolist(), names=NAMES)
    table = pd.DataFrame({"split": "val", "name": NAMES, "target": TARGETS, "path": NAMES})
    whole = pd.concat([table.assign(split="train"), table], ignore_index=True)
    write_prepared_table(
        whole.assign(**{FOLD: np.tile(FOLDS, 2)}) if in_turn else table, study.folder.manifest
    )
    return study


def evidence(study: MadeStudy) -> str:
    return " ".join(summarise(study.folder, study.rows, study.objective)[0].evidence)


def test_folds_whose_models_score_at_different_levels_are_told(tmp_path: Path) -> None:
    study = study_of(tmp_path, (0.1, 0.4, 0.7))
    (row,) = study.rows
    assert within_folds(study.folder, study.folder.trial(row.recipe).read_scores()) == [1, 1, 1]
    # Of 9 pairs of folds, in 3 all fakes are above the real files, in 3 within, and in 3 none is.
    assert row.objective == pytest.approx(2 / 3)
    assert "within them trial 0 has auc 1.000 to 1.000 on val, mean 1.000; of all " in evidence(
        study
    )
    assert " together 0.667. " in evidence(study)


@pytest.mark.parametrize(("levels", "in_turn"), [((0.4,) * 3, True), ((0.1, 0.4, 0.7), False)])
def test_nothing_is_told_of_one_level_or_of_one_fold(
    tmp_path: Path, levels: tuple[float, ...], in_turn: bool
) -> None:
    assert "Folds:" not in evidence(study_of(tmp_path, levels, in_turn=in_turn))
