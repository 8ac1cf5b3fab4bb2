import pytest

from workbench.errors import ConfigError
from workbench.parts.pretraining import saw
from workbench.parts.torchvision_fix import import_timm
from workbench.rules.judge import published_start


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("resnet18.a1_in1k", "in1k"),
        ("convnextv2_atto.fcmae_ft_in1k", "in1k"),
        ("deit3_small_patch16_224.fb_in1k", "in1k"),
        ("deit_tiny_distilled_patch16_224.fb_in1k", "in1k"),
        ("caformer_s18.sail_in1k", "in1k"),
        ("caformer_s18.sail_in1k_384", "in1k"),
        ("xcit_nano_12_p8_224.fb_dist_in1k", "in1k"),
        ("vit_base_patch16_224.sam_in1k", "in1k"),  # sharpness-aware minimisation
        ("cs3darknet_l.c2ns_in1k", "in1k"),  # not noisy student
        ("hiera_tiny_224.mae_in1k_ft_in1k", "in1k"),
        ("convnextv2_base.fcmae_ft_in22k_in1k", "in21k"),
        ("caformer_s18.sail_in22k_ft_in1k_384", "in21k"),
        ("resnetv2_50x1_bit.goog_distilled_in1k", "in21k"),
        ("hgnetv2_b0.ssld_stage2_ft_in1k", "in21k"),
        ("hrnet_w18_ssld.paddle_in1k", "in21k"),
        ("convnext_tiny.in12k_ft_in1k", "in12k"),
        ("tf_efficientnet_b0.ns_jft_in1k", "jft"),
        ("resnet18.fb_swsl_ig1b_ft_in1k", "instagram"),
        ("regnety_160.swag_ft_in1k", "instagram"),
        ("resnet18.fb_ssl_yfcc100m_ft_in1k", "yfcc"),
        ("vit_base_patch16_clip_224.openai_ft_in12k_in1k", "web"),
        ("vit_base_patch16_siglip_224.webli", "web"),
        ("vit_base_patch16_clip_224.datacompxl", "web"),
        ("vit_base_patch16_clip_224.metaclip_400m", "web"),
        ("resnet50_clip.cc12m", "web"),
        ("beitv2_base_patch16_224.in1k_ft_in1k", "web"),
        ("eva_large_patch14_196.in22k_ft_in22k_in1k", "web"),
        ("tiny_vit_5m_224.dist_in22k_ft_in1k", "web"),
        ("tiny_vit_5m_224.in1k", "in1k"),
        ("beit3_base_patch16_224.in22k_ft_in1k", "web"),
        ("eva02_large_patch14_448.mim_m38m_ft_in22k_in1k", "merged"),
        ("vit_small_patch14_dinov2.lvd142m", "lvd"),
        ("samvit_base_patch16.sa1b", "sa1b"),
        ("vit_small_patch16_224.dino", "in1k-ssl"),
        ("convnextv2_atto.fcmae", "in1k-ssl"),
        ("resnet50.bamboo", "bamboo"),
        ("sam2_hiera_tiny.fb_r896", "unknown"),
    ],
)
def test_a_tag_says_what_its_weights_saw(name: str, label: str) -> None:
    found = published_start(name)
    assert (found.name, found.label) == (name, label)


def test_a_name_without_a_tag_stands_for_its_default_weights() -> None:
    assert published_start("beit_base_patch16_224").name == (
        "beit_base_patch16_224.in22k_ft_in22k_in1k"
    )
    assert published_start("beit_base_patch16_224").label == "web"
    assert published_start("tf_efficientnet_b0").label == "jft"


def test_a_model_without_published_weights_saw_nothing() -> None:
    found = published_start("resnet200")
    assert found.label == "none"
    assert found.name == "resnet200"


def test_what_the_tag_does_not_show_is_explained() -> None:
    why = published_start("beitv2_base_patch16_224.in1k_ft_in1k").why
    assert why == "BEiT v2 learned from CLIP's features"
    assert "no data set that workbench knows" in published_start("sam2_hiera_tiny").why


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match="no weights 'nothing'"):
        published_start("resnet18.nothing")


def test_no_tag_of_timm_that_names_a_wider_data_set_passes_as_imagenet_1k() -> None:
    wider = ("21k", "22k", "12k", "jft", "laion", "openai", "ig1b", "yfcc", "webli", "swag")
    names = import_timm().list_pretrained()
    passed = [name for name in names if saw(*name.split(".", 1)).label == "in1k"]
    assert not [name for name in passed if any(word in name for word in wider)]
    assert not [name for name in passed if "in1k" not in name]
    assert not [name for name in passed if "clip" in name or name.startswith(("beit", "eva"))]
    assert len(passed) > len(names) / 2
