"""A study of probes by the real commands: search, compare, pack, export, predict."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.commands import ENVIRONMENT, run, run_here
from tests.study.tiny import SPACE, write_data, write_experiment

FITS = [
    {"kind": "logistic", "c": {"float": [1e-3, 1.0], "log": True}},
    {"kind": "boosting", "num_trees": 10, "leaf_samples": 2},
]
RECIPE = {
    "views": {"image": {"kind": "image", "image_px": 32}},
    "method": {"kind": "probe", "fit": {"kind": "logistic", "c": 0.1}},
    "backbone": "test_resnet",
    "pretrained": "none",
    "image_px": 32,
}
PREDICT = """
import runpy, sys
sys.modules["sklearn"] = None  # an import of it fails
sys.argv = ["predict.py", *sys.argv[1:]]
runpy.run_path("predict.py", run_name="__main__")
"""


@pytest.mark.slow(minutes=1)
def test_probes_are_searched_compared_packed_exported_and_predict_alone(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    space = {**SPACE, "method": {"kind": "probe", "fit": {"choice": FITS}}}
    write_experiment(tmp_path, space, rulebook={"single_model": "module"})
    (tmp_path / "probe.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    search = ("search", "experiments/tiny.yaml", "--data", "data", "--jobs", "1", "--pack", "off")
    run(tmp_path, *search, "--trials", "4", "--start-from", "probe.yaml")

    study = tmp_path / "experiments" / "tiny"
    recipes = [json.loads(file.read_text()) for file in study.glob("trials/*/recipe.json")]
    kinds = {recipe["model"]["head"]["kind"] for recipe in recipes}
    assert len(recipes) == 4 and "logistic" in kinds
    assert any(recipe["training"]["method"]["fit"].get("c") == 0.1 for recipe in recipes)

    [trial, *_] = json.loads(run_here(tmp_path, "compare", "tiny", "--json"))["trials"]
    assert trial["state"] == "complete" and " of test_" in trial["backbone"]
    run_here(tmp_path, "pack", "tiny", "--members", "2")
    run_here(tmp_path, "promote", "tiny", "--pack")
    run(tmp_path, "export", "tiny", "--out", "out")
    spec = json.loads((tmp_path / "out" / "model.json").read_text())
    assert {member["head"]["kind"] for member in spec["members"]} <= kinds

    again_file = tmp_path / "again.csv"
    files = sorted((tmp_path / "data" / "testset").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, *map(str, files), "--out", str(again_file), "--jobs", "0"],
        cwd=tmp_path / "out",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, again = (
        pd.read_csv(file, index_col=0).iloc[:, -1]
        for file in (tmp_path / "out" / "predictions.csv", again_file)
    )
    pd.testing.assert_series_equal(again[first.index], first, check_names=False, rtol=1e-6)
