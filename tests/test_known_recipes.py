"""The shipped recipes: each is legal, and each trains by the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import workbench as wb
from workbench.demo.build import make_demo
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook
from workbench.space.presets import read_preset

RECIPES = sorted((Path(__file__).parents[1] / "experiments" / "recipes").glob("*.yaml"))
NAMES = [path.stem for path in RECIPES]
COMMAND = Path(sys.executable).with_name("workbench")
SMALL = {
    "tf_efficientnet_b7.ra_in1k": "tf_efficientnet_b0.aa_in1k",
    "tf_efficientnet_b4.ap_in1k": "tf_efficientnet_b0.ap_in1k",
    "convnext_base.fb_in1k": "convnext_atto.d2_in1k",
    "convnext_tiny.fb_in1k": "convnext_atto.d2_in1k",
    "caformer_s36.sail_in1k": "caformer_s18.sail_in1k",
}
"""The smallest of a backbone's family, for the large ones."""

ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def test_there_are_recipes_of_every_kind() -> None:
    assert len(RECIPES) >= 8


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_is_legal_and_says_how_to_train_it(path: Path) -> None:
    experiment, space = read_preset(path)
    backbone, image_px = space.tree["backbone"], space.tree.get("image_px", 224)
    # As published: what this machine can have of the weights does not matter here.
    assert judge(Rulebook(), backbone, experiment.views, image_px=image_px, weights=None).legal
    assert f"workbench train experiments/recipes/{path.name} --data DIR" in path.read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recipes")
    make_demo(root / "data", num_train=8, num_val=4, num_test=2)
    return root


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_trains_an_epoch(path: Path, place: Path) -> None:
    # Small: what a recipe takes at its own size is judged above, and is no test's.
    settings = ["num_epochs=1", "image_px=96", "precision=float32"]
    backbone = read_preset(path)[1].tree["backbone"]
    if backbone in SMALL:
        settings.append(f"backbone={SMALL[backbone]}")
    study = wb.train(path, data=place / "data", settings=settings, device="cpu", root=place)
    [trial] = study.trials.to_dict("records")
    assert (trial["state"], trial["num_epochs"]) == ("complete", 1)
    assert study.champion is not None


@pytest.mark.slow
def test_the_command_trains_an_epoch_of_one(place: Path) -> None:
    [recipe] = [path for path in RECIPES if path.stem == "image-baseline"]  # a quick one
    said = ["--study", "again", "--set", "num_epochs=1", "--set", "image_px=96"]
    done = subprocess.run(
        [COMMAND, "train", recipe, "--data", "data", *said],
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = (place / "experiments" / "again" / "trials").glob("*/result.json")
    kept = json.loads(result.read_text())
    assert (kept["state"], len(kept["epochs"])) == ("complete", 1)
    assert "Next: workbench compare again" in done.stdout


def test_each_recipe_has_a_row_of_results() -> None:
    rows = (RECIPES[0].parent / "README.md").read_text(encoding="utf-8").splitlines()
    named = {row.split("`")[1] for row in rows if row.startswith("| `")}
    assert named == {*NAMES}
