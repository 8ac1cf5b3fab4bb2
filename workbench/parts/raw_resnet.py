"""A small residual network of one-dimensional convolutions over the samples of a sound.

After RawNet2 (Jung et al. 2020, arXiv:2004.00526): residual blocks that keep a third of the time
each and scale their maps, here with mean and deviation over time at the end instead of a recurrent
layer. It takes a twentieth of the multiplications of AASIST-L. `import_timm` imports this module.
"""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_WIDTHS = (32, 32, 64, 64, 128, 128)


class ScaledResidual(nn.Module):
    """Two convolutions with a way around them; each map is then scaled and shifted by its mean.

    Source: arXiv:2004.00526, section 3.2, "feature map scaling": additive and multiplicative.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(before),
            nn.LeakyReLU(0.3),
            nn.Conv1d(before, after, 3, padding=1),
            nn.BatchNorm1d(after),
            nn.LeakyReLU(0.3),
            nn.Conv1d(after, after, 3, padding=1),
        )
        self.around = nn.Conv1d(before, after, 1) if before != after else nn.Identity()
        self.scale = nn.Linear(after, after)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, after, time // 3) of (batch, before, time)."""
        x = F.max_pool1d(self.layers(x) + self.around(x), 3)
        scale = torch.sigmoid(self.scale(x.mean(dim=2)))[..., None]
        return x * scale + scale


class RawResNet(nn.Module):
    """The whole network, with timm's way to use a model."""

    def __init__(self, num_classes: int = 0, in_chans: int = 1) -> None:
        super().__init__()
        self.num_features = 2 * _WIDTHS[-1]
        self.stem = nn.Conv1d(1, _WIDTHS[0], 9, stride=3, padding=4)
        pairs = zip((_WIDTHS[0], *_WIDTHS), _WIDTHS, strict=False)
        self.blocks = nn.Sequential(*(ScaledResidual(*pair) for pair in pairs))
        self.norm = nn.BatchNorm1d(_WIDTHS[-1])
        self.reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how timm tells the layers apart, from the samples up."""
        return {"stem": r"^stem", "blocks": [(r"^blocks\.(\d+)", None), (r"^", (99,))]}

    def reset_classifier(self, num_classes: int) -> None:
        """Put in a new last layer for `num_classes`; none for 0."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, samples: Tensor) -> Tensor:
        """Return (batch, 256) features of (batch, samples) in [-1, 1]."""
        x = F.leaky_relu(self.norm(self.blocks(self.stem(samples[:, None]))), 0.3)
        spread = (x.var(dim=2, correction=0) + 1e-5).sqrt()
        return self.head(torch.cat([x.mean(dim=2), spread], dim=1))


default_cfgs = generate_default_cfgs(
    {"raw_resnet": {"url": "", "num_classes": 0, "input_size": (1, 1, 64_600), "classifier": ""}}
)


def raw_resnet(pretrained: bool = False, **settings: Any) -> RawResNet:
    """Return the network; timm calls this by its name, with the settings that a model of it has."""
    return build_model_with_cfg(RawResNet, "raw_resnet", pretrained, **settings)


register_model(raw_resnet)
