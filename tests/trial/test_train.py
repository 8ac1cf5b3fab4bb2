from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.errors import CacheError
from workbench.parts.augment import Augment, Pictures
from workbench.parts.augment_mixing import Mixed
from workbench.parts.losses import AnyLoss, CrossEntropy, Focal, Loss
from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.optimizers import SGD, AdamW, AnyOptimizer
from workbench.parts.pretrained import loader
from workbench.parts.schedules import AnySchedule, Plateau, StepLR
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.scoring.evaluator import Evaluator
from workbench.scoring.slices import slices_of
from workbench.scoring.stored import StoredViews
from workbench.trial import plots, training
from workbench.trial.batches import Batch, shuffled
from workbench.trial.decision import Decision
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result, TrialFolder, best_epoch
from workbench.trial.sampling import Sampling
from workbench.trial.train import run_trial
from workbench.values import Part, kinds

EVERYTHING = Augment(
    pictures=Pictures(hflip=0.5, rotation_deg=20, crop_scale=0.6, grayscale=0.1), mixup_alpha=0.4
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def go_on(_: Epoch) -> Decision:
    return "go on"


def run(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    report: Callable[[Epoch], Decision] = go_on,
) -> Result:
    return run_trial(recipe, prepared, folder, device="cpu", report=report)


def scores_of(folder: Path, part: str) -> pd.DataFrame:
    scores = TrialFolder(folder).read_scores()
    return scores[scores["slice"] == part].reset_index(drop=True)


def test_an_obvious_signal_is_learnt_and_everything_is_kept(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe, seen = recipe_for(pictures), list[Epoch]()

    def keep(epoch: Epoch) -> Decision:
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
    assert files.read_recipe().flat() == recipe.flat()
    for picture in (files.roc, files.pr):
        with Pillow.open(picture) as image:
            assert min(image.size) > 300

    scores = files.read_scores()
    assert list(scores.columns) == ["slice", "name", "score", "target", "neutral"]
    assert not scores["neutral"].any()
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
    model = recipe.build_model()
    model.load_state_dict(load_file(TrialFolder(tmp_path).weights))
    for part in ("val", "test"):
        source = StoredViews(
            slices_of(pictures)[part],
            recipe.model.views,
            image_px=32,
            device=torch.device("cpu"),
            most_kept_bytes=0,
        )
        evaluator, found = Evaluator(recipe.model, model), scores_of(tmp_path, part)["score"]
        whole = evaluator.scores(source, batch_size=recipe.training.batch_size)
        np.testing.assert_array_equal(whole, found)
        np.testing.assert_allclose(evaluator.scores(source, batch_size=1), found)
    with safe_open(TrialFolder(tmp_path).weights, "pt") as file:
        assert file.metadata() == {"recipe": recipe.uid}


def with_metrics(monkeypatch: pytest.MonkeyPatch, **values: list[float]) -> None:
    """Have each epoch's metrics replaced by these, in turn."""
    count = iter(range(100))

    def crafted(_: Objective, scored: dict[str, tuple[Any, Any]]) -> dict[str, float]:
        index = next(count)
        changes = {name: each[index] for name, each in values.items()}
        return {**{str(k): v for k, v in binary_metrics(*scored["val"]).items()}, **changes}

    monkeypatch.setattr(training, "objective_metrics", crafted)


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
    assert "8 of 8 scores are NaN or infinite" in result.reason
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
    forward = MediaModel.forward

    def full(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        if inputs["image"].is_meta:
            return forward(self, inputs)
        raise error

    monkeypatch.setattr(MediaModel, "forward", full)
    result = run(recipe_for(pictures), pictures, tmp_path)
    assert result.state == "failed"
    assert result.reason.startswith("out of memory on cpu with 2 samples at a time: ")
    assert result.micro_batch == 2
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
    assert "No file of train can be decoded" in result.reason


def test_pixels_that_were_changed_are_not_trained_on_and_fail_no_recipe(
    pictures: Prepared, tmp_path: Path
) -> None:
    array = tmp_path / "array.u8"
    spoilt = bytearray(pictures.arrays["image"].read_bytes())
    spoilt[-1] ^= 1  # one bit of the last file's picture
    array.write_bytes(spoilt)
    changed = Prepared(pictures.table, pictures.views, {"image": array}, pictures.fingerprint)
    with pytest.raises(CacheError, match=r"array\.u8 was changed: its row \d+ is not what was"):
        run(recipe_for(pictures), changed, tmp_path)
    assert TrialFolder(tmp_path).read_result() is None


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
        {"transfer": Transfer(scope="norms")},
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


def test_pictures_grow_in_training_and_are_scored_at_their_full_size(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, seen = PictureReader.forward, dict[bool, list[int]]({True: [], False: []})

    def watched(reader: PictureReader, view: Tensor) -> Tensor:
        # What comes in is of the reader's own size: nothing is made larger again.
        assert view.shape[-1] == reader.image_px
        if view.device.type == "meta":  # looked at before training, without contents
            return forward(reader, view)
        seen[reader.training].append(reader.image_px)
        return forward(reader, view)

    monkeypatch.setattr(PictureReader, "forward", watched)
    recipe = recipe_for(pictures, train_size=TrainSize(first=0.5), batch_size=14)
    run(recipe, pictures, tmp_path)
    assert seen[True] == [16, 24, 32]  # an epoch and step each
    assert set(seen[False]) == {32}


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
    start = recipe.build_model(loader(None)).state_dict()
    changed = {name for name in start if not torch.equal(start[name], kept[name])}
    assert changed == {"head.weight", "head.bias"}


UNIONS: dict[str, Any] = {"loss": AnyLoss, "optimizer": AnyOptimizer, "schedule": AnySchedule}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "loss": {
        "cross_entropy": {"label_smoothing": 0.2, "class_weights": "balanced"},
        "class_means": {},
        "bce": {"pos_weight": 3},
        "focal": {"gamma": 1, "alpha": 0.3},
        "asymmetric": {"gamma_pos": 2, "gamma_neg": 1, "clip": 0.3},
        "dice": {"smooth": 0.1},
        "pairwise_auc": {"margin": 2},
    },
    "optimizer": {
        "adam": {},
        "adamw": {},
        "radam": {},
        "sgd": {"momentum": 0.5, "nesterov": True},
        "timm": {"name": "lamb"},
    },
    "schedule": {
        "constant": {},
        "step": {"step_epochs": 2, "gamma": 0.1},
        "cosine": {"warmup_share": 0.3},
        "poly": {"power": 2.0},
        "one_cycle": {"pct_start": 0.6, "div_factor": 5, "final_div_factor": 10},
        "plateau": {"gamma": 0.5, "patience_epochs": 1},
    },
}
"""Of each kind, another value for each setting; optimizers have those of `OF_OPTIMIZERS` too."""

OF_OPTIMIZERS = {"lr": 3e-3, "weight_decay": 0.5, "decay_norms": False}
BASES: dict[str, dict[str, Any]] = {
    "optimizer": {"lr": 1e-2, "weight_decay": 0.1},
    "plateau": {"patience_epochs": 0},
}
CASES = [
    (field, kind, name, value)
    for field, of_kinds in SETTINGS.items()
    for kind, settings in of_kinds.items()
    for name, value in {**settings, **(OF_OPTIMIZERS if field == "optimizer" else {})}.items()
]


@pytest.fixture(scope="module")
def uneven(pictures: Prepared) -> Prepared:
    """The pictures with four reals fewer to learn from: three reals, seven fakes."""
    table = pictures.table.copy()
    reals = table.index[(table["split"] == "train") & (table["target"] == 0)]
    table.loc[reals[:4], "row.image"] = 0
    return Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)


def trained_weights(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch, field: str, part: Part
) -> dict[str, Tensor]:
    """Return the weights after three epochs, of which the second is the worst, the third best."""
    with monkeypatch.context() as patch:
        with_metrics(patch, auc=[0.6, 0.5, 0.9])
        for plot in ("write_roc", "write_pr"):  # most of the time of so small a trial
            patch.setattr(plots, plot, lambda *_: None)
        # A step as long as the loss is steep, so that also a loss's scale shows.
        choices = {"optimizer": SGD(lr=1e-2), field: part}
        result = run(recipe_for(prepared, **choices), prepared, folder)
    assert (result.state, result.best_epoch) == ("complete", 3), result.reason
    return load_file(TrialFolder(folder).weights)


def made(field: str, kind: str, **settings: Any) -> Part:
    part: Part = TypeAdapter(UNIONS[field]).validate_python(
        {"kind": kind, **BASES.get(field, {}), **BASES.get(kind, {}), **settings}
    )
    return part


def some_differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_every_setting_of_every_kind_has_a_case_below() -> None:
    for field, union in UNIONS.items():
        settings = {k: set(part.model_fields) - {"kind"} for k, part in kinds(union).items()}
        tried = {
            kind: {name for f, k, name, _ in CASES if (f, k) == (field, kind)}
            for kind in SETTINGS[field]
        }
        assert tried == settings


@pytest.mark.parametrize(("field", "kind"), [(f, k) for f in SETTINGS for k in SETTINGS[f]])
def test_each_kind_trains_and_each_of_its_settings_changes_the_weights(
    uneven: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, kind: str
) -> None:
    plain = trained_weights(uneven, tmp_path / "plain", monkeypatch, field, made(field, kind))
    assert all(tensor.isfinite().all() for tensor in plain.values())
    torch.manual_seed(0)
    start = recipe_for(uneven).build_model(loader(None)).state_dict()
    assert not torch.equal(plain["head.weight"], start["head.weight"])
    for name, value in [(n, v) for f, k, n, v in CASES if (f, k) == (field, kind)]:
        part = made(field, kind, **{name: value})
        changed = trained_weights(uneven, tmp_path / name, monkeypatch, field, part)
        assert some_differ(plain, changed), name


@pytest.mark.parametrize("field", UNIONS)
def test_no_two_kinds_train_alike(
    uneven: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    # But for BCE without a weight, which is cross-entropy.
    parts = {
        kind: made(field, kind, **({"pos_weight": 2} if kind == "bce" else {}))
        for kind in SETTINGS[field]
    }
    weights = {
        kind: trained_weights(uneven, tmp_path / kind, monkeypatch, field, part)
        for kind, part in parts.items()
    }
    for index, one in enumerate(weights):
        for other in list(weights)[:index]:
            assert some_differ(weights[one], weights[other]), (one, other)


def test_a_plateau_counts_by_the_direction_of_the_objective(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Plateau(gamma=0.1, patience_epochs=0)
    values = [0.5, 0.4, 0.3, 0.35, 0.2]
    for metric, falls_after in (("auc", (2, 3, 4, 5)), ("log_loss", (4,))):
        with monkeypatch.context() as patch:
            with_metrics(patch, **{metric: values})
            recipe = recipe_for(
                pictures, schedule=schedule, objective=Objective(metric=metric), num_epochs=5
            )
            result = run(recipe, pictures, tmp_path / metric)
        lrs = [epoch.lr for epoch in result.epochs]
        expected = [5e-3 * 0.1 ** sum(n < number for n in falls_after) for number in range(1, 6)]
        assert lrs == pytest.approx(expected)


def test_balancing_is_by_the_shares_of_the_training_split(
    uneven: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All odds even and the whole split one batch: every label costs ln 2 times its class's weight,
    # and 3 reals of weight 10/6 and 7 fakes of weight 10/14 are 10 in all.
    forward = MediaModel.forward
    monkeypatch.setattr(MediaModel, "forward", lambda self, x: forward(self, x) * 0)
    loss = CrossEntropy(class_weights="balanced")
    recipe = recipe_for(uneven, loss=loss, batch_size=10, num_epochs=1)
    result = run(recipe, uneven, tmp_path / "even")
    assert result.epochs[0].train_loss == pytest.approx(np.log(2))
    # Sure of a fake everywhere, by ln 3: 3 * 10/6 * ln 4 + 7 * 10/14 * ln(4/3), of ten.
    odds = torch.tensor([0.0, np.log(3)])
    monkeypatch.setattr(MediaModel, "forward", lambda self, x: forward(self, x) * 0 + odds)
    result = run(recipe, uneven, tmp_path / "sure")
    assert result.epochs[0].train_loss == pytest.approx((np.log(4) + np.log(4 / 3)) / 2)


def test_a_single_class_cannot_be_balanced_and_fails_the_trial(
    pictures: Prepared, tmp_path: Path
) -> None:
    table = pictures.table.copy()
    table.loc[(table["split"] == "train") & (table["target"] == 1), "row.image"] = 0
    reals = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    recipe = recipe_for(reals, loss=CrossEntropy(class_weights="balanced"))
    result = run(recipe, reals, tmp_path)
    assert result.state == "failed"
    assert "0% of the training split is fake" in result.reason


def test_a_mixed_sample_has_the_label_of_its_own_parts(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, given = list[Tensor](), list[Tensor]()

    def seen(
        source: StoredViews, batch_size: int, generator: torch.Generator, **others: Any
    ) -> Iterator[Batch]:
        for batch in shuffled(source, batch_size, generator, **others):
            labels.append(batch.targets)
            yield batch

    def with_the_one_before(views: dict[str, Tensor], *_: Any) -> Mixed:
        return Mixed(views, torch.arange(len(views["image"])).roll(1), 0.25)

    def told(self: Loss, logits: Tensor, targets: Tensor, *, fake_share: float) -> Tensor:
        given.append(targets)
        return loss(self, logits, targets, fake_share=fake_share)

    loss = CrossEntropy.__call__
    monkeypatch.setattr(training, "shuffled", seen)
    monkeypatch.setattr(training, "mix", with_the_one_before)
    monkeypatch.setattr(CrossEntropy, "__call__", told)
    run(recipe_for(pictures, num_epochs=1), pictures, tmp_path)
    assert len(given) == 4
    for own, mixed in zip(labels, given, strict=True):
        assert mixed.tolist() == (0.25 * own + 0.75 * own.roll(1)).tolist()
    assert len(set(torch.cat(given).tolist())) > 2


@pytest.mark.parametrize(
    "changes",
    [
        {"transfer": Transfer(frozen_epochs=1)},
        {"transfer": Transfer(layer_decay=0.5)},
        {"transfer": Transfer(ema_decay=0.9)},
        {"sampling": Sampling(subset=0.5)},
        {"sampling": Sampling(subset=0.5, seed=1)},
        {"sampling": Sampling(balanced=True)},
        {"sampling": Sampling(repeats=2)},
        {"tta": "hflip"},
        {"tta": "six"},
    ],
    ids=str,
)
def test_transfer_sampling_and_tta_reach_the_scores(
    pictures: Prepared, tmp_path: Path, changes: dict[str, Any]
) -> None:
    plain = {"sampling": Sampling(subset=0.5)} if "seed=1" in str(changes) else {}
    scores = []
    for number, settings in enumerate((plain, changes)):
        folder = tmp_path / str(number)
        result = run(recipe_for(pictures, num_epochs=2, **settings), pictures, folder)
        assert result.state == "complete", result.reason
        scores.append(TrialFolder(folder).read_scores()["score"].to_numpy())
    before, after = scores
    assert not np.allclose(before, after)
