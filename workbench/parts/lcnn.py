"""LCNN: a small network whose layers keep the larger of two maps, for pictures of sound.

Lavrentyeva et al. 2019, "STC antispoofing systems for the ASVspoof2019 challenge",
arXiv:1904.05576, table 2, after Wu et al. 2018, arXiv:1511.02683. Written after the papers; trained
from random numbers. `import_timm` imports this module (see `own_models`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_BANDS = 8


class LargerOfTwo(nn.Module):
    """Max-feature-map: of channel i and channel i + half of them, the larger."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels / 2, ...) of (batch, channels, ...)."""
        return torch.maximum(*x.chunk(2, dim=1))


def conv(before: int, after: int, size: int) -> list[nn.Module]:
    """Return a convolution whose `after` maps are each the larger of two."""
    return [nn.Conv2d(before, 2 * after, size, padding=size // 2), LargerOfTwo()]


class LCNN(nn.Module):
    """The whole network, with timm's way to use a model.

    Pictures may have any size from 16 px on: before the hidden layer, bands are averaged to eight,
    and time to one.
    """

    def __init__(self, num_classes: int = 0, in_chans: int = 1, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_features = 80
        self.layers = nn.Sequential(
            *conv(in_chans, 32, 5),
            nn.MaxPool2d(2),
            *conv(32, 32, 1),
            nn.BatchNorm2d(32),
            *conv(32, 48, 3),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(48),
            *conv(48, 48, 1),
            nn.BatchNorm2d(48),
            *conv(48, 64, 3),
            nn.MaxPool2d(2),
            *conv(64, 64, 1),
            nn.BatchNorm2d(64),
            *conv(64, 32, 3),
            nn.BatchNorm2d(32),
            *conv(32, 32, 1),
            nn.BatchNorm2d(32),
            *conv(32, 32, 3),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(
            nn.Dropout(drop_rate), nn.Linear(32 * _BANDS, 160), LargerOfTwo(), nn.BatchNorm1d(80)
        )
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Put in a new last layer for `num_classes`; none for 0."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, 80) features of (batch, in_chans, bands, time)."""
        maps = F.adaptive_avg_pool2d(self.layers(x), (_BANDS, 1))
        return self.head(self.hidden(maps.flatten(1)))


default_cfgs = generate_default_cfgs(
    {
        "lcnn": {
            "url": "",
            "num_classes": 0,
            "input_size": (1, 256, 256),
            "mean": (0.5,),
            "std": (0.25,),
            "classifier": "head",
        }
    }
)


def lcnn(pretrained: bool = False, **settings: Any) -> LCNN:
    """Return the network; timm calls this by its name, with the settings that a model of it has."""
    return build_model_with_cfg(LCNN, "lcnn", pretrained, **settings)


register_model(lcnn)
