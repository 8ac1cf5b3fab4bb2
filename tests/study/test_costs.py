"""What a trial is expected to cost: values worked out by hand."""

from dataclasses import replace

import pytest

from workbench.media.audio_features import Features
from workbench.media.image import Image
from workbench.parts.gradient import Gradient
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.searching.costs import (
    Past,
    Wanted,
    epoch_work,
    past_of,
    predict_cost,
    wanted_of,
)
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result
from workbench.trial.sampling import Sampling
from workbench.trial.training_spec import TrainingSpec

RECIPE = Recipe(
    data="d",
    model=ModelSpec(
        views={"image": Image(image_px=64)},
        backbone="resnet18",
        weights=RANDOM,
        image_px=64,
    ),
    training=TrainingSpec(
        optimizer=AdamW(lr=1e-3),
        batch_size=8,
        num_epochs=4,
    ),
)


def past(
    seconds: float,
    work: float,
    *,
    backbone: str = "a",
    image_px: int = 64,
    num_epochs: int = 2,
    batch_size: int = 8,
    estimated: int | None = None,
    peak: int | None = None,
) -> Past:
    return Past(
        backbone=backbone,
        views=("image",),
        image_px=image_px,
        batch_size=batch_size,
        num_epochs=num_epochs,
        work=work,
        estimated_memory_bytes=estimated,
        seconds=seconds,
        peak_memory_bytes=peak,
    )


WANTED = Wanted(backbone="a", views=("image",), image_px=64, batch_size=8, num_epochs=4, work=400.0)


def test_before_the_first_epoch_nothing_is_told() -> None:
    assert predict_cost([], WANTED) is None


def test_trials_of_the_same_kind_give_their_median_pace() -> None:
    # 0.1, 0.12 and 0.4 seconds a unit; the other size and the other backbone have no say.
    trials = [past(10, 100), past(24, 200), past(40, 100), past(900, 100, image_px=128)]
    predicted = predict_cost([*trials, past(900, 100, backbone="b")], WANTED)
    assert predicted is not None
    assert predicted.seconds == pytest.approx(48)
    assert predicted.epoch_seconds == pytest.approx(12)
    # Off by 1/6, 0 and 7/3: the median.
    assert predicted.spread == pytest.approx(1 / 6)


def test_of_a_kind_not_seen_yet_its_backbone_tells() -> None:
    trials = [past(50, 100, image_px=128), past(900, 100, backbone="b")]
    predicted = predict_cost(trials, WANTED)
    assert predicted is not None
    assert predicted.seconds == pytest.approx(200)
    assert predicted.spread is None  # one trial does not say how sure it is


def test_of_another_backbone_the_line_through_all_epochs_tells() -> None:
    # Epochs of 5 + 0.1 * work seconds, and one that was held up.
    trials = [
        past(2 * (5 + 0.1 * work), 2 * work, backbone=f"b{work}") for work in (10, 100, 200, 400)
    ]
    trials.append(past(10_000, 2 * 150, backbone="held up"))
    predicted = predict_cost(trials, WANTED)
    assert predicted is not None
    assert predicted.epoch_seconds == pytest.approx(15)
    assert predicted.seconds == pytest.approx(60)
    assert predicted.spread == pytest.approx(0, abs=1e-9)


def test_more_work_never_takes_less_time() -> None:
    # The smaller one took longer: a line would fall below zero.
    trials = [past(20, 100, backbone="b"), past(10, 1000, backbone="c")]
    few, much = (predict_cost(trials, replace(WANTED, work=work)) for work in (4.0, 1e6))
    assert few is not None
    assert much is not None
    assert 0 < few.seconds <= much.seconds


def test_a_line_through_zero_where_a_fit_would_begin_below_it() -> None:
    # Epochs of 1 s for 10 and 10 s for 50: the line begins at -1.25, its like through 0 is taken.
    trials = [past(1, 10, backbone="b", num_epochs=1), past(10, 50, backbone="c", num_epochs=1)]
    predicted = predict_cost(trials, replace(WANTED, work=100.0, num_epochs=1))
    assert predicted is not None
    assert predicted.seconds == pytest.approx(15)  # the median of 0.1 and 0.2 a unit


def test_memory_is_what_was_counted_and_what_the_worst_took_beyond_it() -> None:
    counted = replace(WANTED, estimated_memory_bytes=1000)
    only = predict_cost([past(10, 100, estimated=500)], counted)
    assert only is not None
    assert only.memory_bytes == 1000
    measured = [past(10, 100, estimated=500, peak=600), past(10, 100, estimated=500, peak=450)]
    worst = predict_cost(measured, counted)
    assert worst is not None
    assert worst.memory_bytes == 1200


def test_memory_that_nobody_counted_is_that_of_its_own_kind_for_its_batch() -> None:
    trials = [past(10, 100, peak=600), past(10, 100, peak=900, backbone="b")]
    same, twice = (predict_cost(trials, replace(WANTED, batch_size=b)) for b in (4, 16))
    assert same is not None
    assert twice is not None
    assert same.memory_bytes == 600
    assert twice.memory_bytes == 1200
    larger = predict_cost([replace(trials[0], train_px=32)], replace(WANTED, train_px=64))
    assert larger is not None
    assert larger.memory_bytes == 2400  # four times the pixels
    unseen = predict_cost(trials, replace(WANTED, image_px=128))
    assert unseen is not None
    assert unseen.memory_bytes is None


def test_a_prediction_reads_as_a_person_would_say_it() -> None:
    predicted = predict_cost([past(10, 100)], replace(WANTED, estimated_memory_bytes=5 * 2**28))
    assert str(predicted) == "about 40.0 s, 1.2 GiB"
    assert str(predict_cost([past(10, 100)], WANTED)) == "about 40.0 s"


def test_only_whole_epochs_count_and_those_of_a_failed_trial_too() -> None:
    epochs = tuple(
        Epoch(epoch=n, train_loss=1, lr=1, metrics={}, objective=0.5, seconds=3.0) for n in (1, 2)
    )
    failed = Result(recipe="r", state="failed", epochs=epochs, seconds=100.0)
    found = past_of(RECIPE, failed, [10.0, 10.0])
    assert found is not None
    assert (found.num_epochs, found.work, found.seconds) == (2, 20.0, 6.0)
    predicted = predict_cost([found], wanted_of(RECIPE, 10.0))
    assert predicted is not None
    assert predicted.seconds == pytest.approx(12)  # four epochs
    assert past_of(RECIPE, Result(recipe="r", state="failed"), []) is None


def test_the_work_of_an_epoch_is_counted() -> None:
    # A hidden layer of 64 on V values, and a head of two classes on those 64.
    view = Features()
    recipe = RECIPE.replaced(views={"features": view})
    sample = view.shape[0] * 64 + 64 * 2
    assert epoch_work(recipe, num_train=10, num_scored=4) == (3 * 10 + 4) * sample
    half = recipe.replaced(sampling=Sampling(subset=0.5), tta="six")
    assert epoch_work(half, num_train=10, num_scored=4) == (3 * 5 + 6 * 4) * sample
    few = recipe.replaced(sampling=Sampling(subset=2), frozen=True)
    assert epoch_work(few, num_train=10, num_scored=4) == (2 + 4) * sample
    grown = recipe.replaced(image_px=64, num_epochs=2, train_size=TrainSize(first=0.5))
    assert epoch_work(grown, num_train=8, num_scored=4) == (3 * 8 * (0.25 + 1) / 2 + 4) * sample
    first = epoch_work(grown, num_train=8, num_scored=4, sides=grown.train_sides[:1])
    assert first == (3 * 8 * 0.25 + 4) * sample
    norms, top = (recipe.replaced(transfer=Transfer(scope=s)) for s in ("norms", "last_block"))
    assert epoch_work(norms, num_train=10, num_scored=4) == (2 * 10 + 4) * sample
    assert epoch_work(top, num_train=10, num_scored=4) == (1.2 * 10 + 4) * sample
    twice = recipe.replaced(gradient=Gradient(sam_rho=0.05))
    assert epoch_work(twice, num_train=10, num_scored=4) == (2 * 3 * 10 + 4) * sample


def test_a_backbone_counts_once_for_each_view_and_frame() -> None:
    # ResNet-18 at 224 px: 1.814 billion, as its paper's table has 1.8.
    at_224 = RECIPE.replaced(image_px=224)
    one = epoch_work(at_224, num_train=0, num_scored=1)
    assert one == pytest.approx(1.814e9, rel=1e-3)
    both = at_224.replaced(views={"a": Image(image_px=64), "b": Image(image_px=32)})
    assert epoch_work(both, num_train=0, num_scored=1) == pytest.approx(2 * one, rel=1e-3)
