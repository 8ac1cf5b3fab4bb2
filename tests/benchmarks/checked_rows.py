"""What checking rows costs: opening and reading a store of 20,000, plainly and checked, in turns.

Times are those of the process, medians over the rounds. A step is ResNet-18's at 224 px, forward
and backward on one thread: what a batch of the same pictures costs a trial that trains.

python -m tests.benchmarks.checked_rows
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.data import rows as rows_module
from workbench.data.prepare import Prepared
from workbench.data.rows import checksum
from workbench.media.image import Image
from workbench.parts.torchvision_fix import import_timm

NUM_ROWS, IMAGE_PX, BATCH, ROUNDS = 20_000, 224, 32, 7
NUM_BATCHES = 20


def main() -> None:
    """Print medians."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checked, plain = made(Path(folder))
        order = np.random.default_rng(0).permutation(NUM_ROWS)[: NUM_BATCHES * BATCH] + 1
        batches = np.split(order, NUM_BATCHES)
        runs: dict[str, Callable[[], object]] = {
            "open, plain": lambda: plain.open_array("image"),
            "open, checked": lambda: checked.open_array("image"),
            "read, plain": lambda: read(plain, batches),
            "read, checked the first time": lambda: read(checked, batches, anew=True),
            "read, checked before": lambda: read(checked, batches),
        }
        took: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):  # the first warms up
            for name, run in runs.items():
                took[name].append(timed(run))
        model = import_timm().create_model("resnet18")
        pictures = torch.rand(BATCH, 3, IMAGE_PX, IMAGE_PX)
        step = statistics.median(timed(lambda: model(pictures).sum().backward()) for _ in range(3))
    found = {name: statistics.median(times[1:]) for name, times in took.items()}
    for name, seconds in found.items():
        per = 1 if name.startswith("open") else NUM_BATCHES
        print(f"{name:<30} {1000 * seconds / per:8.3f} ms")
    print(f"{'a step':<30} {1000 * step:8.3f} ms")
    for name in ("read, checked the first time", "read, checked before"):
        more = (found[name] - found["read, plain"]) / NUM_BATCHES
        print(
            f"{name}: {found[name] / found['read, plain']:.2f} of plain, {more / step:+.2%} a step"
        )


def made(folder: Path) -> tuple[Prepared, Prepared]:
    """Return made pictures, with checksums and without."""
    view = Image(image_px=IMAGE_PX)
    row = np.random.default_rng(0).integers(0, 256, view.stored_shape, dtype=np.uint8)
    file = folder / "array.u8"
    sums = []
    with file.open("wb") as array:
        array.write(view.neutral().tobytes())
        for number in range(NUM_ROWS):
            row.flat[:4] = np.frombuffer(number.to_bytes(4, "big"), np.uint8)
            array.write(row.tobytes())
            sums.append(checksum(row))
    table = pd.DataFrame({"split": "train", "row.image": range(1, NUM_ROWS + 1)})
    about: tuple[Any, ...] = ({"image": view}, {"image": file}, "0" * 12)
    return Prepared(table.assign(**{"sum.image": sums}), *about), Prepared(table, *about)


def read(prepared: Prepared, batches: list[Any], *, anew: bool = False) -> None:
    """Read batches of rows, as a process that has or has not read them before."""
    if anew:
        rows_module._SEEN.clear()
    rows = prepared.open_array("image")
    for batch in batches:
        rows[batch, np.zeros(len(batch), np.int64)]


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of this process that `run` took."""
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
