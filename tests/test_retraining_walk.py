"""Refit and retrain by the real commands, of a trial and of a pack: see docs/retraining.md."""

import json
from pathlib import Path

import pytest

from tests.commands import run, run_here
from tests.study.conftest import require_own
from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.submission.training_record import read_training
from workbench.tracking.runs import Tracking

pytestmark = pytest.mark.slow


def test_a_pack_and_its_refit_are_exported_and_trained_again(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_experiment(tmp_path, SPACE, rulebook={"single_model": "module"})
    folder = StudyFolder(tmp_path / "experiments" / "tiny")
    search = ("search", "experiments/tiny.yaml", "--data", "data", "--trials", "2")
    run(tmp_path, *search, "--jobs", "2", "--device", "cpu", "--pack", "off")
    before = [(row.recipe, row.objective) for row in read_trials(folder)]
    run_here(tmp_path, "pack", "--members", "2")
    run_here(tmp_path, "promote", "--pack")

    said = run_here(tmp_path, "refit", "--device", "cpu")
    assert "The refit was trained on 16 more files" in said
    assert [(row.recipe, row.objective) for row in read_trials(folder)] == before
    refit = json.loads(run_here(tmp_path, "refit", "--device", "cpu", "--json"))
    assert len(refit["models"]) == 2 and refit["recipe"] != refit["of"]
    tracking = Tracking(tmp_path / "mlruns")
    runs = tracking.trial_runs(
        tracking.find_study("tiny", folder.info().id), kind="refit"
    )  # once, though the command ran twice
    assert {run.uid for run in runs} == {model["recipe"] for model in refit["models"]}
    assert len(runs) == 2 and all(run.state == "complete" for run in runs)
    # Nothing that was measured on files that it learned from.
    assert all(run.metrics["files"] == 40 and "auc" not in run.metrics for run in runs)
    assert all("train_loss" in run.metrics for run in runs)

    run_here(tmp_path, "export", "--out", "bundle")
    run_here(tmp_path, "export", "--refit", "--out", "refitted")
    assert "refit of trial" in (tmp_path / "refitted" / "TECHNICAL_REPORT.md").read_text()
    for name, title in (("bundle", "trial"), ("refitted", "refit of trial")):
        models = read_training(tmp_path / name).models
        assert all(one.title.startswith(title) for one in models)
        words = ("retrain", name, "--data", "data", "--out", f"{name}-again", "--json")
        done = json.loads(run_here(tmp_path, *words))
        told = {check["what"]: check["said"] for check in done["checks"]}
        assert done["ok"], told
        assert told["model.safetensors"] == "the same file"
        assert told["predictions"] == "the same 8 scores to the last digit"

    # One score on val, and another model for the test files.
    champion = json.loads((tmp_path / "refitted" / "champion.json").read_text())
    assert champion["value"] == refit["value"]
    scores = [(tmp_path / name / "predictions.csv").read_text() for name in ("bundle", "refitted")]
    assert scores[0] != scores[1]

    labels = tmp_path / "data" / "val_label.txt"
    labels.write_text(
        labels.read_text().replace(",1", ",x").replace(",0", ",1").replace(",x", ",0")
    )
    refused = run(tmp_path, "retrain", "bundle", "--data", "data", "--out", "other", code=1)
    assert "the files of val have other names or labels" in refused.stderr
    require_own(folder)
