"""Freezing, layer-wise learning rates and averaged weights."""

import copy
from itertools import pairwise

import pytest
import torch

from tests.parts.declared import picture, vector
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.transfer import Transfer
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


def test_samples_skip_blocks_in_training_alone_and_weights_stay() -> None:
    tested = model()
    for layer in tested.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(layer.weight)  # timm's blocks begin as nothing, skipped or not
    weights = copy.deepcopy(tested.state_dict())
    inputs = {name: x + torch.rand_like(x) for name, x in example_inputs(VIEWS, 4).items()}
    with torch.no_grad():
        before = tested.eval()(inputs)
        Transfer(stochastic_depth=0.5).skip_blocks(tested, {"frames": "test_resnet"})
        assert torch.equal(tested.eval()(inputs), before)
        after = tested.state_dict()
        assert all(torch.equal(after[name], weights[name]) for name in weights)
        torch.manual_seed(0)
        passes = [tested.train()(inputs) for _ in range(2)]
    assert not torch.equal(*passes)  # all else that draws is off


def test_a_backbone_without_such_blocks_is_trained_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tested = MediaModel("densenet121", VIEWS, image_px=64, weights=RANDOM)
    before = [*tested.modules()]
    Transfer(stochastic_depth=0.5).skip_blocks(tested, {"frames": "densenet121"})
    assert [*tested.modules()] == before
    assert "densenet121 is trained without stochastic depth" in capsys.readouterr().out
