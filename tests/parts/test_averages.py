"""Averages of weights along a training, against means computed by hand."""

from collections.abc import Sequence

import pytest
import torch
from pydantic import ValidationError

from tests.parts.declared import vector
from workbench.parts.averages import EMA, SWA, SWAD, AnyAveraging, Averaging, NoAverage
from workbench.parts.model import MediaModel
from workbench.parts.running_averages import Average, MeanWeights
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.values import kinds

RISING = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Weights of the steps: no two sets of steps have the same mean."""


def model() -> MediaModel:
    """Return a model of a few weights and a batch norm."""
    return MediaModel("test_resnet", {"features": vector(5)}, image_px=32, weights=RANDOM)


def set_to(trained: MediaModel, level: float) -> None:
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.fill_(level)


def level_of(average: Average) -> float:
    """Return the value that all weights of what is scored have."""
    values = torch.cat([p.detach().flatten() for p in average.model.parameters()])
    assert values.max() - values.min() < 1e-5 * values.max()
    return float(values[0])


def walked(
    spec: Averaging, losses: Sequence[float], *, levels: Sequence[float] = RISING
) -> list[float]:
    """Return what is scored after each step, of which each is an epoch with its loss."""
    trained = model()
    average = spec.begin(trained, num_epochs=len(losses))
    seen = []
    for epoch, (level, loss) in enumerate(zip(levels, losses, strict=False), 1):
        set_to(trained, level)
        average.after_step(epoch)
        average.after_loss(loss)
        average.after_epoch(epoch)
        seen.append(level_of(average))
    return seen


def mean(*levels: float) -> float:
    return sum(levels) / len(levels)


def test_the_moving_average_follows_the_weights_by_hand() -> None:
    tested = model()
    average = EMA(decay=0.9).begin(tested, num_epochs=1)
    seen = []
    for step, level in enumerate((1.0, 2.0, 4.0), 1):
        with torch.no_grad():
            tested.get_parameter("head.bias").fill_(level)
        average.after_step(step)
        seen.append(average.model.get_parameter("head.bias")[0].item())
    # timm's warm-up: the decay of step n is 1 - n ** (-2/3), at most 0.9: 0 and 0.37004.
    second = 1 - 2 ** (-2 / 3)
    third = 1 - 3 ** (-2 / 3)
    expected = [1.0, second * 1 + (1 - second) * 2]
    expected.append(third * expected[1] + (1 - third) * 4)
    assert seen == pytest.approx(expected)
    assert not average.model.training


def test_without_an_average_the_model_itself_is_scored() -> None:
    tested = model()
    average = NoAverage().begin(tested, num_epochs=1)
    average.after_step(1)
    assert not average.after_epoch(1)
    assert average.model is tested


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.5, [1, 2, 4, 8, mean(8, 16), mean(8, 16, 32)]),
        (0.01, [1, 2, 4, 8, 16, mean(16, 32)]),  # at least two
        (1.0, [1, mean(1, 2), mean(1, 2, 4), mean(1, 2, 4, 8), 31 / 5, 63 / 6]),
    ],
)
def test_swa_is_the_mean_of_the_last_epochs(share: float, expected: list[float]) -> None:
    assert walked(SWA(last_share=share), [0.0] * 6) == pytest.approx(expected)


def test_swa_takes_the_weights_at_the_end_of_an_epoch_alone() -> None:
    trained = model()
    average = SWA(last_share=1.0).begin(trained, num_epochs=2)
    for epoch, levels in enumerate(((1.0, 3.0), (50.0, 5.0)), 1):
        for level in levels:
            set_to(trained, level)
            average.after_step(epoch)
        assert average.after_epoch(epoch)
    assert level_of(average) == pytest.approx(4)
    assert level_of(Average(trained)) == 5


def test_swa_of_a_linear_head_on_frozen_features_is_the_mean_of_the_epochs_logits() -> None:
    trained = model()
    trained.freeze(True)
    average = SWA(last_share=1.0).begin(trained, num_epochs=3)
    inputs, logits = {"features": torch.rand(6, 5)}, []
    for epoch in (1, 2, 3):
        for parameter in trained.head.parameters():
            torch.nn.init.normal_(parameter)
        average.after_epoch(epoch)
        logits.append(trained.eval()(inputs).detach())
    mean_logits = torch.stack(logits).mean(0)
    assert not torch.allclose(mean_logits, logits[-1], atol=0.01)
    torch.testing.assert_close(average.model.eval()(inputs).detach(), mean_logits)


def valley(tolerance: float = 1.5, start: int = 2, end: int = 2) -> SWAD:
    return SWAD(start_patience=start, end_patience=end, tolerance=tolerance, losses_per_epoch=1)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        # Falling: no loss is less than the one after it, so no valley begins.
        ([5, 4, 3, 2], [1, 2, 4, 8]),
        # It begins at the second step, whose loss is no more than that of the third.
        ([5, 4, 4], [1, 2, mean(2, 4)]),
        # The limit is 1.5 x (4 + 6) / 2 = 7.5: 8 alone does not end it, and the next is within.
        ([5, 4, 6, 8, 7], [1, 2, mean(2, 4), mean(2, 4, 8), mean(2, 4, 8, 16)]),
        # Two above it in a row do: what came before them is left, whatever follows.
        ([5, 4, 6, 8, 9, 1, 1], [1, 2, 3, mean(2, 4, 8), 3, 3, 3]),
        # A loss on the limit is within.
        ([4, 6, 7.5, 7.5, 7.5], [1, mean(1, 2), mean(1, 2, 4), 15 / 4, 31 / 5]),
        # Once begun, a lower loss does not begin it anew.
        ([4, 6, 1, 1], [1, mean(1, 2), mean(1, 2, 4), 15 / 4]),
    ],
)
def test_swad_is_the_mean_over_the_valley(losses: list[float], expected: list[float]) -> None:
    assert walked(valley(), losses) == pytest.approx(expected)


def test_a_loss_of_the_beginning_that_is_above_the_limit_counts_to_its_end() -> None:
    # Mean 2, limit 2: the third loss of the beginning is above it, and so are the two after it.
    spec = valley(tolerance=1.0, start=3, end=3)
    assert walked(spec, [1, 1, 4, 4, 4, 1]) == pytest.approx([1, 2, 7 / 3, 15 / 4, 1.5, 1.5])


def by_the_paper(losses: Sequence[float], start: int, end: int, tolerance: float) -> list[int]:
    """Return the steps that algorithm 1 of the paper averages, each with a loss, from 1."""
    limit, first, last = None, 0, len(losses)
    for i in range(1, len(losses) + 1):
        if limit is None:
            window = losses[max(0, i - start) : i]
            if i >= start and window[0] == min(window):
                first, limit = i - start + 1, tolerance * sum(window) / start
        elif i >= end and limit < min(losses[i - end : i]):
            last = i - end
            break
    return [] if limit is None else list(range(first, last + 1))


@pytest.mark.parametrize("seed", range(30))
def test_swad_averages_the_steps_of_the_papers_algorithm(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start, end = [(1, 1), (2, 2), (2, 3), (3, 3), (3, 5)][seed % 5]
    drawn = torch.rand(14, generator=generator) + torch.linspace(1.0, 0.3 * (seed % 4), 14)
    losses, levels = drawn.tolist(), [float(2**number) for number in range(14)]
    spec = SWAD(start_patience=start, end_patience=end, tolerance=1.1)
    steps = by_the_paper(losses, start, end, 1.1)
    expected = mean(*(levels[step - 1] for step in steps)) if steps else levels[-1]
    assert walked(spec, losses, levels=levels)[-1] == pytest.approx(expected)


def test_the_steps_up_to_a_loss_count_with_it() -> None:
    trained = model()
    spec = SWAD(start_patience=1, end_patience=1, tolerance=1.5, losses_per_epoch=2)
    average = spec.begin(trained, num_epochs=1)
    losses = iter((1.0, 9.0))
    for batch, level in enumerate(RISING[:5], 1):
        set_to(trained, level)
        average.after_step(batch)
        if average.wants_loss(batch, 5):
            average.after_loss(next(losses))
    average.after_epoch(1)
    # Measured after batches 3 and 5; the latter ended the valley.
    assert next(losses, None) is None
    assert level_of(average) == pytest.approx(mean(1, 2, 4))


@pytest.mark.parametrize(
    ("often", "num_batches", "expected"),
    [(1, 4, [4]), (2, 5, [3, 5]), (4, 4, [1, 2, 3, 4]), (9, 3, [1, 2, 3]), (3, 1, [1])],
)
def test_losses_are_measured_evenly_and_after_the_last_batch(
    often: int, num_batches: int, expected: list[int]
) -> None:
    average = SWAD(losses_per_epoch=often).begin(model(), num_epochs=1)
    batches = range(1, num_batches + 1)
    assert [batch for batch in batches if average.wants_loss(batch, num_batches)] == expected


@pytest.mark.parametrize("cut", range(1, 7))
@pytest.mark.parametrize("kind", ["swa", "swad"])
def test_an_average_goes_on_to_the_same_bits(kind: str, cut: int) -> None:
    spec: Averaging = SWA(last_share=0.6) if kind == "swa" else valley(end=3)
    losses = (5.0, 4.0, 6.0, 8.0, 8.5, 9.0, 1.0)
    trained = model()
    whole, first = (spec.begin(trained, num_epochs=7) for _ in range(2))
    for epoch, (level, loss) in enumerate(zip(RISING, losses, strict=False), 1):
        set_to(trained, level / 3)
        for average in (whole, first):
            average.after_step(epoch)
            average.after_loss(loss)
            average.after_epoch(epoch)
        if epoch == cut:
            kept = first.state()
            first = spec.begin(trained, num_epochs=7)
            first.restore(kept)
        one, two = (average.model.state_dict() for average in (whole, first))
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert level_of(whole) != level_of(Average(trained))


SPECS: list[Averaging] = [NoAverage(), EMA(), SWA(), SWAD(), SWAD(start_patience=1)]


def test_all_are_looked_at() -> None:
    assert {spec.kind for spec in SPECS} == set(kinds(AnyAveraging))


@pytest.mark.parametrize("spec", SPECS)
def test_every_average_keeps_the_copies_that_it_says(spec: Averaging) -> None:
    trained = model()
    average = spec.begin(trained, num_epochs=8)
    most, num = 0, sum(p.numel() for p in trained.parameters())
    for epoch, level in enumerate(RISING[:8], 1):
        set_to(trained, level)
        average.after_step(epoch)
        most = max(most, numbers_kept(average, trained) // num)
        average.after_loss(1.0 if epoch < 5 else 2.0)
        average.after_epoch(epoch)
    assert spec.num_copies - 1 <= most <= spec.num_copies


def numbers_kept(average: Average, trained: MediaModel) -> int:
    """Return how many numbers an average has in tensors of its own."""
    found: dict[int, int] = {}
    waiting: list[object] = [vars(average)]
    while waiting:
        match waiting.pop():
            case torch.nn.Module() as own if own is not trained:
                waiting.append(list(own.parameters()))
            case torch.Tensor() as tensor:
                found[id(tensor)] = tensor.numel()
            case dict() as tree:
                waiting += tree.values()
            case list() | tuple() as several:
                waiting += several
            case MeanWeights() as mean_of_some:
                waiting.append(mean_of_some.values)
    return sum(found.values())


def test_both_spellings_of_a_moving_average_are_one() -> None:
    assert Transfer(ema_decay=0.9) == Transfer(average=EMA(decay=0.9))
    assert Transfer(average=EMA(decay=0.9)).ema_decay == 0.9
    again = Transfer.model_validate(Transfer(ema_decay=0.9).model_dump())
    assert again == Transfer(ema_decay=0.9)
    assert Transfer().average == NoAverage()


@pytest.mark.parametrize("average", [SWA(), SWAD(), EMA(decay=0.5)])
def test_two_averages_are_refused(average: AnyAveraging) -> None:
    with pytest.raises(ValidationError, match="ask for two averages"):
        Transfer(ema_decay=0.9, average=average)


def test_a_valley_that_may_end_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="`end_patience` is below `start_patience`"):
        SWAD(start_patience=4, end_patience=3)
