"""Fitted heads as modules, by hand; and methods as a file says them."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from workbench.parts.fitted_heads import (
    BoostedTrees,
    LogisticHead,
    NoisyOr,
    StandardisedLinear,
    TreesHead,
)
from workbench.parts.heads import Head
from workbench.parts.methods import AnyMethod, FeatureProbe, GradientBoosting, is_probe


@pytest.mark.parametrize("head", [LogisticHead(), TreesHead()], ids=["logistic", "trees"])
def test_a_head_says_one_half_before_it_is_fitted(head: Head) -> None:
    logits = head.build(3)(torch.randn(4, 3))
    assert logits.shape == (4, 2)
    assert torch.equal(logits, torch.zeros(4, 2))


def test_a_standardised_line_by_hand() -> None:
    head = StandardisedLinear(2)
    values = {
        "mean": torch.tensor([1.0, 2.0]),
        "scale": torch.tensor([2.0, 0.5]),
        "linear.weight": torch.tensor([[3.0, -1.0]]),
        "linear.bias": torch.tensor([0.25]),
    }
    head.load_state_dict({name: value.double() for name, value in values.items()})
    # (5 - 1) / 2 = 2 and (3 - 2) / 0.5 = 2: 3 * 2 - 2 + 0.25.
    assert head(torch.tensor([[5.0, 3.0]])).tolist() == [[0.0, 4.25]]


def test_a_noisy_or_by_hand() -> None:
    head = NoisyOr(2)
    before = head(torch.tensor([[5.0, 3.0]]))
    assert before.tolist() == [[0.0, pytest.approx(0, abs=1e-9)]]  # one half
    values = {
        "mean": torch.tensor([0.0, 0.0]),
        "scale": torch.tensor([1.0, 2.0]),
        "linear.weight": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "linear.bias": torch.tensor([0.0, 0.0]),
    }
    head.load_state_dict({name: value.double() for name, value in values.items()})
    # Odds of 3 to 1 and 1 to 4: 1 - 0.25 * 0.8 = 0.8, which is 4 to 1.
    rows = torch.tensor([[math.log(3), 2 * math.log(0.25)], [-900.0, -1800.0], [900.0, 0.0]])
    found = head(rows)[:, 1].tolist()
    assert found[0] == pytest.approx(math.log(4), abs=1e-6)
    assert math.isfinite(found[1]) and found[1] < -60 and found[2] == pytest.approx(900, abs=1)


def test_two_trees_by_hand() -> None:
    head = BoostedTrees(num_trees=2, depth=2)
    values = {
        # The first tree asks for feature 1 and then, on either side, for feature 0. The second
        # asks once: below its root both leaves of a side are the same.
        "features": torch.tensor([[1, 0, 0], [2, 0, 0]]),
        "thresholds": torch.tensor([[0.5, 1.0, 2.0], [7.0, math.inf, math.inf]]),
        "leaves": torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 10.0, 20.0, 20.0]]),
        "constant": torch.tensor(0.5),
    }
    state = head.state_dict()
    head.load_state_dict({name: value.to(state[name].dtype) for name, value in values.items()})
    rows = torch.tensor([[1.0, 0.5, 7.0], [1.5, 0.5, 7.5], [2.0, 0.6, 0.0], [2.5, 0.6, 9.0]])
    assert head(rows)[:, 1].tolist() == [1 + 10.5, 2 + 20.5, 3 + 10.5, 4 + 20.5]


def test_a_graph_of_trees_takes_any_number_of_rows() -> None:
    # As the registered model is one: it is exported with two rows.
    graph = torch.export.export(
        BoostedTrees(num_trees=2, depth=2),
        (torch.zeros(2, 3),),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
    ).module()
    assert [graph(torch.zeros(num, 3)).tolist() for num in (1, 5)] == [[[0, 0]], [[0, 0]] * 5]


def test_a_word_stands_for_a_method_with_its_defaults() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyMethod)
    read = adapter.validate_python
    assert read("probe") == FeatureProbe()
    boosting = read({"kind": "probe", "fit": {"kind": "boosting", "num_trees": 7, "depth": 2}})
    assert boosting.fit == GradientBoosting(num_trees=7, depth=2)
    assert boosting.head.model_dump() == {"kind": "trees", "num_trees": 7, "depth": 2}
    assert [is_probe(x) for x in ("probe", {"kind": "probe"}, boosting)] == [True] * 3
    assert [is_probe(x) for x in (None, "fine-tune", read("fine-tune"))] == [False] * 3
    with pytest.raises(ValidationError, match="fine-tune"):
        read("boosting")
