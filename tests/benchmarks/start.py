"""Seconds from a job to the end of its first epoch, and where they go.

python -m tests.benchmarks.start [DEVICE]

First through the worker of a search: one that was just started, one that loaded its libraries while
it waited, and one that has trained before. Then `Training` in a process of its own for each layout
of weights and pictures: making it, its first epoch and a later one, for six shapes one after the
other (backbone, side, batch). On a GPU the target is a first epoch at most 1 s above later ones.
"""

import itertools
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.packing import write_data
from workbench.data.prepare import Prepared
from workbench.media.image import Image
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.searching.pool import WorkerPool
from workbench.trial.job import Bug, Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch
from workbench.trial.training_spec import TrainingSpec
from workbench.trial.worker import LocalJob

NUM_TRAIN = {"cpu": 32, "cuda": 512}
SHAPES = [
    ("tf_efficientnet_lite0", 128, 16),
    ("tf_efficientnet_lite0", 128, 32),
    ("tf_efficientnet_lite0", 96, 32),
    ("mobilenetv2_100", 128, 32),
    ("convnext_atto", 128, 32),
    ("resnet18", 128, 32),
]
LOADS_S = 60.0
"""What a worker that waits is given to load its libraries."""


def main(device: str) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepared = write_data(root, NUM_TRAIN[device.partition(":")[0]])
        prepared.save(root)
        print(f"{device}: seconds from a job to the end of its first epoch, {SHAPES[0]}")
        for name, seconds in of_workers(prepared, root, device).items():
            print(f"{name:36} {seconds:6.1f}", flush=True)
        context = multiprocessing.get_context("spawn")
        print("layout         shape                               made  first epoch  later  extra")
        for channels_last in (False, True):
            args = (str(root), device, channels_last)
            process = context.Process(target=of_shapes, args=args)
            process.start()
            process.join()


def of_workers(prepared: Prepared, root: Path, device: str) -> dict[str, float]:
    """Return the seconds of each kind of worker."""
    took = {}
    for name, warm in {"just started": False, "loaded while it waited": True}.items():
        began = time.monotonic()
        pool = WorkerPool(1, warm=warm)
        try:
            if warm:
                time.sleep(LOADS_S if device == "cpu" else LOADS_S / 3)
                began = time.monotonic()
            took[name] = first_epoch(pool, job(prepared, root, device, seed=0)) - began
            if not warm:
                began = time.monotonic()
                again = first_epoch(pool, job(prepared, root, device, seed=1))
                took["has trained before, the same shape"] = again - began
        finally:
            pool.close(at_once=True)
    return took


def job(prepared: Prepared, root: Path, device: str, *, seed: int) -> LocalJob:
    """Return a job of the first shape."""
    recipe = recipe_of(prepared, device, *SHAPES[0], seed=seed)
    return LocalJob(
        Job(study="start", trial=seed, uid=recipe.uid, recipe=recipe.model_dump_json()),
        prepared=root,
        folder=root / "trials" / f"{seed} {time.monotonic()}",
        weights=root,
        cache=root / "cache",
        device=device,
        num_threads=1,
    )


def first_epoch(pool: WorkerPool, job: LocalJob) -> float:
    """Run a job; return when its first epoch ended."""
    slot = pool.free_slot()
    assert slot is not None
    pool.submit(slot, job)
    ended = 0.0
    while True:
        for _, event in pool.events(timeout_s=1.0):
            if isinstance(event, Bug):
                raise RuntimeError(event.traceback)
            if not isinstance(event, Epoch):
                return ended
            ended = ended or time.monotonic()
            pool.answer(slot, "go on")


def of_shapes(root: str, device: str, channels_last: bool) -> None:
    """Print a row for each shape, in this process."""
    import torch

    from workbench.trial.device import capabilities, wait_for
    from workbench.trial.memory import WHOLE
    from workbench.trial.training import Training

    torch.set_num_threads(1)
    prepared = Prepared.load(Path(root))
    uses = capabilities(device).model_copy(
        update={"channels_last": channels_last, "by_clock": False}
    )
    for backbone, image_px, batch in SHAPES:
        times = [time.monotonic()]

        def mark(times: list[float] = times) -> None:
            wait_for(device)
            times.append(time.monotonic())

        training = Training(
            recipe_of(prepared, device, backbone, image_px, batch),
            prepared,
            device=device,
            store=None,
            plan=WHOLE,
            step=lambda share: None,
            uses=uses,
        )
        mark()
        for _ in range(3):
            training.run_epoch()
            mark()
        made, first, second, third = (b - a for a, b in itertools.pairwise(times))
        later = min(second, third)
        print(
            f"{'channels last' if channels_last else 'contiguous':14} "
            f"{f'{backbone} {image_px} px, {batch} at once':34} {made:5.2f} {first:12.2f} "
            f"{later:6.2f} {first - later:6.2f}",
            flush=True,
        )


def recipe_of(
    prepared: Prepared, device: str, backbone: str, image_px: int, batch_size: int, *, seed: int = 0
) -> Recipe:
    """Return a recipe of that shape, of three epochs."""
    return Recipe(
        data=prepared.fingerprint,
        model=ModelSpec(
            views={"image": Image(image_px=128)},
            backbone=backbone,
            image_px=image_px,
            weights=RANDOM,
        ),
        training=TrainingSpec(
            optimizer=AdamW(lr=1e-3),
            batch_size=batch_size,
            num_epochs=3,
            precision="bfloat16" if device.startswith("cuda") else "float32",
        ),
        seed=seed,
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
