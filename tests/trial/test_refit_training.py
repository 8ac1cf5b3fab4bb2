"""The refit of a recipe: trained on the files of val, too, with nothing left to choose by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from tests.trial.pictures import prepare_pictures, recipe_for
from workbench.data.manifest import Layout, read_manifest
from workbench.data.out_of_fold import FOLD, with_all_folds, with_val_in_train
from workbench.data.prepare import Prepared, prepare
from workbench.files import write_text
from workbench.media.image import Image
from workbench.parts.optimizers import AdamW
from workbench.trial.recipe import Recipe, Refit
from workbench.trial.result import Epoch, TrialFolder, best_epoch
from workbench.trial.train import run_trial


def table(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["split", "name", "path", "target"])


def test_every_labelled_file_is_trained_on_once_and_val_stays() -> None:
    merged = with_val_in_train(
        table(
            ("train", "a", "trainset/a", 0),
            ("train", "b", "trainset/b", 1),
            ("val", "c", "valset/c", 1),
            ("test", "t", "testset/t", -1),
        )
    )
    assert merged.loc[merged["split"] == "train", "name"].tolist() == ["a", "b", "c"]
    assert merged.loc[merged["split"] == "val", "name"].tolist() == ["c"]
    assert merged.loc[merged["split"] == "test", "name"].tolist() == ["t"]


def test_files_of_one_name_in_two_folders_are_told_apart() -> None:
    merged = with_val_in_train(table(("train", "a", "trainset/a", 0), ("val", "a", "valset/a", 1)))
    of_train = merged[merged["split"] == "train"]
    assert of_train["name"].tolist() == ["trainset/a", "valset/a"]
    assert of_train["target"].tolist() == [0, 1]


def test_of_several_folds_each_file_is_there_once_and_no_fold_is_left() -> None:
    dealt = table(
        ("train", "a", "all/a", 0),
        ("val", "b", "all/b", 1),
        ("train", "c", "all/c", 1),
        ("test", "t", "all/t", -1),
    ).assign(**{FOLD: [0, 1, 2, 1]})
    merged = with_val_in_train(with_all_folds(dealt))
    assert sorted(merged.loc[merged["split"] == "train", "name"]) == ["a", "b", "c"]
    assert FOLD not in merged


def epoch(number: int, objective: float) -> Epoch:
    return Epoch(epoch=number, train_loss=0.5, lr=0.1, metrics={}, objective=objective, seconds=1.0)


def test_the_last_epoch_is_kept_whatever_was_measured(tmp_path: Path) -> None:
    prepared = prepare_pictures(tmp_path)
    recipe = recipe_for(prepared)
    epochs = [epoch(1, 0.9), epoch(2, 0.5)]
    best = best_epoch(recipe, epochs)
    kept = best_epoch(recipe.replaced(refit=Refit(of="0" * 12)), epochs)
    assert (best, kept) == (epochs[0], epochs[1])


def test_a_recipe_that_is_no_refit_keeps_its_name_and_its_parameters(tmp_path: Path) -> None:
    recipe = recipe_for(prepare_pictures(tmp_path))
    refit = recipe.replaced(refit=Refit(of=recipe.uid))
    assert "refit" not in recipe.flat() and "refit" in refit.flat()
    assert refit.uid != recipe.uid
    assert Recipe.model_validate_json(refit.model_dump_json()).uid == refit.uid


def test_a_refit_follows_the_plateaus_of_its_trial_and_scores_no_labelled_file(
    tmp_path: Path,
) -> None:
    prepared = prepare_pictures(tmp_path)
    # What the trial had: its second epoch was no better, so the third has a tenth of the rate.
    schedule = {"kind": "plateau", "gamma": 0.1, "patience_epochs": 0}
    recipe = recipe_for(prepared, schedule=schedule, num_epochs=3).replaced(
        refit=Refit(of="0" * 12, history=(0.9, 0.8, 0.7))
    )
    files = TrialFolder(tmp_path / "refit")
    told: list[Epoch] = []

    def report(one: Epoch) -> str:
        told.append(one)
        return "go on"

    result = run_trial(recipe, prepared, files.path, device="cpu", report=report)  # type: ignore[arg-type]
    assert result.state == "complete", result.reason
    assert [one.lr for one in told] == pytest.approx([5e-3, 5e-3, 5e-4])
    assert (result.best_epoch, result.objective, result.metrics, result.by_slice) == (
        3, None, {}, {},
    )  # fmt: skip
    assert set(files.read_scores()["slice"]) == {"test"}
    assert not files.roc.exists()
    assert result.environment is not None and result.environment.num_threads >= 1


def test_a_refit_where_the_data_have_no_test_files_scores_none(tmp_path: Path) -> None:
    prepared = prepare_pictures(tmp_path)
    labelled = prepared.table[prepared.table["split"] != "test"].reset_index(drop=True)
    recipe = recipe_for(prepared, num_epochs=1).replaced(refit=Refit(of="0" * 12))
    files = TrialFolder(tmp_path / "refit")
    alone = replace(prepared, table=labelled)
    result = run_trial(recipe, alone, files.path, device="cpu", report=lambda _: "go on")
    assert result.state == "complete", result.reason
    assert files.read_scores().empty


def green_pictures(root: Path) -> Prepared:
    """Red is real; fakes are blue in train, and green in val and in the test files."""
    rng = np.random.default_rng(0)
    for split, number in (("train", 12), ("val", 12), ("test", 6)):
        (root / f"{split}set").mkdir(parents=True)
        rows = []
        for index in range(number):
            is_fake = index % 2
            channel = 0 if not is_fake else 2 if split == "train" else 1
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[..., channel] += 180
            Pillow.fromarray(pixels).save(root / f"{split}set" / f"{split}{index}.png")
            rows.append(f"{split}{index}.png,{is_fake if split != 'test' else 0.5}")
        header = "img_name,y_pred" if split == "test" else "img_name,target"
        file = "prediction.csv" if split == "test" else f"{split}_label.txt"
        write_text(root / file, "\n".join([header, *rows]) + "\n")
    manifest = read_manifest(root, Layout(), cache=root / "cache")
    views = {"image": Image(image_px=32)}
    return prepare(manifest, root, views, cache=root / "cache", jobs=1)


def test_a_refit_learns_a_fake_that_only_val_has(tmp_path: Path) -> None:
    prepared = green_pictures(tmp_path)
    recipe = recipe_for(prepared, backbone="test_resnet", optimizer=AdamW(lr=1e-3), num_epochs=6)
    mean = {}
    for name, one in (
        ("trial", recipe),
        ("refit", recipe.replaced(refit=Refit(of=recipe.uid))),
    ):
        files = TrialFolder(tmp_path / name)
        result = run_trial(one, prepared, files.path, device="cpu", report=lambda _: "go on")
        assert result.state == "complete", result.reason
        scores = files.read_scores()
        test = scores[scores["slice"] == "test"].set_index("name")["score"]
        mean[name] = test[["test1.png", "test3.png", "test5.png"]].mean()  # the green ones
    assert mean["trial"] < 0.5 < 0.7 < mean["refit"]
