import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from workbench.errors import ConfigError
from workbench.media.face_detectors import YuFace
from workbench.media.faces import Faces
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.views import AnyView
from workbench.parts.augment import Augment, Pictures
from workbench.parts.averages import EMA, SWA, SWAD
from workbench.parts.losses import AnyLoss, Focal
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import SGD, AdamW, AnyOptimizer
from workbench.parts.schedules import AnySchedule, Cosine
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM, Weights
from workbench.trial.recipe import LOWER_IS_BETTER, Objective, Recipe
from workbench.trial.result import TrialFolder
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import build
from workbench.values import kinds

OTHER_VIEWS = ("logspec", "cqt", "features", "frames", "frame-diff", "face-trace", "image")
PLAIN = Recipe(
    data="0123456789ab",
    model=ModelSpec(
        views={"image": Image()},
        backbone="resnet10t",
        weights=RANDOM,
    ),
    training=TrainingSpec(
        optimizer=AdamW(lr=1e-3),
    ),
)
RICH = Recipe(
    data="0123456789ab",
    model=ModelSpec(
        views={
            "sound": Mel(num_mels=64, segments=2, segment_s=1.5),
            **{kind: build(AnyView, {"kind": kind}, where=kind) for kind in OTHER_VIEWS},
            "faces": Faces(detector=YuFace()),  # not the default's object, which face-trace has too
        },
        backbone="mobilenetv3_small_100.lamb_in1k",
        weights=Weights(source="hub", name="x.in1k", sha256="00", pretraining="in1k"),
        image_px=96,
        dropout=0.2,
    ),
    training=TrainingSpec(
        frozen=True,
        loss=Focal(gamma=1.5),
        optimizer=SGD(lr=0.1, weight_decay=1e-5, momentum=0.8, nesterov=True),
        schedule=Cosine(warmup_share=0.1),
        augment=Augment(pictures=Pictures(hflip=0.5, rotation_deg=10), mixup_alpha=0.2),
        batch_size=16,
        num_epochs=7,
    ),
    objective=Objective(metric="log_loss"),
    seed=3,
)
UNIONS = {"loss": AnyLoss, "optimizer": AnyOptimizer, "schedule": AnySchedule}
EVERY_KIND = [
    PLAIN.replaced(**{field: kind(**({"lr": 0.1} if field == "optimizer" else {}))})
    for field, union in UNIONS.items()
    for kind in kinds(union).values()
]


def leaves(value: BaseModel, path: str = "") -> Iterator[tuple[str, BaseModel, str]]:
    """Yield each field that holds no further values: its dotted name, its owner, its own name."""
    for name in type(value).model_fields:
        held = getattr(value, name)
        inner = held if isinstance(held, dict) else {"": held}
        for key, item in inner.items():
            where = f"{path}{name}.{key}".rstrip(".")
            if isinstance(item, BaseModel):
                yield from leaves(item, where + ".")
            else:
                yield where, value, name


def other(value: Any) -> Any:
    """Another value of the same type, near by."""
    if isinstance(value, bool):
        return not value
    if value is None:
        return 1
    if isinstance(value, tuple):
        return (*value, "x")
    return value + "x" if isinstance(value, str) else value + 1


def test_the_name_of_a_recipe_is_the_same_everywhere() -> None:
    # A change of these strings gives every recipe a new name: old trials are not found again.
    assert PLAIN.uid == "dad0418ac4b1"
    assert RICH.uid == "532f53dd6e6b"


@pytest.mark.parametrize(
    "average", [{"ema_decay": 0.9}, {"average": {"kind": "ema", "decay": 0.9}}]
)
def test_a_moving_average_has_the_name_that_it_had_before_there_were_others(
    average: dict[str, Any],
) -> None:
    told: Recipe = build(Recipe, {**PLAIN.flat(), "transfer": average}, where="recipe.json")
    assert told.uid == "bbca6ee3c146"


def test_each_average_has_a_name_of_its_own() -> None:
    averages = [SWA(), SWA(last_share=0.5), SWAD(), SWAD(tolerance=1.2), EMA(decay=0.9)]
    recipes = [PLAIN.replaced(transfer=Transfer(average=each)) for each in averages]
    assert len({recipe.uid for recipe in (PLAIN, *recipes)}) == 6
    for recipe in recipes:
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_a_recipe_as_the_first_version_wrote_it_is_read() -> None:
    # All keys side by side, without a format, and without what came later.
    sound = {**Mel().model_dump(mode="json"), "version": 1}
    del sound["align"]
    for recipe in (PLAIN, RICH, *EVERY_KIND):
        assert build(Recipe, recipe.flat(), where="recipe.json") == recipe
    old: Recipe = build(Recipe, {**PLAIN.flat(), "views": {"sound": sound}}, where="recipe.json")
    assert old == PLAIN.replaced(views={"sound": Mel(version=1)})


def test_a_trial_keeps_the_name_that_its_study_gave_it(tmp_path: Path) -> None:
    files = TrialFolder(tmp_path / "0123456789ab")
    files.path.mkdir()
    files.recipe.write_text(json.dumps(PLAIN.flat()))
    written = files.recipe.read_bytes()
    read = files.read_recipe()
    assert read.uid == "0123456789ab" != read.fingerprint == PLAIN.uid
    assert read.replaced(seed=1).uid == PLAIN.replaced(seed=1).fingerprint
    files.write_recipe(read)  # as a trial does that goes on
    assert files.recipe.read_bytes() == written


def test_a_file_of_a_later_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="`format` is 3"):
        build(Recipe, {**PLAIN.model_dump(), "format": 3}, where="recipe.json")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # 2 is no Literal[1]
@pytest.mark.parametrize("recipe", [RICH, *EVERY_KIND])
def test_every_field_is_in_the_name(recipe: Recipe) -> None:
    paths = [path for path, _, _ in leaves(recipe)]
    assert len(paths) > 30
    uids = {recipe.uid}
    for index, path in enumerate(paths):
        copy = recipe.model_copy(deep=True)
        found, owner, name = list(leaves(copy))[index]
        assert found == path
        owner.__dict__[name] = other(owner.__dict__[name])  # past the checks: also `version`
        assert copy.uid not in uids, path
        uids.add(copy.uid)


def test_kinds_and_views_are_in_the_name() -> None:
    views = dict(RICH.model.views)
    swapped = dict(reversed(views.items()))
    renamed = {f"{name}2": view for name, view in views.items()}
    fewer = dict(list(views.items())[:2])
    uids = [RICH.replaced(views=v).uid for v in (views, swapped, renamed, fewer)]
    uids += [recipe.uid for recipe in EVERY_KIND if recipe != PLAIN] + [PLAIN.uid]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("recipe", [PLAIN, RICH, *EVERY_KIND])
def test_a_recipe_comes_back_from_json_as_it_went(recipe: Recipe) -> None:
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert again.uid == recipe.uid
    assert list(again.model.views) == list(recipe.model.views)
    assert build(Recipe, recipe.model_dump(mode="json"), where="recipe").uid == recipe.uid


def test_equal_numbers_give_equal_names() -> None:
    fields = PLAIN.flat() | {"dropout": 0, "optimizer": {"kind": "adamw", "lr": "0.001"}}
    assert build(Recipe, fields, where="recipe").uid == PLAIN.uid


def test_how_a_trial_is_run_is_no_field() -> None:
    names = {path.split(".")[-1] for path, _, _ in leaves(RICH)} | set(Recipe.model_fields)
    for word in ("device", "path", "worker", "thread", "folder", "cache", "job", "store"):
        assert not [name for name in names if word in name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": "cuda"}, "`device` is not a known key"),
        (
            {"loss": {"kind": "cross_entropy", "gamma": 2}},
            "loss.cross_entropy.gamma` is not",
        ),
        (
            {"augment": {"pictures": {"flip": 1}}},
            "augment.pictures.flip` is not a known",
        ),
        ({"views": {}}, "`model.views`"),
        ({"views": {"a": {"kind": "smell"}}}, "`model.views.a.kind` is 'smell'"),
        ({"image_px": 31}, "`model.image_px` is 31"),
        ({"seed": -1}, "`seed` is -1"),
        ({"batch_size": 2.5}, "`training.batch_size` is 2.5"),
        ({"objective": {"metric": "luck"}}, "`objective.metric` is 'luck'"),
        ({"views": {"a": {"kind": "image", "version": 99}}}, "version"),
    ],
)
def test_a_wrong_recipe_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Recipe, PLAIN.flat() | change, where="recipe.json")
    assert says in str(caught.value)


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PLAIN.seed = 1  # type: ignore[misc]


def test_losses_and_false_alarms_are_better_when_lower() -> None:
    assert frozenset({"log_loss", "fpr", "best_f1_fpr"}) == LOWER_IS_BETTER
    assert Objective(metric="log_loss").is_better(0.1, 0.2)
    assert not Objective(metric="log_loss").is_better(0.2, 0.1)
    assert Objective(metric="auc").is_better(0.9, 0.8)
    assert not Objective(metric="auc").is_better(0.8, 0.8)
    assert Objective().direction == "maximize"
    assert Objective(metric="fpr").direction == "minimize"
    assert Objective(metric="best_f1_fpr").direction == "minimize"
    worst = Objective(metric="auc", over=("val", "phone"), aggregate="worst")
    alarms = {"val": {"best_f1_fpr": 0.1}, "phone": {"best_f1_fpr": 0.4}}
    assert worst.aggregated(alarms)["best_f1_fpr"] == 0.4  # type: ignore[arg-type]


def test_an_objective_of_several_slices_is_of_one_where_the_data_have_no_others() -> None:
    objective = Objective(over=("val", "generators"), aggregate="worst")
    assert (objective.label, Objective().label) == ("worst auc", "auc")
    assert not objective.is_of_one()
    assert objective.among(["val", "degraded.jpeg30_mp3"]).place == "val"
    assert objective.among(["val", "generators.espeak"]) is objective
    assert objective.among(["generators.espeak"]).place == "the worst of generators"
    assert objective.among([]) is objective  # nothing is known
    assert objective.has_standard_error(["val", "degraded.jpeg30_mp3"])
    assert not objective.has_standard_error(["val", "generators.espeak"])
    # The one slice of a family is not the family: nothing is scored under its name.
    assert not Objective(over=("generators",)).has_standard_error(["val", "generators.espeak"])
    assert Objective(over=("phone",)).has_standard_error(["val", "phone"])
