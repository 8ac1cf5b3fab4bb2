"""Training and scoring speed of small backbones with channels last against first, interleaved.

python -m tests.benchmarks.memory_format [DEVICE]
"""

import statistics
import sys
import time
from typing import Any

import torch

from workbench.parts.torchvision_fix import import_timm

BACKBONES = ("tf_efficientnet_lite0", "mobilenetv2_100", "resnet18")
IMAGE_PX, BATCH, ROUNDS = 128, 16, 5


def main(device: str) -> None:
    """Print, for each backbone, images a second and the ratio of the two formats."""
    torch.set_num_threads(1)
    timm = import_timm()
    for name in BACKBONES:
        steps: dict[torch.memory_format, tuple[Any, torch.Tensor, list[float]]] = {}
        for layout in (torch.contiguous_format, torch.channels_last):
            model = timm.create_model(name, num_classes=2).to(device, memory_format=layout)
            images = torch.rand(BATCH, 3, IMAGE_PX, IMAGE_PX, device=device)
            steps[layout] = (model, images.contiguous(memory_format=layout), [])
        for _ in range(ROUNDS + 1):  # the first warms up
            for model, images, took in steps.values():
                start = _now(device)
                model.zero_grad()
                model(images).square().mean().backward()
                took.append(_now(device) - start)
        first, last = (statistics.median(took[1:]) for _, _, took in steps.values())
        print(
            f"{name}: {BATCH / first:.0f} images/s channels first, {BATCH / last:.0f} last, "
            f"ratio {first / last:.2f}"
        )


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()  # other processes' load does not count


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
