"""Backbones: any timm model as a function from images to one feature vector each."""

from functools import lru_cache
from typing import Any

import torch
from torch import nn

from workbench.errors import ConfigError
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import Loader, Weights, published

# What timm and torch raise when an image does not divide into a model's patches, windows or
# strides: these and no others, over timm's architectures at 8, 24, 32, 96 and 100 pixels.
_SIZE_ERRORS = (AssertionError, RuntimeError, ZeroDivisionError)


@lru_cache(maxsize=1024)
def feature_width(name: str, *, in_chans: int, image_px: int) -> int:
    """Return the length of the feature vector of backbone `name`, found without any memory.

    The model is built and run on the meta device, so this takes well under a second.

    Raises:
        ConfigError: timm knows no such model, it has no pooled features, or it cannot take
            (batch, in_chans, image_px, image_px).
    """
    with torch.device("meta"):
        model = build_backbone(name, in_chans=in_chans, image_px=image_px)
        try:
            with torch.no_grad():
                features = model.eval()(torch.zeros(1, in_chans, image_px, image_px))
        except _SIZE_ERRORS as error:
            raise _unsuitable(name, in_chans, image_px, error) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise ConfigError(
            f"Backbone {name} gives no single feature vector for an image. Choose a model "
            "that classifies images."
        )
    return features.shape[1]


def create(
    name: str,
    *,
    in_chans: int,
    image_px: int,
    weights: Weights,
    load: Loader | None = None,
) -> nn.Module:
    """Return backbone `name`: (batch, in_chans, image_px, image_px) to (batch, features).

    Args:
        name: A timm model name, with or without a tag.
        in_chans: Channels of the images.
        image_px: Side of the square images, in pixels.
        weights: What it starts from.
        load: Reads the weights; without it, the architecture is built and nothing is read.

    Raises:
        ConfigError: timm knows no such model, or it cannot take such images.
        WeightsError: the weights are gone, damaged, or not those of this model.
    """
    feature_width(name, in_chans=in_chans, image_px=image_px)
    if load is None or weights.source == "none":
        return build_backbone(name, in_chans=in_chans, image_px=image_px)
    return load(name, weights, in_chans, image_px)


def preprocessing(
    name: str, weights: Weights, in_chans: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each channel that `weights` expect, in [0, 1].

    Images of six channels get those of the three twice, others that are not three the mean over
    them; so timm does with the weights.
    """
    cfg = published(weights.name if weights.source == "hub" else name)
    mean, std = tuple(map(float, cfg.mean)), tuple(map(float, cfg.std))
    if in_chans in (len(mean), 2 * len(mean)):
        return mean * (in_chans // len(mean)), std * (in_chans // len(mean))
    return (sum(mean) / len(mean),) * in_chans, (sum(std) / len(std),) * in_chans


def build_backbone(name: str, *, in_chans: int, image_px: int, **pretrained: Any) -> nn.Module:
    """Return the architecture `name`, without a head.

    Args:
        name: A timm model name, with or without a tag.
        in_chans: Channels of the images.
        image_px: Side of the square images, in pixels.
        pretrained: Where timm finds weights for it.

    Raises:
        ConfigError: timm knows no such model, it has no pooled features, or it cannot take such
            images.
    """
    cfg = published(name)
    size = {"img_size": image_px} if cfg.fixed_input_size else {}
    try:
        model = import_timm().create_model(name, in_chans=in_chans, **size, **pretrained)
    except _SIZE_ERRORS as error:
        if pretrained:
            raise  # the size was tried before, so it is the weights
        raise _unsuitable(name, in_chans, image_px, error) from error
    if not hasattr(model, "reset_classifier"):
        raise ConfigError(
            f"Backbone {name} gives no single feature vector for an image. Choose a model "
            "that classifies images."
        )
    # Dropped after loading, so that timm loads strictly; the same architecture as without a head.
    model.reset_classifier(0)
    return model


def _unsuitable(name: str, in_chans: int, image_px: int, error: Exception) -> ConfigError:
    cfg = published(name)
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return ConfigError(
        f"Backbone {name} cannot take {image_px} px images of {in_chans} channel(s) "
        f"({reason}). It was made for {cfg.input_size[-1]} px and {cfg.input_size[0]} "
        "channels: set `image_px` to that, or choose another backbone."
    )
