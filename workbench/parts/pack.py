"""The module of a pack: its members side by side, counted and saved as one model."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from workbench.parts.joint import Joint, JointLayer
from workbench.parts.model import MediaModel


class PackModel(nn.Module):
    """Several models in one module.

    Args:
        members: The models, in the order of the pack.
        joint: How their probabilities become one.
    """

    def __init__(self, members: Sequence[MediaModel], joint: Joint) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.joint = JointLayer(joint)

    def place(self, device: str | torch.device) -> Self:
        """Move to `device`, each member as suits it; see `MediaModel.place`."""
        self.to(device)
        for member in self.members:
            assert isinstance(member, MediaModel)
            member.place(device)
        return self

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the probability of each sample to be fake, (batch,) float64.

        Files are scored by `scoring.evaluator`, which shows each member what its own spec asks for.

        Args:
            inputs: Each view by its name; see `MediaModel.forward`.
        """
        logits = [member(inputs) for member in self.members]
        columns = [torch.sigmoid((both[:, 1] - both[:, 0]).double()) for both in logits]
        return self.joint(torch.stack(columns, dim=1))
