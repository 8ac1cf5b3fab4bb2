import re

import torch
from torch import Tensor, nn

from workbench.rules.counts import count, counted_by
from workbench.rules.subject import Counts


class Scaled(nn.Module):
    """A layer of a type that thop does not know, beside one that it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(7))
        self.linear = nn.Linear(7, 3)
        self.norm = nn.BatchNorm1d(3, affine=False)  # its statistics are no parameters
        self.register_buffer("hidden", torch.zeros(100))
        self.register_buffer("mask", torch.zeros(50), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x * self.scale)
        return out


class Reading(Scaled):
    """A model that reads a value, which no meta tensor has."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 if x.sum().item() > 0 else 2)


class Broken(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :5])


def test_thop_leaves_out_the_types_it_does_not_know() -> None:
    # The linear layer has 7 x 3 weights and 3 biases; the scale has 7 more, and the buffer that
    # the file of weights holds 100. Of the multiplications thop counts the linear layer's 7 x 3.
    counts = count(Scaled, torch.ones(1, 7))
    assert counts == Counts(thop=24, true=131, macs=21, in_buffers=100, made_by_code=50)
    assert counts.larger == 131


def test_frozen_parameters_count_and_shared_ones_count_once() -> None:
    def build() -> nn.Module:
        first, second = nn.Linear(5, 5), nn.Linear(5, 5)
        second.weight = first.weight
        return nn.Sequential(first, second).requires_grad_(False)

    counts = count(build, torch.ones(1, 5))
    assert counts.true == 5 * 5 + 5 + 5
    assert counts.thop == 2 * (5 * 5 + 5)
    assert counts.larger == 60


def test_a_model_that_the_meta_device_cannot_run_is_counted_on_the_cpu() -> None:
    counts = count(Reading, torch.ones(1, 7))
    assert counts == Counts(thop=24, true=131, macs=21, in_buffers=100, made_by_code=50)


def test_a_model_that_cannot_run_keeps_its_true_count() -> None:
    counts = count(Broken, torch.ones(1, 7))
    assert counts == Counts(thop=None, true=131, in_buffers=100, made_by_code=50)
    assert counts.larger == 131


def test_weights_in_buffers_of_a_made_up_norm_count() -> None:
    class Norm(nn.Module):
        """Its statistics are more than it has channels."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("running_mean", torch.zeros(3))
            self.register_buffer("running_var", torch.zeros(3, 40))
            self.register_buffer("levels", torch.zeros(60, dtype=torch.int8))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    counts = count(Norm, torch.ones(1, 3))
    assert (counts.true, counts.in_buffers) == (3 + 120 + 60, 120 + 60)


def test_a_buffer_that_two_modules_share_counts_once() -> None:
    def build() -> nn.Module:
        first, second = nn.Identity(), nn.Identity()
        table = torch.zeros(9)
        first.register_buffer("table", table)
        second.register_buffer("table", table)
        return nn.Sequential(first, second)

    assert count(build, torch.ones(1, 3)).true == 9


def test_a_model_of_several_inputs_is_counted() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            out: Tensor = self.linear(inputs["a"] + inputs["b"])
            return out

    inputs = {"a": torch.ones(1, 4), "b": torch.ones(1, 4)}
    assert count(Two, inputs) == Counts(thop=10, true=10, macs=8)


def test_counting_leaves_no_buffers_in_a_model_that_is_kept() -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(Scaled())
        return Scaled()

    count(build, torch.ones(1, 7))
    assert all("total_ops" not in name for model in made for name in model.state_dict())


def test_the_package_that_counts_is_named_with_its_version() -> None:
    # Forks have other names, and the same module.
    assert re.fullmatch(r"[\w.-]*thop[\w.-]* \d[\w.-]*", counted_by())
