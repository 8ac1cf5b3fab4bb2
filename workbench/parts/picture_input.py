"""What a backbone sees of pictures: their colours, or what a fixed transform makes of them.

It is computed in the model, on its device, of the very pictures that the backbone would see: after
augmentation and resizing, for each picture that test-time augmentation shows. So it costs no
storage, and whatever damages a picture damages its residuals. The price: what a residual shows of a
camera's noise is gone where pictures were shrunk, and blurred where they were enlarged. Edges of
blends and traces of upsampling are left. Native pixels would need crops of them in the store.

There is nothing to learn in it: it adds no parameter, and thop counts none of its multiplications.
A bundle of a model that sees colours has none of it; see `submission.bundle_code`.
"""

from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PictureInput = Literal["rgb", "rgb+srm", "fft-magnitude"]
"""What is seen of frames, faces and images, each channel in [0, 1]."""

CHANNELS = {"rgb+srm": 6, "fft-magnitude": 1}
"""Of what is not plain colours."""

_FLOOR = 1e-3
"""Magnitudes below it are as good as none: noise of half a grey level has about as much."""


def transform(picture_input: PictureInput) -> nn.Module:
    """Return what makes (pictures, channels, height, width) of RGB pictures in [0, 1]."""
    return {"rgb": nn.Identity, "rgb+srm": Residuals, "fft-magnitude": Magnitude}[picture_input]()


class Residuals(nn.Module):
    """Red, green and blue, and behind them three high-pass residuals of their mean.

    A residual is taken in grey levels, cut at 2 of them on either side, and put about a half.
    Sources: the filters and the cut are of Fridrich and Kodovsky 2012, "Rich Models for
    Steganalysis of Digital Images"; these three of them are those of Zhou et al. 2018,
    arXiv:1805.04953, section 3.2.
    """

    kernels: Tensor
    divisors: Tensor

    def __init__(self) -> None:
        super().__init__()
        second = torch.tensor([[1.0, -2.0, 1.0]])
        corner = torch.tensor([[-1.0, 2.0, -2.0, 2.0, -1.0], [2.0, -6.0, 8.0, -6.0, 2.0]])
        middle = torch.tensor([[-2.0, 8.0, -12.0, 8.0, -2.0]])
        kernels = [
            F.pad(-second.T @ second, (1, 1, 1, 1)),
            torch.cat([corner, middle, corner.flip(0)]),
            F.pad(second, (1, 1, 2, 2)),
        ]
        # Whole numbers, which TF32 does not round either: of a plain picture nothing is left.
        self.register_buffer("kernels", torch.stack(kernels)[:, None], persistent=False)
        divisors = torch.tensor([4.0, 12.0, 2.0])[:, None, None]
        self.register_buffer("divisors", divisors, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return (pictures, 6, height, width) of (pictures, 3, height, width)."""
        levels = F.pad(255 * pictures.mean(dim=1, keepdim=True), (2, 2, 2, 2), mode="replicate")
        device = pictures.device.type
        can = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        # Not in bfloat16: sums of products of levels need more than its eight bits.
        with torch.autocast(device, enabled=False) if can else nullcontext():
            found = F.conv2d(levels.float(), self.kernels) / self.divisors
        return torch.cat([pictures, 0.5 + found.clamp(-2, 2) / 4], dim=1)


class Magnitude(nn.Module):
    """The logarithm of the magnitudes of the brightness' Fourier transform, frequency 0 mid-way.

    Of the orthonormal transform, 0.001 and less becomes 0, 1 becomes a half and 1000 one, alike for
    every picture. What a generator enlarges leaves peaks there: Zhang et al. 2019,
    arXiv:1907.06515.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        """Return (pictures, 1, height, width) of (pictures, 3, height, width)."""
        red, green, blue = pictures.float().unbind(dim=1)
        brightness = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
        spectrum = torch.fft.fft2(brightness, norm="ortho")
        magnitudes = torch.fft.fftshift(spectrum, dim=(1, 2)).abs()
        return (0.5 + magnitudes.clamp(min=_FLOOR).log10() / 6)[:, None]
