"""Losses a trial may choose. To add one: write its class, then name it in `AnyLoss`.

All look at one number a sample, the log-odds of a fake: `logits[:, 1] - logits[:, 0]`, whose
sigmoid is the trial's score. A target is the probability of a fake, so that labels may be mixed.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from workbench.errors import ConfigError
from workbench.parts.plugins import Kinds
from workbench.values import Part


class Loss(Part, ABC):
    """A loss of (batch, 2) logits, real before fake, against the probabilities of a fake."""

    over_batch: ClassVar[bool] = False
    """Whether samples meet in it; if not, it is the mean of what each sample costs alone."""

    def __call__(self, logits: Tensor, targets: Tensor, *, fake_share: float = 0.5) -> Tensor:
        """Return the batch's loss, a scalar.

        Args:
            logits: (batch, 2) float, unnormalised.
            targets: (batch,) float in [0, 1], the probability of a fake.
            fake_share: Share of fakes in the training split, for losses that balance classes.

        Raises:
            ValueError: `targets` is not one probability per row of `logits`.
            ConfigError: classes shall be balanced and one of them has no sample.
        """
        if targets.dim() != 1 or logits.shape != (len(targets), 2):
            raise ValueError(
                f"A loss needs two logits and one target a row: logits {tuple(logits.shape)}, "
                f"targets {tuple(targets.shape)}. Pass probabilities of a fake, not one-hot rows."
            )
        if not targets.is_floating_point():
            raise ValueError(
                f"The targets are {targets.dtype}. Pass probabilities of a fake, as floats."
            )
        return self._of_odds(logits[:, 1] - logits[:, 0], targets, fake_share)

    @abstractmethod
    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        """Return the loss of (batch,) log-odds of a fake, a scalar."""


class CrossEntropy(Loss):
    """Mean cross-entropy in nats, with label smoothing and class weights.

    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7 (smoothing).
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread evenly over both classes."""

    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs a class by the inverse of its share of the training split, 1 on average.
    Unlike torch's mean over class indices, the sum is divided by the batch's size and not by its
    weights, so that the loss stays linear in the labels."""

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        of_real, of_fake = 1.0, 1.0
        if self.class_weights == "balanced":
            if not 0 < fake_share < 1:
                raise ConfigError(
                    f"`class_weights: balanced` cannot weigh a class without samples: "
                    f"{fake_share:.0%} of the training split is fake. Use `none`, or add samples "
                    "of the other class."
                )
            of_real, of_fake = 0.5 / (1 - fake_share), 0.5 / fake_share
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        fakes = of_fake * smooth * F.logsigmoid(odds)
        reals = of_real * (1 - smooth) * F.logsigmoid(-odds)
        return -(fakes + reals).mean()


class ClassMeans(Loss):
    """Cross-entropy in nats, averaged over a batch's fakes and over its reals, then over both.

    So both classes weigh the same in every batch, however many of each it has; a batch of one class
    costs that class's mean. A mixed sample belongs to each class by its label, and a class with
    less than one sample in all weighs as that part of one.
    """

    over_batch: ClassVar[bool] = True
    kind: Literal["class_means"] = "class_means"

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        classes = torch.stack([targets, 1 - targets])
        costs = -F.logsigmoid(torch.stack([odds, -odds]))
        samples = classes.sum(dim=1)
        means = (classes * costs).sum(dim=1) / samples.clamp(min=1)
        return means.sum() / samples.clamp(max=1).sum()


class BCE(Loss):
    """Mean binary cross-entropy in nats of the log-odds, with a weight for fakes.

    With a `pos_weight` of 1 it is `cross_entropy` itself: the softmax of two logits is the sigmoid
    of their difference.
    """

    kind: Literal["bce"] = "bce"
    pos_weight: float = Field(1.0, ge=0.01, le=100)
    """How much a fake counts beside a real, as in `torch.nn.BCEWithLogitsLoss`."""

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        fakes = self.pos_weight * targets * F.logsigmoid(odds)
        return -(fakes + (1 - targets) * F.logsigmoid(-odds)).mean()


class Focal(Loss):
    """Mean focal loss in nats: cross-entropy that fades on samples already right.

    Source: Lin et al. 2017, arXiv:1708.02002, equations 4 (without alpha) and 5 (with alpha).
    """

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, le=5)
    """How fast easy samples fade; 0 is plain cross-entropy."""

    alpha: float | None = Field(None, ge=0, le=1)
    """Weight of fakes; reals weigh 1 - alpha. None: both weigh 1."""

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        of_fake, of_real = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        fakes = of_fake * targets * _fading(F.logsigmoid(odds), self.gamma)
        reals = of_real * (1 - targets) * _fading(F.logsigmoid(-odds), self.gamma)
        return (fakes + reals).mean()


class Asymmetric(Loss):
    """Asymmetric loss (ASL): focal with a gamma for each class; surely real reals cost nothing.

    The defaults are those of the authors' code. They lean towards fakes: made for many negatives.

    Source: Ben-Baruch et al. 2020, arXiv:2009.14119, section 2.
    """

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_pos: float = Field(1.0, ge=0, le=5)
    """How fast easy fakes fade."""

    gamma_neg: float = Field(4.0, ge=0, le=10)
    """How fast easy reals fade."""

    clip: float = Field(0.05, ge=0, lt=0.5)
    """A real whose probability of a fake is at most this costs nothing."""

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        log_real = F.logsigmoid(-odds)
        if self.clip > 0:
            shifted = torch.logaddexp(log_real, torch.full_like(odds, math.log(self.clip)))
            log_real = shifted.clamp(max=0)
        fakes = targets * _fading(F.logsigmoid(odds), self.gamma_pos)
        return (fakes + (1 - targets) * _fading(log_real, self.gamma_neg)).mean()


class Dice(Loss):
    """Soft Dice over the batch: 1 less the mean of both classes' overlap.

    With squares in the denominator it is least where each probability is its label, also a soft
    one; without them it would push every probability to 0 or 1.

    Source: Milletari et al. 2016 (V-Net), arXiv:1606.04797, section 3.
    """

    over_batch: ClassVar[bool] = True
    kind: Literal["dice"] = "dice"
    smooth: float = Field(1.0, ge=0.01, le=100)
    """Added to numerator and denominator: a class that the batch lacks still has a gradient."""

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        fakes = self._overlap(torch.sigmoid(odds), targets)
        reals = self._overlap(torch.sigmoid(-odds), 1 - targets)
        return 1 - (fakes + reals) / 2

    def _overlap(self, p: Tensor, t: Tensor) -> Tensor:
        return (2 * (p * t).sum() + self.smooth) / ((p**2).sum() + (t**2).sum() + self.smooth)


class PairwiseAUC(Loss):
    """Squared hinge over the batch's pairs of a fake and a real: a surrogate of 1 - AUC.

    A pair weighs the probability that its first is fake and its second real. The order alone is
    learnt: the scores rank, but are no probabilities. A batch of one class has no pair and costs 0.

    Source: Gao and Zhou 2015, arXiv:1208.0645 (the 2-norm hinge, consistent with AUC).
    """

    over_batch: ClassVar[bool] = True
    kind: Literal["pairwise_auc"] = "pairwise_auc"
    margin: float = Field(1.0, gt=0, le=10)
    """Log-odds by which a fake shall stand above a real."""

    def _of_odds(self, odds: Tensor, targets: Tensor, fake_share: float) -> Tensor:
        weights = targets[:, None] * (1 - targets)
        weights.fill_diagonal_(0)  # a sample makes no pair with itself
        costs = F.relu(self.margin - (odds[:, None] - odds)) ** 2
        # Less than one expected pair counts as that part of a pair: no division by next to nothing.
        return (weights * costs).sum() / weights.sum().clamp(min=1)


AnyLoss = Annotated[
    CrossEntropy | ClassMeans | BCE | Focal | Asymmetric | Dice | PairwiseAUC, Kinds(Loss)
]


def _fading(log_p: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p."""
    # 1 - p can round to 0 just where p is 1; its power's gradient is then infinite for gamma < 1.
    rest = (-log_p.expm1()).clamp(min=1e-7)
    return -(rest**gamma) * log_p
