"""Cost of the augmentations against a ResNet-18 training step on the same device, interleaved.

The step is the model's forward and backward pass as a trial runs them, without the optimizer.
First every augmentation at once, each by a chance of a half where it has one: more than a shipped
search space draws. Then each alone, for every sample. Self-blending is the making of one more
sample of each; the steps that these take later are not in it.

python -m tests.benchmarks.augment_cost [DEVICE [THREADS]]
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from tests.parts.declared import MODALITIES, picture
from workbench.parts.augment import Augment, Pictures, Spectrograms, change, with_blends
from workbench.parts.model import MediaModel
from workbench.parts.weights import Weights

IMAGE_PX, ROUNDS = 224, 5

HEAVIEST = Pictures(
    hflip=0.5,
    vflip=0.5,
    rotation_deg=30,
    shear_deg=10,
    translation=0.1,
    crop_scale=0.5,
    crop_aspect=1.333,
    policy="randaugment",
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue_deg=20,
    grayscale=0.2,
    blur=0.5,
    noise=0.5,
    rescale=0.5,
    jpeg=0.5,
    erase=0.5,
)
HEARD = Spectrograms(
    crop_scale=0.7,
    time_shift=0.5,
    gain_db=6,
    time_mask=0.2,
    frequency_mask=0.2,
)
ALONE: dict[str, Pictures | Spectrograms] = {
    "geometry": Pictures(hflip=0.5, rotation_deg=30, shear_deg=10, crop_scale=0.5),
    "colour": Pictures(brightness=0.4, contrast=0.4, saturation=0.4, hue_deg=20, grayscale=0.2),
    "RandAugment": Pictures(policy="randaugment"),
    "TrivialAugment": Pictures(policy="trivialaugment"),
    "blur": Pictures(blur=1),
    "noise": Pictures(noise=1),
    "down and up": Pictures(rescale=1),
    "JPEG": Pictures(jpeg=1),
    "erasing": Pictures(erase=1),
    "crop of a spectrogram": Spectrograms(crop_scale=0.7),
    "time shift": Spectrograms(time_shift=0.5),
    "gain": Spectrograms(gain_db=6),
    "masks": Spectrograms(time_mask=0.2, frequency_mask=0.2),
}


def main(device: str, num_threads: int) -> None:
    """Print each cost a picture and as a share of the step, by the medians of the rounds."""
    torch.set_num_threads(num_threads)
    batch = 64 if device.startswith("cuda") else 16
    generator = Generator().manual_seed(0)
    views = {
        "frames": torch.rand(batch, 1, 3, IMAGE_PX, IMAGE_PX, device=device),
        "mel": torch.rand(batch, 1, 1, IMAGE_PX, IMAGE_PX, device=device),
    }
    model = MediaModel(
        "resnet18",
        {"frames": picture(1, IMAGE_PX, IMAGE_PX, 3)},
        image_px=IMAGE_PX,
        weights=Weights(source="none", name="", sha256="", pretraining="none"),
    ).to(device)

    def step() -> None:
        model.zero_grad()
        model({"frames": views["frames"]}).square().mean().backward()

    def changing(how: Pictures | Spectrograms) -> Callable[[], dict[str, Tensor]]:
        if isinstance(how, Pictures):
            seen, augment = {"frames": views["frames"]}, Augment(pictures=how)
        else:
            seen, augment = {"mel": views["mel"]}, Augment(spectrograms=how)
        return lambda: change(seen, MODALITIES, augment, generator)

    runs: dict[str, Callable[[], object]] = {"step": step}
    runs |= {"all of pictures": changing(HEAVIEST), "all of spectrograms": changing(HEARD)}
    runs |= {name: changing(how) for name, how in ALONE.items()}
    seen, real = {"frames": views["frames"]}, torch.zeros(batch, dtype=torch.int64)
    blending = Augment(pictures=Pictures(self_blend=1))
    runs["self-blending"] = lambda: with_blends(seen, real, MODALITIES, blending, generator)
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, run in runs.items():
            start = _now(device)
            run()
            took[name].append(_now(device) - start)
    medians = {name: statistics.median(times[1:]) for name, times in took.items()}
    print(f"{batch} pictures of {IMAGE_PX} px on {device}, {num_threads} threads")
    for name, seconds in medians.items():
        share = seconds / medians["step"]
        print(f"{name:22} {1000 * seconds / batch:8.3f} ms a picture {share:7.1%} of a step")


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()  # other processes' load does not count


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "cpu",
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
