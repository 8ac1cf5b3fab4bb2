"""One backbone and one provenance of weights for all views, or one for each."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workbench.errors import ConfigError
from workbench.media.audio_features import Features
from workbench.media.image import Image
from workbench.media.views import AnyView
from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.per_view import apply, for_each, in_short, label_of, mismatch, values_of
from workbench.parts.weights import RANDOM, Weights
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook
from workbench.searching.costs import epoch_work, wanted_of
from workbench.trial.memory_count import cost_key, least_samples
from workbench.trial.recipe import Recipe
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import build

VIEWS: dict[str, AnyView] = {"image": Image(image_px=32), "small": Image(image_px=16)}
TWO = {"image": "test_resnet", "small": "test_vit"}
IN1K = Weights(source="hub", name="test_vit.r160_in1k", sha256="0", pretraining="in1k")
IN22K = Weights(source="hub", name="test_resnet.r160_in22k", sha256="1", pretraining="in22k")


def spec(**keys: Any) -> ModelSpec:
    usual = {"views": VIEWS, "backbone": TWO, "weights": RANDOM, "image_px": 160}
    made: ModelSpec = build(ModelSpec, {**usual, **keys}, where="recipe.json")
    return made


def recipe(**keys: Any) -> Recipe:
    return Recipe(data="d", model=spec(**keys), training=TrainingSpec(optimizer=AdamW(lr=1e-3)))


def num_params(backbone: str | Mapping[str, str], *names: str) -> int:
    views = {name: VIEWS[name] for name in names}
    model = MediaModel(backbone, views, image_px=160, weights=RANDOM)
    return sum(parameter.numel() for parameter in model.parameters())


@given(st.dictionaries(st.text(max_size=3), st.sampled_from("ab"), min_size=1))
def test_what_is_written_in_short_says_the_same_of_each_view(setting: dict[str, str]) -> None:
    short = in_short(setting)
    assert for_each(short, setting) == setting
    assert isinstance(short, str) == (len(set(setting.values())) == 1)
    assert set(values_of(short)) == set(setting.values())


def test_labels_name_the_view_of_each() -> None:
    assert label_of("resnet18") == "resnet18"
    assert label_of({"mel": "resnet18", "frames": "vit_tiny"}) == "resnet18 mel + vit_tiny frames"
    assert label_of({}) == "no backbone"
    assert apply(str.upper, "a") == "A"
    assert apply(str.upper, {"mel": "a", "frames": "b"}) == {"mel": "A", "frames": "B"}


def test_a_mapping_must_fit_the_views() -> None:
    assert mismatch(TWO, VIEWS) == ""
    assert mismatch(TWO, [*VIEWS, "mel"]) == "it lacks the view mel"
    said = "it names small, and the views that go through a backbone are image"
    assert mismatch(TWO, ["image"]) == said


def test_equal_models_have_one_name_however_they_are_written() -> None:
    one = recipe(backbone="test_vit")
    assert recipe(backbone=dict.fromkeys(VIEWS, "test_vit")) == one
    assert recipe(backbone="test_vit", weights=dict.fromkeys(VIEWS, RANDOM)) == one
    turned = {"small": "test_vit", "image": "test_resnet"}
    assert recipe(backbone=turned).fingerprint == recipe().fingerprint != one.fingerprint


def test_a_recipe_of_one_backbone_keeps_the_name_that_it_had() -> None:
    kept = Recipe(
        data="d",
        model=ModelSpec(views={"image": Image(image_px=32)}, backbone="test_vit", weights=IN1K),
        training=TrainingSpec(optimizer=AdamW(lr=1e-3)),
    )
    assert kept.fingerprint == "d69c2713757c"


def test_each_view_has_its_own_backbone_and_weights() -> None:
    both = spec(weights={"image": RANDOM, "small": IN1K})
    assert both.backbone_of == TWO
    assert both.weights_of == {"image": RANDOM, "small": IN1K}
    assert ModelSpec.model_validate_json(both.model_dump_json()) == both
    assert spec(backbone="test_vit", weights=IN1K).weights_of == dict.fromkeys(VIEWS, IN1K)
    readers = both.build().readers
    named = {
        name: type(reader.backbone).__name__
        for name, reader in readers.items()
        if isinstance(reader, PictureReader)
    }
    assert named == {"image": "ResNet", "small": "VisionTransformer"}


def test_a_vector_goes_through_no_backbone() -> None:
    views = {**VIEWS, "values": Features()}
    assert spec(views=views).backbone_of == TWO
    assert spec(views=views).label == "test_resnet image + test_vit small + values 160 px"
    assert spec(backbone="test_vit").label == "test_vit image+small 160 px"
    alone = spec(views={"values": Features()}, backbone={}, weights={})
    assert (alone.backbone_of, alone.weights_of, alone.backbone_label) == ({}, {}, "no backbone")
    assert ModelSpec.model_validate_json(alone.model_dump_json()) == alone


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"backbone": {"image": "a", "smal": "b"}}, "`backbone` does not fit the views: it lacks"),
        (
            {"backbone": {**TWO, "mel": "c"}},
            "it names mel, and the views that go through a backbone are image",
        ),
        ({"weights": {"image": IN1K, "mel": RANDOM}}, "`weights` does not fit the views: it lacks"),
        ({"backbone": 3}, "`backbone` is 3: write one model's name, or a mapping of views"),
        ({"backbone": {"image": ["a"], "small": "b"}}, "write one model's name, or a mapping"),
    ],
)
def test_a_spec_that_does_not_fit_its_views_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        spec(**keys)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_recipe_is_read_only_whole() -> None:
    tree = recipe().model_dump(mode="json")
    del tree["model"]["backbone"]["small"]
    with pytest.raises(ValidationError, match="it lacks the view small"):
        Recipe.model_validate(tree)


def test_the_parameters_of_all_backbones_count() -> None:
    # The bias of two classes is in each model alone, and once in both.
    both = num_params("test_resnet", "image") + num_params("test_vit", "small") - 2
    assert num_params(TWO, "image", "small") == both
    views = spec().views
    within = judge(
        Rulebook(max_params=both, counter="true"), TWO, views, image_px=160, weights=RANDOM
    )
    assert (within.legal, within.params_true, within.over_limit) == (True, both, 0)
    assert within.backbone == "test_resnet image + test_vit small"
    over = judge(
        Rulebook(max_params=both - 1, counter="true"), TWO, views, image_px=160, weights=RANDOM
    )
    assert (over.legal, over.over_limit) == (False, 1)
    assert over.sentence.startswith("test_resnet image + test_vit small is refused")


def test_the_weights_of_every_backbone_must_be_allowed() -> None:
    def verdict(image: Weights | None, small: Weights | None) -> tuple[bool, str, str]:
        found = judge(
            Rulebook(),
            TWO,
            spec().views,
            image_px=160,
            weights={"image": image, "small": small},
        )
        return found.legal, found.pretraining, found.sentence

    assert verdict(RANDOM, IN1K)[:2] == (True, "none + in1k")
    assert verdict(IN1K, IN1K)[:2] == (True, "in1k")
    legal, _, said = verdict(IN22K, IN1K)
    assert not legal
    assert "test_resnet.r160_in22k" in said
    # None is what timm publishes: both of these saw ImageNet-1k.
    assert verdict(None, None)[:2] == (True, "in1k")


def test_costs_are_of_all_backbones() -> None:
    def work(**keys: Any) -> float:
        return epoch_work(recipe(**keys), num_train=1, num_scored=1)

    image, small = ({name: VIEWS[name]} for name in VIEWS)
    alone = work(views=image, backbone="test_resnet") + work(views=small, backbone="test_vit")
    # Its head is theirs, end to end.
    assert work() == pytest.approx(alone, rel=1e-6)
    assert wanted_of(recipe(), 1.0).backbone == "test_resnet image + test_vit small"
    assert cost_key(recipe().model) != cost_key(recipe(backbone="test_vit").model)
    assert least_samples(recipe()) == 1
