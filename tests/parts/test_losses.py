import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError

from workbench.parts.losses import AnyLoss, CrossEntropy, Focal, Loss, focal_loss
from workbench.values import kinds

LOSSES = kinds(AnyLoss)


def build(kind: str) -> Loss:
    loss: Loss = TypeAdapter(AnyLoss).validate_python({"kind": kind})
    return loss


@pytest.mark.parametrize("kind", LOSSES)
def test_a_better_prediction_never_costs_more(kind: str) -> None:
    loss = build(kind)
    margins = torch.linspace(-30, 30, 241)
    costs = [loss(torch.tensor([[0.0, m]]), torch.tensor([1])).item() for m in margins.tolist()]
    assert all(later <= earlier for earlier, later in pairwise(costs))
    assert costs[0] > costs[120] > costs[-1] >= 0


@pytest.mark.parametrize("kind", LOSSES)
def test_both_classes_cost_alike(kind: str) -> None:
    loss, logits = build(kind), torch.tensor([[0.3, -1.2], [2.0, 0.5]])
    mirrored = loss(logits.flip(1), torch.tensor([1, 0]))
    torch.testing.assert_close(loss(logits, torch.tensor([0, 1])), mirrored)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_batch_costs_the_mean_of_its_samples(kind: str) -> None:
    loss = build(kind)
    logits, targets = torch.tensor([[0.3, -1.2], [2.0, 0.5], [0.0, 4.0]]), torch.tensor([0, 1, 1])
    alone = [loss(logits[i : i + 1], targets[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(logits, targets), torch.stack(alone).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("right", [True, False])
def test_the_gradient_of_saturated_logits_is_finite(gamma: float, right: bool) -> None:
    logits = torch.tensor([[-1000.0, 1000.0], [-20.0, 20.0], [0.0, 0.0]], requires_grad=True)
    targets = torch.full((3,), int(right))
    loss = focal_loss(logits, targets, gamma=gamma)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, targets = torch.randn(8, 2), torch.randint(2, (8,))
    torch.testing.assert_close(
        focal_loss(logits, targets, gamma=0.0), F.cross_entropy(logits, targets)
    )


def test_focal_value_worked_by_hand() -> None:
    # The right class has p = 3/4, so the loss is (1/4)^2 * -ln(3/4) = ln(4/3) / 16.
    logits = torch.tensor([[0.0, math.log(3)]])
    loss = focal_loss(logits, torch.tensor([1]), gamma=2.0)
    assert loss.item() == pytest.approx(math.log(4 / 3) / 16)
    assert Focal(gamma=2.0)(logits, torch.tensor([1])).item() == loss.item()


def test_cross_entropy_value_worked_by_hand() -> None:
    logits, target = torch.tensor([[0.0, math.log(3)]]), torch.tensor([1])
    assert CrossEntropy()(logits, target).item() == pytest.approx(math.log(4 / 3))
    # Smoothing by 0.2 asks for 0.9 and 0.1 of the two classes.
    smoothed = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    loss = CrossEntropy(label_smoothing=0.2)(logits, target)
    assert loss.item() == pytest.approx(smoothed)


def test_a_parameter_of_another_loss_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"cross_entropy\.gamma"):
        TypeAdapter(AnyLoss).validate_python({"kind": "cross_entropy", "gamma": 2.0})


def test_one_hot_targets_say_what_to_pass() -> None:
    with pytest.raises(ValueError, match="class indices, not one-hot"):
        focal_loss(torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.long), gamma=2.0)
