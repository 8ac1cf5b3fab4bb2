"""Studies of trials that train nothing, each in a workspace of its test alone."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import write_data
from workbench.search.start import SearchOutcome
from workbench.selection.promotion import promote
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Recipe
from workbench.workspace import Workspace


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an empty store, which takes seconds to make, and the data. Copy it."""
    root = tmp_path_factory.mktemp("template")
    Tracking(root / "mlruns").store.close()
    write_data(root / "data")
    return root


@pytest.fixture
def trials() -> InlineTrials:
    """Trials that train nothing; the lower the learning rate, the better."""
    made = InlineTrials()
    made.reset(by_rate)
    return made


@pytest.fixture
def bench(template: Path, tmp_path: Path, trials: InlineTrials) -> Bench:
    """A workspace of one test."""
    root = tmp_path / "here"
    shutil.copytree(template, root)
    return Bench(Workspace(root), root / "data", trials.make_runner)


def by_rate(recipe: Recipe, number: int) -> float:
    return 0.5 + number / 10 - recipe.training.optimizer.lr


def with_weights(folder: StudyFolder) -> set[int]:
    """Return the trials that have weights."""
    return {row.number for row in read_trials(folder) if folder.trial(row.recipe).weights.exists()}


def ranked(folder: StudyFolder) -> list[TrialRow]:
    """Return the complete trials, best first."""
    rows = [row for row in read_trials(folder) if row.state == "complete"]
    return sorted(rows, key=lambda row: -(row.objective or 0))


def all_trials(bench: Bench, outcome: SearchOutcome) -> list[Any]:
    """Return what the store has of a study's trials."""
    return bench.runs(outcome)


def make_promotable(folder: StudyFolder, row: TrialRow) -> None:
    """Give a trial the weights and the scores that a training would have left."""
    files = folder.trial(row.recipe)
    recipe = files.read_recipe()
    torch.manual_seed(row.number)
    state = recipe.model.build().state_dict()
    save_file(dict(state), files.weights, metadata={"recipe": row.recipe})
    scores = pd.DataFrame(
        {
            "slice": "val",
            "name": [f"val{index}" for index in range(16)],
            "score": np.linspace(0.1, 0.9, 16),
            "target": [0] * 8 + [1] * 8,
            "neutral": False,
        }
    )
    files.write_scores(scores)


def promote_best_of(folder: StudyFolder, bench: Bench) -> str:
    """Promote the best trial, whose scores give 1.0, as the trial is made to say; return it."""
    row = ranked(folder)[0]
    make_promotable(folder, row)
    files = folder.trial(row.recipe)
    result = files.read_result()
    assert result is not None
    files.write_result(
        result.model_copy(update={"objective": 1.0, "metrics": {**result.metrics, "auc": 1.0}})
    )
    return promote(folder, ModelRegistry(bench.workspace.tracking), row.number).model_version
