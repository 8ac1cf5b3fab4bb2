"""The gradient of a batch in parts: that of the whole, to rounding."""

import pytest
import torch
from torch import Tensor, nn

from workbench.parts.contrast import Contrast
from workbench.parts.losses import (
    BCE,
    Asymmetric,
    ClassMeans,
    CrossEntropy,
    Dice,
    Focal,
    Loss,
    PairwiseAUC,
)
from workbench.trial.stepping import backward, sharpness_aware

NUM = 7


class Small(nn.Module):
    """Two features, dropout and a linear head; what it draws is seen by nobody else."""

    def __init__(self, *, drop: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5) if norm else nn.Identity()
        self.drop = nn.Dropout(drop)
        self.head = nn.Linear(5, 2)
        self.most = 0
        """Samples seen at once."""

        self.passes = 0

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        self.passes += 1
        self.most = max(self.most, len(inputs["x"]))
        logits: Tensor = self.head(self.drop(self.norm(torch.tanh(self.first(inputs["x"])))))
        return logits


def gradient(model: Small, loss: Loss, num_parts: int) -> tuple[float, list[Tensor]]:
    """Return the loss and the gradients of a fixed batch of seven."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(NUM, 3, generator=generator)
    targets = torch.tensor([0.0, 1.0, 0.3, 1.0, 0.0, 0.8, 0.0])
    cost = backward(model, loss, {"x": x}, targets, num_parts=num_parts, fake_share=0.4)
    assert not cost.requires_grad
    return float(cost), [p.grad.clone() for p in model.parameters() if p.grad is not None]


LOSSES: list[Loss] = [
    CrossEntropy(label_smoothing=0.1, class_weights="balanced"),
    ClassMeans(),
    BCE(pos_weight=2.0),
    Focal(gamma=2.0, alpha=0.3),
    Asymmetric(),
    Dice(),
    PairwiseAUC(),
]


@pytest.mark.parametrize("num_parts", [2, 3, 7])
@pytest.mark.parametrize("loss", LOSSES, ids=[loss.kind for loss in LOSSES])
def test_the_gradient_in_parts_is_that_of_the_batch(loss: Loss, num_parts: int) -> None:
    whole = Small()
    parts = Small()
    cost, wanted = gradient(whole, loss, 1)
    in_parts, found = gradient(parts, loss, num_parts)
    assert in_parts == pytest.approx(cost, rel=1e-5)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert any(float(g.abs().max()) > 1e-3 for g in wanted)
    assert (whole.most, parts.most) == (NUM, -(-NUM // num_parts))
    # Twice where samples meet in the loss, once where they do not.
    assert parts.passes == num_parts * (2 if loss.over_batch else 1)


def test_a_loss_of_parts_alone_would_not_do_where_samples_meet() -> None:
    # What shows that the two passes are needed: the mean over parts is another loss.
    cost, _ = gradient(Small(), PairwiseAUC(), 1)
    targets = torch.tensor([0.0, 1.0, 0.3, 1.0, 0.0, 0.8, 0.0])
    x = torch.randn(NUM, 3, generator=torch.Generator().manual_seed(1))
    model = Small()
    pieces = [
        float(PairwiseAUC()(model({"x": part}), labels).detach()) * len(labels) / NUM
        for part, labels in zip(x.tensor_split(3), targets.tensor_split(3), strict=True)
    ]
    assert sum(pieces) != pytest.approx(cost, rel=1e-2)


def test_the_same_units_are_dropped_in_both_passes() -> None:
    model = Small(drop=0.5)
    seen: list[Tensor] = []
    model.drop.register_forward_hook(lambda _m, _i, out: seen.append(out.detach() == 0))
    torch.manual_seed(5)
    gradient(model, Dice(), 2)
    ahead, after = seen[:2], seen[2:]
    for first, second in zip(ahead, after, strict=True):
        assert bool((first == second).all())
    assert bool(ahead[0].any())


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice()], ids=["mean", "over_batch"])
def test_each_part_moves_the_running_averages_once(loss: Loss) -> None:
    model = Small(norm=True)
    gradient(model, loss, 2)
    assert int(model.norm.num_batches_tracked) == 2  # type: ignore[arg-type]


class Featured(Small):
    """Gives its features apart, as a `MediaModel` does."""

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        self.passes += 1
        features: Tensor = torch.tanh(self.first(inputs["x"]))
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(features))
        return logits


@pytest.mark.parametrize("num_parts", [1, 3])
def test_a_loss_of_the_features_is_added_in_parts_too(num_parts: int) -> None:
    x = torch.randn(NUM, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    contrast, model, plain = Contrast(weight=0.5), Featured(), Featured()
    cost = backward(
        model,
        CrossEntropy(),
        {"x": x},
        targets,
        num_parts=num_parts,
        fake_share=0.4,
        contrast=contrast,
    )
    features = plain.features({"x": x})
    whole = CrossEntropy()(plain.head(features), targets) + 0.5 * contrast(features, targets)
    whole.backward()
    assert float(cost) == pytest.approx(float(whole.detach()), rel=1e-5)
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_at_the_weights_moved_uphill() -> None:
    # The loss is w1^2 + 2 w2^2 at (3, 1): the gradient (6, 4) has the norm sqrt(52). With rho so
    # long, the weights move by (6, 4) to (9, 5), where it is (18, 20).
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 1.0]]))

    def add_gradient() -> Tensor:
        loss = (torch.tensor([1.0, 2.0]) * model.weight**2).sum()
        loss.backward()
        return loss.detach()

    loss = sharpness_aware(model, 52**0.5, add_gradient)
    assert float(loss) == 11
    assert model.weight.tolist() == [[3.0, 1.0]]
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad, torch.tensor([[18.0, 20.0]]))


def test_the_second_pass_moves_no_average_and_drops_the_same_units() -> None:
    model = Small(norm=True, drop=0.5)
    seen: list[Tensor] = []
    model.drop.register_forward_hook(lambda _m, _i, out: seen.append(out.detach() == 0))
    sharpness_aware(
        model,
        0.1,
        lambda: backward(
            model,
            CrossEntropy(),
            {"x": torch.randn(NUM, 3)},
            torch.ones(NUM),
            num_parts=1,
            fake_share=0.4,
        ),
    )
    assert int(model.norm.num_batches_tracked) == 1  # type: ignore[arg-type]
    assert bool((seen[0] == seen[1]).all()) and bool(seen[0].any())
