"""A trial that is trained once without each of several folds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.out_of_fold import FOLD
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.scoring.slices import measured_slices
from workbench.trial.decision import Decision
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.train import run_trial

FOLDS = 3
LOG_LOSS = Objective(metric="log_loss")


@pytest.fixture(scope="module")
def dealt(pictures: Prepared) -> Prepared:
    """The labelled pictures in three folds, all of which validate."""
    table = pictures.table
    fold = np.where(table["target"] >= 0, 1 + np.arange(len(table)) // 2 % FOLDS, 1)
    split = np.where(table["target"] < 0, "test", np.where(fold == 1, "val", "train"))
    return replace(pictures, table=table.assign(split=split, **{FOLD: fold})).with_all_folds()


def run(prepared: Prepared, folder: Path, decide: Decision = "go on", stop: int = 0) -> Result:
    """Train two epochs; the process is as if killed after epoch `stop`."""
    recipe = recipe_for(prepared, objective=LOG_LOSS, num_epochs=2)

    def report(epoch: Epoch) -> Decision:
        if epoch.epoch == stop:
            raise KeyboardInterrupt
        return decide

    return run_trial(recipe, prepared, folder, device="cpu", report=report)


@pytest.fixture(scope="module")
def whole(dealt: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A trial of all folds, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(dealt, folder), folder


def scores_of(folder: Path, name: str) -> "pd.Series[float]":
    scores = TrialFolder(folder).read_scores()
    return scores[scores["slice"] == name].set_index("name")["score"]


def test_each_file_has_the_score_of_the_model_that_did_not_see_it(
    dealt: Prepared, whole: tuple[Result, Path], tmp_path: Path
) -> None:
    result, folder = whole
    assert result.state == "complete", result.reason
    alone = [run(dealt.for_fold(fold), tmp_path / str(fold)) for fold in (1, 2, 3)]
    expected = pd.concat([scores_of(tmp_path / str(fold), "val") for fold in (1, 2, 3)])
    found = scores_of(folder, "val")
    # Every labelled file that can be decoded, once.
    assert sorted(found.index) == sorted(expected.index)
    assert len(found) == SIZES["train"] + SIZES["val"]
    np.testing.assert_array_equal(found, expected[found.index])
    # What is in no fold, and the weights, are of the first.
    np.testing.assert_array_equal(scores_of(folder, "test"), scores_of(tmp_path / "1", "test"))
    weights, first = (load_file(TrialFolder(path).weights) for path in (folder, tmp_path / "1"))
    assert weights.keys() == first.keys()
    assert all((weights[name] == first[name]).all() for name in first)
    assert [epoch.fold for epoch in result.epochs] == [1, 1, 2, 2, 3, 3]
    assert [epoch.epoch for epoch in result.epochs] == [1, 2, 3, 4, 5, 6]
    assert [e.objective for e in result.epochs] == [e.objective for r in alone for e in r.epochs]
    assert result.best_epoch == alone[0].best_epoch
    # The value is that of all scores together.
    scores = TrialFolder(folder).read_scores()
    val = scores[scores["slice"] == "val"]
    together = binary_metrics(val["target"], val["score"])
    assert result.objective == together["log_loss"]
    assert result.metrics == result.by_slice["val"] == together
    assert not [*folder.glob("scores-*")]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 3, 6])
def test_one_that_was_killed_goes_on_in_its_fold(
    dealt: Prepared, whole: tuple[Result, Path], tmp_path: Path, stop: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(dealt, tmp_path / "cut", stop=stop)
    saved = TrialFolder(tmp_path / "cut").read_checkpoint()
    assert saved is not None
    # All epochs before it are kept, and those that are not the last of all.
    assert len(saved["past"]) + len(saved["epochs"]) == min(stop, 5)
    again = run(dealt, tmp_path / "cut")
    assert again.objective == whole[0].objective
    assert [e.objective for e in again.epochs] == [e.objective for e in whole[0].epochs]
    found = TrialFolder(tmp_path / "cut").read_scores()
    pd.testing.assert_frame_equal(found, TrialFolder(whole[1]).read_scores())


@pytest.mark.slow
def test_one_whose_finished_folds_are_gone_begins_again(dealt: Prepared, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(dealt, tmp_path, stop=5)
    TrialFolder(tmp_path).fold_scores(1).unlink()
    assert run(dealt, tmp_path).state == "complete"
    assert len(scores_of(tmp_path, "val")) == SIZES["train"] + SIZES["val"]


def test_one_that_is_pruned_in_its_first_fold_trains_no_other(
    dealt: Prepared, tmp_path: Path
) -> None:
    result = run(dealt, tmp_path, decide="prune")
    assert (result.state, len(result.epochs)) == ("pruned", 1)
    assert result.objective == result.epochs[0].objective
    assert not TrialFolder(tmp_path).weights.exists()


def test_one_that_fails_in_a_later_fold_leaves_no_weights(
    dealt: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.trial.metrics import DivergedError
    from workbench.trial.training import Training

    learn = Training._learn

    def diverging(self: Training, number: int) -> float:
        if self.fold == 2:
            raise DivergedError("the loss is nan")
        return learn(self, number)

    monkeypatch.setattr(Training, "_learn", diverging)
    result = run(dealt, tmp_path)
    assert (result.state, len(result.epochs)) == ("failed", 2)
    files = TrialFolder(tmp_path)
    assert not files.weights.exists() and not [*tmp_path.glob("scores-*")]


def test_a_fold_without_a_class_of_any_slice_is_refused(dealt: Prepared) -> None:
    fold = np.where(dealt.table["target"] == 1, dealt.table[FOLD].clip(upper=2), dealt.table[FOLD])
    odd = replace(dealt, table=dealt.table.assign(**{FOLD: fold}))
    assert [part.name for part in measured_slices(odd, ["val"], 2)] == ["val"]
    with pytest.raises(ConfigError, match="Fold 3 of the 3 that validate holds no slice"):
        measured_slices(odd, ["val"], 3)
