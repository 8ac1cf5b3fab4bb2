"""All ways from several frames to one. To add one: write its class, name it in `AnyOverFrames`.

A bundle of a model that takes the mean has none of the others.
"""

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from workbench.parts.over_frames import MeanOfFrames, OverFrames
from workbench.parts.torchvision_fix import import_timm

MOST_FRAMES = 64
"""Of any view."""

INNER_WIDTH = 256
"""Of a transformer over frames."""


class AttentionOverFrames(OverFrames):
    """A mean of the frames' features with weights that are learned; it begins as the plain one.

    Source: Ilse et al. 2018, arXiv:1802.04712, equations 7 and 8.
    """

    kind: Literal["attention"] = "attention"
    hidden: int = Field(128, ge=8, le=1024)
    """Units of the layer that weighs a frame."""

    def build(self, width: int) -> nn.Module:
        """See `OverFrames.build`."""
        return _Attention(width, self.hidden)


class TransformerOverFrames(OverFrames):
    """The mean of the frames' features, each changed by its place and by the other frames.

    Blocks of 4 heads and 256 units (Vaswani et al. 2017, arXiv:1706.03762), the norms ahead (Xiong
    et al. 2020, arXiv:2002.04745). What they add begins at nothing, and so the whole as the mean.
    """

    kind: Literal["transformer"] = "transformer"
    blocks: int = Field(1, ge=1, le=4)
    """Blocks, one after the other."""

    def build(self, width: int) -> nn.Module:
        """See `OverFrames.build`."""
        return _Transformer(width, self.blocks)


class TopFrames(OverFrames):
    """The mean logits of the k frames that look most fake: one such frame is enough for a fake.

    Multiple-instance learning by top instances: Li and Vasconcelos 2015, "Multiple Instance
    Learning for Soft Bags via Top Instances". Of no more than k frames it is the mean.
    """

    of_logits: ClassVar[bool] = True
    kind: Literal["top-k"] = "top-k"
    k: int = Field(2, ge=1, le=MOST_FRAMES)
    """Frames that count."""

    def build(self, width: int) -> nn.Module:
        """See `OverFrames.build`."""
        return _Top(self.k)


class ConfidentFrames(OverFrames):
    """The mean probability of the sure frames, if enough of them say the same.

    In scoring: where at least 40% of the frames are surely fake, over 0.8, these alone count; else
    where over 90% are surely real, under 0.2, these; else all. So did the first place of the
    Deepfake Detection Challenge (Seferbekov 2020). In training all frames count.
    """

    SURE: ClassVar[float] = 0.8
    FAKE_SHARE: ClassVar[float] = 0.4
    REAL_SHARE: ClassVar[float] = 0.9

    of_logits: ClassVar[bool] = True
    kind: Literal["confident"] = "confident"

    def build(self, width: int) -> nn.Module:
        """See `OverFrames.build`."""
        return _Confident()


class _Attention(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inward = nn.Linear(width, hidden)
        self.weigh = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.weigh.weight)

    def forward(self, frames: Tensor) -> Tensor:
        shares = self.weigh(torch.tanh(self.inward(frames))).softmax(dim=1)
        return (shares * frames).sum(dim=1)


class _Transformer(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        block = import_timm().models.vision_transformer.Block
        self.inward = nn.Linear(width, INNER_WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(MOST_FRAMES, INNER_WIDTH))
        self.blocks = nn.Sequential(*(block(INNER_WIDTH, num_heads=4) for _ in range(blocks)))
        self.norm = nn.LayerNorm(INNER_WIDTH)
        self.outward = nn.Linear(INNER_WIDTH, width)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(self, frames: Tensor) -> Tensor:
        seen = self.blocks(self.inward(frames) + self.places[: frames.shape[1]])
        return (frames + self.outward(self.norm(seen))).mean(dim=1)


class _Top(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, logits: Tensor) -> Tensor:
        odds = logits[..., 1] - logits[..., 0]
        top = odds.topk(min(self.k, odds.shape[1]), dim=1).indices
        return logits.gather(1, top[..., None].expand(-1, -1, logits.shape[2])).mean(dim=1)


class _Confident(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        besides = logits[..., 2:].mean(dim=1)  # of a head of two labels, in training
        log_p = F.log_softmax(logits[..., :2].float(), dim=2)  # near 1 there are no numbers
        counted = torch.ones_like(log_p[..., 0], dtype=torch.bool)
        if not self.training:
            p, how = log_p[..., 1].exp(), ConfidentFrames
            fake, real = p > how.SURE, p < 1 - how.SURE
            is_fake = fake.float().mean(1, keepdim=True) >= how.FAKE_SHARE
            is_real = real.float().mean(1, keepdim=True) > how.REAL_SHARE
            counted = torch.where(is_fake, fake, torch.where(is_real, real, counted))
        masked = log_p.masked_fill(~counted[..., None], -torch.inf)
        joined = masked.logsumexp(dim=1) - counted.sum(dim=1, keepdim=True).log()
        return torch.cat([joined, besides], dim=1)


AnyOverFrames = Annotated[
    MeanOfFrames | AttentionOverFrames | TransformerOverFrames | TopFrames | ConfidentFrames,
    Field(discriminator="kind"),
]
