import pytest
import torch

from workbench.errors import ConfigError
from workbench.parts import backbones
from workbench.parts.weights import RANDOM, published

# One small member of each family, and a size it takes.
FAMILIES = [
    ("resnet10t", 64),
    ("convnext_atto", 64),
    ("vit_tiny_patch16_224", 64),
    ("swin_tiny_patch4_window7_224", 112),
    ("maxvit_rmlp_pico_rw_256", 128),
    ("eva02_tiny_patch14_224", 70),
    ("caformer_s18", 64),
    ("densenet121", 64),
    ("vgg11", 64),
    ("mobilenetv3_small_050", 64),
    ("efficientnet_b0", 64),
    ("tf_efficientnet_lite0", 64),
]


@pytest.mark.parametrize(("name", "image_px"), FAMILIES)
@pytest.mark.parametrize("in_chans", [1, 3])
def test_every_family_turns_images_into_one_vector_of_the_width_told(
    name: str, image_px: int, in_chans: int
) -> None:
    width = backbones.feature_width(name, in_chans=in_chans, image_px=image_px)
    with torch.device("meta"):
        model = backbones.create(name, in_chans=in_chans, image_px=image_px, weights=RANDOM)
        assert model(torch.zeros(2, in_chans, image_px, image_px)).shape == (2, width)


def test_widths_known_from_the_papers() -> None:
    assert backbones.feature_width("resnet18", in_chans=3, image_px=64) == 512
    assert backbones.feature_width("vgg11", in_chans=3, image_px=64) == 4096
    # The last layer of MobileNetV3-small stands after the pooling and is wider than the features.
    assert backbones.feature_width("mobilenetv3_small_100", in_chans=3, image_px=64) == 1024


def test_a_backbone_has_no_head_and_computes_on_real_numbers() -> None:
    model = backbones.create("test_resnet", in_chans=1, image_px=64, weights=RANDOM).eval()
    features = model(torch.rand(2, 1, 64, 64))
    assert features.shape == (2, backbones.feature_width("test_resnet", in_chans=1, image_px=64))
    assert features.isfinite().all()
    assert not any(parameter.shape[0] == 1000 for parameter in model.parameters())


def test_a_name_without_a_tag_has_that_of_the_best_weights() -> None:
    assert published("tf_efficientnet_lite0").tag == "in1k"
    assert published("resnet18").tag == "a1_in1k"
    assert published("resnet18.tv_in1k").tag == "tv_in1k"


@pytest.mark.parametrize(
    ("name", "close"), [("resnet_18", "resnet18"), ("convnext_atom", "convnext_atto")]
)
def test_an_unknown_name_lists_close_ones(name: str, close: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is not a model of timm.*{close}"):
        published(name)


@pytest.mark.parametrize("name", ["", "a/b", "hf-hub:timm/resnet18", "../resnet18"])
def test_nothing_but_a_model_name_is_a_name(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a model of timm"):
        published(name)


@pytest.mark.parametrize(
    ("name", "image_px"),
    [
        ("maxvit_rmlp_pico_rw_256", 100),
        ("nest_tiny_jx", 100),
        ("crossvit_9_240", 96),
        ("vgg11", 16),
        ("gcvit_tiny", 24),
    ],
)
def test_a_size_that_does_not_fit_the_model_is_refused_with_its_own_size(
    name: str, image_px: int
) -> None:
    with pytest.raises(ConfigError, match=rf"{name} cannot take {image_px} px .*was made for \d+"):
        backbones.create(name, in_chans=3, image_px=image_px, weights=RANDOM)


def test_a_model_without_pooled_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="no single feature vector"):
        backbones.feature_width("mobilenetv5_300m_enc", in_chans=3, image_px=64)


def test_preprocessing_of_one_channel_is_the_mean_over_three() -> None:
    mean, std = backbones.preprocessing("resnet18", RANDOM, 3)
    assert (mean, std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, std = backbones.preprocessing("resnet18", RANDOM, 1)
    assert mean == pytest.approx((0.449,))
    assert std == pytest.approx((0.226,))
