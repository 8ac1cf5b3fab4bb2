"""What averages are worth: EMA, SWA and SWAD beside the trained weights, by seeds.

Beside them the mean of the probabilities of the last two and three epochs' trained weights, which
costs the weights of so many models.

python -m tests.benchmarks.averages DEMO_FOLDER CACHE_FOLDER [SEEDS] [constant|cosine]

An average changes nothing of what is trained, so all are taken of one training a seed. Of each, the
epoch with the best AUC on val counts, as in a trial. The test labels are read to measure alone.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.media.views import AnyView
from workbench.parts.averages import EMA, SWA, SWAD, Averaging, NoAverage
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.pretrained import resolve
from workbench.parts.running_averages import Average
from workbench.parts.schedules import Constant, Cosine
from workbench.scoring.slices import slices_of
from workbench.scoring.stored_slices import Scores
from workbench.trial.delong import auc
from workbench.trial.memory import WHOLE
from workbench.trial.norms import estimate_norms, training_files
from workbench.trial.recipe import Recipe
from workbench.trial.training import Training
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import build

BACKBONE = "tf_efficientnet_lite0"
VIEWS = {"mel": {"kind": "mel", "num_mels": 64, "image_px": 64}}
NUM_EPOCHS = 8
SCHEDULES = {"constant": Constant(), "cosine": Cosine(warmup_share=0.1)}
KINDS: dict[str, Averaging] = {
    "none": NoAverage(),
    "ema": EMA(decay=0.9),
    "swa": SWA(last_share=0.5),
    "swad": SWAD(losses_per_epoch=2),
}
LAST = {"last 2": 2, "last 3": 3}
"""Epochs whose probabilities are averaged."""


class SideBySide(Average):
    """Several averages of one training, of which the trained weights are scored by it."""

    def __init__(self, training: Training) -> None:
        self.training = training
        super().__init__(training._model)
        epochs = training.recipe.training.num_epochs
        self.each = {
            name: spec.begin(self.model, num_epochs=epochs) for name, spec in KINDS.items()
        }

    def after_step(self, step: int) -> None:
        for average in self.each.values():
            average.after_step(step)

    def wants_loss(self, batch: int, num_batches: int) -> bool:
        return self.each["swad"].wants_loss(batch, num_batches)

    def after_loss(self, loss: float) -> None:
        self.each["swad"].after_loss(loss)

    def after_epoch(self, epoch: int) -> bool:
        training = self.training
        for average in self.each.values():
            if average.after_epoch(epoch):
                files = training_files(training._train, training.recipe, training.plan)
                estimate_norms(average.model, files)
        return False


def main(data: Path, cache: Path, num_seeds: int, schedule: str) -> None:
    """Print the AUC on val and on test of each average and seed, and the gains over none."""
    torch.set_num_threads(1)
    manifest = read_manifest(data, Layout(), cache=cache)
    labels = pd.read_csv(data / "private" / "test_label.csv").set_index("video_name")["target"]
    views: dict[str, Any] = {n: build(AnyView, view, where=n) for n, view in VIEWS.items()}
    prepared = prepare(manifest, data, views, cache=cache, jobs=1)
    weights, said = resolve(BACKBONE, "local", cache)
    print(said)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*KINDS, *LAST)}
    for seed in range(num_seeds):
        recipe = Recipe(
            data=manifest.fingerprint,
            model=ModelSpec(views=views, backbone=BACKBONE, weights=weights, image_px=64),
            training=TrainingSpec(
                optimizer=AdamW(lr=5e-4, weight_decay=0.05),
                schedule=SCHEDULES[schedule],
                batch_size=32,
                num_epochs=NUM_EPOCHS,
            ),
            seed=seed,
        )
        for name, of in best(recipe, prepared, labels).items():
            found[name].append(of)
            print(f"seed {seed}  {name:6}  val {of[0]:.3f}  test {of[1]:.3f}", flush=True)
    for column, split in enumerate(("val", "test")):
        none = np.asarray(found["none"])[:, column]
        for name, rows in found.items():
            own = np.asarray(rows)[:, column]
            gains = ", ".join(f"{gain:+.3f}" for gain in own - none)
            print(f"{schedule} {split}: {name:6} {own.mean():.3f}, over none {gains}")


def best(
    recipe: Recipe, prepared: Prepared, labels: "pd.Series[int]"
) -> dict[str, tuple[float, float]]:
    """Return the AUC on val and on test of each average at its best epoch by val."""
    training = Training(
        recipe, prepared, device="cpu", store=None, plan=WHOLE, step=lambda share: None
    )
    training._average = beside = SideBySide(training)
    test = training.stored(slices_of(prepared)["test"])
    targets = labels.loc[test.names].to_numpy()
    (val,) = training.measured.sources
    kept: dict[str, tuple[float, float]] = {}
    epochs: list[tuple[Scores, Scores]] = []
    for _ in range(recipe.training.num_epochs):
        training.run_epoch()
        scored = {
            name: (training.predict(val, average.model), training.predict(test, average.model))
            for name, average in beside.each.items()
        }
        epochs.append(scored["none"])
        for name, num in LAST.items():
            on_val, on_test = (np.mean(each, axis=0) for each in zip(*epochs[-num:], strict=True))
            scored[name] = on_val, on_test
        for name, (on_val, on_test) in scored.items():
            value = auc(val.targets.numpy(), on_val).value
            if name not in kept or value > kept[name][0]:
                kept[name] = value, auc(targets, on_test).value
    return kept


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]) if len(sys.argv) > 3 else 3,
        sys.argv[4] if len(sys.argv) > 4 else "constant",
    )
