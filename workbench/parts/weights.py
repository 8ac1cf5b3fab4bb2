"""The weights a backbone starts from, as values; `pretrained` finds and reads them."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal

from torch import nn

from workbench.errors import ConfigError
from workbench.parts.torchvision_fix import import_timm
from workbench.values import Frozen

Mode = Literal["auto", "hub", "local", "none"]


class Weights(Frozen):
    """Which weights a backbone starts from; no path in it, so it is the same on every machine."""

    source: Literal["none", "hub", "local"] = "none"
    name: str = ""
    """timm's name and tag, e.g. `resnet18.a1_in1k`; empty for random weights."""

    sha256: str = ""
    """Of the file the tensors came from; empty if random, or if the hub does not tell."""

    pretraining: str = "none"
    """What the weights saw: a key of `workbench.parts.pretraining.LABELS`."""


RANDOM = Weights()

OWN_VERSIONS: dict[str, str] = {}
"""Which version of its file a backbone is of that a plugin brings, by its name without a tag."""


Loader = Callable[[str, Weights, int, int], nn.Module]
"""Returns the backbone of a name with its weights read, for images of so many channels and of such
a side in pixels; see `pretrained.loader`."""


def published(backbone: str) -> Any:
    """Return timm's config of the weights `backbone` (a name, or `name.tag`) stands for.

    Raises:
        ConfigError: timm knows no such model or tag; close names are listed.
    """
    timm = import_timm()
    arch, _, tag = backbone.partition(".")
    if arch in (renamed := timm.models.get_deprecated_models()):
        now = renamed[arch]
        raise ConfigError(
            f"Backbone {backbone!r} has an old name. "
            + (f"Write {now!r}." if now else "timm removed it; choose another.")
        )
    if not re.fullmatch(r"\w+", arch) or not timm.is_model(arch):
        close = get_close_matches(arch, timm.list_models(), n=4)
        hint = f"Close names: {', '.join(close)}." if close else "`timm.list_models()` lists all."
        raise ConfigError(f"Backbone {backbone!r} is not a model of timm. {hint}")
    tagged = timm.list_models(f"{arch}.*", include_tags=True)
    if tag and backbone not in tagged:
        known = [name.partition(".")[2] for name in tagged]
        hint = f"It has: {', '.join(filter(None, known)) or 'none'}."
        raise ConfigError(f"timm has no weights {tag!r} of backbone {arch}. {hint}")
    # A model that a plugin registers need not have one: then it is made for ImageNet's pictures.
    return timm.get_pretrained_cfg(backbone) or timm.models.PretrainedCfg(architecture=arch)
