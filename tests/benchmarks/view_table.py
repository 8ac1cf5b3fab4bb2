"""One trial a view on the demo data, all by the same recipe: the table of docs/views.md.

python -m tests.benchmarks.view_table DEMO_FOLDER CACHE_FOLDER [VIEW...]

The test labels are read at the end, to measure; nothing is chosen by them.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.media.views import AnyView
from workbench.parts.augment import Augment, Pictures
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.pretrained import resolve
from workbench.parts.schedules import Cosine
from workbench.trial.delong import Z95, auc
from workbench.trial.recipe import Recipe
from workbench.trial.result import TrialFolder
from workbench.trial.train import run_trial
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import build

VIEWS: dict[str, dict[str, Any]] = {
    "mel": {"kind": "mel"},
    "logspec": {"kind": "logspec"},
    "cqt": {"kind": "cqt"},
    "frames": {"kind": "frames", "num_frames": 2, "image_px": 160},
    "frame-diff": {"kind": "frame-diff", "num_frames": 2, "image_px": 160},
    "faces": {"kind": "faces", "num_frames": 2, "image_px": 160},
    "features": {"kind": "features"},
    "face-trace": {"kind": "face-trace", "num_frames": 8},
}
SETS = (
    *((name,) for name in VIEWS),
    ("mel", "features"),
    ("frames", "face-trace"),
    ("mel", "frames"),
)


def main(data: Path, cache: Path, wanted: list[str]) -> None:
    """Print a line for each set of views."""
    manifest = read_manifest(data, Layout(), cache=cache)
    labels = pd.read_csv(data / "private" / "test_label.csv").set_index("video_name")["target"]
    weights, said = resolve("tf_efficientnet_lite0", "auto", cache)
    print(said)
    for names in SETS:
        if wanted and "+".join(names) not in wanted:
            continue
        views: dict[str, Any] = {name: build(AnyView, VIEWS[name], where=name) for name in names}
        prepared = prepare(manifest, data, views, cache=cache, jobs=2)
        recipe = Recipe(
            data=manifest.fingerprint,
            model=ModelSpec(
                views=views,
                backbone="tf_efficientnet_lite0",
                weights=weights,
                image_px=128,
            ),
            training=TrainingSpec(
                optimizer=AdamW(lr=5e-4, weight_decay=0.01),
                schedule=Cosine(warmup_share=0.1),
                augment=Augment(pictures=Pictures(hflip=0.5)),
                batch_size=16,
                num_epochs=4,
            ),
        )
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            trial = TrialFolder(Path(folder))
            run_trial(recipe, prepared, trial.path, device="cpu", report=lambda _: "go on")
            scores = trial.read_scores()
        report("+".join(names), scores, labels, f"{time.monotonic() - began:.0f} s")
        if len(names) == 1 and len(next(iter(views.values())).shape) == 1:
            report(f"{names[0]}, logistic", baseline(prepared, names[0]), labels, "")


def baseline(prepared: Prepared, name: str) -> pd.DataFrame:
    """Return the scores of a scikit-learn baseline on a vector view."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(prepared.vectors(name, "train"), prepared.rows("train")["target"])
    parts = []
    for split in ("val", "test"):
        rows = prepared.rows(split)
        score = model.predict_proba(prepared.vectors(name, split))[:, 1]
        names, target = rows["name"], rows["target"]
        parts.append(
            pd.DataFrame({"slice": split, "name": names, "score": score, "target": target})
        )
    return pd.concat(parts)


def report(name: str, scores: pd.DataFrame, labels: "pd.Series[int]", rest: str) -> None:
    """Print the AUC on val and on test, with 95% by DeLong."""
    said = []
    for split in ("val", "test"):
        rows = scores[scores["slice"] == split]
        target = rows["target"] if split == "val" else labels.loc[rows["name"]]
        estimate = auc(np.asarray(target), np.asarray(rows["score"]))
        said.append(
            f"{split} {estimate.value:.3f} ± {Z95 * (estimate.standard_error or np.nan):.3f}"
        )
    print(f"{name:20} {'  '.join(said)}  {rest}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
