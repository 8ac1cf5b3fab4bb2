"""Freezing, layer-wise learning rates and averaged weights."""

import copy
from itertools import pairwise

import pytest
import torch

from tests.parts.declared import picture, vector
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.transfer import Average, Transfer
from workbench.parts.weights import RANDOM

VIEWS = {"frames": picture(1, 64, 64, 3), "features": vector(5)}


def model() -> MediaModel:
    return MediaModel("test_resnet", VIEWS, image_px=64, weights=RANDOM)


def test_without_decay_there_is_one_group_of_all_that_learns() -> None:
    tested = model()
    (group,) = Transfer().groups(tested, 0.1)
    assert len(group["params"]) == len(list(tested.parameters()))
    tested.freeze(True)
    (group,) = Transfer().groups(tested, 0.1)
    backbone = {id(p) for p in tested.readers["frames"].parameters()}
    assert group["params"]
    assert not backbone & {id(p) for p in group["params"]}


def test_each_layer_has_the_rate_of_the_one_above_times_the_decay() -> None:
    tested = model()
    groups = Transfer(layer_decay=0.5).groups(tested, 0.1)
    every = [id(p) for group in groups for p in group["params"]]
    assert sorted(every) == sorted(id(p) for p in tested.parameters())  # each once
    optimizer = SGD(lr=1.0, weight_decay=0.1).build(groups)
    SGD(lr=1.0).set_lr(optimizer, 0.5)
    rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    reader = tested.readers["frames"]
    assert isinstance(reader, PictureReader)
    rates = [rate[id(p)] for _, p in reader.backbone.named_parameters()]
    steps = sorted(set(rates))
    assert len(steps) > 3
    assert steps[-1] == 0.5
    assert all(high == pytest.approx(2 * low) for low, high in pairwise(steps))
    assert rates[0] == steps[0]  # the stem is the lowest
    assert all(rate[id(p)] == 0.5 for p in tested.head.parameters())
    for parameter in reader.backbone.parameters():
        assert decays[id(parameter)] == (0.1 if parameter.ndim > 1 else 0)


def test_a_thawed_backbone_learns_and_a_frozen_one_does_not() -> None:
    tested = model()
    optimizer = AdamW(lr=0.1).build(Transfer().groups(tested, 0.0))
    inputs = example_inputs(VIEWS, 4)
    for is_frozen in (True, False):
        tested.freeze(is_frozen)
        tested.train()
        before = copy.deepcopy(tested.readers["frames"].state_dict())
        optimizer.zero_grad(set_to_none=True)
        tested({name: x + torch.rand_like(x) for name, x in inputs.items()}).sum().backward()
        optimizer.step()
        after = tested.readers["frames"].state_dict()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert bool(changed) != is_frozen


def test_the_average_follows_the_weights_by_hand() -> None:
    tested = model()
    average = Average(tested, 0.9)
    seen = []
    for step, level in enumerate((1.0, 2.0, 4.0), 1):
        with torch.no_grad():
            tested.head.bias.fill_(level)
        average.update(step)
        seen.append(average.model.get_parameter("head.bias")[0].item())
    # timm's warm-up: the decay of step n is 1 - n ** (-2/3), at most 0.9: 0 and 0.37004.
    second = 1 - 2 ** (-2 / 3)
    third = 1 - 3 ** (-2 / 3)
    expected = [1.0, second * 1 + (1 - second) * 2]
    expected.append(third * expected[1] + (1 - third) * 4)
    assert seen == pytest.approx(expected)
    assert not average.model.training


def test_without_a_decay_the_model_itself_is_scored() -> None:
    tested = model()
    average = Average(tested, 0.0)
    average.update(1)
    assert average.model is tested
