"""A space that offers several methods: each is drawn with what it reads, and nothing else."""

from typing import Any

import pytest

from workbench.errors import ConfigError
from workbench.media.audio_features import Features
from workbench.parts.methods import FineTuning, GradientBoosting, LogisticRegression
from workbench.searching.costs import Past, Wanted, predict_cost
from workbench.searching.open_trials import reached_in
from workbench.space.space import SampledConfig, Space, read_tree_as_space
from workbench.trial.recipe import Objective
from workbench.trial.result import Epoch
from workbench.trial.sampling import Sampling

PROBE = {
    "kind": "probe",
    "views": {"choice": [["features"], ["mel", "features"]]},
    "fit": {
        "choice": [
            {"kind": "logistic", "c": {"float": [1e-4, 1.0], "log": True}},
            {"kind": "boosting", "depth": {"int": [1, 3]}},
        ]
    },
}
TREE: dict[str, Any] = {
    "views": {"choice": [["mel"], ["mel", "frames"]]},
    "backbone": {"choice": ["test_resnet", "test_vit"]},
    "method": {"choice": ["fine-tune", PROBE]},
    "num_epochs": {"choice": [2, 4]},
    "dropout": {"float": [0.0, 0.5]},
    "sampling": {"balanced": {"choice": [False, True]}},
    "optimizer": {"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}},
    "augment": {"mixup_alpha": {"choice": [0.0, 0.2]}},
}
VIEWS = ("mel", "frames", "features")


def space_of(**keys: Any) -> Space:
    return read_tree_as_space({**TREE, **keys}, "space.yaml", VIEWS)


class Chosen:
    """Draws what is wanted, else the last option or the high bound; keeps what it was asked."""

    def __init__(self, **wanted: Any) -> None:
        self.wanted, self.asked = wanted, list[str]()

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked.append(name)
        return self.wanted.get(name, choices[-1])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked.append(name)
        return high

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.asked.append(name)
        return high


def test_what_a_method_does_not_read_is_not_drawn() -> None:
    probe, fine = Chosen(), Chosen(method="fine-tune")
    drafts = [space_of().draw(chosen) for chosen in (probe, fine)]
    assert probe.asked == [
        "method",
        "method.probe.views",
        "backbone",
        "sampling.balanced",
        "method.probe.fit",
        "method.probe.fit.boosting.depth",
    ]
    assert fine.asked == [
        "method",
        "views",
        "backbone",
        "num_epochs",
        "dropout",
        "sampling.balanced",
        "optimizer.lr",
        "augment.mixup_alpha",
    ]
    assert drafts[0].probe is not None and drafts[0].probe.fit == GradientBoosting(depth=3)
    assert drafts[0].views == ("mel", "features") and drafts[0].sampling == Sampling(balanced=True)
    assert drafts[1].method == FineTuning() and drafts[1].views == ("mel", "frames")


def test_each_dimension_knows_under_which_method_it_exists() -> None:
    found = {each.name: each.where for each in space_of().dimensions()}
    assert found["optimizer.lr"] == found["backbone"] == {}
    assert found["method.probe.views"] == {"method": "probe"}
    assert found["method.probe.fit.logistic.c"] == {"method": "probe"}
    assert found["method.probe.fit.boosting.depth"] == {
        "method": "probe",
        "method.probe.fit": "boosting",
    }


def test_a_space_is_asked_for_what_any_method_can_draw() -> None:
    space = space_of()
    assert space.view_sets() == [("mel",), ("mel", "frames"), ("features",), ("mel", "features")]
    assert space.backbones() == ["test_resnet", "test_vit"]
    own = space_of(method={"choice": ["fine-tune", {**PROBE, "backbone": "test_vit3"}]})
    assert own.backbones() == ["test_resnet", "test_vit", "test_vit3"]


@pytest.mark.parametrize("method", ["fine-tune", "probe"])
def test_a_draft_is_found_again_in_the_space(method: str) -> None:
    space, chosen = space_of(), Chosen(method=method)
    draft = space.draw(chosen)
    params = space.params_of(draft)
    assert params is not None and set(params) == set(chosen.asked)
    assert space.at(params) == draft
    other = draft.model_copy(update={"views": ("frames",)})
    assert space.params_of(other) is None


@pytest.mark.parametrize("backbone", [TREE["backbone"], {"mel": TREE["backbone"]}])
def test_a_probe_of_vectors_alone_is_found_again_by_its_recipe(backbone: Any) -> None:
    """As the books of a study are made anew: nothing but the recipe is left of what was drawn."""
    space, chosen = space_of(backbone=backbone, image_px={"choice": [32, 48]}), Chosen()
    chosen.wanted = {"method.probe.views": "features"}
    drafted = space.draw(chosen)
    views: dict[str, Any] = {"features": Features()}
    recipe = drafted.recipe(data="", views=views, weights={}, objective=Objective(), seed=0)
    params = space.params_of(SampledConfig.of(recipe))
    assert params is not None and set(params) == set(chosen.asked)
    again = space.at(params).recipe(data="", views=views, weights={}, objective=Objective(), seed=0)
    assert again == recipe
    other = SampledConfig.of(recipe).model_copy(update={"views": ("frames",)})
    assert space.params_of(other) is None


def test_a_space_of_one_method_draws_no_method() -> None:
    space = space_of(method="probe")
    assert space.at({}).probe is not None
    assert {each.name for each in space.dimensions()} == {"views", "backbone", "sampling.balanced"}
    strong = space_of(method={"kind": "probe", "fit": {"kind": "logistic", "c": {"float": [1, 2]}}})
    assert "method.fit.c" in {each.name for each in strong.dimensions()}
    found = strong.at({"method.fit.c": 1.5}).probe
    assert found is not None and found.fit == LogisticRegression(c=1.5)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"kind": "probe", "num_epochs": 3}, "`method` has the keys num_epochs, which a probe"),
        ({"choice": ["fine-tune", {"kind": 3}]}, "Name a method or give its `kind`"),
        ("linear", "method"),
        ({"kind": "probe", "fits": 1}, "`fits` is not a known key"),
    ],
)
def test_what_no_method_reads_is_refused(method: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        space_of(method=method)


def test_a_probe_is_held_against_nobody_and_foretells_only_probes() -> None:
    recipes = [
        SampledConfig.model_validate({"views": ("v",), "backbone": {}, **keys})
        for keys in ({"method": "probe"}, {"optimizer": {"kind": "adam", "lr": 0.1}})
    ]
    assert [recipe.probe is None for recipe in recipes] == [False, True]
    epoch = Epoch(epoch=1, train_loss=0.1, lr=0.0, metrics={}, objective=0.8, seconds=1.0)
    whole = [
        recipe.recipe(data="d", views={"v": Features()}, weights={}, objective=Objective(), seed=0)
        for recipe in recipes
    ]
    assert [reached_in(recipe, [epoch]) for recipe in whole] == [{}, {1: 0.8}]
    past = Past("a", ("v",), 64, 8, 1, 100.0, method="probe", seconds=3.0)
    wanted = Wanted("a", ("v",), 64, 8, 1, 200.0)
    assert predict_cost([past], wanted) is None
    probe = Wanted("a", ("v",), 64, 8, 1, 200.0, method="probe")
    expected = predict_cost([past], probe)
    assert expected is not None and expected.seconds == pytest.approx(6.0)


def test_the_only_methods_copies_are_changed_as_the_file_says() -> None:
    augment = {"pictures": {"hflip": 0.5}}
    copied = space_of(method={"kind": "probe", "copies": 2}, augment=augment).at({})
    assert copied.augment.pictures.hflip == 0.5
    plain = space_of(method="probe", augment=augment).at({})
    assert plain.augment.pictures.hflip == 0.0
