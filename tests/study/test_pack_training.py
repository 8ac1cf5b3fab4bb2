"""The training of known packs: its members alone, all of them, and the same after any stop."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.data.layout import Layout
from workbench.searching import start
from workbench.searching.options import RunOptions
from workbench.searching.start import SearchOutcome, run_preset
from workbench.study.disk import needed
from workbench.study.records import read_trials
from workbench.study.since_begun import told_since_begun
from workbench.trial.job import Blocked, Died, Full
from workbench.trial.recipe import Recipe

RECIPES = Path(__file__).parents[2] / "experiments" / "recipes" / "packs"

PACK: dict[str, Any] = {
    "views": {"picture": {"kind": "image", "image_px": 32}},
    "pretrained": "none",
    "image_px": 32,
    "num_epochs": 2,
    "batch_size": 8,
    "optimizer": {"kind": "adamw", "lr": 1e-3},
}
BACKBONES = ("test_resnet", "test_efficientnet", "test_vit", "test_convnext")


def train(bench: Bench, inline: InlineTrials, file: Path, *settings: str) -> SearchOutcome:
    options = RunOptions(num_trials=1, data=bench.data, jobs=1, device="cpu", study=file.stem)
    return run_preset(
        file, bench.workspace, options, settings=settings, make_runner=inline.make_runner
    )


def written(folder: Path, name: str, *members: dict[str, Any]) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**PACK, "members": list(members)}), encoding="utf-8")
    return file


def of_backbones(*backbones: str) -> list[dict[str, Any]]:
    return [{"backbone": backbone} for backbone in backbones]


@pytest.fixture
def _unscreened(monkeypatch: pytest.MonkeyPatch) -> None:
    def screen(*given: object, **named: object) -> None:
        raise AssertionError("the backbones of a known recipe are screened")

    monkeypatch.setattr(start, "screen", screen)


@pytest.mark.usefixtures("_unscreened")
def test_a_pack_of_many_backbones_is_not_screened_and_goes_on(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    file = written(tmp_path, "many", *of_backbones(*BACKBONES))

    def stop(recipe: Recipe, number: int) -> float:
        if recipe.model.backbone == "test_vit":
            raise KeyboardInterrupt
        return 0.5

    inline.reset(stop)
    with pytest.raises(KeyboardInterrupt):
        train(bench, inline, file)
    inline.reset()
    assert train(bench, inline, file).num_new == 2
    assert train(bench, inline, file).num_new == 0
    assert [recipe.model.backbone for recipe in inline.trained] == ["test_convnext", "test_vit"]


def test_the_weights_of_members_are_kept_and_a_changed_template_is_taken_by_train(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    three = written(tmp_path, "three", *of_backbones(*BACKBONES[:3]))
    data = shutil.copytree(bench.data, tmp_path / "data")
    bench = Bench(bench.workspace, data, counter=bench.counter)
    inline.reset(lambda recipe, number: 0.5 if number < 2 else Died("out of memory"))
    folder = train(bench, inline, three).folder
    rows = read_trials(folder)
    # By the best alone `clean --keep 1` would leave one, and nothing could join them.
    assert needed(folder, rows) == {row.recipe: "member" for row in rows if row.number < 2}
    template = next(file for name in Layout().template if (file := data / name).exists())
    template.write_text(template.read_text().replace(",", ";"))
    assert "`workbench train` with the same options takes the new one." in told_since_begun(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("_unscreened")
def test_the_shipped_pack_of_seven_is_not_screened(bench: Bench, inline: InlineTrials) -> None:
    file = RECIPES / "seven-backbones.yaml"
    outcome = train(bench, inline, file, "pretrained=none", "image_px=64", "precision=float32")
    assert len(read_trials(outcome.folder)) == 7


def test_a_pack_that_was_begun_with_drafts_of_a_screening_goes_on_without_them(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As version 0.2.0 began those of four or more backbones."""
    members = [{**one, "dropout": 0.1} for one in of_backbones("test_resnet", "test_efficientnet")]
    file = written(tmp_path, "begun", *members)
    own = start._search

    def search(search: Any, store: Any, first: dict[str, Any], *rest: Any) -> str:
        drafts = {
            f"screening: {draft.backbone}": draft.model_copy(update={"dropout": 0.0})
            for draft in first.values()
        }
        return own(search, store, {**first, **drafts}, *rest)

    def stop(recipe: Recipe, number: int) -> float:
        raise KeyboardInterrupt

    inline.reset(stop)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(start, "_search", search)
        train(bench, inline, file)
    inline.reset()
    for _ in range(2):
        outcome = train(bench, inline, file)
        assert [row.state for row in read_trials(outcome.folder)] == ["complete"] * 2
    assert {recipe.model.dropout for recipe in inline.trained} == {0.1}
    # What was taken back may be asked for by a person.
    train(bench, inline, written(tmp_path, "begun", *members, {**members[0], "dropout": 0.0}))
    assert [recipe.model.dropout for recipe in inline.trained[2:]] == [0.0]


@pytest.mark.parametrize(
    "event", [Died("out of memory"), Full("The disk is full."), Blocked("It cannot be read.")]
)
def test_a_stopped_pack_says_which_members_it_lacks(
    bench: Bench, inline: InlineTrials, tmp_path: Path, event: Any
) -> None:
    three = written(tmp_path, type(event).__name__, *of_backbones(*BACKBONES[:3]))
    inline.reset(lambda recipe, number: 0.5 if recipe.model.backbone == "test_resnet" else event)
    outcome = train(bench, inline, three)
    assert outcome.stopped
    assert outcome.lacks == (
        "The pack is not promoted, since it lacks member 2, member 3: the same command goes on "
        "with what it lacks."
    )
    inline.reset()
    assert train(bench, inline, three).lacks == ""
