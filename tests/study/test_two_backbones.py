"""Two views with a backbone each, from a search to the predictions of a bundle."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run, run_here
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.selection.leaderboard import as_table
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.trial.recipe import Objective

TWO: dict[str, Any] = {
    **SPACE,
    "views": {"choice": [["image", "small"], ["image"]]},
    "backbone": {
        "image": {"choice": ["test_resnet", "test_convnext"]},
        "small": {"choice": ["test_efficientnet", "test_resnet"]},
    },
    "num_epochs": 1,
}
VIEWS = {"image": {"kind": "image", "image_px": 32}, "small": {"kind": "image", "image_px": 16}}


def test_a_search_draws_records_and_tells_each_views_backbone(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = bench.search(bench.experiment(TWO, views=VIEWS), 6)
    rows = read_trials(outcome.folder)
    assert len(rows) == 6
    for row, recipe in zip(rows, inline.trained, strict=True):
        drawn = {view: row.drawn[f"backbone.{view}"] for view in row.views}
        assert row.backbone_of == recipe.model.backbone_of == drawn
        assert ("backbone.small" in row.drawn) == ("small" in row.views)
    mixed = next(row for row in rows if len(set(row.backbone_of.values())) == 2)
    label = f"{mixed.backbone_of['image']} image + {mixed.backbone_of['small']} small"
    assert mixed.backbone == label
    run = {run.number: run for run in bench.runs(outcome)}[mixed.number]
    assert run.name == f"{mixed.number:03d} {label} 32 px"
    # What is left of a trial whose recipe is gone.
    outcome.folder.trial(mixed.recipe).recipe.unlink()
    lost = read_trials(outcome.folder)[mixed.number]
    assert (lost.backbone, lost.backbone_of) == (label, {})
    assert "image+small" in as_table(rows, Objective(), 6)
    # A second sitting of the same study goes on.
    assert bench.search(bench.workspace.root / outcome.folder.info().experiment, 6).num_new == 0


@pytest.mark.slow(minutes=1)
def test_two_backbones_are_trained_promoted_exported_and_predict(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    space = {
        **TWO,
        "views": ["image", "small"],
        "backbone": {"image": "test_resnet", "small": "test_efficientnet"},
    }
    write_experiment(tmp_path, space, views=VIEWS)
    words = ("search", "experiments/tiny.yaml", "--data", "data", "--trials", "2", "--jobs", "1")
    label = "test_resnet image + test_efficientnet small"
    assert label in run(tmp_path, *words).stderr
    assert "test_resnet" in run_here(tmp_path, "compare", "tiny")
    run_here(tmp_path, "promote", "tiny")
    champion = json.loads((tmp_path / "experiments" / "tiny" / "champion.json").read_text())
    folder = StudyFolder(tmp_path / "experiments" / "tiny")
    recipe = folder.trial(champion["recipe"]).read_recipe()
    assert recipe.model.backbone == {"image": "test_resnet", "small": "test_efficientnet"}
    run_here(tmp_path, "export", "tiny", "--out", "bundle")
    assert f"| backbone | {label} |" in (tmp_path / "bundle" / "README.md").read_text()
    files = [f"data/testset/test{i}.{'jpg' if i % 3 else 'png'}" for i in range(8)]
    run_here(tmp_path, "predict", "bundle", *files, "--out", "again.csv")
    submitted = tmp_path / "bundle" / "predictions.csv"
    with submitted.open(newline="") as first, (tmp_path / "again.csv").open(newline="") as second:
        exported, predicted = list(csv.DictReader(first)), list(csv.DictReader(second))
    assert len(exported) == 8
    assert [float(row["y_pred"]) for row in predicted] == pytest.approx(
        [float(row["y_pred"]) for row in exported], abs=1e-6
    )
