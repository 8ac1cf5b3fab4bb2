"""Memory where nothing is counted first: it is met, parts are halved, and what fitted is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.model import MediaModel
from workbench.parts.optimizers import SGD
from workbench.parts.transfer import Transfer
from workbench.trial import memory, memory_count, plots
from workbench.trial.device import ON_CUDA
from workbench.trial.memory import Fitted, Plan
from workbench.trial.memory_count import is_out_of_memory
from workbench.trial.recipe import Recipe
from workbench.trial.result import Result
from workbench.trial.train import run_trial
from workbench.trial.training import Training

NO_NORM = "test_vit"
OUT = "CUDA out of memory. Tried to allocate 2 GiB."


@pytest.fixture(autouse=True)
def one_thread_and_no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    for plot in ("write_roc", "write_pr"):  # half of the time of so small a training
        monkeypatch.setattr(plots, plot, lambda *_: None)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> "Passes":
    return Passes(monkeypatch)


class Passes:
    """Lets passes run out of memory beyond some samples, and keeps the sizes that were tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most_trained = self.most_scored = 10**9
        self.trained: list[int] = []
        self.scored: list[int] = []
        forward = MediaModel.forward

        def limited(model: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
            (x,) = inputs.values()
            if x.is_meta:
                return forward(model, inputs)
            training = torch.is_grad_enabled()
            (self.trained if training else self.scored).append(len(x))
            if len(x) > (self.most_trained if training else self.most_scored):
                raise torch.OutOfMemoryError(OUT)
            return forward(model, inputs)

        monkeypatch.setattr(MediaModel, "forward", limited)

    def forget(self) -> None:
        self.trained, self.scored = [], []


def vit(prepared: Prepared, **changes: Any) -> Recipe:
    usual = {"backbone": NO_NORM, "optimizer": SGD(lr=0.05), "batch_size": 8, "num_epochs": 1}
    return recipe_for(prepared, **usual | changes)


def run(recipe: Recipe, prepared: Prepared, folder: Path, **more: Any) -> Result:
    return run_trial(
        recipe, prepared, folder, device="cpu", report=lambda _: "go on", uses=ON_CUDA, **more
    )


def test_nothing_is_counted_and_more_are_scored_than_trained_at_once(
    pictures: Prepared, tmp_path: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_count, "_count", lambda *_: pytest.fail("counted"))
    result = run(vit(pictures, batch_size=2), pictures, tmp_path)
    assert (result.state, result.micro_batch, result.estimated_memory_bytes) == (
        "complete", None, None
    )  # fmt: skip
    assert passes.trained == [2] * 7
    assert passes.scored == [8, 5]  # val and test hold no more


@pytest.mark.parametrize(
    ("batch_size", "scored"), [(1, 4), (16, 64), (64, 256), (100, 256), (512, 512)]
)
def test_a_step_says_how_many_are_scored_at_once(
    pictures: Prepared, batch_size: int, scored: int
) -> None:
    first = memory.first_plan(vit(pictures, batch_size=batch_size), counts_memory=False)
    assert first.scored_at_once(batch_size) == scored
    counted = memory.first_plan(vit(pictures, batch_size=batch_size), counts_memory=True)
    assert counted.scored_at_once(batch_size) == batch_size


def test_running_out_while_scoring_scores_fewer_and_trains_as_many(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    passes.most_scored = 3
    told = []
    recipe = vit(pictures, num_epochs=2)
    result = run_trial(
        recipe,
        pictures,
        tmp_path,
        device="cpu",
        report=lambda epoch: told.append(epoch.epoch) or "go on",  # type: ignore[func-returns-value]
        uses=ON_CUDA,
    )
    assert (result.state, result.micro_batch) == ("complete", None)
    assert told == [1, 2]
    assert passes.trained == [8, 6] * 2  # no step was repeated
    # All 8 of `val` are too many, and so are 4; from then on 2 are scored at once.
    tries = [8, 4, 2, 2, 2, 2]
    assert passes.scored == [*tries, *[2] * 4, 2, 2, 1]


def test_scoring_one_sample_that_does_not_fit_fails_the_trial(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    passes.most_scored = 0
    result = run(vit(pictures), pictures, tmp_path)
    assert result.state == "failed"
    assert result.reason.startswith("out of memory on cpu")


def test_what_fitted_is_where_the_next_equal_trial_begins(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    passes.most_trained, passes.most_scored = 3, 4
    first = run(vit(pictures), pictures, tmp_path / "1", cache=tmp_path)
    assert (first.state, first.micro_batch) == ("complete", 2)
    assert passes.trained[:3] == [8, 4, 2]
    passes.forget()
    # Another seed, rate and number of epochs need the same memory.
    equal = vit(pictures, seed=5, num_epochs=2, optimizer=SGD(lr=0.01), dropout=0.1)
    again = run(equal, pictures, tmp_path / "2", cache=tmp_path)
    assert (again.state, again.micro_batch) == ("complete", 2)
    assert set(passes.trained) == {2}
    assert max(passes.scored) <= 4


def test_what_ran_out_later_makes_the_next_trial_begin_smaller(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    passes.most_trained = 4
    run(vit(pictures), pictures, tmp_path / "1", cache=tmp_path)
    passes.most_trained = 2  # another program came to the device
    run(vit(pictures, seed=1), pictures, tmp_path / "2", cache=tmp_path)
    passes.forget()
    run(vit(pictures, seed=2), pictures, tmp_path / "3", cache=tmp_path)
    assert set(passes.trained) == {2}


def test_nothing_is_kept_of_a_trial_that_never_ran_out(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    run(vit(pictures), pictures, tmp_path / "1", cache=tmp_path)
    assert not (tmp_path / "measured-fitted.jsonl").exists()


@pytest.mark.parametrize(
    "other",
    [
        {"image_px": 64},
        {"frozen": True},
        {"batch_size": 9},
        {"optimizer": SGD(lr=0.1, momentum=0)},
        {"transfer": Transfer(ema_decay=0.9)},
        {"precision": "bfloat16"},
        {"augment": Augment(pictures=Pictures(self_blend=0.3))},
    ],
)
def test_another_shape_begins_whole(
    pictures: Prepared, tmp_path: Path, other: dict[str, Any]
) -> None:
    def fitted(recipe: Recipe, **where: Any) -> Fitted:
        usual: dict[str, Any] = {
            "device": "cpu",
            "num_samples": 99,
            "memory_bytes": None,
            "share": 1.0,
        }
        return Fitted(recipe, **usual | where, cache=tmp_path)

    plan = Plan(micro_batch=2, met=True)
    fitted(vit(pictures)).keep(plan)
    assert fitted(vit(pictures)).known(Plan()).micro_batch == 2
    assert fitted(vit(pictures, **other)).known(Plan()) == Plan()
    # So does the same one with another part of the device.
    assert fitted(vit(pictures), share=0.5).known(Plan()) == Plan()
    assert fitted(vit(pictures), memory_bytes=2**30).known(Plan()) == Plan()


def test_what_learns_from_one_sample_is_halved_to_one_and_then_computed_twice(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    passes.most_trained = 1
    result = run(vit(pictures), pictures, tmp_path / "one")
    assert (result.state, result.micro_batch, result.checkpointed) == ("complete", 1, False)
    passes.most_trained = 0
    result = run(vit(pictures), pictures, tmp_path / "none")
    assert (result.state, result.micro_batch, result.checkpointed) == ("failed", 1, True)
    assert "out of memory on cpu with 1 sample at a time" in result.reason


def test_one_sample_is_never_learnt_from_by_a_norm_over_samples(
    pictures: Prepared, tmp_path: Path, passes: Passes
) -> None:
    passes.most_trained = 1
    result = run(recipe_for(pictures, num_epochs=1), pictures, tmp_path)
    assert (result.state, result.micro_batch) == ("failed", 2)
    assert "out of memory on cpu with 2 samples at a time" in result.reason


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (OUT, True),
        ("CUDA error: out of memory", True),
        ("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_what_libraries_say_without_memory_is_known(words: str, expected: bool) -> None:
    assert is_out_of_memory(RuntimeError(words)) is expected


@pytest.mark.parametrize(
    "changes",
    [{"batch_size": 1}, {"batch_size": 1, "transfer": Transfer(frozen_epochs=1)}],
    ids=["from the start", "once the backbone learns"],
)
def test_a_batch_of_one_that_a_norm_cannot_learn_from_fails_before_training(
    pictures: Prepared, tmp_path: Path, passes: Passes, changes: dict[str, Any]
) -> None:
    result = run(recipe_for(pictures, **changes), pictures, tmp_path)
    assert (result.state, result.epochs) == ("failed", ())
    assert result.reason.startswith("one sample at a time teaches test_efficientnet at 32 px")
    assert "`batch_size` is 1. Give it 2 or more" in result.reason
    assert passes.trained == []


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": NO_NORM},
        {"frozen": True},  # its norms stay as they are
        {"image_px": 64},  # four values of each channel
    ],
    ids=["no norm", "frozen", "larger"],
)
def test_other_batches_of_one_are_trained(
    pictures: Prepared, tmp_path: Path, changes: dict[str, Any]
) -> None:
    result = run(recipe_for(pictures, batch_size=1, num_epochs=1, **changes), pictures, tmp_path)
    assert (result.state, result.reason) == ("complete", "")
    assert SIZES["train"] == 14


def test_a_matrix_that_cannot_be_decomposed_is_a_step_too_far(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(self: Training, number: int) -> float:
        raise LinAlgError("linalg.eigh: it failed to converge.\nMore lines.")

    monkeypatch.setattr(Training, "_learn", learn)
    result = run(vit(pictures), pictures, tmp_path)
    assert result.state == "failed"
    assert "the learning rate 0.05 is too high for this model" in result.reason


def test_an_error_of_a_norm_in_mid_training_is_the_trials(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(words: str) -> Callable[..., Tensor]:
        def forward(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
            raise ValueError(words)

        return forward

    of_one = "Expected more than 1 value per channel when training, got input size [1, 8, 1, 1]"
    monkeypatch.setattr(MediaModel, "forward", fails(of_one))
    assert run(recipe_for(pictures), pictures, tmp_path / "1").state == "failed"
    monkeypatch.setattr(MediaModel, "forward", fails("another"))
    with pytest.raises(ValueError, match="another"):
        run(recipe_for(pictures), pictures, tmp_path / "2")
