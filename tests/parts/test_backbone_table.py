"""The table of published figures: what it holds, and what is computed from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import ConfigError
from workbench.parts.leaderboard import COLUMNS, LEADERBOARD_TABLE, Row, family_of, read_table
from workbench.parts.torchvision_fix import import_timm

WIDER = (
    "in22k", "in21k", "in12k", "jft", "ns", "clip", "laion", "openai", "dino", "swag", "ig1b",
    "ssl", "swsl", "m38m", "merged",
)  # fmt: skip
"""What a plain reading looks for in a tag."""

# ImageNet-1K by a plain reading of the tag, but the weights saw more, and the rule refuses them.
STRICTER = {
    "beitv2_base_patch16_224.in1k_ft_in1k": "web",  # learned from CLIP's features
    "edgenext_base.usi_in1k": "in21k",  # a teacher of ImageNet-21K
    "edgenext_small.usi_in1k": "in21k",
    "ghostnetv3_100.in1k": "unknown",  # a teacher that no tag names
    "hrnet_w18_ssld.paddle_in1k": "in21k",  # the name of the model tells, not the tag
    "hrnet_w48_ssld.paddle_in1k": "in21k",
    "regnety_320.seer_ft_in1k": "instagram",
    "resnetv2_50x1_bit.goog_distilled_in1k": "in21k",  # a teacher of ImageNet-21K
}
# The other way round: the letters `ns` stand in words that are no noisy student.
NO_NOISY_STUDENT = {"c2ns_in1k": 20, "tf_ens_adv_in1k": 1}


def row(**figures: float | None) -> Row:
    empty = dict.fromkeys(COLUMNS[3:])
    return Row.model_validate(
        {"model": "resnet18.a1_in1k", "image_px": 224, "params_m": 10.0, **empty, **figures}
    )


def test_the_table_has_every_row_of_the_source_and_says_which_that_is() -> None:
    table = read_table()
    assert len(table.rows) == 1556
    assert len({r.model for r in table.rows}) == 1266
    assert len({(r.model, r.image_px) for r in table.rows}) == 1556
    assert "huggingface/pytorch-image-models" in table.source
    assert "commit aa4b5850 of 2026-08-08" in table.source
    assert LEADERBOARD_TABLE.stat().st_size < 200_000


def test_only_one_accuracy_is_missing() -> None:
    accuracies = COLUMNS[5:13]
    missing = [
        (r.model, name)
        for r in read_table().rows
        for name in accuracies
        if getattr(r, name) is None
    ]
    # ImageNet-A's file has another model's name in its place.
    assert missing == [("resnet50.tv_in1k", "imagenet_a")]


def test_figures_are_those_that_timm_publishes() -> None:
    one = next(r for r in read_table().rows if r.model == "caformer_s36.sail_in1k")
    assert (one.image_px, one.params_m, one.imagenet) == (224, 39.3, 84.528)
    assert (one.imagenet_a, one.imagenet_r, one.infer_per_s) == (41.027, 51.653, 994.19)
    # 96.72 - 41.027 and 96.09 - 51.653.
    assert (one.gap_a, one.gap_r) == (55.693, 44.437)


def test_a_thousands_comma_is_no_end_of_a_number() -> None:
    sizes = {r.model: r.params_m for r in read_table().rows}
    assert sizes["eva_giant_patch14_560.m30m_ft_in22k_in1k"] == 1014.45


def test_timm_publishes_weights_for_every_model_of_the_table() -> None:
    known = set(import_timm().list_pretrained())
    assert {r.model for r in read_table().rows} <= known


def test_1175_of_the_1451_rows_within_200m_saw_imagenet_1k_alone() -> None:
    within = [r for r in read_table().rows if r.params_m <= 200]
    assert len(within) == 1451
    assert sum(r.saw.label == "in1k" for r in within) == 1175


def test_where_the_rule_differs_from_a_plain_reading_of_the_tag_is_explained_row_by_row() -> None:
    within = [r for r in read_table().rows if r.params_m <= 200]
    plain = [r for r in within if "in1k" in r.tag and not any(word in r.tag for word in WIDER)]
    ruled = [r for r in within if r.saw.label == "in1k"]
    assert (len(plain), len(ruled)) == (1166, 1175)
    refused = [r for r in plain if r.saw.label != "in1k"]
    assert {r.model: r.saw.label for r in refused} == STRICTER
    assert len(refused) == 12  # four of them at two image sizes
    allowed = [r.tag for r in ruled if r not in plain]
    assert {tag: allowed.count(tag) for tag in allowed} == NO_NOISY_STUDENT
    assert 1166 - 12 + 21 == 1175


def test_memory_is_16_bytes_a_parameter_and_8_an_activation_of_each_image() -> None:
    # 10M parameters: 160 MB. 5M activations x 4 images x 2 kept x 4 bytes: 160 MB.
    assert row(macts=5.0).memory_bytes(batch_size=4) == 320_000_000
    assert row(macts=5.0).memory_bytes(batch_size=8) == 480_000_000
    assert row().memory_bytes() is None


def test_eva02_large_at_448_px_does_not_fit_16_gib_at_batch_32() -> None:
    (eva,) = [
        r for r in read_table().rows if r.model == "eva02_large_patch14_448.mim_in22k_ft_in1k"
    ]
    assert (eva.memory_bytes(32) or 0) > 8 * 16 * 2**30
    assert (eva.memory_bytes(1) or 0) < 16 * 2**30


def test_a_gap_without_one_of_its_sides_is_none() -> None:
    assert row(imagenet_a_clean=90.0).gap_a is None
    assert row(imagenet_r=30.0).gap_r is None
    assert row(imagenet_r_clean=90.5, imagenet_r=30.25).gap_r == 60.25


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("convnext_tiny.fb_in1k", "convnext"),
        ("convnextv2_nano.fcmae_ft_in1k", "convnext"),
        ("vit_base_patch16_224.augreg_in1k", "vit"),
        ("eva02_base_patch14_448.mim_in22k_ft_in1k", "eva02"),
        ("eva_large_patch14_336", "eva"),
        ("caformer_s18", "caformer"),
        ("resnet18", "resnet"),
        ("resnet26t.ra2_in1k", "resnet"),
        ("resnetv2_50x1_bit", "resnet"),
        ("lambda_resnet26rpt_256", "resnet"),
        ("seresnet50", "seresnet"),
        ("legacy_seresnet50", "seresnet"),
        ("resnext101_32x8d", "resnext"),
        ("wide_resnet50_2", "wide_resnet"),
        ("res2net50_26w_4s", "res2net"),
        ("tf_efficientnet_b0", "efficientnet"),
        ("tf_efficientnetv2_s", "efficientnet"),
        ("gc_efficientnetv2_rw_t", "efficientnet"),
        ("tiny_vit_21m_224", "tiny_vit"),
        ("inception_v3", "inception"),
        ("inception_next_tiny", "inception_next"),
        ("deit3_small_patch16_224", "deit"),
        ("dla102x2", "dla"),
        ("cs3se_edgenet_x", "cs3se"),
        ("cs3darknet_l", "cs3darknet"),
        ("vgg16_bn", "vgg"),
        ("alexnet", "alexnet"),
        ("swinv2_tiny_window8_256", "swin"),
        ("pvt_v2_b0", "pvt"),
        ("test_vit", "vit"),
    ],
)
def test_a_family_is_the_first_word_without_version_and_size(model: str, family: str) -> None:
    assert family_of(model) == family


def test_no_family_of_the_table_is_empty_or_a_single_letter() -> None:
    families = {r.family for r in read_table().rows}
    assert min(map(len, families)) >= 3
    assert 100 < len(families) < 150


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("model,top1\nresnet18,70\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="leaderboard_making"):
        read_table(file)


def test_ranking_loads_neither_torch_nor_timm_nor_pandas() -> None:
    code = (
        "import sys\nfrom workbench.parts import leaderboard\n"
        "from workbench.rules import ranking as r\n"
        "r.rank_backbones(leaderboard.read_table(), r.Query(), r.Rulebook())\n"
        "sys.exit(','.join({'torch', 'timm', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "")  # no name on stderr: none loaded
