"""Where published weights come from, as far as a rulebook cares: what they were trained on."""

from workbench.parts.pretraining import LABELS, saw
from workbench.parts.weights import published
from workbench.values import Frozen


class Provenance(Frozen):
    """What the published weights of a backbone saw."""

    name: str
    """timm's name and tag; the architecture alone if timm publishes no weights of it."""

    label: str
    """A key of `workbench.parts.pretraining.LABELS`."""

    sentence: str


def pretraining_of(backbone: str) -> Provenance:
    """Return what the published weights of `backbone` saw, read from their tag.

    Args:
        backbone: A timm model name; without a tag, timm's default tag counts.

    Raises:
        ConfigError: timm knows no such model or tag.
    """
    cfg = published(backbone)
    arch, tag = backbone.partition(".")[0], cfg.tag or ""
    if not cfg.has_weights:
        return Provenance(
            name=arch, label="none", sentence=f"timm publishes no weights of {backbone}."
        )
    label, why = saw(arch, tag)
    name = f"{arch}.{tag}" if tag else arch
    because = f", since {why}" if why else ""
    return Provenance(
        name=name, label=label, sentence=f"The weights {name} saw {LABELS[label]}{because}."
    )
