"""A study that version 0.1 began goes on, is compared, promoted and exported.

`begun_by_0.1.tar.xz` is the workspace of `workbench search experiments/begun.yaml --data data
--trials 40 --jobs 1 --device cpu --seed 3`, killed after five trials: one complete, three paused,
one in flight. Left out are what every version makes again (the media and the cache) and the
tracking store, which is written anew from the trials' folders.
"""

import csv
import json
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run, run_here
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials

SEARCH = ("search", "experiments/begun.yaml", "--data", "data", "--trials", "8", "--seed", "3")
COMPLETE = "58e35cc6eb62"
PAUSED = {"173a4cf3199f", "99ba35888f3b", "d572e501890a", "f1eec0759dcc"}


def write_sounds(folder: Path) -> None:
    """Make the sounds that the study was begun with, byte for byte: fakes have a whistle."""
    rng = np.random.default_rng(0)
    time_s = np.arange(4000) / 8000
    for split, number in {"train": 16, "val": 12, "test": 4}.items():
        (folder / f"{split}set").mkdir(parents=True)
        rows = []
        for index in range(number):
            hum = np.sin(2 * np.pi * (300 + 40 * rng.random()) * time_s)
            sound = hum + 0.3 * rng.standard_normal(4000)
            if index % 2:
                sound += 0.2 * np.sin(2 * np.pi * 2500 * time_s)
            name = f"{split}{index}.wav"
            with wave.open(str(folder / f"{split}set" / name), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes((sound * 8000).astype("<i2").tobytes())
            rows.append(f"{name},{index % 2 if split != 'test' else 0.5}")
        header = "video_name,target" if split != "test" else "video_name,y_pred"
        file_name = f"{split}set_label.txt" if split != "test" else "prediction.csv"
        (folder / file_name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace as 0.1 left it, and the sounds."""
    root = tmp_path_factory.mktemp("begun")
    with tarfile.open(Path(__file__).with_name("begun_by_0.1.tar.xz")) as archive:
        archive.extractall(root, filter="data")
    write_sounds(root / "data")
    return root


@pytest.mark.slow(minutes=1)
def test_it_goes_on_is_compared_promoted_and_exported(root: Path) -> None:
    folder = StudyFolder(root / "experiments" / "begun")
    before = {row.recipe: row for row in read_trials(folder)}
    assert set(before) == {COMPLETE}
    recipe_file = folder.trial(COMPLETE).recipe.read_bytes()

    said = run(root, *SEARCH, "--jobs", "1").stderr
    assert "MLflow lacked 1 ended trial: written anew from the folders." in said

    rows = {row.recipe: row for row in read_trials(folder)}
    assert len(rows) == 8
    assert set(rows) >= {COMPLETE} | PAUSED
    assert rows[COMPLETE].metrics == before[COMPLETE].metrics
    assert rows[COMPLETE].epochs == before[COMPLETE].epochs
    assert folder.trial(COMPLETE).recipe.read_bytes() == recipe_file
    # What had paused went on after its last epoch, or was pruned there: no epoch is another.
    assert [epoch.epoch for epoch in rows["173a4cf3199f"].epochs] == [1, 2, 3, 4][
        : len(rows["173a4cf3199f"].epochs)
    ]

    run_here(root, "compare", "begun")
    run_here(root, "promote", "begun", "--trial", str(rows[COMPLETE].number))
    champion = json.loads((folder.path / "champion.json").read_text())
    assert champion["recipe"] == COMPLETE

    run_here(root, "export", "begun", "--out", "bundle")
    run_here(
        root,
        "predict",
        "bundle",
        *(f"data/testset/test{i}.wav" for i in range(4)),
        "--out",
        "again.csv",
    )
    submitted = root / "bundle" / "predictions.csv"
    with submitted.open(newline="") as first, (root / "again.csv").open(newline="") as second:
        exported, predicted = list(csv.DictReader(first)), list(csv.DictReader(second))
    assert len(exported) == 4
    assert [float(row["y_pred"]) for row in predicted] == pytest.approx(
        [float(row["y_pred"]) for row in exported], abs=1e-6
    )
