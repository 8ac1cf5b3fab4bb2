"""A search space with backbones of their own for each view."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ConfigError, RuleError
from workbench.media.audio_features import Features
from workbench.media.faces import Faces
from workbench.media.image import Image
from workbench.media.views import AnyView
from workbench.parts.leaderboard import read_table
from workbench.parts.weights import RANDOM
from workbench.rules.rulebook import Rulebook
from workbench.space import precisions
from workbench.space.experiment import Experiment
from workbench.space.precisions import Precisions
from workbench.space.presets import draft_for, read_preset
from workbench.space.recipe_builder import check_rules
from workbench.space.space import SampledConfig, Space, read_tree_as_space, require_backbones
from workbench.space.weights_finder import WeightsFinder
from workbench.trial.recipe import Objective

VIEWS: dict[str, AnyView] = {
    "image": Image(image_px=32),
    "small": Image(image_px=16),
    "values": Features(),
}
TREE: dict[str, Any] = {
    # After its views in no order: what is drawn hangs on the views wherever they stand.
    "backbone": {
        "image": {"choice": ["test_resnet", "test_vit"]},
        "small": {"choice": ["test_vit", "test_convnext"]},
    },
    "dropout": {"float": [0.0, 0.5]},
    "views": {"choice": [["image"], ["image", "small"], ["small", "values"], ["values"]]},
    "pretrained": "none",
    "precision": "float32",
    "image_px": 160,
    "optimizer": {"kind": "adamw", "lr": 1e-3},
}


def space_of(**keys: Any) -> Space:
    space = read_tree_as_space({**TREE, **keys}, "space.yaml", tuple(VIEWS))
    require_backbones(space, VIEWS)
    return space


class Picks:
    """Draws the options of these places, one after the other, and keeps what it was asked."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = list(places)
        self.asked: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked[name] = choices[self.places.pop(0) % len(choices)]
        return self.asked[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked[name] = low + (high - low) * self.places.pop(0) / 10
        return float(self.asked[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        raise AssertionError(name)


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_a_backbone_is_drawn_where_its_view_is_read_and_only_there(places: list[int]) -> None:
    space = space_of()
    picks = Picks(places)
    draft = space.draw(picks)
    of_views = {key for key in picks.asked if key.startswith("backbone.")}
    assert of_views == {f"backbone.{view}" for view in draft.views if view != "values"}
    assert space.params_of(draft) == picks.asked
    recipe = draft.recipe(
        data="d", views=VIEWS, weights=RANDOM, objective=Objective(), seed=0, bfloat16=False
    )
    wanted = {view: picks.asked[f"backbone.{view}"] for view in recipe.model.backbone_of}
    assert recipe.model.backbone_of == wanted
    again = SampledConfig.of(recipe)
    drawn = space.params_of(again)
    assert drawn == picks.asked


def test_each_view_has_a_dimension_of_its_own() -> None:
    space = space_of()
    found = {each.name: (each.values, each.where) for each in space.dimensions()}
    assert found["backbone.image"] == (("test_resnet", "test_vit"), {})
    assert found["backbone.small"][0] == ("test_vit", "test_convnext")
    assert found["backbone.small"][1] == {"views": "image+small"}
    assert set(found) == {"views", "dropout", "backbone.image", "backbone.small"}
    assert space.backbones_by_view() == {
        "image": ["test_resnet", "test_vit"],
        "small": ["test_vit", "test_convnext"],
    }
    assert space.backbones() == ["test_resnet", "test_vit", "test_convnext"]
    assert space.most_backbones() == 2
    drafts = {str(draft.backbone) for draft in space.corners()}
    assert {"test_resnet", "test_vit", "{}"} < drafts


def test_a_view_that_can_not_be_drawn_needs_and_offers_none() -> None:
    space = space_of(views=["image"])
    assert space.backbones_by_view() == {"image": ["test_resnet", "test_vit"]}
    assert space_of(views=["values"], backbone={"image": "test_vit"}).backbones() == []


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ({"image": "test_vit"}, "`backbone` names none for the view small, which can be drawn"),
        ({}, "`backbone` names none for the view image, small"),
        ({**TREE["backbone"], "smal": "x"}, "`backbone` names smal, and the views that go through"),
        ({**TREE["backbone"], "values": "x"}, "a backbone are image, small. Use those names."),
        ({"image": "test_vit", "small": 3}, "`backbone.small` is 3: write one model's name"),
        ({"image": "test_vit", "small": {"choice": [3]}}, "`backbone.small` is 3"),
        ({"choice": ["test_vit", {"image": "a", "small": "b"}]}, "To choose for each view"),
        ({"image": {"leaderboard": {"top": 0}}, "small": "a"}, "`backbone.image.leaderboard`"),
        (
            {"image": {"leaderboard": {}, "top": 2}, "small": "a"},
            "`backbone.image` has other keys beside `leaderb",
        ),
        ({"image": {"choice": ["a", "a"]}, "small": "a"}, "`backbone.image.choice` holds an opt"),
    ],
)
def test_a_mapping_that_does_not_fit_is_one_clear_sentence(backbone: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        space_of(backbone=backbone)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_question_for_one_view_is_answered_within_its_share_of_the_limit() -> None:
    query = {"leaderboard": {"sort": "imagenet", "top": 1000}}
    tree = {**TREE, "backbone": {"image": query, "small": "test_vit"}}
    rulebook = Rulebook.model_validate({"max_params": "20M", "pretraining": ["in21k"]})
    space = read_tree_as_space(tree, "space.yaml", tuple(VIEWS), rulebook)
    rows = {row.model: row for row in read_table().rows}
    names = space.backbones_by_view()["image"]
    assert max(rows[name].params_m for name in names) <= 10
    alone = read_tree_as_space({**tree, "views": ["image"]}, "space.yaml", tuple(VIEWS), rulebook)
    assert max(rows[name].params_m for name in alone.backbones_by_view()["image"]) > 10
    assert space.tree["backbone"]["image"] == {"choice": names, "asked": query}
    assert space.tree["backbone"]["small"] == "test_vit"
    # A study that has begun keeps the answer of that view.
    begun = {**space.tree["backbone"], "image": {"choice": ["test_resnet"], "asked": query}}
    kept = space.as_begun({**space.tree, "backbone": begun})
    assert kept.backbones_by_view() == {"image": ["test_resnet"], "small": ["test_vit"]}
    assert space.as_begun({**space.tree, "backbone": "test_vit"}) == space


def known(folder: Path, **keys: Any) -> Path:
    views = {"a": {"kind": "image", "image_px": 32}, "b": {"kind": "image", "image_px": 16}}
    tree = {**TREE, "views": views, "dropout": 0.1, "backbone": "test_vit", **keys}
    path = folder / "known.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.fixture
def draft_of(tmp_path: Path) -> Callable[..., SampledConfig]:
    """Reads a known recipe of two views of pictures, a and b, as a draft."""

    def read(*settings: str, **keys: Any) -> SampledConfig:
        return read_preset(known(tmp_path, **keys), settings)[1].at({})

    return read


def test_a_recipe_is_set_view_by_view(draft_of: Callable[..., SampledConfig]) -> None:
    assert draft_of().backbone == "test_vit"
    set_one = draft_of("backbone.b=test_resnet")
    assert set_one.backbone == {"a": "test_vit", "b": "test_resnet"}
    assert draft_of("backbone.b=test_vit").backbone == "test_vit"
    two = {"a": "test_resnet", "b": "test_vit"}
    assert draft_of(backbone=two).backbone == two
    assert draft_of("backbone.a=test_vit", backbone=two).backbone == "test_vit"
    assert draft_of("backbone=test_convnext", "backbone.a=test_vit").backbone == {
        "a": "test_vit",
        "b": "test_convnext",
    }
    with pytest.raises(ConfigError, match="`backbone` names c, and the views"):
        draft_of("backbone.c=test_vit")
    with pytest.raises(ConfigError, match="`backbone` names none for the view b"):
        draft_of(backbone={"a": "test_vit"})


def test_a_recipes_backbones_follow_its_views_into_an_experiment(tmp_path: Path) -> None:
    file = known(tmp_path, backbone={"a": "test_resnet", "b": "test_convnext"})
    draft = draft_for(file, VIEWS)
    assert draft.backbone == {"image": "test_resnet", "small": "test_convnext"}
    drawn = space_of().params_of(draft)
    assert drawn == {
        "views": "image+small",
        "backbone.image": "test_resnet",
        "backbone.small": "test_convnext",
        "dropout": pytest.approx(0.1),
    }
    # A plain name is the same on every view, if each view's options have it.
    plain = draft_for(known(tmp_path), VIEWS)
    assert (space_of().params_of(plain) or {})["backbone.small"] == "test_vit"
    other = draft_for(known(tmp_path, backbone="test_resnet"), VIEWS)
    assert space_of().params_of(other) is None


def check(space: Space, tmp_path: Path, **rules: Any) -> None:
    experiment = Experiment(
        name="x", views=VIEWS, search_space="x.yaml", rulebook=Rulebook.model_validate(rules)
    )
    check_rules(experiment, space, WeightsFinder(tmp_path))


def test_the_smallest_of_each_view_must_be_allowed_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = space_of(views=["image", "small"])
    # With a head of their own; test_resnet has 372,882.
    sizes = {"test_vit": 306_370, "test_convnext": 207_258}
    check(space, tmp_path)
    assert capsys.readouterr().err == ""
    # The smallest together: test_vit and test_convnext.
    both = sum(sizes.values()) - 2  # the bias of the head
    check(space, tmp_path, max_params=both, counter="true")
    with pytest.raises(RuleError, match="refuses every backbone that can be drawn"):
        check(space, tmp_path, max_params=both - 1, counter="true")
    said = capsys.readouterr().err
    assert "test_vit image + test_convnext small is refused" in said
    with pytest.raises(RuleError):
        check(space, tmp_path, max_params=sizes["test_vit"] - 1, counter="true")
    assert "test_vit is refused" in capsys.readouterr().err


def test_the_remedy_fits_the_rule_that_refuses(tmp_path: Path) -> None:
    views: dict[str, AnyView] = {"faces": Faces(image_px=32)}
    space = read_tree_as_space(
        {**TREE, "backbone": "test_vit", "views": ["faces"]}, "space.yaml", tuple(views)
    )
    for rules, remedy in (
        ({"helpers": "refuse"}, r"write `helpers: allow` into the rulebook\.$"),
        ({"max_params": 10_000}, "Put a legal one into `backbone`"),
    ):
        experiment = Experiment(
            name="x", views=views, search_space="x.yaml", rulebook=Rulebook.model_validate(rules)
        )
        with pytest.raises(RuleError, match=remedy):
            check_rules(experiment, space, WeightsFinder(tmp_path))


def test_bfloat16_is_taken_where_all_backbones_are_faster_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gains = {"fast": 2.0, "faster": 3.0, "slow": 0.7}
    monkeypatch.setattr(precisions, "gain_of_bfloat16", lambda name, **_: gains[name])
    monkeypatch.setattr(precisions, "has_bfloat16", lambda device: True)
    chosen = Precisions(None)

    def draft(**names: str) -> SampledConfig:
        tree = {"views": list(names), "backbone": names, "optimizer": TREE["optimizer"]}
        return SampledConfig.model_validate(tree)

    mixed, both = draft(image="fast", small="slow"), draft(image="fast", small="faster")
    assert not chosen.in_bfloat16(mixed, has_pictures=True)
    assert not chosen.guess(both)  # one of them is not measured yet
    assert chosen.in_bfloat16(both, has_pictures=True)
    assert chosen.guess(both)
    assert not chosen.guess(mixed)
