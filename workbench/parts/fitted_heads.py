"""Heads that are fitted on the features of frozen backbones, see `parts.methods`.

Here is what they compute once they are fitted.
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from workbench.parts.heads import Head


class LogisticHead(Head):
    """A logistic regression of standardised features."""

    label: ClassVar[str] = "logistic regression"
    kind: Literal["logistic"] = "logistic"

    def build(self, width: int) -> nn.Module:
        """Return the module, which says 0.5 of everything before it is fitted."""
        return StandardisedLinear(width)


class TreesHead(Head):
    """A sum of decision trees, as gradient boosting makes them."""

    label: ClassVar[str] = "boosted trees"
    kind: Literal["trees"] = "trees"
    num_trees: int = Field(100, ge=1, le=2000)
    depth: int = Field(3, ge=1, le=8)
    """Splits on the way from a root to a leaf, at most."""

    def build(self, width: int) -> nn.Module:
        """Return the module, which says 0.5 of everything before it is fitted."""
        return BoostedTrees(self.num_trees, self.depth)


class NoisyOrHead(Head):
    """Two logistic regressions, of the sound's features and of the picture's, joined by "or"."""

    label: ClassVar[str] = "noisy-or"
    kind: Literal["noisy-or"] = "noisy-or"

    def build(self, width: int) -> nn.Module:
        """Return the module, which says 0.5 of everything before it is fitted."""
        return NoisyOr(width)


class StandardisedLinear(nn.Module):
    """One number of standardised features: the log-odds of a fake, in float64."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(width, dtype=torch.float64))
        self.linear = nn.Linear(width, outputs, dtype=torch.float64)
        self.requires_grad_(False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, 2) logits of (batch, width) features, that of a real one always 0."""
        return _with_zero(self.linear((features.double() - self.mean) / self.scale)[:, 0])


class NoisyOr(StandardisedLinear):
    """Is the sound fake (a), is the picture (b), and so is the file: 1 - (1 - a) (1 - b).

    Each is a logistic regression of standardised features whose weights are 0 where a feature is
    the other's. Source: Pearl 1988, "Probabilistic Reasoning in Intelligent Systems", 4.3.2.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, outputs=2)
        nn.init.constant_(self.linear.bias, math.log(math.sqrt(2) - 1))  # either is 1 - sqrt(1/2)

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, 2) logits of (batch, width) features, that of a real one always 0."""
        return noisy_or(self.linear((features.double() - self.mean) / self.scale))


class BoostedTrees(nn.Module):
    """A constant and the sum of a leaf of each tree: the log-odds of a fake, in float64.

    Every tree is complete: node n has the children 2 n + 1, where its feature is at most its
    threshold, and 2 n + 2. Where a tree ends earlier, its leaf stands below all nodes from there
    on, whose threshold is infinite.
    """

    def __init__(self, num_trees: int, depth: int) -> None:
        super().__init__()
        self._depth, nodes = depth, 2**depth - 1
        self.features = _constant(torch.zeros(num_trees, nodes, dtype=torch.int64))
        self.thresholds = _constant(torch.full((num_trees, nodes), torch.inf))
        self.leaves = _constant(torch.zeros(num_trees, 2**depth, dtype=torch.float64))
        self.constant = _constant(torch.zeros((), dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, 2) logits of (batch, width) features, that of a real one always 0."""
        trees = torch.arange(len(self.leaves), device=features.device)
        node = torch.zeros(features.shape[0], len(trees), dtype=torch.int64, device=features.device)
        for _ in range(self._depth):
            seen = features.gather(1, self.features[trees, node])
            node = 2 * node + 1 + (seen > self.thresholds[trees, node]).long()
        leaf = node - self.features.shape[1]
        return _with_zero(self.leaves[trees, leaf].sum(dim=1) + self.constant)


def noisy_or(odds: Tensor) -> Tensor:
    """Return (..., 2) logits that one of two is fake, of (..., 2) log-odds that each is."""
    # -log of the probability that neither is fake.
    neither = F.softplus(odds).sum(dim=-1).clamp(min=1e-30)
    return _with_zero(neither + torch.log(-torch.expm1(-neither)))


def _constant(values: Tensor) -> nn.Parameter:
    """Return what was learnt without gradients: a parameter, so that the rules count it."""
    return nn.Parameter(values, requires_grad=False)


def _with_zero(log_odds: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(log_odds), log_odds], dim=-1)
