"""AASIST and AASIST-L: graph attention over filters and time of a raw waveform.

Jung et al. 2022, "AASIST: audio anti-spoofing using integrated spectro-temporal graph attention
networks", arXiv:2110.01200. Written after the paper; trained from random numbers. `import_timm`
imports this module (see `own_models`), so the models are registered wherever timm is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_FILTERS, _TAPS, _RATE_HZ = 70, 129, 16_000


def sinc_bank() -> Tensor:
    """Return (filters, 1, taps) band-pass filters under a Hamming window, edges even in mel.

    They stay as they are (section 3.1): what is learned begins behind them.
    """
    top_mel = 2595 * np.log10(1 + _RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, _FILTERS + 1) / 2595) - 1)
    share = 2 * edges_hz[:, None] / _RATE_HZ
    taps = np.arange(_TAPS) - _TAPS // 2
    low_pass = share * np.sinc(share * taps)
    bands = np.diff(low_pass, axis=0) * np.hamming(_TAPS)
    return torch.tensor(bands, dtype=torch.float32)[:, None]


class Residual(nn.Module):
    """Two convolutions and a way around them; a third of the time is left."""

    def __init__(self, before: int, after: int, *, is_first: bool = False) -> None:
        super().__init__()
        enter = [] if is_first else [nn.BatchNorm2d(before), nn.SELU()]
        self.layers = nn.Sequential(
            *enter,
            nn.Conv2d(before, after, (2, 3), padding=(1, 1)),
            nn.BatchNorm2d(after),
            nn.SELU(),
            nn.Conv2d(after, after, (2, 3), padding=(0, 1)),
        )
        self.around: nn.Module = nn.Identity()
        if before != after:
            self.around = nn.Conv2d(before, after, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, after, filters, time // 3) of (batch, before, filters, time)."""
        return F.max_pool2d(self.layers(x) + self.around(x), (1, 3))


class Nodes(nn.Module):
    """The last step of both attentions: a norm over all nodes, and SELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, nodes: Tensor) -> Tensor:
        """Return (batch, nodes, width) as they came."""
        return F.selu(self.norm(nodes.transpose(1, 2)).transpose(1, 2))


class GraphAttention(nn.Module):
    """Attention among the nodes of one graph (section 2.2)."""

    def __init__(self, before: int, after: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(0.2)
        self.pairs = nn.Linear(before, after)
        self.score = nn.Linear(after, 1, bias=False)
        self.attended = nn.Linear(before, after)
        self.own = nn.Linear(before, after)
        self.end = Nodes(after)

    def forward(self, nodes: Tensor) -> Tensor:
        """Return (batch, nodes, after) of (batch, nodes, before)."""
        nodes = self.dropout(nodes)
        pairs = torch.tanh(self.pairs(nodes[:, :, None] * nodes[:, None]))
        weights = (self.score(pairs)[..., 0] / self.temperature).softmax(dim=-1)
        return self.end(self.attended(weights @ nodes) + self.own(nodes))


class MixedAttention(nn.Module):
    """Attention among the nodes of two graphs, and of a stack node over all of them (section 3.2).

    How alike two nodes are is judged by one weight vector within the first graph, another within
    the second, and a third across.
    """

    def __init__(self, before: int, after: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(0.2)
        self.first, self.second = nn.Linear(before, before), nn.Linear(before, before)
        self.pairs, self.stack_pairs = nn.Linear(before, after), nn.Linear(before, after)
        self.score = nn.Linear(after, 3, bias=False)
        self.stack_score = nn.Linear(after, 1, bias=False)
        self.attended, self.own = nn.Linear(before, after), nn.Linear(before, after)
        self.stack_attended, self.stack_own = nn.Linear(before, after), nn.Linear(before, after)
        self.end = Nodes(after)

    def forward(self, first: Tensor, second: Tensor, stack: Tensor) -> tuple[Tensor, ...]:
        """Return both graphs, (batch, nodes, after), and the stack node, (batch, 1, after)."""
        sizes = [first.shape[1], second.shape[1]]
        nodes = self.dropout(torch.cat([self.first(first), self.second(second)], dim=1))
        graph = torch.cat([torch.full((n,), i, device=nodes.device) for i, n in enumerate(sizes)])
        pairs = torch.tanh(self.pairs(nodes[:, :, None] * nodes[:, None]))
        within_first, across, within_second = self.score(pairs).unbind(dim=-1)
        meeting = graph[:, None] + graph
        score = torch.where(
            meeting == 1, across, torch.where(meeting == 0, within_first, within_second)
        )
        weights = (score / self.temperature).softmax(dim=-1)
        heard = self.stack_score(torch.tanh(self.stack_pairs(nodes * stack))) / self.temperature
        gathered = heard.softmax(dim=1).transpose(1, 2) @ nodes
        stack = self.stack_attended(gathered) + self.stack_own(stack)
        new = self.end(self.attended(weights @ nodes) + self.own(nodes))
        return (*new.split(sizes, dim=1), stack)


class GraphPool(nn.Module):
    """The share of the nodes that score highest, each times its score (section 2.3)."""

    def __init__(self, width: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.dropout = nn.Dropout(0.3)
        self.score = nn.Linear(width, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        """Return (batch, kept, width) of (batch, nodes, width)."""
        score = torch.sigmoid(self.score(self.dropout(nodes)))
        kept = score.topk(max(1, int(nodes.shape[1] * self.share)), dim=1).indices
        return (nodes * score).gather(1, kept.expand(-1, -1, nodes.shape[2]))


class Branch(nn.Module):
    """One of the two branches whose maximum is taken: two attentions, a pooling between them."""

    def __init__(
        self, before: int, after: int, temperature: float, shares: Sequence[float]
    ) -> None:
        super().__init__()
        self.stack = nn.Parameter(torch.randn(1, 1, before))
        self.enter = MixedAttention(before, after, temperature)
        self.pool_time, self.pool_filters = (GraphPool(after, share) for share in shares)
        self.again = MixedAttention(after, after, temperature)
        self.dropout = nn.Dropout(0.2)

    def forward(self, time: Tensor, filters: Tensor) -> list[Tensor]:
        """Return the nodes of time and of filters, and the stack node."""
        time, filters, stack = self.enter(time, filters, self.stack)
        before = self.pool_time(time), self.pool_filters(filters), stack
        after = self.again(*before)
        return [self.dropout(old + new) for old, new in zip(before, after, strict=True)]


class AASIST(nn.Module):
    """The whole network, with timm's way to use a model.

    Args:
        widths: Channels of the six residual blocks.
        graph: Width of the nodes of the first attentions and of the mixed ones.
        shares: Of the nodes that poolings keep: filters, time, then both after the first mixing.
        num_classes: Outputs; none for 0, as with all backbones.
        in_chans: Always 1.
    """

    bank: Tensor

    def __init__(
        self,
        widths: Sequence[int],
        graph: tuple[int, int],
        shares: tuple[float, float, float],
        num_classes: int = 0,
        in_chans: int = 1,
    ) -> None:
        super().__init__()
        self.num_features = 5 * graph[1]
        self.register_buffer("bank", sinc_bank(), persistent=False)
        self.enter = nn.Sequential(nn.BatchNorm2d(1), nn.SELU())
        pairs = zip([1, *widths], widths, strict=False)
        self.encoder = nn.Sequential(*(Residual(*pair, is_first=pair[0] == 1) for pair in pairs))
        self.place = nn.Parameter(torch.randn(1, _FILTERS // 3, widths[-1]))
        self.filters, self.time = (GraphAttention(widths[-1], graph[0], 2.0) for _ in range(2))
        self.pool_filters = GraphPool(graph[0], shares[0])
        self.pool_time = GraphPool(graph[0], shares[1])
        self.branches = nn.ModuleList(Branch(*graph, 100.0, [shares[2]] * 2) for _ in range(2))
        self.dropout = nn.Dropout(0.5)
        self.reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how timm tells the layers apart, from the samples up."""
        return {"stem": r"^enter", "blocks": [(r"^encoder\.(\d+)", None), (r"^", (99,))]}

    def reset_classifier(self, num_classes: int) -> None:
        """Put in a new last layer for `num_classes`; none for 0."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, samples: Tensor) -> Tensor:
        """Return (batch, 5 * graph[1]) features of (batch, samples) in [-1, 1]."""
        heard = F.conv1d(samples[:, None], self.bank).abs()
        maps = self.encoder(self.enter(F.max_pool2d(heard[:, None], 3))).abs()
        filters = self.pool_filters(self.filters(maps.amax(dim=3).transpose(1, 2) + self.place))
        time = self.pool_time(self.time(maps.amax(dim=2).transpose(1, 2)))
        one, other = (branch(time, filters) for branch in self.branches)
        time, filters, stack = (torch.maximum(*pair) for pair in zip(one, other, strict=True))
        read = [f(x) for x in (time, filters) for f in (_largest, _mean)]
        return self.head(self.dropout(torch.cat([*read, stack[:, 0]], dim=1)))


def _largest(nodes: Tensor) -> Tensor:
    return nodes.abs().amax(dim=1)


def _mean(nodes: Tensor) -> Tensor:
    return nodes.mean(dim=1)


_WAVEFORM = {"url": "", "num_classes": 0, "input_size": (1, 1, 64_600), "classifier": "head"}
default_cfgs = generate_default_cfgs({"aasist": _WAVEFORM, "aasist_l": _WAVEFORM})


def aasist(pretrained: bool = False, **settings: Any) -> AASIST:
    """Return AASIST: 297,866 parameters with two outputs."""
    sizes = {"widths": (32, 32, 64, 64, 64, 64), "graph": (64, 32), "shares": (0.5, 0.7, 0.5)}
    return build_model_with_cfg(AASIST, "aasist", pretrained, **sizes, **settings)


def aasist_l(pretrained: bool = False, **settings: Any) -> AASIST:
    """Return AASIST-L, the light one: 85,306 parameters with two outputs."""
    sizes = {"widths": (32, 32, 24, 24, 24, 24), "graph": (24, 32), "shares": (0.4, 0.5, 0.7)}
    return build_model_with_cfg(AASIST, "aasist_l", pretrained, **sizes, **settings)


register_model(aasist)
register_model(aasist_l)
