"""What copies of training files cost a trial: its loop with them, and the making of them.

A network reads some of the training files of a data folder as `mel`. In turns, wall time: an epoch
without copies; one with copies that were made before, as a search has them; one while a process
makes them beside it; and their making alone by a process for each core, as at the start of a
search. In the third the loop reads copies that were made before and waits for none: it shows the
most that a trial could have of copies that are made beside it.

python -m tests.benchmarks.copies_beside DATA [BACKBONE [THREADS [ROUNDS]]]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread

import torch

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.data.training_copies import prepare_training_copies
from workbench.fence import num_cores
from workbench.media.mel import Mel
from workbench.parts.copies import Copies
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.trial.memory import WHOLE
from workbench.trial.recipe import Recipe
from workbench.trial.training import Training
from workbench.trial.training_spec import TrainingSpec

IMAGE_PX, BATCH, FILES = 224, 16, 48
COPIES = Copies(degraded=0.3, resynthesis=0.3, splice=0.2, mismatch=0.1)


def main(data: Path, backbone: str, num_threads: int, rounds: int) -> None:
    """Print medians over the rounds, before which one warms up."""
    torch.set_num_threads(num_threads)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        manifest = read_manifest(data, Layout(), cache=kept)
        plain = prepare(manifest, data, {"mel": Mel()}, cache=kept, jobs=num_cores())
        first = plain.table.groupby(["split", "target"]).head(FILES // 2)
        plain = replace(plain, table=first.reset_index(drop=True))

        def make(cache: Path, jobs: int) -> Mapping[str, Prepared]:
            names = [*COPIES.forged], [*COPIES.damaged]
            about = data, manifest.stamps
            return prepare_training_copies(plain, *names, *about, cache=cache, jobs=jobs)

        def anew(jobs: int) -> float:
            """Make the copies once more; return the seconds."""
            began = time.monotonic()
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                make(Path(cache), jobs)
                return time.monotonic() - began

        copied = replace(plain, beside=make(kept, num_cores()))
        with_copies = epoch(copied, backbone, COPIES)
        beside: list[float] = []

        def with_making() -> None:
            making = Thread(target=lambda: beside.append(anew(1)))
            making.start()
            with_copies()
            took["beside"].append(time.monotonic() - began)
            making.join()

        runs: dict[str, Callable[[], object]] = {
            "without copies": epoch(plain, backbone, Copies()),
            "with copies": with_copies,
            "beside and after": with_making,
            "making": lambda: anew(num_cores()),
        }
        took: dict[str, list[float]] = {name: [] for name in ("beside", *runs)}
        for _ in range(rounds + 1):
            for name, run in runs.items():
                began = time.monotonic()
                run()
                took[name].append(time.monotonic() - began)
    num = len(plain.rows("train"))
    print(f"{backbone}, {num} files, {num_threads} threads, {num_cores()} cores")

    def tell(what: str, values: list[float], unit: str) -> None:
        middle = statistics.median(values[1:])
        print(f"{what:64} {middle:7.2f}{unit} ({min(values[1:]):.2f} to {max(values[1:]):.2f})")

    def ratio(above: list[float], below: list[float]) -> list[float]:
        return [a / b for a, b in zip(above, below, strict=True)]

    loop = took["with copies"]
    before = [a + b for a, b in zip(took["making"], loop, strict=True)]
    tell("an epoch without copies", took["without copies"], " s")
    tell("with copies made before", loop, " s")
    tell("while a process makes them", took["beside"], " s")
    tell("making by a process for each core", took["making"], " s")
    tell("making by one process beside the loop", beside, " s")
    tell("speed with copies made before, of that without", ratio(took["without copies"], loop), "")
    tell("speed while they are made, of that with all made", ratio(loop, took["beside"]), "")
    tell(
        "making and then an epoch, of both side by side",
        ratio(before, took["beside and after"]),
        "",
    )


def epoch(prepared: Prepared, backbone: str, copies: Copies) -> Callable[[], object]:
    """Return the training part of an epoch of a trial."""
    recipe = Recipe(
        data=prepared.fingerprint,
        model=ModelSpec(views={"mel": Mel()}, backbone=backbone, weights=RANDOM, image_px=IMAGE_PX),
        training=TrainingSpec(
            optimizer=AdamW(lr=1e-4), batch_size=BATCH, num_epochs=1000, copies=copies
        ),
    )
    training = Training(
        recipe, prepared, device="cpu", store=None, plan=WHOLE, step=lambda share: None
    )
    training.settle_passes(1)
    return lambda: training._learn(1)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        sys.argv[2] if len(sys.argv) > 2 else "resnet18",
        int(sys.argv[3]) if len(sys.argv) > 3 else 1,
        int(sys.argv[4]) if len(sys.argv) > 4 else 5,
    )
