"""Training speed in bfloat16 against float32 on this CPU, for the backbones of the shipped spaces.

python -m tests.benchmarks.precision [BACKBONE ...]

Each backbone is timed twice, both precisions in turn: by what `precision: auto` decides from, and
then by steps of other pictures and of the size of a trial. What `auto` takes shall not be slower
than float32 in the second one.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from workbench.errors import ConfigError
from workbench.media.image import Image
from workbench.parts.model import MediaModel
from workbench.parts.weights import RANDOM, published
from workbench.space.space import read_space
from workbench.trial.precision import LEAST_GAIN, gain_of_bfloat16, has_bfloat16, logits_of
from workbench.trial.training_spec import Precision

SPACES = Path(__file__).parents[2] / "search_spaces"
VIEWS = (
    "mel",
    "logspec",
    "cqt",
    "frames",
    "frame-diff",
    "faces",
    "image",
    "features",
    "face-trace",
)
BATCH, ROUNDS, LIMIT_S = 8, 5, 30.0
PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")


def main(names: list[str]) -> None:
    """Print a line for each backbone: both ratios, and what `auto` takes."""
    torch.set_num_threads(1)
    if not has_bfloat16("cpu"):
        print("this CPU has no bfloat16: auto is float32")
        return
    slower = []
    for backbone in names or backbones():
        px = side(backbone)
        try:
            began = time.monotonic()
            decided = gain_of_bfloat16(backbone, image_px=px, num_threads=1, cache=None)
            took = time.monotonic() - began
            checked = gain(backbone, px)
        except ConfigError as error:
            print(f"{backbone}: not built: {error}", flush=True)
            continue
        taken = "bfloat16" if decided >= LEAST_GAIN else "float32"
        if taken == "bfloat16" and checked < 1:
            slower.append(backbone)
        print(
            f"{backbone:38} {px:4} px  measured {decided:5.2f} in {took:4.1f} s  "
            f"checked {checked:5.2f}  auto: {taken}",
            flush=True,
        )
    print(f"auto slower than float32: {', '.join(slower) or 'none'}")


def backbones() -> Iterator[str]:
    """Yield the backbones of all shipped spaces, each once."""
    seen: set[str] = set()
    for file in sorted(SPACES.glob("*.yaml")):
        for name in read_space(file, VIEWS).backbones():
            if name not in seen:
                seen.add(name)
                yield name


def side(backbone: str) -> int:
    """Return a side of pictures that the backbone takes."""
    return int(published(backbone).input_size[-1]) if published(backbone).fixed_input_size else 128


def gain(backbone: str, px: int) -> float:
    """Return how many times as fast bfloat16 is, by the median of whole steps on drawn pictures."""
    views = {"image": Image(image_px=px)}
    model = MediaModel(backbone, views, image_px=px, weights=RANDOM)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    pictures = torch.rand(BATCH, 1, 3, px, px)
    took: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
    began = time.monotonic()
    for number in range(ROUNDS + 1):
        for precision in PRECISIONS:
            start = time.process_time()  # other processes' load does not count
            optimizer.zero_grad()
            logits_of(model, {"image": pictures}, precision).square().mean().backward()
            optimizer.step()
            if number > 0:  # the first warms up
                took[precision].append(time.process_time() - start)
        if number > 0 and time.monotonic() - began > LIMIT_S:
            break
    return statistics.median(took["float32"]) / statistics.median(took["bfloat16"])


if __name__ == "__main__":
    main(sys.argv[1:])
