"""Images a second of a trial's epoch loop, against its own step and a plain loader; interleaved.

The step is ResNet-18 at 224 px on one batch that stays in memory: forward, backward, optimizer. The
loop is `Training`'s, on made pictures: pixels kept on the device or read from the memory map, with
no augmentation or a usual one; on a GPU also compiled. The plain loader opens, resizes and
flips PNGs one by one in this process and asks for the loss after each step, as first scripts do.
On a CPU the times are those of the process, so that other work on the machine does not count.

python -m tests.benchmarks.loop [DEVICE [THREADS]]      with a GPU: cuda 1
"""

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from PIL import Image as Pillow
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.media.image import Image
from workbench.parts.augment import Augment, Pictures
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.trial import device as devices
from workbench.trial.compiling import Compile
from workbench.trial.memory import WHOLE
from workbench.trial.precision import has_bfloat16
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import backward
from workbench.trial.training import Training
from workbench.trial.training_spec import Precision, TrainingSpec

IMAGE_PX, STORED_PX = 224, 256
LOADED = 40
"""Samples of the batch whose loading is measured."""

SIZES = {"cpu": (10, 1, 9), "cuda": (40, 25, 3)}
"""Samples of a batch, batches of an epoch, rounds of one epoch of each. Few samples on a CPU: the
shorter a turn, the more alike are the conditions of those that are compared."""

PLAIN_BATCHES = 10
"""Most batches that the plain loader steps through a round: they say as much as a thousand."""

USUAL = Augment(
    pictures=Pictures(hflip=0.5, rotation_deg=10, crop_scale=0.7, brightness=0.2, contrast=0.2),
    mixup_alpha=0.2,
)


def main(device: str, num_threads: int) -> None:
    """Print medians over the rounds."""
    torch.set_num_threads(num_threads)
    batch, num, rounds = SIZES[torch.device(device).type]
    with tempfile.TemporaryDirectory() as folder:
        prepared = made(Path(folder), num * batch)
        runs: dict[str, Callable[[], object]] = {}
        precisions: tuple[Precision, ...] = ("float32", "bfloat16")
        for precision in precisions[: 1 + has_bfloat16(device)]:
            recipe = recipe_of(prepared, Augment(), precision, batch)
            runs[f"{precision}: one batch in memory"] = fixed(recipe, device, num)
            for pixels in ("resident", "mapped"):
                for name, augment in (("plain", Augment()), ("augmented", USUAL)):
                    recipe = recipe_of(prepared, augment, precision, batch)
                    runs[f"{precision}: {pixels}, {name}"] = loop(recipe, prepared, device, pixels)
            if torch.device(device).type == "cuda":
                recipe = recipe_of(prepared, USUAL, precision, batch)
                run = loop(recipe, prepared, device, "resident", compiled="on")
                runs[f"{precision}: resident, augmented, compiled"] = run
        runs["plain loader"] = plain(prepared, device, Path(folder), batch)
        took: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds + 1):  # the first warms up
            for name, run in runs.items():
                start = _now(device)
                run()
                took[name].append(_now(device) - start)
        medians = {name: statistics.median(times[1:]) for name, times in took.items()}
        print(f"{num} batches of {batch} pictures on {device}, {num_threads} threads")
        for name, seconds in medians.items():
            images = batch * (num if ":" in name else min(num, PLAIN_BATCHES))
            line = f"{name:40} {images / seconds:9.1f} images/s"
            if ":" in name:
                step = took[f"{name.partition(':')[0]}: one batch in memory"]
                pairs = zip(step[1:], took[name][1:], strict=True)
                ratio = statistics.median(a / b for a, b in pairs)
                line += f"   {ratio:.3f} of the step's"
                slower = medians["plain loader"] * num / min(num, PLAIN_BATCHES)
                line += f"   {slower / seconds:.1f} of the loader's"
            print(line)
    with tempfile.TemporaryDirectory() as folder:
        print_data_paths(made(Path(folder), LOADED), Path(folder))


def made(folder: Path, num: int) -> Prepared:
    """Write noise with a little colour, as PNGs and as the array of a view."""
    rng = np.random.default_rng(0)
    view = Image(image_px=IMAGE_PX)
    rows = []
    with (folder / "array").open("wb") as array:
        array.write(np.zeros((1, *view.stored_shape), np.uint8).tobytes())
        for index in range(num + 2):
            coarse = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            picture = Pillow.fromarray(coarse).resize((STORED_PX, STORED_PX))
            picture.save(folder / f"{index}.png")
            array.write(np.asarray(picture.resize((IMAGE_PX, IMAGE_PX))).tobytes())
            split = "train" if index < num else "val"
            rows.append((split, f"{index}.png", index % 2, index + 1))
    table = pd.DataFrame(rows, columns=["split", "name", "target", "row.image"])
    return Prepared(table, {"image": view}, {"image": folder / "array"}, "0" * 12)


def recipe_of(prepared: Prepared, augment: Augment, precision: Precision, batch: int) -> Recipe:
    """Return the recipe that all of them train."""
    return Recipe(
        data=prepared.fingerprint,
        model=ModelSpec(
            views={"image": Image(image_px=IMAGE_PX)},
            backbone="resnet18",
            weights=RANDOM,
            image_px=IMAGE_PX,
        ),
        training=TrainingSpec(
            optimizer=AdamW(lr=1e-4),
            augment=augment,
            batch_size=batch,
            num_epochs=1000,
            precision=precision,
        ),
    )


def fixed(recipe: Recipe, device: str, num: int) -> Callable[[], object]:
    """Return an epoch of steps on one batch."""
    model = recipe.build_model().to(device)
    optimizer = recipe.training.optimizer.build(model.parameters())
    inputs = {
        "image": torch.rand(recipe.training.batch_size, 1, 3, IMAGE_PX, IMAGE_PX, device=device)
    }
    targets = (torch.arange(recipe.training.batch_size, device=device) % 2).float()

    def run() -> None:
        for _ in range(num):
            optimizer.zero_grad(set_to_none=True)
            backward(
                model,
                recipe.training.loss,
                inputs,
                targets,
                num_parts=1,
                fake_share=0.5,
                precision=recipe.training.precision,
            )
            optimizer.step()

    return run


def loop(
    recipe: Recipe, prepared: Prepared, device: str, pixels: str, *, compiled: Compile = "off"
) -> Callable[[], object]:
    """Return the training part of an epoch of a trial."""
    share = {"resident": 1.0, "mapped": 0.0}[pixels]
    with (
        mock.patch.object(devices, "KEPT_SHARE", share / 8),
        mock.patch.object(devices, "HOST_KEPT_BYTES", share * 2**33),
    ):
        training = Training(
            recipe,
            prepared,
            device=device,
            store=None,
            plan=WHOLE,
            step=lambda share: None,
            compiled=compiled,
        )
    training.settle_passes(1)
    return lambda: training._learn(1)


def plain(prepared: Prepared, device: str, folder: Path, batch: int) -> Callable[[], object]:
    """Return an epoch of a loop that loads files one by one."""
    recipe = recipe_of(prepared, Augment(), "float32", batch)
    model = recipe.build_model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loader = plain_loader(prepared, folder, batch)

    def run() -> float:
        total = 0.0
        for images, targets in itertools.islice(loader, PLAIN_BATCHES):
            optimizer.zero_grad()
            logits = model({"image": images.to(device)[:, None]})
            loss = torch.nn.functional.cross_entropy(logits, targets.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return run


class Files(torch.utils.data.Dataset[Any]):
    """The training pictures, decoded when asked for."""

    def __init__(self, prepared: Prepared, folder: Path) -> None:
        rows = prepared.rows("train")
        self._folder = folder
        self._names, self._targets = list(rows["name"]), list(rows["target"])

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one picture, (3, height, width) in [0, 1], and its target."""
        with Pillow.open(self._folder / self._names[index]) as file:
            picture = file.convert("RGB").resize((IMAGE_PX, IMAGE_PX), Pillow.Resampling.BILINEAR)
        if float(torch.rand(())) < 0.5:
            picture = picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
        return x.float().div(255), int(self._targets[index])


def plain_loader(prepared: Prepared, folder: Path, batch: int) -> torch.utils.data.DataLoader[Any]:
    """Return torch's loader of the files, without processes of its own, as by default."""
    return torch.utils.data.DataLoader(Files(prepared, folder), batch, shuffle=True)


def print_data_paths(prepared: Prepared, folder: Path) -> None:
    """Print what a batch costs on a CPU before the model."""
    split = StoredViews(
        Slice("train", prepared, prepared.rows("train")),
        {"image": Image(image_px=IMAGE_PX)},
        image_px=IMAGE_PX,
        device=torch.device("cpu"),
        most_kept_bytes=0,
    )
    index = torch.randperm(split.num_samples)[:LOADED]
    loader = plain_loader(prepared, folder, LOADED)

    def first(batches: Iterator[object]) -> object:
        return next(batches)

    mapped = _median(lambda: split.read("image", index, 0 * index))
    floats = _median(lambda: split.inputs(index))
    files = _median(lambda: first(iter(loader)))
    print(
        f"a batch of {LOADED} on the CPU: {1000 * mapped:.1f} ms as bytes from the memory map, "
        f"{1000 * floats:.1f} ms as floats, {1000 * files:.1f} ms by the plain loader"
    )


def _median(run: Callable[[], object]) -> float:
    took = []
    for _ in range(9):
        start = time.process_time()
        run()
        took.append(time.process_time() - start)
    return statistics.median(took)


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "cpu",
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
