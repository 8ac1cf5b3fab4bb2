from collections.abc import Mapping
from typing import Any

import pytest

from workbench.errors import ConfigError
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.view import View
from workbench.parts.weights import RANDOM, Weights
from workbench.rules.counts import counted_by
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook, Verdict
from workbench.validation import build

RGB: dict[str, View] = {"frames": Frames()}
BOTH: dict[str, View] = {"frames": Frames(), "mel": Mel(image_px=224)}
THOP = counted_by()
# The published 11,689,512 of ResNet-18 with 1000 classes, less its head of 512 x 1000 + 1000.
RESNET18 = 11_689_512 - 513_000


def rulebook(**fields: Any) -> Rulebook:
    return build(Rulebook, fields, where="experiment.yaml")


def verdict(
    backbone: str, views: Mapping[str, View] = RGB, weights: Weights | None = None, **fields: Any
) -> Verdict:
    return judge(rulebook(**fields), backbone, views, image_px=224, weights=weights)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("200M", 200_000_000),
        ("1.5B", 1_500_000_000),
        ("750k", 750_000),
        ("200000000", 200_000_000),
        ("200_000_000", 200_000_000),
        (200_000_000, 200_000_000),
    ],
)
def test_a_limit_can_be_written_as_people_say_it(written: str | int, number: int) -> None:
    assert rulebook(max_params=written).max_params == number


@pytest.mark.parametrize("written", ["200 megs", "M", "-5M", "", 0, "0M", 1.5])
def test_a_limit_that_is_no_number_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"experiment\.yaml: `max_params`"):
        rulebook(max_params=written)


def test_the_defaults_are_the_competitions_rules() -> None:
    rules = rulebook()
    assert (rules.max_params, rules.counter) == (200_000_000, "larger")
    assert (rules.pretraining, rules.single_model) == (("in1k",), "module")
    assert rulebook(**rules.model_dump()) == rules


def test_an_unknown_label_of_pretraining_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'imagenet' is not known: write none, in1k"):
        rulebook(pretraining=["imagenet"])


def test_resnet18_is_counted_to_the_parameter() -> None:
    found = verdict("resnet18")
    head = 512 * 2 + 2
    assert found.params_true == RESNET18 + head
    assert found.params_thop == found.params_counted == found.params_true
    assert found.over_limit == found.params_counted - 200_000_000
    assert found.legal
    assert found.sentence.startswith(
        f"resnet18 is allowed: it has 11.2M parameters ({THOP} counts as many), within the limit "
        "of 200M, its weights (resnet18.a1_in1k) saw ImageNet-1K, one network reads each view, as "
        "the rulebook asks, "
    )


def test_two_views_count_two_backbones() -> None:
    # The second reads one channel: its first convolution has 64 x 7 x 7 weights a channel.
    expected = 2 * RESNET18 - 2 * 64 * 7 * 7 + (2 * 512) * 2 + 2
    assert verdict("resnet18", BOTH).params_true == expected


def test_a_model_that_thop_undercounts_is_judged_by_its_true_size() -> None:
    found = verdict("resnetv2_152x2_bit")
    assert found.params_thop is not None
    assert found.params_thop < 100_000 < 232_000_000 < found.params_true < 233_000_000
    assert found.over_limit == found.params_true - 200_000_000
    assert not found.legal
    assert found.sentence == (
        f"resnetv2_152x2_bit is refused: it has 232.2M parameters ({THOP} counts only "
        f"{found.params_thop:,}, the larger decides), over the limit of 200M, and its weights "
        "(resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k) saw ImageNet-21K, where the rulebook "
        "allows only ImageNet-1K."
    )


def test_the_letter_of_the_rule_counts_with_thop_alone() -> None:
    found = verdict("resnetv2_152x2_bit", counter="thop", weights=RANDOM)
    assert found.legal
    assert found.params_counted == found.params_thop
    assert f"as {THOP} counts them (232.2M truly)" in found.sentence


def test_a_model_at_the_limit_is_within_it() -> None:
    size = verdict("resnet18").params_counted
    assert verdict("resnet18", max_params=size).over_limit == 0
    assert verdict("resnet18", max_params=size).legal
    assert verdict("resnet18", max_params=size - 1).over_limit == 1
    assert not verdict("resnet18", max_params=size - 1).legal


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        ("convnext_tiny.fb_in22k_ft_in1k", "saw ImageNet-21K, where"),
        ("resnet18.fb_swsl_ig1b_ft_in1k", "saw photos from Instagram, where"),
        ("hiera_tiny_224.mae", "a masked autoencoder is self-supervised, where"),
        ("vit_base_patch16_sapiens2.fb", "its tag names no data set that workbench knows, where"),
    ],
)
def test_weights_that_saw_more_are_refused(backbone: str, reason: str) -> None:
    found = verdict(backbone)
    assert not found.legal
    assert reason in found.sentence
    assert found.over_limit < 0


def test_allowed_tags_allow_by_name() -> None:
    for allowed in ("fb_swsl_ig1b_ft_in1k", "resnet18.fb_swsl_ig1b_ft_in1k"):
        found = verdict("resnet18.fb_swsl_ig1b_ft_in1k", allowed_tags=[allowed])
        assert found.legal
        assert "which the rulebook allows by name" in found.sentence
    other = verdict("resnet18.fb_swsl_ig1b_ft_in1k", allowed_tags=["resnet50.fb_swsl_ig1b_ft_in1k"])
    assert not other.legal


def test_a_wider_rulebook_allows_more() -> None:
    assert verdict("convnext_tiny.fb_in22k_ft_in1k", pretraining=["in1k", "in21k"]).legal


def test_random_weights_are_always_allowed() -> None:
    found = verdict("convnext_tiny.fb_in22k_ft_in1k", weights=RANDOM, pretraining=[])
    assert found.legal
    assert found.pretraining == "none"
    assert ", it starts from random weights, " in found.sentence


def test_the_weights_at_hand_are_judged_and_not_those_of_the_tag() -> None:
    mine = Weights(source="local", name="resnet18", sha256="0" * 64, pretraining="unknown")
    assert not verdict("resnet18", weights=mine).legal
    assert verdict("resnet18", weights=mine, allowed_tags=["resnet18"]).legal


def test_what_weights_saw_is_what_is_known_of_them_today() -> None:
    # Begun when the table of tags did not know of this one's teacher, a CLIP.
    name = "tiny_vit_5m_224.dist_in22k_ft_in1k"
    for source in ("hub", "local"):
        old = Weights(source=source, name=name, sha256="0" * 64, pretraining="in21k")
        found = verdict("tiny_vit_5m_224", weights=old, pretraining=["in1k", "in21k"])
        assert not found.legal and found.pretraining == "web"
        assert "saw captioned images from the web, since its teacher is a CLIP" in found.sentence
    # A name that tells nothing: a person said what the file saw.
    mine = Weights(source="local", name="resnet18.mine", sha256="0" * 64, pretraining="in1k")
    assert verdict("resnet18", weights=mine).legal


def test_a_size_the_backbone_cannot_take_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot take 100 px"):
        judge(rulebook(), "maxvit_rmlp_pico_rw_256", RGB, image_px=100, weights=None)
