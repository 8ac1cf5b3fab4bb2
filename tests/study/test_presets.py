"""Known recipes: read whole, trained alone, tried first in a search."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.own_parts import LOSS
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE
from workbench.errors import ConfigError, StudyError
from workbench.media.image import Image
from workbench.searching.loop import TrialBug
from workbench.searching.options import RunOptions
from workbench.searching.recording import StudyRuns
from workbench.searching.start import run_preset
from workbench.space.experiment import read_experiment
from workbench.space.precisions import Precisions
from workbench.space.presets import draft_for, read_preset
from workbench.study.importances import importances
from workbench.study.records import read_trials
from workbench.trial.job import Bug, Died

RECIPE: dict[str, Any] = {
    "views": {"picture": {"kind": "image", "image_px": 32}},
    "backbone": "test_efficientnet",
    "pretrained": "none",
    "image_px": 32,
    "num_epochs": 2,
    "batch_size": 8,
    "optimizer": {"kind": "adamw", "lr": 1e-3},
}
"""What `tiny.SPACE` can draw, on the same view by another name."""

BUG = Bug("Traceback: the driver is gone")

VIEWS = {"image": Image(image_px=32)}


def write(folder: Path, *without: str, **keys: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tree = {key: value for key, value in RECIPE.items() if key not in without}
    path = folder / "known.yaml"
    path.write_text(yaml.safe_dump(tree | keys), encoding="utf-8")
    return path


def test_a_recipe_is_an_experiment_and_a_space_of_one(tmp_path: Path) -> None:
    experiment, space = read_preset(write(tmp_path, objective={"metric": "f1"}))
    assert experiment.name == "known"
    assert experiment.views == {"picture": Image(image_px=32)}
    assert (experiment.objective.metric, experiment.pruning.kind) == ("f1", "none")
    assert space.dimensions() == []
    assert space.tree["views"] == ["picture"]


def test_settings_change_a_recipe_key_by_key(tmp_path: Path) -> None:
    settings = ["num_epochs=1", "optimizer.lr=1e-5", "sampling.subset=4", "tta=six"]
    _, space = read_preset(write(tmp_path), settings)
    assert space.tree["num_epochs"] == 1
    assert space.tree["optimizer"] == {"kind": "adamw", "lr": 1e-5}
    assert space.tree["sampling"] == {"subset": 4}
    assert space.tree["tta"] == "six"


def test_a_setting_changes_no_key_that_an_alias_shares(tmp_path: Path) -> None:
    text = write(tmp_path, views=None).read_text(encoding="utf-8")
    views = "views:\n  one: &view {kind: image, image_px: 32}\n  other: *view\n"
    (tmp_path / "shared.yaml").write_text(text.replace("views: null\n", views), encoding="utf-8")
    experiment, _ = read_preset(tmp_path / "shared.yaml", ["views.one.image_px=64"])
    assert experiment.views == {"one": Image(image_px=64), "other": Image(image_px=32)}


@pytest.mark.parametrize(
    ("settings", "keys", "said"),
    [
        (["num_epochs"], {}, "is no `key=value`"),
        (
            ["backbone.x=test_vit"],
            {},
            "`backbone` names x, and the views that go through .* are picture",
        ),
        (["seed.x=1"], {"seed": 3}, "`seed` of the recipe holds no keys"),
        (["num_epochs=[1"], {}, "--set num_epochs=\\[1 is not valid YAML"),
        (["num_epochs=0"], {}, "`num_epochs` is 0"),
        (["nonsense=1"], {}, "`nonsense` is not a known key"),
        ([], {"views": ["image"]}, "`views` is \\['image'\\]"),
        ([], {"dropout": {"float": [0.0, 0.5]}}, "dropout would be drawn"),
    ],
)
def test_what_makes_no_recipe_is_refused(
    tmp_path: Path, settings: list[str], keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_preset(write(tmp_path, **keys), settings)


def test_a_recipe_takes_the_experiments_name_for_the_same_view(tmp_path: Path) -> None:
    assert draft_for(write(tmp_path), VIEWS).views == ("image",)
    with pytest.raises(ConfigError, match=r"reads the view .*image_px: 32.*does not have"):
        draft_for(write(tmp_path), {"image": Image(image_px=48)})


def test_two_equal_views_of_a_recipe_are_two_of_the_experiment(tmp_path: Path) -> None:
    picture = {"kind": "image", "image_px": 32}
    file = write(tmp_path, views={"left": picture, "right": picture})
    with pytest.raises(ConfigError, match=r"reads the view .*image_px: 32.*does not have"):
        draft_for(file, VIEWS)
    assert draft_for(file, {**VIEWS, "again": VIEWS["image"]}).views == ("image", "again")


def test_a_recipe_with_a_plugin_needs_an_experiment_with_the_same(tmp_path: Path) -> None:
    file = write(tmp_path, plugins=["of_recipe.py"], loss={"kind": "of_recipe"})
    (tmp_path / "of_recipe.py").write_text(LOSS.replace("brier", "of_recipe"))
    with pytest.raises(ConfigError, match=r"has the plugin of_recipe.py .*does not have"):
        draft_for(file, VIEWS)
    draft = draft_for(file, VIEWS, read_preset(file)[0].plugins)
    assert draft.model_dump()["loss"] == {"kind": "of_recipe", "power": 2.0}


@pytest.mark.slow
def test_a_recipe_is_trained_as_a_study_of_one_trial(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    file = write(tmp_path)

    def train(**options: Any) -> Any:
        settings = options.pop("settings", ())
        asked = RunOptions(num_trials=1, data=bench.data, seed=5, jobs=1, device="cpu", **options)
        return run_preset(
            file, bench.workspace, asked, settings=settings, make_runner=inline.make_runner
        )

    outcome = train(settings=["batch_size=4"])
    assert [row.state for row in read_trials(outcome.folder)] == ["complete"]
    (trained,) = inline.trained
    assert (trained.training.batch_size, trained.seed, list(trained.model.views)) == (
        4,
        5,
        ["picture"],
    )
    assert len(bench.runs(outcome)) == 1
    assert train(settings=["batch_size=4"]).num_new == 0
    assert train(study="known-again").num_new == 1


def test_a_search_tries_known_recipes_first_and_once(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    inside = write(tmp_path / "inside")
    outside = write(tmp_path / "outside", dropout=0.3)
    experiment = bench.experiment()
    for num_trials in (1, 4):  # the second search is told again
        outcome = bench.search(experiment, num_trials, start_from=(inside, outside))
    rows = read_trials(outcome.folder)
    first, second, *drawn = inline.trained
    assert (first.model.backbone, first.model.dropout) == ("test_efficientnet", 0)
    assert first.training.optimizer.lr == 1e-3
    assert (second.model.backbone, second.model.dropout) == ("test_efficientnet", 0.3)
    assert len(drawn) == 2
    assert 1e-3 not in {recipe.training.optimizer.lr for recipe in drawn}
    # The sampler knows the first as one of its own draws; the second is none of the space's.
    assert rows[0].drawn == {"backbone": "test_efficientnet", "optimizer.lr": 1e-3}
    assert rows[1].drawn == {}
    assert all(row.drawn for row in rows[2:])


def test_importances_are_told_of_a_study_with_a_recipe_from_elsewhere(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    inline.reset(lambda recipe, number: min(0.99, 0.5 + 10 * recipe.training.optimizer.lr))
    outside = write(tmp_path, dropout=0.3)
    outcome = bench.search(bench.experiment(), 14, start_from=(outside,))
    shares = importances(outcome.folder)
    assert shares["optimizer.lr"].share > shares["backbone"].share


def test_a_known_recipe_that_was_cut_off_is_tried_again(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    experiment = bench.experiment()
    outside = write(tmp_path, dropout=0.3)

    def stop(recipe: Any, number: int) -> float:
        raise KeyboardInterrupt

    inline.reset(stop)
    with pytest.raises(KeyboardInterrupt):
        bench.search(experiment, 2, start_from=(outside,))
    inline.reset()
    outcome = bench.search(experiment, 2)
    assert [recipe.model.dropout for recipe in inline.trained] == [0.3, 0.0]
    assert len(read_trials(outcome.folder)) == 2


@pytest.mark.parametrize(
    ("space", "keys", "params"),
    [
        ({}, {}, {"backbone": "test_efficientnet", "optimizer.lr": 1e-3}),
        ({"num_epochs": {"int": [1, 3]}}, {}, "num_epochs=2"),
        ({"num_epochs": {"int": [3, 5]}}, {}, None),
        ({"dropout": {"float": [0.1, 0.5]}}, {"dropout": 0.2}, "dropout=0.2"),
        ({"dropout": {"choice": [0.0, 0.5]}}, {"dropout": 0.2}, None),
        ({"batch_size": 16}, {}, None),
        ({}, {"frozen": True}, None),
    ],
)
def test_a_space_says_what_must_be_drawn_for_a_recipe(
    bench: Bench, tmp_path: Path, space: dict[str, Any], keys: dict[str, Any], params: Any
) -> None:
    draft = draft_for(write(tmp_path, **keys), VIEWS)
    _, read = read_experiment(bench.experiment({**SPACE, **space}))
    found = read.params_of(draft)
    if isinstance(params, str):
        key, _, value = params.partition("=")
        assert found is not None
        assert found[key] == pytest.approx(float(value))
    else:
        assert found == params


def test_a_recipe_is_found_within_a_choice_between_mappings(bench: Bench, tmp_path: Path) -> None:
    optimizer = {
        "choice": [
            {"kind": "sgd", "lr": {"float": [1e-3, 1e-1], "log": True}, "momentum": 0.9},
            {"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}},
        ]
    }
    _, read = read_experiment(bench.experiment({**SPACE, "optimizer": optimizer}))
    found = read.params_of(draft_for(write(tmp_path), VIEWS))
    assert found == {
        "backbone": "test_efficientnet",
        "optimizer": "adamw",
        "optimizer.adamw.lr": 1e-3,
    }


def test_a_recipe_on_copies_that_the_study_does_not_make_is_refused(
    bench: Bench, tmp_path: Path
) -> None:
    known = write(tmp_path / "known", copies={"splice": 0.2, "degraded": 0.1})
    with pytest.raises(ConfigError, match=r"known\.yaml trains on copies \(splice, degraded\)"):
        bench.search(bench.experiment(SPACE), 1, start_from=[known])
    assert not (tmp_path / "experiments" / "tiny" / "study.json").exists()


def test_a_recipe_on_copies_that_the_space_draws_is_tried(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    known = write(tmp_path / "known", copies={"degraded": 0.1})
    space = {**SPACE, "copies": {"degraded": {"choice": [0.0, 0.5]}}}
    bench.search(bench.experiment(space), 1, start_from=[known])
    assert inline.trained[0].training.copies.degraded == 0.1


def test_no_member_of_a_pack_is_given_up(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    file = write(tmp_path, members=[{}, {"optimizer": {"lr": 1e-4}}])
    options = RunOptions(num_trials=1, data=bench.data, jobs=1, device="cpu", study="needed")

    def train() -> list[str]:
        ended = run_preset(file, bench.workspace, options, make_runner=inline.make_runner)
        return [row.state for row in read_trials(ended.folder)]

    # What the first member was trained for would be lost with the second one.
    inline.reset(lambda recipe, number: 0.5 if recipe.training.optimizer.lr == 1e-3 else BUG)
    for _ in range(3):
        with pytest.raises(TrialBug, match=r"trial \d hit a bug"):
            train()
    # Nor for a worker that dies.
    inline.reset(lambda recipe, number: Died("out of memory"))
    assert "failed" not in train()
    inline.reset()
    assert train() == ["complete"] * 2
    assert len(inline.trained) == 1


def test_a_pack_is_that_which_its_file_says(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    options = RunOptions(num_trials=1, data=bench.data, jobs=1, device="cpu", study="pack")

    def train(*members: dict[str, Any]) -> list[float]:
        file = write(tmp_path, members=list(members))
        run_preset(file, bench.workspace, options, make_runner=inline.make_runner)
        return rates_trained(inline)

    middle, last = {"optimizer": {"lr": 1e-4}}, {"optimizer": {"lr": 1e-1}}
    inline.reset(lambda recipe, number: BUG if recipe.training.optimizer.lr == 1e-1 else 0.5)
    with pytest.raises(TrialBug):
        train({}, middle, last)
    mended = {"optimizer": {"lr": 1e-2}}
    # The old one still waits.
    with pytest.raises(StudyError, match=r"member 3 \(`optimizer.lr` was 0.1, is 0.01\) changed"):
        train({}, middle, mended)
    inline.reset()
    assert train({}, middle, last) == [1e-1]
    for members in ([{}, last], [{}, middle, mended], [{}, last, mended]):  # all have ended
        with pytest.raises(StudyError, match="begun with other members"):
            train(*members)
    assert train({}, last, middle) == [1e-1]  # the order says nothing
    assert train({}, middle, last, mended) == [1e-1, 1e-2]


MEMBERS: dict[str, list[dict[str, Any]]] = {
    "backbones": [{"backbone": "test_resnet"}, {"backbone": "test_efficientnet"}],
    "one outside": [
        {"backbone": "test_resnet"},
        {"backbone": "test_resnet", "optimizer": {"lr": 1e-2}},
        {"backbone": "test_efficientnet", "precision": "auto"},
    ],
}
"""The space of a pack holds its first member, and those of other backbones."""


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_a_pack_goes_on_whose_journal_does_not_know_a_member(
    bench: Bench,
    inline: InlineTrials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: list[dict[str, Any]],
    place: int,
) -> None:
    """As where it was killed, or the disk full, while a member began; or the journal is lost."""
    study = f"{len(members)}-{place}"
    file, num = write(tmp_path, members=members), len(members)
    options = RunOptions(num_trials=1, data=bench.data, jobs=1, device="cpu", study=study)
    own, begun = StudyRuns.start, []

    def start(*given: Any, **named: Any) -> str:
        begun.append(given)
        if len(begun) == place + 1:
            raise SystemExit("killed")
        return own(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(StudyRuns, "start", start)
        with pytest.raises(SystemExit):
            run_preset(file, bench.workspace, options, make_runner=inline.make_runner)
    for _ in range(2):  # once more without any journal
        ended = run_preset(file, bench.workspace, options, make_runner=inline.make_runner)
        assert [row.state for row in read_trials(ended.folder)] == ["complete"] * num
        ended.folder.journal.unlink()
    assert len(inline.trained) == num


def rates_trained(inline: InlineTrials) -> list[float]:
    return [recipe.training.optimizer.lr for recipe in inline.trained]


def test_members_that_come_to_one_recipe_are_refused(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Precisions, "in_bfloat16", lambda *_, **__: False)
    options = RunOptions(num_trials=1, data=bench.data, jobs=1, device="cpu", study="one")
    file = write(tmp_path, members=[{"precision": "auto"}, {"precision": "float32"}])
    with pytest.raises(ConfigError, match=r"member 2 comes to the same recipe as .*member 1"):
        run_preset(file, bench.workspace, options, make_runner=inline.make_runner)
    assert not inline.trained
