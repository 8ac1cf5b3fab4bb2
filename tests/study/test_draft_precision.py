"""A draft says `auto`, a recipe what it came to."""

import pytest

from workbench.media.image import Image
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.space.space import SampledConfig
from workbench.trial.recipe import Objective, Recipe


def resolved(draft: SampledConfig, **device: bool) -> Recipe:
    return draft.recipe(
        data="0" * 12,
        views={"image": Image()},
        weights=RANDOM,
        objective=Objective(),
        seed=0,
        **device,
    )


@pytest.mark.parametrize(
    ("asked", "bfloat16", "expected"),
    [
        ({}, True, "bfloat16"),
        ({}, False, "float32"),
        ({"precision": "auto"}, True, "bfloat16"),
        ({"precision": "float32"}, True, "float32"),
        ({"precision": "bfloat16"}, False, "bfloat16"),
    ],
)
def test_auto_is_what_the_device_has_and_what_was_asked_stays(
    asked: dict[str, str], bfloat16: bool, expected: str
) -> None:
    draft = SampledConfig(views=("image",), backbone="resnet18", optimizer=AdamW(lr=1e-3), **asked)
    assert resolved(draft, bfloat16=bfloat16).training.precision == expected
    assert resolved(draft).training.precision == (
        "bfloat16" if "bfloat16" in asked.values() else "float32"
    )
