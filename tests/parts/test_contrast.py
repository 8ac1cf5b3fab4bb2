"""The supervised contrastive loss, by values worked out by hand."""

import math

import pytest
import torch

from workbench.parts.contrast import Contrast

UNIT = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
"""Two directions, whatever their lengths."""


def test_it_is_that_of_the_paper() -> None:
    # Each sample has one partner at cosine 1 and two others at cosine 0.
    targets = torch.tensor([0.0, 0.0, 1.0, 1.0])
    found = float(Contrast(temperature=0.5)(UNIT, targets))
    assert found == pytest.approx(math.log(math.exp(2) + 2) - 2)
    wrong = float(Contrast(temperature=0.5)(UNIT, torch.tensor([0.0, 1.0, 0.0, 1.0])))
    assert wrong == pytest.approx(math.log(math.exp(2) + 2))


def test_samples_without_a_partner_are_not_counted() -> None:
    alone = Contrast(temperature=1.0)
    assert float(alone(UNIT[:2], torch.tensor([0.0, 1.0]))) == 0
    # The third finds none of its class; the first two have each other at 1 and the third at 0.
    found = float(alone(UNIT[:3], torch.tensor([0.0, 0.0, 1.0])))
    assert found == pytest.approx(math.log(math.e + 1) - 1)


def test_a_mixed_label_is_a_partner_of_both_classes_in_part() -> None:
    # Of the first: the second surely, the third by a half; cosines 1 and 0.
    features, targets = UNIT[:3], torch.tensor([0.0, 0.0, 0.5])
    rest = math.log(math.e + 1)
    first = ((rest - 1) + 0.5 * rest) / 1.5
    third = math.log(2)  # both others are at cosine 0
    wanted = (2 * first + third) / 3
    assert float(Contrast(temperature=1.0)(features, targets)) == pytest.approx(wanted)


def test_its_gradient_is_finite_for_equal_features() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    Contrast()(features, torch.tensor([0.0, 0.0, 1.0, 1.0])).backward()
    assert features.grad is not None and bool(torch.isfinite(features.grad).all())
