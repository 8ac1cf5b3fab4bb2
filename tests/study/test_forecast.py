"""What the next trial will cost, worked out by hand from made ones."""

from typing import Any

import pytest

from tests.study.workers import epoch
from workbench.media.frame_diff import FrameDiff
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.searching import costs
from workbench.searching.forecast import Forecast
from workbench.searching.packing import heaviest
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result

NUM_TRAIN, NUM_SCORED = 24, 16


def recipe(**keys: Any) -> Recipe:
    usual: dict[str, Any] = {
        "backbone": "test_resnet",
        "optimizer": AdamW(lr=1e-3),
        "image_px": 32,
        "num_epochs": 4,
        "data": "made",
        "views": {"image": Image(image_px=32)},
        "weights": RANDOM,
        "objective": Objective(),
    }
    return Recipe.model_validate(usual | keys)


def ended(of: Recipe, *, num_epochs: int, epoch_s: float, besides_s: float) -> Result:
    epochs: tuple[Epoch, ...] = tuple(
        epoch(number, 0.5).model_copy(update={"seconds": epoch_s})
        for number in range(1, num_epochs + 1)
    )
    seconds = num_epochs * epoch_s + besides_s
    return Result(recipe=of.uid, state="pruned", epochs=epochs, seconds=seconds)


def test_nothing_is_known_before_a_trial_ended() -> None:
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    assert forecast.of(recipe()) is None
    forecast.learn(recipe(), Result(recipe="none", state="failed", seconds=9.0))
    assert forecast.of(recipe()) is None  # it had no epoch


def test_a_trial_takes_its_epochs_and_what_others_took_besides() -> None:
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    forecast.learn(recipe(), ended(recipe(), num_epochs=2, epoch_s=10.0, besides_s=3.0))
    known = forecast.of(recipe())
    assert known is not None
    assert (known.epoch_seconds, known.seconds) == pytest.approx((10.0, 43.0))
    left = forecast.of(recipe(), [epoch(1, 0.5), epoch(2, 0.5), epoch(3, 0.5)])
    assert left is not None
    assert left.seconds == pytest.approx(13.0)


def test_it_learns_from_the_last_two_hundred_trials() -> None:
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    for epoch_s, times in ((10.0, 201), (2.0, 200)):
        done = ended(recipe(), num_epochs=2, epoch_s=epoch_s, besides_s=0.0)
        for _ in range(times):
            forecast.learn(recipe(), done)
    known = forecast.of(recipe())
    assert known is not None
    assert known.epoch_seconds == pytest.approx(2.0)


def test_half_of_the_training_files_take_as_much_less_as_they_are_of_the_work() -> None:
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    forecast.learn(recipe(), ended(recipe(), num_epochs=2, epoch_s=10.0, besides_s=0.0))
    half = forecast.of(recipe(sampling={"subset": 0.5}))
    assert half is not None
    # A backward pass counts twice: 3 x 24 + 16 = 88 passes of a sample, and 3 x 12 + 16 = 52.
    assert half.epoch_seconds == pytest.approx(10 * 52 / 88)


def test_pictures_that_grow_cost_what_each_epoch_does() -> None:
    # Sides of 16, 24, 24 and 32 of 32 pixels. A backward pass counts twice, and 16 files are scored
    # in full: 72 passes x 1/4, x 9/16 twice, x 1, each + 16, are 34, 56.5, 56.5 and 88.
    grown = recipe(train_size={"first": 0.5})
    assert grown.train_sides == [16, 24, 24, 32]
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    done = ended(grown, num_epochs=3, epoch_s=0.0, besides_s=0.0)
    epochs = [
        one.model_copy(update={"seconds": passes / 10})
        for one, passes in zip(done.epochs, (34, 56.5, 56.5), strict=True)
    ]
    forecast.learn(grown, done.model_copy(update={"epochs": tuple(epochs), "seconds": 14.7}))
    for number, seconds in ((0, 23.5), (1, 20.1), (3, 8.8)):
        known = forecast.of(grown, epochs[:number])
        assert known is not None
        assert known.seconds == pytest.approx(seconds)
    usual = forecast.of(recipe())
    assert usual is not None
    assert usual.seconds == pytest.approx(4 * 8.8)


def test_what_cannot_be_built_has_no_forecast() -> None:
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    forecast.learn(recipe(), ended(recipe(), num_epochs=2, epoch_s=10.0, besides_s=0.0))
    assert forecast.of(recipe(backbone="test_vit", image_px=40)) is None
    # Asked about before it is judged: views whose frames cannot be joined one by one.
    torn = recipe(
        views={
            "frames": Frames(num_frames=3, image_px=32),
            "frame-diff": FrameDiff(num_frames=2, image_px=32),
        },
        over_frames={"kind": "confident"},
    )
    assert forecast.of(torn) is None
    assert heaviest([torn, recipe()]) == recipe()
    forecast.learn(torn, ended(torn, num_epochs=1, epoch_s=1.0, besides_s=0.0))  # and so no end
    assert forecast.of(recipe()) is not None


def test_nor_has_anybodys_network_that_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no such operation without contents")

    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    monkeypatch.setattr(costs, "MediaModel", raising)
    one = recipe(image_px=64)
    forecast.learn(one, ended(one, num_epochs=2, epoch_s=10.0, besides_s=0.0))
    assert forecast.of(one) is None


def test_the_first_epoch_does_not_set_the_pace() -> None:
    # It loads and compiles: 22 s, then 2 s each. Four epochs take 8 s, and 20 + 3 s besides.
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)
    result = ended(recipe(), num_epochs=3, epoch_s=2.0, besides_s=23.0)
    first = result.epochs[0].model_copy(update={"seconds": 22.0})
    forecast.learn(recipe(), result.model_copy(update={"epochs": (first, *result.epochs[1:])}))
    known = forecast.of(recipe())
    assert known is not None
    assert (known.epoch_seconds, known.seconds) == pytest.approx((2.0, 31.0))


def test_it_is_shown_once_the_last_ten_were_within_a_factor_of_two() -> None:
    forecast = Forecast(num_train=NUM_TRAIN, num_scored=NUM_SCORED)

    def learn(epoch_s: float) -> tuple[bool, bool]:
        forecast.learn(recipe(), ended(recipe(), num_epochs=2, epoch_s=epoch_s, besides_s=0.0))
        return forecast.is_used, forecast.is_shown

    # The first is foretold by nothing. Each further one doubles or halves at most.
    seen = [learn(epoch_s) for epoch_s in [10.0] * 11]
    assert [used for used, _ in seen] == [False] * 3 + [True] * 8
    assert [shown for _, shown in seen] == [False] * 10 + [True]
    assert learn(19.0) == (True, True)
    assert learn(21.0) == (False, False)  # foretold were 10
    assert [learn(10.0) for _ in range(9)][-1] == (False, False)
    assert learn(10.0) == (True, True)  # it is the last ten that count
