"""Files of parts as a user writes them."""

LOSS = """\
from typing import Literal
import torch
from workbench.parts.losses import Loss

class Brier(Loss):
    kind: Literal["brier"] = "brier"
    power: float = 2.0

    def _of_odds(self, odds, targets, fake_share):
        return ((torch.sigmoid(odds) - targets).abs() ** self.power).mean()
"""

BACKBONE = """\
from timm.models import register_model
from torch import nn

class Tiny(nn.Module):
    def __init__(self, in_chans):
        super().__init__()
        self.conv = nn.Conv2d(in_chans, WIDTH, 3, stride=4)
        self.head = nn.Linear(WIDTH, 1000)

    def reset_classifier(self, num_classes):
        self.head = nn.Linear(WIDTH, num_classes) if num_classes else nn.Identity()

    def forward(self, pictures):
        return self.head(self.conv(pictures).relu().mean((2, 3)))

@register_model
def my_tiny(pretrained=False, in_chans=3, **others):
    return Tiny(in_chans)
""".replace("WIDTH", "4")
