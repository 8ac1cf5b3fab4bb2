"""Averaged weights in a training: what is kept is their mean, with batch norms that fit it."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.parts.declared import picture, vector
from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.averages import SWA, SWAD, AnyAveraging, NoAverage
from workbench.parts.model import MediaModel
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.trial.memory import WHOLE, Plan
from workbench.trial.norms import estimate_norms, training_files
from workbench.trial.training import Training

VIEWS = {"frames": picture(1, 32, 32, 3), "features": vector(5)}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def model(*, frozen: bool = False) -> MediaModel:
    torch.manual_seed(0)
    return MediaModel("test_resnet", VIEWS, image_px=32, weights=RANDOM, frozen=frozen, dropout=0.5)


def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "frames": torch.rand(size, 1, 3, 32, 32, generator=generator),
            "features": torch.randn(size, 5, generator=generator) + size,
        }
        for size in (4, 4, 2)
    ]


def norms_of(part: nn.Module) -> dict[str, Any]:
    return {
        name: layer
        for name, layer in part.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    }


def test_every_norm_keeps_the_mean_over_the_batches_of_what_it_sees() -> None:
    tested = model()
    norms = norms_of(tested)
    seen: dict[str, list[tuple[int, Tensor, Tensor]]] = {}
    assert len(norms) > 5

    def look(name: str) -> None:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().double().transpose(0, 1).flatten(1)
            seen.setdefault(name, []).append((len(inputs[0]), x.mean(1), x.var(1)))

        norms[name].register_forward_pre_hook(hook)

    for name in norms:
        look(name)
    estimate_norms(tested, batches())
    for name, norm in norms.items():
        mean = torch.stack([num * mean for num, mean, _ in seen[name]]).sum(0) / 10
        variance = torch.stack([num * var for num, _, var in seen[name]]).sum(0) / 10
        assert [num for num, _, _ in seen[name]] == [4, 4, 2]
        torch.testing.assert_close(norm.running_mean, mean.float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variance.float(), rtol=1e-4, atol=1e-5)
        assert norm.momentum == 0.1


def test_nothing_but_norms_changes_and_nothing_is_drawn() -> None:
    tested = model()
    before = {name: value.clone() for name, value in tested.state_dict().items()}
    drawn = torch.get_rng_state()
    estimate_norms(tested, batches())
    changed = {n for n, value in tested.state_dict().items() if not torch.equal(value, before[n])}
    kept = ("running_mean", "running_var", "num_batches_tracked")
    assert changed and all(name.endswith(kept) for name in changed)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_norms_of_a_frozen_backbone_stay() -> None:
    tested = model(frozen=True)
    backbone, rest = tested.readers["frames"], tested.readers["features"]
    before = [norm.running_mean.clone() for norm in norms_of(backbone).values()]
    estimate_norms(tested, batches())
    after = [norm.running_mean for norm in norms_of(backbone).values()]
    assert all(map(torch.equal, before, after))
    (norm,) = norms_of(rest).values()
    means = torch.stack([each["features"].mean(0) * len(each["features"]) for each in batches()])
    torch.testing.assert_close(norm.running_mean, means.sum(0) / 10)


def test_without_norms_no_file_is_read() -> None:
    without = MediaModel(
        "test_vit", {"frames": picture(1, 64, 64, 3)}, image_px=160, weights=RANDOM
    )

    def unread() -> Iterator[dict[str, Tensor]]:
        raise AssertionError("a file is read")
        yield {}

    estimate_norms(without, unread())


def training(prepared: Prepared, average: AnyAveraging, *, plan: Plan = WHOLE) -> Training:
    recipe = recipe_for(
        prepared,
        num_epochs=3,
        dropout=0.2,
        augment=Augment(pictures=Pictures(noise=0.5), mixup_alpha=0.4),
        transfer=Transfer(average=average),
    )
    return Training(recipe, prepared, device="cpu", store=None, plan=plan, step=lambda share: None)


def weights(of: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in of.parameters()]


EVERY_STEP = SWAD(start_patience=1, end_patience=100, losses_per_epoch=100)
"""All steps are averaged, since the valley begins with the first and does not end."""


@pytest.mark.parametrize("average", [SWA(last_share=0.5), EVERY_STEP])
def test_the_mean_of_the_weights_is_scored_and_training_goes_on_as_without(
    pictures: Prepared, average: AnyAveraging
) -> None:
    taken: list[list[Tensor]] = []
    states = []
    plain = training(pictures, NoAverage())
    if average == EVERY_STEP:
        plain._average.after_step = lambda step: taken.append(weights(plain._model))  # type: ignore[method-assign]
    for number in (1, 2, 3):
        plain.run_epoch()
        states.append(copy.deepcopy(plain._model.state_dict()))
        if average != EVERY_STEP and number > 1:
            taken.append(weights(plain._model))
    assert len(taken) == (12 if average == EVERY_STEP else 2)
    tested = training(pictures, average)  # after the other: dropout draws for both alike
    for state in states:
        tested.run_epoch()
        assert all(torch.equal(state[n], value) for n, value in tested._model.state_dict().items())
    for mean, *values in zip(weights(tested._average.model), *taken, strict=True):
        torch.testing.assert_close(mean, torch.stack(values).mean(0), rtol=1e-5, atol=1e-6)
    last = tested.epochs[-1]
    assert last.metrics != plain.epochs[-1].metrics
    (scores,) = [tested.predict(each, tested._average.model) for each in tested.measured.sources]
    if tested.best_scores[0].tolist() == scores.tolist():
        kept = tested.best_weights
        assert all(torch.equal(kept[n], v) for n, v in tested._average.model.state_dict().items())


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_norms_of_an_average_are_those_of_the_training_files(
    pictures: Prepared, micro_batch: int | None
) -> None:
    tested = training(pictures, SWA(last_share=1.0), plan=Plan(micro_batch=micro_batch))
    tested.run_epoch()
    tested.run_epoch()
    averaged = tested._average.model
    kept = {name: norm.running_mean.clone() for name, norm in norms_of(averaged).items()}
    files = list(training_files(tested._train, tested.recipe, tested.plan))
    sizes = [len(part["image"]) for part in files]
    assert sum(sizes) == tested._train.num_samples and max(sizes) == (micro_batch or 4)
    first = next(iter(norms_of(averaged)))
    inputs: list[Tensor] = []
    norms_of(averaged)[first].register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    averaged.train()
    with torch.no_grad():
        for part in files:
            averaged(part)
    means = [x.mean((0, 2, 3)) * size for x, size in zip(inputs, sizes, strict=True)]
    torch.testing.assert_close(kept[first], torch.stack(means).sum(0) / sum(sizes))
