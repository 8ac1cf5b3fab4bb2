"""Bfloat16 arithmetic in training, where a device has it.

Weights, their gradients, the optimizer and the loss stay float32, and so does all scoring: what a
trial measures is what its bundle will say.

A GPU that has it is faster so. A CPU that has it is faster for some backbones and slower for
others, whose layers it has to convert for: EfficientNet-Lite1 took 0.60 s a step in float32 and
0.95 s in bfloat16, ResNet-18 0.55 and 0.25 s. There it is measured.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from workbench.data.measured import Measured
from workbench.media.image import Image
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel
from workbench.parts.plugins import own_versions
from workbench.parts.weights import RANDOM, published
from workbench.trial.device import gpu_has_bfloat16, is_cuda
from workbench.trial.training_spec import Precision

LEAST_GAIN = 1.1
"""A step in bfloat16 must be so many times as fast as one in float32 to be taken on a CPU."""

MEASURED_PX = 128
"""Side of the pictures that it is measured on, where a backbone takes any side."""

STEP_S, FEWEST, MOST = 0.8, 4, 16
"""So many pictures go at once that a step takes about so many seconds, within these numbers: few
say too much of the weights, which are converted in each step."""

PROBED = 2
"""Pictures of the step that says how many that is."""

ROUNDS, LIMIT_S = 3, 6.0
"""Steps of each precision that are timed, in turn; fewer where they take so long together."""


def has_bfloat16(device: str) -> bool:
    """Say whether `device` computes bfloat16 natively; where it does not, it is slower by far."""
    if is_cuda(device):
        return gpu_has_bfloat16(device)
    has = torch.cpu.get_capabilities()
    return torch.device(device).type == "cpu" and bool(
        has.get("avx512_bf16") or has.get("amx_bf16")
    )


def gain_of_bfloat16(
    backbone: str, *, image_px: int, num_threads: int, cache: Path | None
) -> float:
    """Return how many times as fast as in float32 this CPU trains `backbone` in bfloat16.

    It is measured once, in a few seconds: one forward and backward pass at a time, both precisions
    in turn, by the time of the processor, of which other processes take nothing.

    Args:
        backbone: A timm model name.
        image_px: Side of the pictures it is trained on.
        num_threads: CPU threads of a trial.
        cache: Folder in which it is kept; None keeps nothing.

    Raises:
        ConfigError: there is no such backbone, or it cannot take such pictures.
    """
    if not published(backbone).fixed_input_size:
        image_px = min(image_px, MEASURED_PX)
    about = {
        "backbone": backbone.partition(".")[0],
        "image_px": image_px,
        "threads": num_threads,
        "cpu": sorted(name for name, has in torch.cpu.get_capabilities().items() if has),
        "torch": torch.__version__,
        **own_versions([backbone]),
    }
    gains = Measured(cache, "precision")
    if (known := gains.get(about)) is not None:
        return float(known)
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    torch.set_num_threads(num_threads)
    try:
        gain = _measure_gain(backbone, image_px)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
    gains.keep(about, gain)
    return gain


def _measure_gain(backbone: str, image_px: int) -> float:
    views = {"x": Image(image_px=image_px)}
    model = MediaModel(backbone, views, image_px=image_px, weights=RANDOM)
    began = time.monotonic()

    def step(samples: int, precision: Precision) -> float:
        inputs = example_inputs(model.views, samples)
        model.zero_grad(set_to_none=True)
        start = time.process_time()
        logits_of(model, inputs, precision).sum().backward()
        return time.process_time() - start

    step(PROBED, "float32")  # the first step makes what later ones use again
    samples = int(min(MOST, max(FEWEST, PROBED * STEP_S // step(PROBED, "float32"))))
    precisions: tuple[Precision, Precision] = ("float32", "bfloat16")
    took: dict[Precision, list[float]] = {precision: [] for precision in precisions}
    for number in range(ROUNDS + 1):
        for precision in precisions:
            seconds = step(samples, precision)
            if number > 0:  # the first of its size and precision warms up
                took[precision].append(seconds)
        if number > 0 and time.monotonic() - began > LIMIT_S:
            break
    return min(took["float32"]) / min(took["bfloat16"])


def logits_of(model: nn.Module, inputs: Mapping[str, Tensor], precision: Precision) -> Tensor:
    """Return what `model` says of `inputs`, float32, computed in `precision`."""
    if precision == "float32":
        logits: Tensor = model(inputs)
        return logits
    device = next(iter(inputs.values())).device.type
    with torch.autocast(device, torch.bfloat16):
        logits = model(inputs)
    return logits.float()
