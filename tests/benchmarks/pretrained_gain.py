"""What ImageNet weights are worth: one fine-tuning from them and from scratch, by seeds in turns.

python -m tests.benchmarks.pretrained_gain DEMO_FOLDER CACHE_FOLDER [SEEDS]

The test labels are read at the end, to measure; nothing is chosen by them.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import prepare
from workbench.media.views import AnyView
from workbench.parts.augment import Augment, Pictures
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.pretrained import resolve
from workbench.parts.schedules import Cosine
from workbench.parts.weights import RANDOM
from workbench.trial.delong import auc
from workbench.trial.recipe import Recipe
from workbench.trial.result import TrialFolder
from workbench.trial.train import run_trial
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import build

BACKBONE = "tf_efficientnet_lite0"
VIEWS = {"mel": {"kind": "mel"}, "frames": {"kind": "frames", "num_frames": 2, "image_px": 160}}


def main(data: Path, cache: Path, num_seeds: int) -> None:
    """Print the AUC on val and on test of each start and seed, and the margins."""
    manifest = read_manifest(data, Layout(), cache=cache)
    labels = pd.read_csv(data / "private" / "test_label.csv").set_index("video_name")["target"]
    views: dict[str, Any] = {n: build(AnyView, view, where=n) for n, view in VIEWS.items()}
    prepared = prepare(manifest, data, views, cache=cache, jobs=2)
    pretrained, said = resolve(BACKBONE, "local", cache)
    print(said)
    found: dict[str, list[tuple[float, float]]] = {"ImageNet": [], "scratch": []}
    for seed in range(num_seeds):
        for start, weights in (("ImageNet", pretrained), ("scratch", RANDOM)):
            recipe = Recipe(
                data=manifest.fingerprint,
                model=ModelSpec(
                    views=views,
                    backbone=BACKBONE,
                    weights=weights,
                    image_px=128,
                    dropout=0.2,
                ),
                training=TrainingSpec(
                    optimizer=AdamW(lr=5e-4, weight_decay=0.05),
                    schedule=Cosine(warmup_share=0.1),
                    augment=Augment(pictures=Pictures(hflip=0.5)),
                    batch_size=16,
                    num_epochs=4,
                ),
                seed=seed,
            )
            with tempfile.TemporaryDirectory() as folder:
                trial = TrialFolder(Path(folder))
                run_trial(recipe, prepared, trial.path, device="cpu", report=lambda _: "go on")
                scores = trial.read_scores()
            val = scores[scores["slice"] == "val"]
            test = scores[scores["slice"] == "test"]
            of = (
                auc(np.asarray(val["target"]), np.asarray(val["score"])).value,
                auc(np.asarray(labels.loc[test["name"]]), np.asarray(test["score"])).value,
            )
            found[start].append(of)
            print(f"seed {seed}  {start:8}  val {of[0]:.3f}  test {of[1]:.3f}", flush=True)
    one, two = (np.asarray(found[start]) for start in ("ImageNet", "scratch"))
    margins = one - two
    for column, split in enumerate(("val", "test")):
        print(
            f"{split}: {one[:, column].mean():.3f} from ImageNet, {two[:, column].mean():.3f} from "
            f"scratch, margin {margins[:, column].mean():.3f} "
            f"({margins[:, column].min():.3f} to {margins[:, column].max():.3f})"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
