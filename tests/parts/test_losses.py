import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from workbench.errors import ConfigError
from workbench.parts.losses import (
    BCE,
    AnyLoss,
    Asymmetric,
    ClassMeans,
    CrossEntropy,
    Dice,
    Focal,
    Loss,
    PairwiseAUC,
)
from workbench.parts.torchvision_fix import ensure_torchvision
from workbench.values import kinds

LOSSES = kinds(AnyLoss)
EVEN_HANDED = sorted(set(LOSSES) - {"asymmetric"})
OF_THE_BATCH = {"class_means", "dice", "pairwise_auc"}
"""What looks at the batch as a whole; the others are means over samples."""

OF_SAMPLES = [
    CrossEntropy(),
    CrossEntropy(label_smoothing=0.2, class_weights="balanced"),
    BCE(pos_weight=3),
    Focal(gamma=1.5, alpha=0.3),
    Asymmetric(),
]
EDGES = [
    *(Focal(gamma=gamma) for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)),
    *(
        Asymmetric(gamma_pos=gamma, gamma_neg=gamma, clip=clip)
        for gamma in (0.0, 0.5, 1.0, 4.0)
        for clip in (0.0, 0.05)
    ),
    *OF_SAMPLES,
    ClassMeans(),
    Dice(smooth=0.01),
    PairwiseAUC(margin=10),
]


def build(kind: str) -> Loss:
    loss: Loss = TypeAdapter(AnyLoss).validate_python({"kind": kind})
    return loss


def of_odds(*odds: float) -> Tensor:
    """Logits with these log-odds of a fake."""
    return torch.tensor([[0.5, 0.5 + value] for value in odds])


def some(count: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, and two lots of class labels, each with both classes."""
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(count, 2, generator=generator)
    return logits, torch.arange(count) % 2, torch.arange(count) // 2 % 2


@pytest.mark.parametrize("kind", sorted(set(LOSSES) - {"pairwise_auc"}))
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_better_prediction_never_costs_more(kind: str, target: float) -> None:
    loss = build(kind)
    margins = torch.linspace(-30, 30, 241) * (1 if target else -1)
    costs = [loss(of_odds(m), torch.tensor([target])).item() for m in margins.tolist()]
    assert all(later <= earlier for earlier, later in pairwise(costs))
    assert costs[0] > costs[120] > costs[-1] >= 0


def test_a_better_ranked_pair_never_costs_more() -> None:
    loss, targets = PairwiseAUC(), torch.tensor([1.0, 0.0])
    costs = [loss(of_odds(m, 0), targets).item() for m in torch.linspace(-5, 5, 41).tolist()]
    assert all(later <= earlier for earlier, later in pairwise(costs))
    assert costs[0] > costs[20] > costs[-1] == 0


@pytest.mark.parametrize("kind", EVEN_HANDED)
def test_both_classes_cost_alike(kind: str) -> None:
    loss = build(kind)
    logits, targets, _ = some()
    mirrored = loss(logits.flip(1), 1 - targets.float())
    torch.testing.assert_close(loss(logits, targets.float()), mirrored)


def test_the_asymmetric_loss_fades_easy_reals_sooner_than_easy_fakes() -> None:
    easy_fake = Asymmetric()(of_odds(1.0), torch.tensor([1.0]))
    easy_real = Asymmetric()(of_odds(-1.0), torch.tensor([0.0]))
    assert easy_real < easy_fake / 10
    even = Asymmetric(gamma_pos=2, gamma_neg=2, clip=0)
    torch.testing.assert_close(
        even(of_odds(1.0), torch.tensor([1.0])), even(of_odds(-1.0), torch.tensor([0.0]))
    )


@pytest.mark.parametrize("kind", LOSSES)
def test_only_the_difference_of_the_logits_counts(kind: str) -> None:
    loss = build(kind)
    logits, targets, _ = some()
    moved = loss(logits + 7, targets.float())
    torch.testing.assert_close(loss(logits, targets.float()), moved, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(set(LOSSES) - OF_THE_BATCH))
def test_a_batch_costs_the_mean_of_its_samples(kind: str) -> None:
    loss = build(kind)
    logits, targets, _ = some()
    alone = [loss(logits[i : i + 1], targets[i : i + 1].float()) for i in range(len(targets))]
    torch.testing.assert_close(loss(logits, targets.float()), torch.stack(alone).mean())


@pytest.mark.parametrize("loss", OF_SAMPLES, ids=repr)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mixed_label_costs_the_mix_of_both_costs(loss: Loss, share: float) -> None:
    logits, one, two = some()
    mixed = share * one + (1 - share) * two
    apart = [loss(logits, each.float(), fake_share=0.3) for each in (one, two)]
    together = share * apart[0] + (1 - share) * apart[1]
    torch.testing.assert_close(loss(logits, mixed, fake_share=0.3), together)


@pytest.mark.parametrize("kind", ["cross_entropy", "bce", "dice"])
@pytest.mark.parametrize("target", [0.1, 0.5, 0.8])
def test_a_soft_label_is_best_met_by_its_own_probability(kind: str, target: float) -> None:
    # A batch of two, so that what looks at the whole batch has to get each right.
    targets = torch.tensor([target, 0.3])
    odds = torch.logit(targets).requires_grad_()
    loss = build(kind)
    best = loss(torch.stack([torch.zeros(2), odds], 1), targets)
    best.backward()
    assert odds.grad is not None
    torch.testing.assert_close(odds.grad, torch.zeros(2), atol=1e-6, rtol=0)
    for away in (-0.5, 0.5):
        assert loss(torch.stack([torch.zeros(2), odds + away], 1), targets) > best


@pytest.mark.parametrize("loss", EDGES, ids=repr)
@pytest.mark.parametrize("targets", [[0.0] * 5, [1.0] * 5, [0.4] * 5, [0.0, 1.0, 0.0, 0.3, 1.0]])
def test_cost_and_gradient_of_saturated_logits_are_finite(loss: Loss, targets: list[float]) -> None:
    ends = [[-1000.0, 1000.0], [1000.0, -1000.0], [-20.0, 20.0], [20.0, -20.0], [0.0, 0.0]]
    logits = torch.tensor(ends, requires_grad=True)
    cost = loss(logits, torch.tensor(targets))
    cost.backward()
    assert cost.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def numeric_gradient_agrees(loss: Loss) -> bool:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0.0, 1.0, 0.3, 0.9, 1.0, 0.0], dtype=torch.float64)
    return torch.autograd.gradcheck(lambda x: loss(x, targets, fake_share=0.3), (logits,))


@pytest.mark.parametrize("loss", [*OF_SAMPLES, ClassMeans(), Dice(), PairwiseAUC()], ids=repr)
def test_the_gradient_is_that_of_the_cost(loss: Loss) -> None:
    assert numeric_gradient_agrees(loss)


def test_cross_entropy_value_worked_by_hand() -> None:
    logits, target = of_odds(math.log(3)), torch.tensor([1.0])
    assert CrossEntropy()(logits, target).item() == pytest.approx(math.log(4 / 3))
    # Smoothing by 0.2 asks for 0.9 and 0.1 of the two classes.
    smoothed = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    loss = CrossEntropy(label_smoothing=0.2)(logits, target)
    assert loss.item() == pytest.approx(smoothed)
    # A sample mixed of 1/4 fake and 3/4 real.
    mixed = CrossEntropy()(logits, torch.tensor([0.25]))
    assert mixed.item() == pytest.approx(math.log(4 / 3) / 4 + math.log(4) * 3 / 4)


def test_balanced_weights_worked_by_hand() -> None:
    # One fake in four: it weighs 1 / (2 * 1/4) = 2, each real 1 / (2 * 3/4) = 2/3.
    loss = CrossEntropy(class_weights="balanced")
    logits = of_odds(math.log(3))
    fake = loss(logits, torch.tensor([1.0]), fake_share=0.25)
    real = loss(logits, torch.tensor([0.0]), fake_share=0.25)
    assert fake.item() == pytest.approx(2 * math.log(4 / 3))
    assert real.item() == pytest.approx(math.log(4) * 2 / 3)


def test_balanced_weights_let_both_classes_weigh_the_same_in_all() -> None:
    targets = torch.tensor([1.0, 0.0, 0.0, 0.0])
    odds = torch.zeros(4, requires_grad=True)
    loss = CrossEntropy(class_weights="balanced")
    loss(torch.stack([torch.zeros(4), odds], 1), targets, fake_share=0.25).backward()
    assert odds.grad is not None
    assert odds.grad.tolist() == pytest.approx([-0.25, *[0.25 / 3] * 3])
    plain = CrossEntropy()(of_odds(1, 2, -1, 0), targets)
    torch.testing.assert_close(loss(of_odds(1, 2, -1, 0), targets, fake_share=0.5), plain)


def test_class_means_worked_by_hand() -> None:
    # One fake and three reals: the fake's cost, and the reals' mean, half each.
    odds = of_odds(math.log(3), math.log(3), -math.log(3), 0.0)
    fake = math.log(4 / 3)
    reals = (math.log(4) + math.log(4 / 3) + math.log(2)) / 3
    loss = ClassMeans()
    cost = loss(odds, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert cost.item() == pytest.approx((fake + reals) / 2)
    # Of one class there is that mean alone.
    assert loss(odds[1:], torch.zeros(3)).item() == pytest.approx(reals)
    # Mixed: 1/4 of a fake in all weighs a quarter as much as the reals, of which there are 3.75.
    mixed = loss(odds, torch.tensor([0.25, 0.0, 0.0, 0.0]))
    real_mean = (0.75 * math.log(4) + 3 * reals) / 3.75
    assert mixed.item() == pytest.approx((0.25 * fake + real_mean) / 1.25)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_class_without_samples_cannot_be_balanced(share: float) -> None:
    with pytest.raises(ConfigError, match=f"{share:.0%} of the training split is fake"):
        CrossEntropy(class_weights="balanced")(of_odds(1), torch.tensor([1.0]), fake_share=share)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("fake_share", [0.5, 0.2])
def test_cross_entropy_is_that_of_torch(smoothing: float, fake_share: float) -> None:
    logits, one, two = some()
    loss = CrossEntropy(label_smoothing=smoothing, class_weights="balanced")
    weight = torch.tensor([0.5 / (1 - fake_share), 0.5 / fake_share])
    for soft in (one.float(), 0.3 * one + 0.7 * two):
        expected = F.cross_entropy(
            logits, torch.stack([1 - soft, soft], 1), weight=weight, label_smoothing=smoothing
        )
        torch.testing.assert_close(loss(logits, soft, fake_share=fake_share), expected)
    plain = CrossEntropy(label_smoothing=smoothing)(logits, one.float(), fake_share=fake_share)
    torch.testing.assert_close(plain, F.cross_entropy(logits, one, label_smoothing=smoothing))


@pytest.mark.parametrize("pos_weight", [0.2, 1.0, 5.0])
def test_bce_is_that_of_torch(pos_weight: float) -> None:
    logits, one, two = some()
    soft = 0.3 * one + 0.7 * two
    expected = F.binary_cross_entropy_with_logits(
        logits[:, 1] - logits[:, 0], soft, pos_weight=torch.tensor(pos_weight)
    )
    torch.testing.assert_close(BCE(pos_weight=pos_weight)(logits, soft), expected)


def test_bce_without_a_weight_is_cross_entropy() -> None:
    logits, targets, _ = some()
    of_classes = F.cross_entropy(logits, targets)
    torch.testing.assert_close(BCE()(logits, targets.float()), of_classes)


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, targets, _ = some()
    loss = Focal(gamma=0.0)(logits, targets.float())
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets))


def test_focal_value_worked_by_hand() -> None:
    # The right class has p = 3/4, so the loss is (1/4)^2 * -ln(3/4) = ln(4/3) / 16.
    logits = of_odds(math.log(3))
    fake, real = torch.tensor([1.0]), torch.tensor([0.0])
    assert Focal(gamma=2.0)(logits, fake).item() == pytest.approx(math.log(4 / 3) / 16)
    # As a real it has p = 1/4: (3/4)^2 * ln 4. Alpha weighs the two.
    assert Focal(gamma=2.0)(logits, real).item() == pytest.approx(math.log(4) * 9 / 16)
    weighed = Focal(gamma=2.0, alpha=0.25)
    assert weighed(logits, fake).item() == pytest.approx(math.log(4 / 3) / 64)
    assert weighed(logits, real).item() == pytest.approx(math.log(4) * 27 / 64)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.25, 0.9])
def test_focal_is_that_of_torchvision(gamma: float, alpha: float | None) -> None:
    ensure_torchvision()
    from torchvision.ops import sigmoid_focal_loss

    logits, targets, _ = some()
    expected = sigmoid_focal_loss(
        logits[:, 1] - logits[:, 0],
        targets.float(),
        alpha=-1 if alpha is None else alpha,
        gamma=gamma,
        reduction="mean",
    )
    loss = Focal(gamma=gamma, alpha=alpha)(logits, targets.float())
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-7)


def test_asymmetric_value_worked_by_hand() -> None:
    # A real at p = 3/4, shifted to 1/2: (1/2)^2 * ln 2. A fake at p = 3/4: 1/4 * ln(4/3).
    loss = Asymmetric(gamma_pos=1, gamma_neg=2, clip=0.25)
    logits = of_odds(math.log(3))
    assert loss(logits, torch.tensor([0.0])).item() == pytest.approx(math.log(2) / 4)
    assert loss(logits, torch.tensor([1.0])).item() == pytest.approx(math.log(4 / 3) / 4)


def test_a_real_below_the_clip_costs_nothing_and_moves_nothing() -> None:
    odds = torch.logit(torch.tensor([0.04])).requires_grad_()
    loss = Asymmetric(clip=0.05)(torch.stack([torch.zeros(1), odds], 1), torch.tensor([0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert odds.grad is not None
    assert odds.grad.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("clip", [0.0, 0.05, 0.3])
@pytest.mark.parametrize(("gamma_pos", "gamma_neg"), [(0.0, 4.0), (1.0, 4.0), (2.0, 0.5)])
def test_asymmetric_is_that_of_timm(clip: float, gamma_pos: float, gamma_neg: float) -> None:
    ensure_torchvision()
    from timm.loss import AsymmetricLossMultiLabel

    logits, targets, _ = some()
    odds = (logits[:, 1] - logits[:, 0])[:, None]
    of_timm = AsymmetricLossMultiLabel(gamma_pos=gamma_pos, gamma_neg=gamma_neg, clip=clip)
    expected = of_timm(odds, targets[:, None])
    ours = Asymmetric(gamma_pos=gamma_pos, gamma_neg=gamma_neg, clip=clip)(logits, targets.float())
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_dice_value_worked_by_hand() -> None:
    # Fakes: p = (3/4, 1/2), t = (1, 0): (2 * 3/4 + 1) / (9/16 + 1/4 + 1 + 1) = 2.5 / 2.8125.
    # Reals: q = (1/4, 1/2), s = (0, 1): (2 * 1/2 + 1) / (1/16 + 1/4 + 1 + 1) = 2 / 2.3125.
    loss = Dice(smooth=1)(of_odds(math.log(3), 0), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(1 - (2.5 / 2.8125 + 2 / 2.3125) / 2)


def test_dice_still_learns_in_a_batch_of_one_class() -> None:
    odds = torch.zeros(3, requires_grad=True)
    Dice()(torch.stack([torch.zeros(3), odds], 1), torch.zeros(3)).backward()
    assert odds.grad is not None
    assert (odds.grad > 0).all()


def test_pairwise_value_worked_by_hand() -> None:
    # Fakes at 2 and 0, reals at 1.5 and -3. Gaps: 0.5, 5, -1.5, 3; below 1 by: 0.5, 0, 2.5, 0.
    targets = torch.tensor([1.0, 1.0, 0.0, 0.0])
    loss = PairwiseAUC(margin=1)(of_odds(2, 0, 1.5, -3), targets)
    assert loss.item() == pytest.approx((0.25 + 6.25) / 4)


def test_pairwise_value_of_soft_labels_worked_by_hand() -> None:
    # Three samples at 1, 0, 0.5, fake by 1, 1/2, 0. Pairs (first above second), their weights and
    # costs: (a, b) 1/2, 0; (a, c) 1, 1/4; (b, c) 1/2, 9/4; all others weigh 0.
    loss = PairwiseAUC(margin=1)(of_odds(1, 0, 0.5), torch.tensor([1.0, 0.5, 0.0]))
    assert loss.item() == pytest.approx((0.25 + 9 / 8) / 2)


@pytest.mark.parametrize("targets", [[1.0] * 3, [0.0] * 3, [1.0], [0.5]])
def test_a_batch_without_a_pair_costs_and_moves_nothing(targets: list[float]) -> None:
    logits = of_odds(*range(len(targets))).requires_grad_()
    loss = PairwiseAUC()(logits, torch.tensor(targets))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_hardly_a_pair_costs_hardly_anything() -> None:
    # Rounding may leave 1 - 1e-7 of a label that should be 1: that is no pair.
    loss = PairwiseAUC()(of_odds(5, 5, 5), torch.tensor([1.0, 1.0, 1 - 1e-7]))
    assert 0 < loss.item() < 1e-6


def test_pairs_know_no_level() -> None:
    logits, targets, _ = some()
    raised = logits + torch.tensor([0.0, 4.0])
    loss = PairwiseAUC()
    torch.testing.assert_close(loss(raised, targets.float()), loss(logits, targets.float()))


def test_perfect_order_by_the_margin_costs_nothing() -> None:
    targets = torch.tensor([1.0, 0.0, 1.0])
    assert PairwiseAUC(margin=2)(of_odds(3, -1, 1), targets).item() == 0
    assert PairwiseAUC(margin=3)(of_odds(3, -1, 1), targets).item() > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "cross_entropy", "gamma": 2.0},
        {"kind": "cross_entropy", "class_weights": "even"},
        {"kind": "bce", "pos_weight": 0},
        {"kind": "focal", "alpha": 1.1},
        {"kind": "asymmetric", "clip": 0.5},
        {"kind": "dice", "smooth": 0},
        {"kind": "pairwise_auc", "margin": 0},
    ],
)
def test_a_setting_out_of_bounds_or_of_another_loss_is_refused(wrong: dict[str, Any]) -> None:
    name = list(wrong)[-1]
    with pytest.raises(ValidationError, match=rf"{wrong['kind']}\.{name}"):
        TypeAdapter(AnyLoss).validate_python(wrong)


@pytest.mark.parametrize("kind", LOSSES)
def test_wrong_targets_say_what_to_pass(kind: str) -> None:
    loss, logits = build(kind), torch.zeros(4, 2)
    with pytest.raises(ValueError, match="not one-hot"):
        loss(logits, torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"targets \(3,\)"):
        loss(logits, torch.zeros(3))
    with pytest.raises(ValueError, match=r"int64. Pass probabilities of a fake"):
        loss(logits, torch.zeros(4, dtype=torch.long))
