"""How a step goes over the parameters: each way the same, with late layers, stops and restarts."""

import io
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch

from workbench.parts.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    ParamGroup,
    RAdam,
    Steps,
    Timm,
    lay_out_as_parameters,
    restore,
)

EVERY: tuple[Steps, ...] = ("torch", "foreach", "fused")
RECIPES: dict[str, Optimizer] = {
    "adam": Adam(lr=0.01, weight_decay=0.01),
    "adamw": AdamW(lr=0.01, weight_decay=0.01, decay_norms=False),
    "radam": RAdam(lr=0.01),
    "momentum": SGD(lr=0.01),
    "nesterov": SGD(lr=0.01, nesterov=True),
    "plain": SGD(lr=0.01, momentum=0),
    **{name: Timm(name=name, lr=0.01) for name in ("lion", "lamb", "nadamw", "muon", "radamw")},
}


class Going:
    """A small network of which the lower half begins to learn at step 2."""

    LATE = 2

    def __init__(self, recipe: Optimizer, steps: Steps) -> None:
        torch.manual_seed(0)
        self._low = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._head = torch.nn.Linear(4, 2)
        self._recipe = recipe
        groups: list[ParamGroup] = [
            {"params": list(self._low.parameters()), "lr_scale": 0.5},
            {"params": list(self._head.parameters())},
        ]
        self.optimizer = recipe.build(groups, steps=steps)

    def steps(self, numbers: Sequence[int]) -> "Going":
        for number in numbers:
            self._low.requires_grad_(number >= self.LATE)
            self._recipe.set_lr(self.optimizer, 1 / (number + 1))
            self.optimizer.zero_grad(set_to_none=True)
            x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(number))
            self._head(self._low(x).mean(dim=(2, 3))).square().sum().backward()
            self.optimizer.step()
        return self

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint holds, as it is read from a file."""
        file = io.BytesIO()
        state = {"low": self._low.state_dict(), "head": self._head.state_dict()}
        torch.save({**state, "optimizer": self.optimizer.state_dict()}, file)
        file.seek(0)
        read: dict[str, Any] = torch.load(file, weights_only=True)
        return read

    def after(self, kept: dict[str, Any]) -> "Going":
        self._low.load_state_dict(kept["low"])
        self._head.load_state_dict(kept["head"])
        restore(self.optimizer, kept["optimizer"])
        return self

    def weights(self) -> torch.Tensor:
        every = [*self._low.parameters(), *self._head.parameters()]
        return torch.cat([p.detach().flatten() for p in every])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("steps", EVERY)
def test_layers_that_learn_late_and_a_stop_at_any_step_change_nothing(
    name: str, steps: Steps
) -> None:
    recipe = RECIPES[name]
    whole = Going(recipe, steps).steps(range(5)).weights()
    torch.testing.assert_close(whole, Going(recipe, "torch").steps(range(5)).weights())
    for stop in (1, 2, 3):
        kept = Going(recipe, steps).steps(range(stop)).kept()
        again = Going(recipe, steps).after(kept).steps(range(stop, 5))
        assert torch.equal(again.weights(), whole)


@pytest.mark.parametrize("name", RECIPES)
def test_a_trial_goes_on_where_steps_go_otherwise(name: str) -> None:
    # From a GPU to a CPU, or from a version that took one kernel for all.
    recipe = RECIPES[name]
    whole = Going(recipe, "torch").steps(range(5)).weights()
    for before, after in product(EVERY, EVERY):
        kept = Going(recipe, before).steps(range(3)).kept()
        again = Going(recipe, after).after(kept).steps(range(3, 5))
        torch.testing.assert_close(again.weights(), whole)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_what_an_older_version_kept_of_one_kernel_does_not_bring_it_back(
    kind: type[SGD] | type[Adam] | type[AdamW],
) -> None:
    recipe = kind(lr=0.01)
    going = Going(recipe, "torch").steps(range(Going.LATE))
    kept = going.kept()
    for group in kept["optimizer"]["param_groups"]:
        group["fused"] = True
    again = Going(recipe, "foreach").after(kept)
    assert all(not group["fused"] for group in again.optimizer.param_groups)
    # One kernel of SGD would find momenta of the head, and none of the layers that join it now.
    again.steps(range(Going.LATE, 5))
    torch.testing.assert_close(again.weights(), going.steps(range(Going.LATE, 5)).weights())


def test_one_kernel_is_for_what_can_be_joined_by_layers_that_learn_late() -> None:
    w = torch.nn.Parameter(torch.ones(2))
    for recipe in (Adam(lr=0.1), AdamW(lr=0.1)):
        assert recipe.build([w], steps="fused").defaults["fused"] is True
    for other in (SGD(lr=0.1), SGD(lr=0.1, momentum=0), RAdam(lr=0.1)):
        made = other.build([w], steps="fused").defaults
        assert (made.get("fused"), made["foreach"]) == (None, True)


def test_what_is_kept_lies_as_its_parameter_does() -> None:
    w = torch.nn.Parameter(torch.rand(4, 3, 5, 5))
    optimizer = Adam(lr=0.1).build([w])
    w.grad = torch.rand_like(w)
    optimizer.step()
    before = {key: value.clone() for key, value in optimizer.state[w].items()}
    w.data = w.data.to(memory_format=torch.channels_last)
    lay_out_as_parameters(optimizer)
    for key, value in optimizer.state[w].items():
        assert torch.equal(value, before[key])
        assert value.dim() == 0 or value.stride() == w.stride()
