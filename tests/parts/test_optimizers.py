import re

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from workbench.errors import ConfigError
from workbench.parts.optimizers import (
    SGD,
    Adam,
    AdamW,
    AnyOptimizer,
    Optimizer,
    ParamGroup,
    RAdam,
    Steps,
    Timm,
)
from workbench.values import kinds

OPTIMIZERS = kinds(AnyOptimizer)


def make(kind: str, **settings: float) -> Optimizer:
    optimizer: Optimizer = TypeAdapter(AnyOptimizer).validate_python({"kind": kind, **settings})
    return optimizer


def step(optimizer: Optimizer, start: float, gradient: float) -> float:
    """Where one parameter at `start` is after one step along `gradient`."""
    w = torch.nn.Parameter(torch.tensor([float(start)]))
    w.grad = torch.tensor([float(gradient)])
    optimizer.build([w]).step()
    return w.item()


def small_net() -> torch.nn.Module:
    """A linear layer and a norm: one matrix, three vectors."""
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))


def trained(optimizer: torch.optim.Optimizer, w: torch.Tensor, steps: int) -> list[float]:
    """Where `w` is after `steps` steps down the bowl of (w - 1)^2."""
    for _ in range(steps):
        optimizer.zero_grad()
        ((w - 1) ** 2).sum().backward()
        optimizer.step()
    return [float(x) for x in w.detach().flatten()]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_each_kind_goes_down_a_bowl(kind: str) -> None:
    w = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = make(kind, lr=0.05).build([w])
    for _ in range(300):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
    assert w.abs().max() < 0.1


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_settings_reach_torch(kind: str) -> None:
    w = torch.nn.Parameter(torch.zeros(1))
    (group,) = make(kind, lr=0.03, weight_decay=0.2).build([w]).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.2)
    assert group["params"] == [w]


def test_first_steps_worked_by_hand() -> None:
    # Adam's first step is the sign of the gradient, here of 2 + 0.5 * 4 (decay is a penalty).
    assert step(Adam(lr=0.1, weight_decay=0.5), 4, 2) == pytest.approx(3.9)
    assert step(Adam(lr=0.1, weight_decay=0.5), 4, -1) == pytest.approx(3.9)
    # AdamW shrinks the weight by lr * decay, whatever the gradient.
    assert step(AdamW(lr=0.1, weight_decay=0.5), 4, -1) == pytest.approx(4 * 0.95 + 0.1)
    assert step(SGD(lr=0.1, weight_decay=0.5), 4, 2) == pytest.approx(4 - 0.1 * (2 + 0.5 * 4))
    # RAdam's first steps, before the variance can be told, are plain descent.
    assert step(RAdam(lr=0.1, weight_decay=0.5), 4, 2) == pytest.approx(4 - 0.1 * (2 + 0.5 * 4))
    # Lion's are signs, with decoupled decay.
    assert step(Timm(name="lion", lr=0.1, weight_decay=0.5), 4, -1) == pytest.approx(4 * 0.95 + 0.1)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_worked_by_hand(nesterov: bool) -> None:
    w = torch.nn.Parameter(torch.tensor([0.0]))
    optimizer = SGD(lr=1.0, momentum=0.5, nesterov=nesterov).build([w])
    for _ in range(2):
        w.grad = torch.tensor([1.0])
        optimizer.step()
    # Plain: 1, then 1 + 0.5. Nesterov looks ahead: 1 + 0.5 * 1, then 1 + 0.5 * 1.5.
    assert w.item() == pytest.approx(-(1.5 + 1.75) if nesterov else -(1 + 1.5))


def test_nesterov_without_momentum_is_plain_descent() -> None:
    assert step(SGD(lr=0.1, momentum=0, nesterov=True), 1, 1) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("adam", Adam(lr=0.1, weight_decay=0.1)),
        ("adamw", AdamW(lr=0.1, weight_decay=0.1)),
        ("radam", RAdam(lr=0.1, weight_decay=0.1)),
        ("momentum", SGD(lr=0.1, weight_decay=0.1, momentum=0.9)),
        ("nesterov", SGD(lr=0.1, weight_decay=0.1, momentum=0.9, nesterov=True)),
    ],
)
def test_ours_walk_as_timms_of_the_same_name(name: str, same: Optimizer) -> None:
    ways = []
    for optimizer in (Timm(name=name, lr=0.1, weight_decay=0.1), same):
        w = torch.nn.Parameter(torch.tensor([[3.0, -2.0]]))
        ways.append(trained(optimizer.build([w]), w, steps=12))
    assert ways[0] == pytest.approx(ways[1], rel=1e-5)


def test_timms_names_are_different_optimizers() -> None:
    ways = set()
    names = ["lion", "lamb", "muon", "nadamw", "adafactor", "adan", "lars"]
    for name in names:
        w = torch.nn.Parameter(torch.tensor([[3.0, -2.0], [0.5, 4.0]]))
        start = w.detach().flatten().tolist()
        way = trained(Timm(name=name, lr=0.01, weight_decay=0.01).build([w]), w, steps=3)
        assert way != start, name
        ways.add(tuple(way))
    assert len(ways) == len(names)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lionn", "timm has no optimizer of this name. Near it: lion, "),
        ("AdamW", "timm has no optimizer of this name"),
        ("", "timm has no optimizer of this name"),
        ("lookahead_lion", "timm has no optimizer of this name"),
        ("adahessian", "it needs second derivatives"),
        ("bnbadam", "it needs the package bitsandbytes"),
        ("fusedlamb", "it needs the package apex. Near it: "),
    ],
)
def test_a_name_that_timm_cannot_build_is_refused_with_near_ones(name: str, says: str) -> None:
    w = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ConfigError, match=re.escape(f"{name!r}: {says}")) as caught:
        Timm(name=name, lr=0.1).build([w])
    near = str(caught.value).rpartition("Near it: ")[2].rstrip(".").split(", ")
    assert len(near) == 3
    for suggestion in near:
        Timm(name=suggestion, lr=0.1).build([w])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_biases_and_norms_can_be_left_out_of_the_decay(kind: str) -> None:
    net = small_net()
    optimizer = make(kind, lr=0.1, weight_decay=0.2, decay_norms=False).build(net.parameters())
    decay = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    expected = {p: 0.2 if name == "0.weight" else 0 for name, p in net.named_parameters()}
    assert decay == expected
    (group,) = make(kind, lr=0.1, weight_decay=0.2).build(net.parameters()).param_groups
    assert group["weight_decay"] == 0.2
    assert group["params"] == list(net.parameters())


def test_what_does_not_decay_stays_where_no_gradient_pulls() -> None:
    net = small_net()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = AdamW(lr=0.1, weight_decay=0.5, decay_norms=False).build(net.parameters())
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in net.named_parameters():
        factor = 0.95 if name == "0.weight" else 1
        torch.testing.assert_close(p.detach(), before[name] * factor)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_groups_keep_their_settings(kind: str) -> None:
    one, two = small_net(), small_net()
    groups: list[ParamGroup] = [
        {"params": one.parameters(), "lr_scale": 0.5},
        {"params": list(two.parameters()), "weight_decay": 0.0},
    ]
    kept = make(kind, lr=0.1, weight_decay=0.2).build(groups).param_groups
    assert [g["weight_decay"] for g in kept] == [0.2, 0]
    assert [g.get("lr_scale") for g in kept] == [0.5, None]
    assert kept[0]["params"] == list(one.parameters())


def test_groups_without_decay_of_norms_are_split_and_keep_the_rest() -> None:
    one, two = small_net(), small_net()
    groups: list[ParamGroup] = [
        {"params": one.parameters(), "lr_scale": 0.5},
        {"params": [two.get_parameter("1.weight")], "lr_scale": 0.25},
    ]
    kept = AdamW(lr=0.1, weight_decay=0.2, decay_norms=False).build(groups).param_groups
    assert [(g["lr_scale"], g["weight_decay"], len(g["params"])) for g in kept] == [
        (0.5, 0.2, 1),
        (0.5, 0, 3),
        (0.25, 0, 1),
    ]


def test_the_rate_set_for_a_step_is_scaled_by_each_group() -> None:
    near, far = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    recipe = SGD(lr=0.5, momentum=0)
    groups: list[ParamGroup] = [{"params": [far], "lr_scale": 0.1}, {"params": [near]}]
    optimizer = recipe.build(groups)
    recipe.set_lr(optimizer, 0.2)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.01, 0.1])
    near.grad, far.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (far.item(), near.item()) == pytest.approx((-0.01, -0.1))
    recipe.set_lr(optimizer, 0.2)  # not on top of the last one
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize(
    "wrong",
    [{"lr": 0}, {"lr": -1}, {"lr": 1, "momentum": 0.5}, {"lr": 1, "decay_norms": 2}, {}],
)
def test_an_impossible_setting_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        make("adam", **wrong)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_a_step_on_a_cpu_is_torchs_own(kind: str) -> None:
    # There one kernel for all gains next to nothing, or loses.
    w = torch.nn.Parameter(torch.ones(2))
    assert make(kind, lr=0.1).build([w]).defaults["fused"] is None


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("kind", "steps"),
    [(kind, "foreach") for kind in ("adam", "adamw", "radam", "sgd")]
    + [("adam", "fused"), ("adamw", "fused")],
)
def test_a_step_on_a_gpu_goes_the_way_of_one_on_a_cpu(kind: str, steps: Steps) -> None:
    here, there = (torch.nn.Parameter(torch.tensor([3.0, -2.0], device=d)) for d in ("cpu", "cuda"))
    on_gpu = make(kind, lr=0.05, weight_decay=0.1).build([there], steps=steps)
    assert on_gpu.defaults[steps] is True
    plain = make(kind, lr=0.05, weight_decay=0.1).build([here])
    assert trained(on_gpu, there, 20) == pytest.approx(trained(plain, here, 20), rel=1e-4)
