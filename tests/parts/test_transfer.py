"""Freezing, layer-wise learning rates and averaged weights."""

import copy
from itertools import pairwise
from typing import Literal

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


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("scope", ["norms", "last_block"])
def test_of_a_backbone_its_norms_or_its_last_block_learn(
    backbone: str, scope: Literal["norms", "last_block"]
) -> None:
    tested = MediaModel(backbone, VIEWS, image_px=160, weights=RANDOM)
    transfer = Transfer(scope=scope)
    transfer.freeze(tested, False)
    reader = tested.readers["frames"]
    assert isinstance(reader, PictureReader)
    network = reader.backbone
    learns = {name for name, p in network.named_parameters() if p.requires_grad}
    if scope == "norms":
        norms = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
        of_norms = [name for name, layer in network.named_modules() if isinstance(layer, norms)]
        assert learns == {f"{name}.{kind}" for name in of_norms for kind in ("weight", "bias")}
    else:
        assert any(dict(network.named_parameters())[name].ndim > 1 for name in learns)
        last = LAST_BLOCK[backbone]
        assert learns == {name for name, _ in network.named_parameters() if name.startswith(last)}
    assert all(p.requires_grad for p in [*tested.head.parameters()])
    groups = transfer.groups(tested, 0.1)
    held = {id(p) for group in groups for p in group["params"]}
    assert held == {id(p) for p in tested.parameters() if p.requires_grad}
    transfer.freeze(tested, True)
    assert not any(p.requires_grad for p in network.parameters())


LAST_BLOCK = {
    "test_resnet": ("layer4.0",),
    "test_vit": ("blocks.5", "norm", "fc_norm"),
    "test_convnext": ("stages.3.blocks.1", "head.norm"),
}


def test_norms_below_the_last_block_keep_their_averages() -> None:
    tested = model()
    Transfer(scope="last_block").freeze(tested, False)
    tested.train()
    before = copy.deepcopy(dict(tested.readers["frames"].named_buffers()))
    inputs = {name: x + torch.rand_like(x) for name, x in example_inputs(VIEWS, 4).items()}
    tested(inputs)
    after = dict(tested.readers["frames"].named_buffers())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("backbone.layer4.0") for name in changed)
    Transfer().freeze(tested, False)
    assert all(layer.training for layer in tested.train().modules())


def test_samples_skip_the_last_block_where_it_alone_learns() -> None:
    tested = model()
    transfer = Transfer(scope="last_block", stochastic_depth=0.5)
    transfer.skip_blocks(tested, {"frames": "test_resnet"})
    transfer.freeze(tested, False)
    tested.train()
    skipping = {
        name.split(".")[3]: layer.training
        for name, layer in tested.named_modules()
        if name.endswith(".drop_path")
    }
    assert skipping == {"layer2": False, "layer3": False, "layer4": True}


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
