"""Files of a user's own parts: what they bring, and what is refused."""

import re

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from tests.own_parts import BACKBONE, LOSS
from workbench.media.image import Image
from workbench.parts.backbones import feature_width
from workbench.parts.losses import AnyLoss, Loss
from workbench.parts.plugins import Plugin, used
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import RANDOM
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook
from workbench.trial.recipe import Recipe
from workbench.trial.training_spec import TrainingSpec

OPTIMIZER = {"kind": "adam", "lr": 0.1}
OTHER = LOSS.replace("Brier", "Other").replace("brier", "other")
RENAMED = "from workbench.parts.losses import Focal\n"


def test_a_loss_of_ones_own_is_chosen_by_its_kind_and_comes_back_from_json() -> None:
    plugin = Plugin(file="my_parts.py", source=LOSS)
    assert plugin.brings == "brier"
    spec = TrainingSpec.model_validate(
        {"loss": {"kind": "brier", "power": 3}, "optimizer": OPTIMIZER}
    )
    # Even odds are 1/2 from each label: (1/2)^3.
    assert spec.loss(torch.zeros(2, 2), torch.tensor([0.0, 1.0])).item() == 0.125
    assert spec.model_dump()["loss"] == {"kind": "brier", "power": 3.0}
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec
    assert used([plugin], [spec.loss], ["resnet18"]) == (plugin,)
    assert used([plugin], [spec.optimizer], ["resnet18", "no such"]) == ()
    with pytest.raises(ValidationError, match="power"):
        TypeAdapter(AnyLoss).validate_python({"kind": "brier", "power": "much"})


def test_another_version_of_a_file_takes_the_place_of_the_first() -> None:
    first = Plugin(file="changing.py", source=LOSS.replace("brier", "changing"))
    other = Plugin(file="changing.py", source=first.source.replace("2.0", "4.0"))
    assert first.sha256 != other.sha256

    def power() -> float:
        loss: Loss = TypeAdapter(AnyLoss).validate_python({"kind": "changing"})
        return float(loss.model_dump()["power"])

    assert power() == 4.0
    Plugin(file="changing.py", source=first.source)
    assert power() == 2.0


def test_a_backbone_is_counted_again_where_its_file_changed() -> None:
    def counted() -> int:
        verdict = judge(
            Rulebook(), "my_tiny", {"image": Image(image_px=32)}, image_px=32, weights=RANDOM
        )
        return verdict.params_true

    plugin = Plugin(file="my_parts.py", source=BACKBONE)
    assert plugin.brings == "my_tiny"
    assert used([plugin], [], ["my_tiny"]) == (plugin,)
    # A convolution of 3 x 3 over three colours to four features, and a head to two logits.
    assert counted() == (9 * 3 + 1) * 4 + (4 + 1) * 2
    Plugin(file="my_parts.py", source=BACKBONE.replace("4, 3, stride", "8, 3, stride"))
    assert feature_width("my_tiny", in_chans=3, image_px=32) == 8
    assert counted() == (9 * 3 + 1) * 8 + (8 + 1) * 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "brings nothing"),
        ("\n1 / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
        ("def (", "SyntaxError"),
        ("import no_such_package", "No module named 'no_such_package'"),
        (LOSS.replace("brier", "focal"), "there is a kind focal already, Focal of workbench.parts"),
        (
            LOSS + OTHER.replace("other", "brier"),
            "kind brier already, Brier of workbench.plugins.refused: give Other another$",
        ),
        (LOSS.replace('    kind: Literal["brier"] = "brier"\n', ""), "Brier has no kind"),
        (
            BACKBONE.replace("my_tiny", "resnet18"),
            "there is a model resnet18 already, of timm.models.resnet",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(source: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Plugin(file="refused.py", source=source)
    assert re.search(said, refused.value.errors()[0]["msg"])
    assert feature_width("resnet18", in_chans=3, image_px=32) == 512


def test_two_files_with_one_kind_are_told_of_each_other_while_both_have_it() -> None:
    source = LOSS.replace("brier", "shared")
    Plugin(file="one.py", source=source)
    with pytest.raises(ValidationError, match=r"Brier of workbench.plugins.one: .* two processes"):
        Plugin(file="two.py", source=source.replace("Brier", "Other"))
    Plugin(file="one.py", source=LOSS.replace("brier", "not_shared"))
    assert Plugin(file="two.py", source=source).brings == "shared"


def test_a_backbone_that_its_file_drops_or_that_is_refused_is_none_of_timm() -> None:
    timm, source = import_timm(), BACKBONE.replace("my_tiny", "dropped")
    Plugin(file="dropping.py", source=source)
    assert timm.is_model("dropped")
    Plugin(file="dropping.py", source=LOSS.replace("brier", "instead"))
    assert not timm.is_model("dropped")
    with pytest.raises(ValidationError, match="ZeroDivisionError"):
        Plugin(file="dropping.py", source=source + BACKBONE.replace("my_tiny", "resnet18") + "1/0")
    assert not timm.is_model("dropped")
    assert timm.model_entrypoint("resnet18").__module__ == "timm.models.resnet"


def test_a_recipe_builds_the_backbone_of_its_own_version_whatever_was_read_since() -> None:
    def read(width: int) -> Recipe:
        source = BACKBONE.replace("my_tiny", "of_two").replace(
            "4, 3, stride", f"{width}, 3, stride"
        )
        model = {
            "views": {"image": {"kind": "image", "image_px": 32}},
            "backbone": "of_two",
            "weights": {"source": "none"},
            "image_px": 32,
        }
        plugins = [{"file": "versions.py", "source": source}]
        tree = {"data": "d", "plugins": plugins, "model": model}
        return Recipe.model_validate({**tree, "training": {"optimizer": OPTIMIZER}})

    four, eight = read(4), read(8)
    assert [sum(each.build_model().widths) for each in (four, eight, four)] == [4, 8, 4]
