"""What happens to pictures on their way: blur, noise, scaling, JPEG compression, covered parts.

Each changes the samples that a chance picks, all frames of a sample alike, and returns
(batch, frames, channels, height, width) in [0, 1] as it was given.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from workbench.opencv import cv2
from workbench.parts.augment_draws import between, chance, replace

BEST_QUALITY = 95
"""The best JPEG quality that is drawn: above it libjpeg spends bytes on nothing one can see."""

LEAST_ERASED = 0.02
"""Least share of the area that is erased, as in arXiv:1708.04896, where it is s_l."""


def blur(x: Tensor, generator: Generator, *, p: float, sigma_px: float) -> Tensor:
    """Blur by a Gaussian of a sigma drawn evenly from [0, sigma_px]; borders are reflected."""
    sigma = between(0, sigma_px, len(x), generator)

    def new(part: Tensor, sigma: Tensor) -> Tensor:
        return blurred(part, sigma, largest_px=sigma_px).clamp_(0, 1)

    return replace(x, chance(p, len(x), generator), new, sigma)


def blurred(x: Tensor, sigma: Tensor, *, largest_px: float) -> Tensor:
    """Return `x`, each sample blurred by its `sigma`, (batch,) in pixels, none over `largest_px`.

    Nothing comes from farther than three times the largest.
    """
    radius = min(math.ceil(3 * largest_px), min(x.shape[-2:]) - 1)
    place = torch.arange(-radius, radius + 1)
    weight = torch.exp(-0.5 * (place / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weight = (weight / weight.sum(1, keepdim=True)).to(x, non_blocking=True)
    clips = []
    # One kernel a convolution: as groups of one, different kernels cost a CPU twice the time.
    for clip, kernel in zip(x, weight, strict=True):
        planes = F.pad(clip.flatten(0, 1)[:, None], (radius,) * 4, mode="reflect")
        planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
        clips.append(planes.view(clip.shape))
    return torch.stack(clips)


def add_noise(x: Tensor, generator: Generator, *, p: float, levels: float) -> Tensor:
    """Add Gaussian noise of a deviation drawn evenly from [0, levels] grey levels of 255."""
    deviation = between(0, levels / 255, len(x), generator)
    size = math.prod(x.shape[2:])
    start = torch.randint(size, (len(x),), generator=generator)
    chosen = chance(p, len(x), generator)
    # One sheet of noise a batch, and each sample's begins elsewhere on it: the CPU, which draws for
    # every device, would need longer for as many sheets than a GPU for its training step.
    sheet = torch.randn(size, generator=generator).to(x, non_blocking=True).repeat(2)

    def new(part: Tensor, deviation: Tensor, start: Tensor) -> Tensor:
        noise = torch.stack([sheet[first : first + size] for first in start.tolist()])
        noise = noise * deviation.to(part, non_blocking=True)[:, None]
        return (part + noise.view(-1, 1, *part.shape[2:])).clamp_(0, 1)

    return replace(x, chosen, new, deviation, start)


def rescale(x: Tensor, generator: Generator, *, p: float, least: float) -> Tensor:
    """Make smaller, to a share of the side drawn evenly from [least, 1], and large again."""
    share = between(least, 1, len(x), generator)
    return replace(x, chance(p, len(x), generator), rescaled, share)


def rescaled(x: Tensor, share: Tensor) -> Tensor:
    """Return `x`, each sample made smaller, to its `share` of the side, and large again."""
    size = x.shape[-2:]
    clips = []
    for clip, by in zip(x, share.tolist(), strict=True):
        small = [max(1, round(side * by)) for side in size]
        down = F.interpolate(clip, small, mode="bilinear", antialias=True)
        clips.append(F.interpolate(down, size, mode="bilinear"))
    return torch.stack(clips).clamp_(0, 1)  # weights add up to 1 but for the last digit


def compress(x: Tensor, generator: Generator, *, p: float, worst: int) -> Tensor:
    """Store as JPEG of a quality drawn evenly from [worst, 95], and read again."""
    quality = torch.randint(worst, BEST_QUALITY + 1, (len(x),), generator=generator)
    return replace(x, chance(p, len(x), generator), _through_jpeg, quality)


def erase(x: Tensor, generator: Generator, *, p: float, share: float) -> Tensor:
    """Cover a box, of a share of the area from [2%, share], with one colour drawn for it.

    Source:
        Zhong et al. 2020, arXiv:1708.04896: sides of a ratio in [0.3, 1/0.3]. Ours is drawn evenly
        by its logarithm, and a side too long is cut at the picture's.
    """
    count, (height, width) = len(x), x.shape[-2:]
    area = between(min(LEAST_ERASED, share), share, count, generator) * height * width
    ratio = between(math.log(0.3), -math.log(0.3), count, generator).exp()
    tall = (area * ratio).sqrt().round().clamp(max=height)
    wide = (area / ratio).sqrt().round().clamp(max=width)
    # Whole pixels, and each place that it fits alike.
    top = (torch.rand(count, generator=generator) * (height - tall + 1)).floor()
    left = (torch.rand(count, generator=generator) * (width - wide + 1)).floor()
    colour = torch.rand(count, x.shape[2], generator=generator)
    tall = torch.where(chance(p, count, generator), tall, 0)
    rows = inside(height, top, tall, x.device)[:, None, None, :, None]
    columns = inside(width, left, wide, x.device)[:, None, None, None, :]
    return torch.where(rows & columns, colour.to(x, non_blocking=True)[:, None, :, None, None], x)


def inside(size: int, first: Tensor, count: Tensor, device: torch.device) -> Tensor:
    """Return (batch, size) bool: which places lie among the `count` from `first`."""
    place = torch.arange(size, device=device)
    first, count = (
        first.to(device, non_blocking=True)[:, None],
        count.to(device, non_blocking=True)[:, None],
    )
    return (place >= first) & (place < first + count)


def _through_jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """Return `x` after JPEG, frame by frame. OpenCV has blue first and channels last."""
    batch, frames = x.shape[:2]
    levels = (x.flatten(0, 1).flip(1) * 255).round_().to(torch.uint8)
    pictures = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    wanted = quality.repeat_interleave(frames).tolist()
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        coded = [_coded(*pair) for pair in zip(pictures, wanted, strict=True)]
    else:
        with ThreadPoolExecutor(num_threads) as pool:  # the codec lets go of Python's lock
            coded = list(pool.map(_coded, pictures, wanted))
    back = (
        torch.from_numpy(np.stack(coded))
        .to(x.device, non_blocking=True)
        .permute(0, 3, 1, 2)
        .flip(1)
    )
    return back.to(x.dtype).div_(255).unflatten(0, (batch, frames))


def _coded(picture: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
