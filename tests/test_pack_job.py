"""Packs by the real commands: made, promoted, exported, predicted, served, all with one score."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.commands import ENVIRONMENT, run, run_here
from tests.study.conftest import require_own
from tests.study.tiny import write_data, write_experiment
from workbench.errors import MediaError
from workbench.media.decoders import read_here
from workbench.media.view import Made, View
from workbench.study.folder import StudyFolder
from workbench.study.packs import spec_of

pytestmark = pytest.mark.slow

SPACE = {
    "views": ["image"],
    "precision": "float32",
    "backbone": {"choice": ["test_resnet", "test_efficientnet"]},
    "image_px": {"choice": [32, 48]},
    "tta": {"choice": ["none", "hflip"]},
    "pretrained": "none",
    "num_epochs": 1,
    "batch_size": 8,
    "optimizer": {"choice": [{"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}}]},
}


def test_a_pack_from_trials_to_the_same_scores_everywhere(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_experiment(tmp_path, SPACE, rulebook={"single_model": "module"})
    folder = StudyFolder(tmp_path / "experiments" / "tiny")
    searched = run(
        tmp_path,
        *("search", "experiments/tiny.yaml", "--data", "data", "--trials", "4", "--jobs", "2"),
        *("--pack", "off"),
    )
    assert "Champion: trial " in searched.stdout
    packed = json.loads(run(tmp_path, "pack", "--members", "3", "--json").stdout)
    assert packed["decision"].startswith("The ")
    again = run_here(tmp_path, "pack", "--members", "3")
    assert f"Pack {packed['uid']}" in again
    promoted = json.loads(run_here(tmp_path, "promote", "--pack", "--json"))
    assert (promoted["number"], promoted["recipe"]) == (None, packed["uid"])
    compared = run_here(tmp_path, "compare")
    assert "Pack of trials:" in compared
    assert "Pack of trial" in folder.report.read_text(encoding="utf-8")

    exported = run_here(tmp_path, "export", "--out", "bundle")
    assert f"pack {packed['uid']}" in exported
    scores = folder.pack(packed["uid"]).read_scores()
    test = scores[scores["slice"] == "test"].set_index("name")["score"]
    files = sorted((tmp_path / "data" / "testset").iterdir())
    # In an environment that knows nothing of this project's folder.
    clean = {key: value for key, value in ENVIRONMENT.items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-I", "bundle/predict.py", *map(str, files), "--out", "scores.csv"],
        cwd=tmp_path,
        env={**clean, "PATH": os.defpath},
        check=True,
    )
    with (tmp_path / "scores.csv").open(newline="") as file:
        found = {row[0]: float(row[1]) for row in list(csv.reader(file))[1:]}
    assert found.keys() == set(test.index)
    for name, value in found.items():
        assert value == pytest.approx(test[name], abs=1e-5)

    verify = ("verify", "bundle", "--data", "data", "--installed", "--json")
    verified = json.loads(run(tmp_path, *verify).stdout)
    assert verified["passed"]
    assert {line["result"] for line in verified["lines"]} == {"pass"}
    assert verified["recipe"] == packed["uid"]
    weights = tmp_path / "bundle" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    refused = run(tmp_path, *verify, code=1)
    assert "model.safetensors is not the exported file" in refused.stdout
    assert refused.stderr.rstrip().endswith("bundle does not pass: files.")

    views = spec_of(folder.model(packed["uid"])).views
    rows = [
        np.concatenate([made.array.ravel() for made in decoded(file, views).values()])
        for file in files
    ]
    served = _served(tmp_path, np.stack(rows))
    np.testing.assert_allclose(served, [test[file.name] for file in files], atol=1e-5)
    require_own(folder)


def decoded(file: Path, views: Mapping[str, View]) -> dict[str, Made]:
    """Return every view of a file, in their order."""
    made = read_here(file, views)
    assert not isinstance(made, MediaError)
    return {name: one for name in views if isinstance(one := made[name], Made)}


def _served(root: Path, rows: np.ndarray) -> np.ndarray:
    """Return what the registered champion gives, loaded by MLflow alone."""
    np.save(root / "rows.npy", rows)
    program = (
        "import mlflow, numpy as np\n"
        f"mlflow.set_tracking_uri('sqlite:///{root}/mlruns/mlflow.db')\n"
        "model = mlflow.pyfunc.load_model('models:/tiny@champion')\n"
        "np.save('served.npy', model.predict(np.load('rows.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=root, env=ENVIRONMENT, check=True)
    found: np.ndarray = np.load(root / "served.npy")
    return found
