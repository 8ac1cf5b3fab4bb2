"""Heads: what turns the pooled features of a model's views into two logits.

A linear head is trained by gradients, with its backbones or alone, and so is that of `two_labels`.
Those of `fitted_heads` are fitted on the features of frozen backbones.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import nn

from workbench.values import Part

NUM_CLASSES = 2


class Head(Part, ABC):
    """A kind of head, with all that its tensors' shapes depend on besides the features."""

    is_fitted: ClassVar[bool] = True
    """Whether it is fitted on features, and not trained by gradients."""

    label: ClassVar[str] = ""
    """What it is called beside the backbones."""

    @abstractmethod
    def build(self, width: int) -> nn.Module:
        """Return the module that gives (batch, 2) logits of (batch, width) features."""

    def build_for(self, widths: Sequence[int], are_sounds: Sequence[bool]) -> nn.Module:
        """Return it for views end to end, of so many features each, of the sound or not."""
        return self.build(sum(widths))


class LinearHead(Head):
    """One linear layer."""

    is_fitted: ClassVar[bool] = False
    kind: Literal["linear"] = "linear"

    def build(self, width: int) -> nn.Module:
        """Return the layer with random weights."""
        return nn.Linear(width, NUM_CLASSES)


LINEAR = LinearHead()
