"""The gradient of a batch, in one go or in parts that add up to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workbench.parts.losses import Loss
from workbench.parts.model import BackboneReader, MediaModel
from workbench.trial.device import random_state, set_random_state
from workbench.trial.precision import logits_of
from workbench.trial.recipe import Precision

ViewTensors = Mapping[str, Tensor]


def backward(
    model: nn.Module,
    loss: Loss,
    inputs: ViewTensors,
    targets: Tensor,
    *,
    num_parts: int,
    fake_share: float,
    precision: Precision = "float32",
) -> Tensor:
    """Add the gradient of the batch's loss to the model's, and return that loss, a scalar.

    In parts the memory of a step is that of one part. The gradient is the same, but for what
    looks at the samples that go together: a batch norm sees those of its part. A loss in which
    samples meet (`Loss.over_batch`) is taken of all logits together, and the parts go through the
    model twice. Source: Gao et al. 2021, arXiv:2101.06983, section 3.2.

    Args:
        model: In training mode.
        loss: The recipe's.
        inputs: Each view by its name, (batch, ...), on the model's device.
        targets: (batch,) float in [0, 1], there too.
        num_parts: How many parts the batch goes in, as even as they can be.
        fake_share: See `Loss`.
        precision: What the model computes in.
    """
    if num_parts == 1:
        cost = loss(logits_of(model, inputs, precision), targets, fake_share=fake_share)
        cost.backward()
        return cost.detach()
    parts = list(parts_of(inputs, targets, num_parts))
    if not loss.over_batch:
        total = torch.zeros((), device=targets.device)
        for part, labels in parts:
            logits = logits_of(model, part, precision)
            cost = loss(logits, labels, fake_share=fake_share) * (len(labels) / len(targets))
            cost.backward()
            total += cost.detach()
        return total
    states = []
    with torch.no_grad(), buffers_kept(model):
        ahead = []
        for part, _ in parts:
            states.append(random_state(targets.device))
            ahead.append(logits_of(model, part, precision))
    logits = torch.cat(ahead).requires_grad_()
    cost = loss(logits, targets, fake_share=fake_share)
    cost.backward()
    assert logits.grad is not None
    pulls = logits.grad.tensor_split(num_parts)
    for (part, _), pull, state in zip(parts, pulls, states, strict=True):
        set_random_state(targets.device, state)  # the same units dropped as the first time
        logits_of(model, part, precision).backward(pull)
    return cost.detach()


def parts_of(
    inputs: ViewTensors, targets: Tensor, num: int
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield the views and the targets of each of `num` parts of a batch, as even as they can be."""
    split = {name: x.tensor_split(num) for name, x in inputs.items()}
    for number, labels in enumerate(targets.tensor_split(num)):
        yield {name: pieces[number] for name, pieces in split.items()}, labels


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Undo what a pass does to running averages: each part shall count once."""
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    finally:  # also of a pass that failed half-way
        with torch.no_grad():
            for buffer, kept in zip(model.buffers(), before, strict=True):
                buffer.copy_(kept)


def checkpoint_activations(model: MediaModel) -> bool:
    """Let activations be computed twice instead of kept; say whether timm can do it.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    for reader in model.readers.values():
        if isinstance(reader, BackboneReader):
            switch = getattr(reader.backbone, "set_grad_checkpointing", None)
            if switch is None:
                return False
            try:
                switch(enable=True)
            except AssertionError:  # how timm says that this family has none
                return False
    return True
