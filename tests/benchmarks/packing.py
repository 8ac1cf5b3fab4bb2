"""Trials an hour of small models: packed by `--jobs auto` against one after another.

python -m tests.benchmarks.packing [DEVICE] [TRIALS] [ROUNDS]

DEVICE is `cpu` (the default) or e.g. `cuda`, where the target is 2.5 times: run it on an otherwise
idle machine. ROUNDS (2) of the same TRIALS recipes (8), in turns in one run, through the pool and
the trial of a search: real workers that read prepared data, train, score and write what it leaves.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.media.image import Image
from workbench.parts.augment import Augment, Pictures
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.searching.packing import most_side_by_side, pack, seats_for
from workbench.searching.pool import WorkerPool
from workbench.trial.job import Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result
from workbench.trial.training_spec import TrainingSpec
from workbench.trial.worker import LocalJob

NUM_TRAIN = {"cpu": 128, "cuda": 1024}
"""By device: trials of seconds on either."""

BACKBONE, IMAGE_PX = "tf_efficientnet_lite0", 128
TARGET = 2.5


def main(device: str, num_trials: int, num_rounds: int) -> None:
    """Print trials an hour of both, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepared = write_data(root, NUM_TRAIN[device.partition(":")[0]])
        prepared.save(root)
        pool = WorkerPool(most_side_by_side([device]), warm=True)
        asked = recipe_of(prepared, 0)
        packing = pack(asked, [device], pool, memory_bytes=None, cache=root / "cache")
        print(packing.sentence, flush=True)
        devices, threads, _ = seats_for(packing, [device])
        pool.resize(len(devices))
        pools = {
            "one after another": (WorkerPool(1), (device,), os.cpu_count() or 1),
            "packed": (pool, devices, threads),
        }
        rates: dict[str, list[float]] = {name: [] for name in pools}
        try:
            for turn in range(num_rounds + 1):
                for name, (pool, where, num_threads) in pools.items():
                    # The first round has one trial for each worker, to load its libraries.
                    number = num_trials if turn else len(where)
                    jobs = [
                        LocalJob(
                            job_of(recipe_of(prepared, seed)),
                            prepared=root,
                            folder=root / "trials" / name / f"{turn} {seed}",
                            weights=root,
                            cache=root / "cache",
                            device=where[0],
                            num_threads=num_threads,
                            share=1 / len(where),
                        )
                        for seed in range(number)
                    ]
                    seconds = run(pool, jobs)
                    if turn:
                        rates[name].append(3600 * number / seconds)
                        print(f"round {turn}, {name}: {rates[name][-1]:.0f} an hour", flush=True)
        finally:
            for pool, _, _ in pools.values():
                pool.close(at_once=True)
    alone, packed = (statistics.median(rates[name]) for name in pools)
    print(f"one after another {alone:.0f} trials an hour, packed {packed:.0f}", end=": ")
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", end="")
    print("" if device == "cpu" else f", target {TARGET}")


def job_of(recipe: Recipe) -> Job:
    """Return a job that trains `recipe`."""
    return Job(study="packing", trial=recipe.seed, uid=recipe.uid, recipe=recipe.model_dump_json())


def run(pool: WorkerPool, jobs: list[LocalJob]) -> float:
    """Run all jobs and return the seconds that it took."""
    began = time.monotonic()
    waiting, in_flight = list(jobs), 0
    while waiting or in_flight:
        while waiting and (slot := pool.free_slot()) is not None:
            pool.submit(slot, waiting.pop(0))
            in_flight += 1
        for slot, event in pool.events(timeout_s=1.0):
            if isinstance(event, Epoch):
                pool.answer(slot, "go on")
                continue
            if not isinstance(event, Result) or event.state != "complete":
                raise RuntimeError(f"a trial did not end as it should: {event}")
            in_flight -= 1
    return time.monotonic() - began


def recipe_of(prepared: Prepared, seed: int) -> Recipe:
    """Return a small recipe of two epochs."""
    return Recipe(
        data=prepared.fingerprint,
        model=ModelSpec(
            views={"image": Image(image_px=IMAGE_PX)},
            backbone=BACKBONE,
            weights=RANDOM,
            image_px=IMAGE_PX,
        ),
        training=TrainingSpec(
            optimizer=AdamW(lr=1e-3),
            augment=Augment(pictures=Pictures(hflip=0.5, crop_scale=0.8)),
            batch_size=16,
            num_epochs=2,
        ),
        seed=seed,
    )


def write_data(root: Path, num_train: int) -> Prepared:
    """Make pictures, a little redder if fake, and decode them."""
    data, rng = root / "data", np.random.default_rng(0)
    for split, number in {"train": num_train, "val": num_train // 4, "test": 16}.items():
        (data / f"{split}set").mkdir(parents=True)
        rows = []
        for index in range(number):
            picture = rng.integers(60, 160, (IMAGE_PX, IMAGE_PX, 3))
            picture[..., 2 if index % 2 else 0] += 40
            cv2.imwrite(str(data / f"{split}set" / f"{split}{index}.png"), picture.astype(np.uint8))
            rows.append(f"{split}{index}.png,{index % 2 if split != 'test' else 0.5}")
        file = f"{split}_label.txt" if split != "test" else "prediction.txt.csv"
        header = "img_name,target" if split != "test" else "img_name,y_pred"
        (data / file).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    manifest = read_manifest(data, Layout(), cache=root / "cache")
    views = {"image": Image(image_px=IMAGE_PX)}
    return prepare(manifest, data, views, cache=root / "cache", jobs=os.cpu_count() or 1)


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "cpu",
        int(sys.argv[2]) if len(sys.argv) > 2 else 8,
        int(sys.argv[3]) if len(sys.argv) > 3 else 2,
    )
