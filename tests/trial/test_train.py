from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.losses import Focal
from workbench.parts.model import MediaModel
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.schedules import StepLR
from workbench.trial import train
from workbench.trial.batches import Split
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.scoring import build_model
from workbench.trial.train import Verdict, best_epoch, predict, run_trial

EVERYTHING = Augment(
    pictures=Pictures(hflip=0.5, rotation_deg=20, crop_scale=0.6, grayscale=0.1), mixup_alpha=0.4
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def go_on(_: Epoch) -> Verdict:
    return "go on"


def run(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    report: Callable[[Epoch], Verdict] = go_on,
) -> Result:
    return run_trial(recipe, prepared, folder, device="cpu", report=report)


def scores_of(folder: Path, part: str) -> pd.DataFrame:
    scores = TrialFolder(folder).read_scores()
    return scores[scores["slice"] == part].reset_index(drop=True)


def test_an_obvious_signal_is_learnt_and_everything_is_kept(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe, seen = recipe_for(pictures), list[Epoch]()

    def keep(epoch: Epoch) -> Verdict:
        seen.append(epoch)
        return "go on"

    result = run(recipe, pictures, tmp_path, keep)
    assert (result.state, result.reason, result.recipe) == ("complete", "", recipe.uid)
    assert result.objective == result.metrics["auc"] == 1.0
    assert result.epochs == tuple(seen)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3]
    assert seen[-1].train_loss < seen[0].train_loss
    assert result.best_epoch == 1  # of equals, the earliest
    assert (result.device, result.peak_memory_bytes) == ("cpu", None)
    assert result.seconds >= sum(epoch.seconds for epoch in seen) > 0

    files = TrialFolder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.safetensors",
        "pr.png",
        "recipe.json",
        "result.json",
        "roc.png",
        "scores.parquet",
    ]
    assert files.read_result() == result
    assert files.read_recipe() == recipe
    for picture in (files.roc, files.pr):
        with Pillow.open(picture) as image:
            assert min(image.size) > 300

    scores = files.read_scores()
    assert list(scores.columns) == ["slice", "name", "score", "target"]
    assert list(scores["slice"]) == ["val"] * SIZES["val"] + ["test"] * SIZES["test"]
    val, test = scores_of(tmp_path, "val"), scores_of(tmp_path, "test")
    assert list(val["target"]) == [0, 1] * 4
    assert list(test["target"]) == [-1] * 5
    assert list(test["name"]) == [f"test{index}.png" for index in range(5)]
    assert scores["score"].between(0, 1).all()
    # Blue test pictures are the odd ones.
    assert test["score"][1::2].min() > test["score"][::2].max()
    metrics = binary_metrics(val["target"], val["score"])
    assert metrics == result.metrics


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_recipe_gives_the_same_bits_again(
    pictures: Prepared, tmp_path: Path, dropout: float
) -> None:
    recipe = recipe_for(pictures, augment=EVERYTHING, dropout=dropout, num_epochs=2)
    first = run(recipe, pictures, tmp_path / "a")
    torch.rand(7)  # what ran before in this process does not matter
    second = run(recipe, pictures, tmp_path / "b")
    assert [e.metrics for e in first.epochs] == [e.metrics for e in second.epochs]
    assert [e.train_loss for e in first.epochs] == [e.train_loss for e in second.epochs]
    folders = TrialFolder(tmp_path / "a"), TrialFolder(tmp_path / "b")
    assert folders[0].weights.read_bytes() == folders[1].weights.read_bytes()
    first_scores, second_scores = (each.read_scores() for each in folders)
    pd.testing.assert_frame_equal(first_scores, second_scores, check_exact=True)


def test_another_seed_gives_other_numbers(pictures: Prepared, tmp_path: Path) -> None:
    losses = [
        run(recipe_for(pictures, seed=s, num_epochs=1), pictures, tmp_path / str(s))
        .epochs[0]
        .train_loss
        for s in (0, 1)
    ]
    assert losses[0] != losses[1]


def test_the_kept_weights_give_the_kept_scores(pictures: Prepared, tmp_path: Path) -> None:
    recipe = recipe_for(pictures, num_epochs=2)
    run(recipe, pictures, tmp_path)
    model = build_model(recipe, load=False)
    model.load_state_dict(load_file(TrialFolder(tmp_path).weights))
    for part in ("val", "test"):
        split = Split(pictures, part, recipe.views, image_px=32, device=torch.device("cpu"))
        np.testing.assert_array_equal(
            predict(model, split, recipe.batch_size), scores_of(tmp_path, part)["score"]
        )
        np.testing.assert_allclose(predict(model, split, 1), scores_of(tmp_path, part)["score"])
    with safe_open(TrialFolder(tmp_path).weights, "pt") as file:
        assert file.metadata() == {"recipe": recipe.uid}


def with_metrics(monkeypatch: pytest.MonkeyPatch, **values: list[float]) -> None:
    """Have each epoch's metrics replaced by these, in turn."""
    count = iter(range(100))

    def crafted(targets: Any, scores: Any) -> dict[str, float]:
        index = next(count)
        changes = {name: each[index] for name, each in values.items()}
        return {**{str(k): v for k, v in binary_metrics(targets, scores).items()}, **changes}

    monkeypatch.setattr(train, "binary_metrics", crafted)


def test_the_best_epoch_is_that_of_the_objective_and_its_weights_are_kept(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe_for(pictures, num_epochs=1), pictures, tmp_path / "one")
    with monkeypatch.context() as patch:
        with_metrics(patch, auc=[0.6, 0.9])
        run(recipe_for(pictures, num_epochs=2), pictures, tmp_path / "two")
    with_metrics(monkeypatch, auc=[0.6, 0.9, 0.7], accuracy=[0.5, 0.6, 0.99])
    result = run(recipe_for(pictures), pictures, tmp_path / "three")
    assert (result.best_epoch, result.objective) == (2, 0.9)
    assert result.metrics["accuracy"] == 0.6
    weights = [load_file(TrialFolder(tmp_path / n).weights) for n in ("one", "two", "three")]
    assert all(torch.equal(weights[1][name], weights[2][name]) for name in weights[1])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_log_loss_is_best_when_lowest(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_metrics(monkeypatch, log_loss=[0.5, 0.4, 0.45])
    objective = Objective(metric="log_loss")
    result = run(recipe_for(pictures, objective=objective), pictures, tmp_path)
    assert (result.best_epoch, result.objective) == (2, 0.4)


def test_of_equal_epochs_the_earliest_is_best(pictures: Prepared) -> None:
    epochs = [
        Epoch(epoch=n, train_loss=1, lr=1, metrics={}, objective=value, seconds=1)
        for n, value in enumerate([0.5, 0.8, 0.8, 0.7], 1)
    ]
    best = best_epoch(recipe_for(pictures), epochs)
    assert best is epochs[1]
    assert best_epoch(recipe_for(pictures), []) is None


def test_a_pruned_trial_keeps_its_best_validation_scores_and_no_weights(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_metrics(monkeypatch, auc=[0.9, 0.6])
    recipe = recipe_for(pictures)
    result = run(recipe, pictures, tmp_path / "cut", lambda e: "prune" if e.epoch == 2 else "go on")
    assert (result.state, result.reason) == ("pruned", "pruned after epoch 2")
    assert (len(result.epochs), result.best_epoch, result.objective) == (2, 1, 0.9)
    files = TrialFolder(tmp_path / "cut")
    assert not files.weights.exists()
    assert files.read_result() == result
    assert set(files.read_scores()["slice"]) == {"val"}

    monkeypatch.undo()
    run(recipe_for(pictures, num_epochs=1), pictures, tmp_path / "one")
    first = scores_of(tmp_path / "one", "val")
    pd.testing.assert_frame_equal(files.read_scores(), first, check_exact=True)


def test_a_loss_that_is_no_number_fails_the_trial(pictures: Prepared, tmp_path: Path) -> None:
    recipe = recipe_for(pictures, optimizer=SGD(lr=10), num_epochs=40)
    result = run(recipe, pictures, tmp_path)
    assert result.state == "failed"
    assert "learning rate" in result.reason
    assert 0 < len(result.epochs) < 40
    assert result.objective == max(epoch.objective for epoch in result.epochs)
    files = TrialFolder(tmp_path)
    assert files.read_result() == result
    assert not files.weights.exists()


def test_scores_that_are_no_numbers_fail_the_trial(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last step of an epoch can blow up the weights after the last finite loss.
    forward = MediaModel.forward

    def broken(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        logits = forward(self, inputs)
        return logits if self.training else logits * float("nan")

    monkeypatch.setattr(MediaModel, "forward", broken)
    result = run(recipe_for(pictures), pictures, tmp_path)
    assert result.state == "failed"
    assert "8 of 8 scores are no numbers" in result.reason
    assert result.epochs == ()
    assert result.objective is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore lines."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_out_of_memory_is_a_result(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def full(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        raise error

    monkeypatch.setattr(MediaModel, "forward", full)
    result = run(recipe_for(pictures), pictures, tmp_path)
    assert result.state == "failed"
    assert result.reason.startswith("out of memory on cpu: ")
    assert "\n" not in result.reason
    assert TrialFolder(tmp_path).read_result() == result


def test_any_other_error_is_a_bug_and_leaves_no_result(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(MediaModel, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(recipe_for(pictures), pictures, tmp_path)
    assert TrialFolder(tmp_path).read_result() is None


def test_data_without_a_readable_training_file_fail_the_trial(
    pictures: Prepared, tmp_path: Path
) -> None:
    table = pictures.table.copy()
    table.loc[table["split"] == "train", "row.image"] = 0
    broken = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    result = run(recipe_for(pictures), broken, tmp_path)
    assert result.state == "failed"
    assert "No file of the train split" in result.reason


def test_the_schedule_reaches_the_optimizer(pictures: Prepared, tmp_path: Path) -> None:
    recipe = recipe_for(pictures, schedule=StepLR(gamma=0.1), optimizer=AdamW(lr=1e-2))
    result = run(recipe, pictures, tmp_path)
    assert [epoch.lr for epoch in result.epochs] == pytest.approx([1e-2, 1e-3, 1e-4])


@pytest.mark.parametrize(
    "change",
    [
        {"augment": Augment(cutmix_alpha=1.0)},
        {"augment": EVERYTHING},
        {"loss": Focal(gamma=1.0)},
        {"dropout": 0.5},
        {"batch_size": 7},
        {"image_px": 40},
        {"optimizer": AdamW(lr=5e-3, weight_decay=0.5)},
    ],
)
def test_each_setting_reaches_the_training(
    pictures: Prepared, tmp_path: Path, change: dict[str, Any]
) -> None:
    plain = run(recipe_for(pictures, num_epochs=2), pictures, tmp_path / "plain")
    changed = run(recipe_for(pictures, num_epochs=2, **change), pictures, tmp_path / "changed")
    assert changed.state == "complete"
    assert changed.epochs[1].train_loss != plain.epochs[1].train_loss


def test_mixed_labels_weigh_the_loss_by_their_shares(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All logits 0: whatever the labels, cross-entropy is ln 2, if the two shares add up to 1.
    forward = MediaModel.forward
    monkeypatch.setattr(MediaModel, "forward", lambda self, x: forward(self, x) * 0)
    recipe = recipe_for(pictures, augment=Augment(mixup_alpha=1.0), num_epochs=1)
    result = run(recipe, pictures, tmp_path)
    assert result.epochs[0].train_loss == pytest.approx(np.log(2))


def test_a_frozen_backbone_stays_as_it_was(pictures: Prepared, tmp_path: Path) -> None:
    recipe = recipe_for(pictures, frozen=True, num_epochs=1)
    run(recipe, pictures, tmp_path)
    kept = load_file(TrialFolder(tmp_path).weights)
    torch.manual_seed(recipe.seed)
    start = build_model(recipe, load=True).state_dict()
    changed = {name for name in start if not torch.equal(start[name], kept[name])}
    assert changed == {"head.weight", "head.bias"}
