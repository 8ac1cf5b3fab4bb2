"""The gradient of a batch, in one go or in parts that add up to it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workbench.parts.contrast import Contrast
from workbench.parts.heads import NUM_CLASSES
from workbench.parts.losses import Loss
from workbench.parts.model import BackboneReader, MediaModel
from workbench.trial.device import random_state, set_random_state
from workbench.trial.precision import logits_of
from workbench.trial.ranks import Ranks
from workbench.trial.training_spec import Precision
from workbench.trial.two_labels import TwoLabelsLoss

ViewTensors = Mapping[str, Tensor]


def backward(
    model: nn.Module,
    loss: Loss | TwoLabelsLoss,
    inputs: ViewTensors,
    targets: Tensor,
    *,
    num_parts: int,
    fake_share: float,
    precision: Precision = "float32",
    contrast: Contrast = Contrast(),  # noqa: B008 (a frozen value)
    ranks: Ranks = Ranks(),  # noqa: B008 (one that keeps nothing)
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
        targets: (batch,) float in [0, 1], there too; (batch, 3) for a loss of two labels.
        num_parts: How many parts the batch goes in, or a rank's share of it; as even as can be.
        fake_share: See `Loss`.
        precision: What the model computes in.
        contrast: A loss of the features of a `MediaModel`, in which samples meet, too.
        ranks: Those that train on the batch together. Each adds the gradient that its share of the
            samples has in the loss of the batch, and returns that loss.
    """
    of_features = contrast.weight > 0
    passes = _WithFeatures(model) if of_features else model
    num_logits = NUM_CLASSES if targets.dim() == 1 else NUM_CLASSES + targets.shape[1] - 1

    def cost_of(out: Tensor, labels: Tensor) -> Tensor:
        cost = loss(out[:, :num_logits], labels, fake_share=fake_share)
        if not of_features:
            return cost
        of_files = labels if labels.dim() == 1 else labels[:, 0]
        return cost + contrast.weight * contrast(out[:, num_logits:], of_files)

    if num_parts == ranks.size == 1:
        cost = cost_of(logits_of(passes, inputs, precision), targets)
        cost.backward()
        return cost.detach()
    rows, weight = ranks.share(len(targets))
    share = {name: x[rows] for name, x in inputs.items()}
    parts = list(parts_of(share, targets[rows], num_parts))
    if not loss.over_batch and not of_features:
        total = torch.zeros((), device=targets.device)
        for part, labels in parts:
            logits = logits_of(model, part, precision)
            counts = weight * (len(labels) / len(targets))
            cost = loss(logits, labels, fake_share=fake_share) * counts
            cost.backward()
            total += cost.detach()
        return ranks.sum(total)
    states, ahead = [], []
    with ExitStack() as stack:
        if num_parts > 1:  # one part alone is not computed twice
            stack.enter_context(torch.no_grad())
            stack.enter_context(buffers_kept(model))
        for part, _ in parts:
            states.append(random_state(targets.device))
            ahead.append(logits_of(passes, part, precision))
    out = ranks.gather(torch.cat(ahead), len(targets)).requires_grad_()
    cost = cost_of(out, targets)
    cost.backward()
    assert out.grad is not None
    pulls = (weight * out.grad[rows]).tensor_split(num_parts)
    if num_parts == 1:
        ahead[0].backward(*pulls)
        return cost.detach()
    for (part, _), pull, state in zip(parts, pulls, states, strict=True):
        set_random_state(targets.device, state)  # the same units dropped as the first time
        logits_of(passes, part, precision).backward(pull)
    return cost.detach()


class _WithFeatures(nn.Module):
    """A model that gives (batch, logits + width): its logits, and behind them the features."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, inputs: ViewTensors) -> Tensor:
        features = self._model.features(inputs)
        pooled = features if features.ndim == 2 else features.mean(dim=1)
        return torch.cat([self._model.logits(features), pooled], dim=1)


def sharpness_aware(model: nn.Module, rho: float, add_gradient: Callable[[], Tensor]) -> Tensor:
    """Add the gradient at the weights moved uphill, and return the loss at the weights themselves.

    Running averages and random numbers move once, and the same units are dropped in both passes.

    Args:
        model: Without gradients.
        rho: How far uphill, in the norm over all weights.
        add_gradient: Adds the gradient of a batch's loss to the model's, and returns the loss.

    Source: Foret et al. 2021, arXiv:2010.01412, equation 2 and algorithm 1.
    """
    device = next(model.parameters()).device
    state = random_state(device)
    loss = add_gradient()
    learned = [p for p in model.parameters() if p.grad is not None]
    here = [p.detach().clone() for p in learned]
    with torch.no_grad():
        norm = torch.nn.utils.get_total_norm([p.grad for p in learned if p.grad is not None])
        for p in learned:
            assert p.grad is not None
            p.add_(p.grad * (rho / norm.clamp(min=1e-12)))
    model.zero_grad(set_to_none=True)
    set_random_state(device, state)
    with buffers_kept(model):
        add_gradient()
    with torch.no_grad():
        for p, kept in zip(learned, here, strict=True):
            p.copy_(kept)
    return loss


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
