import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from workbench.parts.optimizers import SGD, Adam, AdamW, AnyOptimizer, Optimizer
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


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"lr": -1}, {"lr": 1, "momentum": 0.5}, {}])
def test_an_impossible_setting_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        make("adam", **wrong)
