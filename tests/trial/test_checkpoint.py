"""A trial that is cut off goes on after its last whole epoch, to the bits of one that was not."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file

from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.averages import EMA, SWA, SWAD, AnyAveraging
from workbench.parts.optimizers import AdamW
from workbench.parts.schedules import Cosine
from workbench.parts.transfer import Transfer
from workbench.trial import training
from workbench.trial.decision import Decision
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.train import run_trial


class CutError(Exception):
    """Stands for a kill between two epochs."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


MOVING = EMA(decay=0.9)


def drawing(prepared: Prepared, average: AnyAveraging = MOVING) -> Recipe:
    """Return a recipe in which everything that has a state takes part."""
    return recipe_for(
        prepared,
        num_epochs=4,
        dropout=0.3,
        optimizer=AdamW(lr=5e-3),
        schedule=Cosine(warmup_share=0.1),
        transfer=Transfer(average=average, layer_decay=0.8, frozen_epochs=1),
        augment=Augment(pictures=Pictures(rotation_deg=20, noise=0.5), mixup_alpha=0.4),
    )


def run(
    recipe: Recipe, prepared: Prepared, folder: Path, *, cut: int | None = None
) -> tuple[Result, list[int]]:
    told: list[int] = []

    def report(epoch: Epoch) -> Decision:
        told.append(epoch.epoch)
        if epoch.epoch == cut:
            raise CutError
        return "go on"

    return run_trial(recipe, prepared, folder, device="cpu", report=report), told


@pytest.mark.parametrize(
    ("cut", "average"),
    [
        (1, MOVING),
        (3, MOVING),
        (3, SWA(last_share=0.75)),
        (2, SWAD(start_patience=2, losses_per_epoch=2)),
    ],
)
def test_a_trial_goes_on_to_the_same_bits(
    pictures: Prepared, tmp_path: Path, cut: int, average: AnyAveraging
) -> None:
    recipe = drawing(pictures, average)
    whole, _ = run(recipe, pictures, tmp_path / "whole")
    with pytest.raises(CutError):
        run(recipe, pictures, tmp_path / "cut", cut=cut)
    files = TrialFolder(tmp_path / "cut")
    assert files.checkpoint.exists()
    torch.manual_seed(99)  # another process has drawn other numbers
    again, told = run(recipe, pictures, tmp_path / "cut")
    # The epochs before are told again: what listened then is gone.
    assert told == [1, 2, 3, 4]
    assert [e.model_dump(exclude={"seconds"}) for e in again.epochs] == [
        e.model_dump(exclude={"seconds"}) for e in whole.epochs
    ]
    assert (again.best_epoch, again.metrics) == (whole.best_epoch, whole.metrics)
    one, two = (load_file(TrialFolder(tmp_path / f).weights) for f in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert TrialFolder(tmp_path / "whole").read_scores().equals(files.read_scores())
    assert not files.checkpoint.exists()


@pytest.mark.parametrize("killed", ["after an epoch", "before the result is there"])
def test_whole_epochs_are_not_trained_again(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    recipe = drawing(pictures)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        if killed == "before the result is there":
            patch.setattr(TrialFolder, "write_result", Mock(side_effect=CutError))
        run(recipe, pictures, tmp_path, cut=3 if killed == "after an epoch" else None)
    begun: list[int] = []
    learn = training.Training._learn

    def counted(self: training.Training, number: int) -> float:
        begun.append(number)
        return learn(self, number)

    monkeypatch.setattr(training.Training, "_learn", counted)
    run(recipe, pictures, tmp_path)
    assert begun == [4]


def test_another_recipes_checkpoint_or_format_is_not_gone_on_from(
    pictures: Prepared, tmp_path: Path
) -> None:
    with pytest.raises(CutError):
        run(drawing(pictures), pictures, tmp_path, cut=2)
    other = recipe_for(pictures, num_epochs=2)
    result, told = run(other, pictures, tmp_path)
    assert (result.recipe, told) == (other.uid, [1, 2])
    fresh, _ = run(other, pictures, tmp_path / "fresh")
    assert result.metrics == fresh.metrics
    files = TrialFolder(tmp_path / "old")
    with pytest.raises(CutError):
        run(other, pictures, tmp_path / "old", cut=1)
    files.write_checkpoint({"format": 0, "recipe": other.uid})
    assert run(other, pictures, tmp_path / "old")[0].metrics == fresh.metrics


@pytest.mark.parametrize("how", ["complete", "pruned"])
def test_a_trial_that_ended_leaves_no_checkpoint(
    pictures: Prepared, tmp_path: Path, how: str
) -> None:
    files = TrialFolder(tmp_path)

    def report(epoch: Epoch) -> Decision:
        # None after the last epoch: the end comes at once.
        assert epoch.epoch == 3 or files.checkpoint.exists()
        return "prune" if how == "pruned" and epoch.epoch == 2 else "go on"

    recipe = recipe_for(pictures, num_epochs=3)
    assert run_trial(recipe, pictures, tmp_path, device="cpu", report=report).state == how
    assert not files.checkpoint.exists()


def test_a_paused_trial_goes_on_to_the_same_bits_and_its_time_counts(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe = drawing(pictures)
    whole, _ = run(recipe, pictures, tmp_path / "whole")
    files = TrialFolder(tmp_path / "paused")

    def pause(epoch: Epoch) -> Decision:
        return "pause" if epoch.epoch == 2 else "go on"

    paused = run_trial(recipe, pictures, files.path, device="cpu", report=pause)
    assert (paused.state, paused.reason) == ("paused", "paused after epoch 2")
    assert files.read_result() == paused and files.checkpoint.exists()
    assert set(files.read_scores()["slice"]) == {"val"}
    again, told = run(recipe, pictures, files.path)
    assert told == [1, 2, 3, 4]
    assert again.state == "complete" and again.metrics == whole.metrics
    assert again.seconds > paused.seconds
    one, two = (load_file(TrialFolder(tmp_path / f).weights) for f in ("whole", "paused"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_is_said_of_an_epoch_told_again_counts_only_for_the_last(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_for(pictures, num_epochs=4)
    with pytest.raises(CutError):
        run(recipe, pictures, tmp_path, cut=3)
    told: list[int] = []

    def pause(epoch: Epoch) -> Decision:
        told.append(epoch.epoch)
        return "pause" if epoch.epoch in (1, 3) else "go on"

    result = run_trial(recipe, pictures, tmp_path, device="cpu", report=pause)
    assert (result.reason, told) == ("paused after epoch 3", [1, 2, 3])


def test_a_trial_that_scored_what_cannot_be_decoded_begins_anew(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_for(pictures, num_epochs=2)
    with pytest.raises(CutError):
        run(recipe, pictures, tmp_path, cut=1)
    table = pictures.table.copy()
    table.loc[table["name"].isin(["val1.png", "val3.png"]), "row.image"] = 0
    fewer = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    result, told = run(recipe, fewer, tmp_path)
    assert (result.state, told) == ("complete", [1, 2])
    scores = TrialFolder(tmp_path).read_scores()
    of_val = scores[scores["slice"] == "val"]
    assert list(of_val["name"]) == [f"val{index}.png" for index in (0, 2, 4, 5, 6, 7)]
    assert list(scores.loc[scores["slice"] == "test", "name"]) == [f"test{i}.png" for i in range(5)]


def test_a_checkpoint_with_a_changed_bit_is_not_gone_on_from(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_for(pictures, num_epochs=2)
    with pytest.raises(CutError):
        run(recipe, pictures, tmp_path, cut=1)
    files = TrialFolder(tmp_path)
    state = files.read_checkpoint()
    assert state is not None
    weights = max(state["model"].values(), key=torch.numel)
    whole = bytearray(files.checkpoint.read_bytes())
    at = whole.index(weights.numpy().tobytes())
    whole[at + 5] ^= 0x10
    files.checkpoint.write_bytes(whole)
    assert files.read_checkpoint() is None


class Harm:
    """What a pickle may do when it is read."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sign,)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    files = TrialFolder(tmp_path)
    torch.save({"model": Harm(tmp_path / "harm")}, files.checkpoint)
    assert files.read_checkpoint() is None
    assert not (tmp_path / "harm").exists()
