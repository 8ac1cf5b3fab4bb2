"""The competition's rules on models as data, and the judge of one model by them."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import field_validator

from workbench.parts.model import MediaModel, Shape, example_inputs
from workbench.parts.pretraining import LABELS
from workbench.parts.weights import RANDOM, Weights, published
from workbench.rules.counts import Counts, count
from workbench.rules.provenance import pretraining_of
from workbench.values import Frozen

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


class Rulebook(Frozen):
    """What a model must obey to be submitted."""

    max_params: int = 200_000_000
    """The most parameters the whole model may have. YAML may say `200M` or `1.5B`."""

    counter: Literal["larger", "thop", "true"] = "larger"
    """Which count must stay within the limit. thop counts too few for many models, so the larger of
    both is the default; `thop` is the letter of a rule that names that tool."""

    pretraining: tuple[str, ...] = ("in1k",)
    """What the weights that a model starts from may have seen; random weights always may."""

    allowed_tags: tuple[str, ...] = ()
    """Weights allowed by name whatever they saw: `resnet50.bamboo`, or `bamboo` for every model."""

    single_model: bool = True
    """Whether one model must make every prediction. It is written into reports and bundles;
    nothing here builds an ensemble, so nothing can break it."""

    @field_validator("max_params", mode="before")
    @classmethod
    def _with_unit(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d[\d_]*(?:\.\d+)?)\s*([KMB]?)\s*", value, re.IGNORECASE)
        if not match:
            raise ValueError("write a number of parameters such as 200M, 1.5B or 200000000")
        return round(float(match[1].replace("_", "")) * _UNITS[match[2].upper()])

    @field_validator("max_params")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be at least 1")
        return value

    @field_validator("pretraining")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for label in value:
            if label not in LABELS:
                raise ValueError(f"{label!r} is not known: write {', '.join(LABELS)}")
        return value


class Verdict(Frozen):
    """What a rulebook says of one model, with the numbers behind it."""

    legal: bool
    backbone: str
    params_thop: int | None
    """None if thop cannot run the model; then the true count decides."""

    params_true: int
    params_counted: int
    """The count that the rulebook holds against its limit."""

    over_limit: int
    """`params_counted` less the limit: 0 or less is within it."""

    pretraining: str
    sentence: str


def judge(
    rulebook: Rulebook,
    backbone: str,
    views: Mapping[str, Shape],
    *,
    image_px: int,
    weights: Weights | None,
) -> Verdict:
    """Judge the whole model of `views` on `backbone` by `rulebook`.

    Args:
        rulebook: The rules.
        backbone: A timm model name, with or without a tag.
        views: The shape of each view, by its name; each has its own copy of the backbone, and
            all of them count.
        image_px: Side of the images the backbones see, in pixels.
        weights: What it starts from; None judges the weights that timm publishes.

    Raises:
        ConfigError: timm knows no such backbone, or it cannot take such images.
    """
    if weights is None:
        origin = pretraining_of(backbone)
        name, label = origin.name, origin.label
        clause = origin.sentence.removeprefix(f"The weights {name} saw ").removesuffix(".")
    else:
        name, label = weights.name, weights.pretraining
        clause = LABELS.get(label, label)
    counts = _counts(backbone, tuple(views.items()), image_px)
    counted = _counted(rulebook, counts)
    over = counted - rulebook.max_params
    named = {name, name.partition(".")[2]} - {""}
    allowed = label == "none" or label in rulebook.pretraining
    by_name = not allowed and bool(named & set(rulebook.allowed_tags))
    legal = over <= 0 and (allowed or by_name)
    size = (
        f"it has {_millions(counted)} parameters{_explained(rulebook, counts)}, "
        f"{'over' if over > 0 else 'within'} the limit of {_millions(rulebook.max_params)}"
    )
    if label == "none":
        origin_text = "it starts from random weights"
    else:
        origin_text = f"its weights ({name}) saw {clause}"
        if by_name:
            origin_text += ", which the rulebook allows by name"
        elif not allowed:
            origin_text += f", where the rulebook allows {_choice(rulebook.pretraining)}"
    return Verdict(
        legal=legal,
        backbone=backbone,
        params_thop=counts.thop,
        params_true=counts.true,
        params_counted=counted,
        over_limit=over,
        pretraining=label,
        sentence=f"{backbone} is {'allowed' if legal else 'refused'}: {size}, and {origin_text}.",
    )


def judge_published(rulebook: Rulebook, backbone: str) -> Verdict:
    """Judge one backbone with the weights that timm publishes for it, on one image.

    Raises:
        ConfigError: timm knows no such backbone.
    """
    image_px = published(backbone).input_size[-1]
    views = {"image": (1, image_px, image_px, 3)}
    return judge(rulebook, backbone, views, image_px=image_px, weights=None)


def _counted(rulebook: Rulebook, counts: Counts) -> int:
    if rulebook.counter == "true":
        return counts.true
    if rulebook.counter == "thop" and counts.thop is not None:
        return counts.thop
    return counts.larger


def _explained(rulebook: Rulebook, counts: Counts) -> str:
    if counts.thop is None:
        return " (thop cannot run it, so the true count decides)"
    if _millions(counts.thop) == _millions(counts.true):
        return ""
    if rulebook.counter == "thop":
        return f" as thop counts them ({_millions(counts.true)} truly)"
    few = "only " if counts.thop < counts.true else ""
    rest = ", the larger decides" if rulebook.counter == "larger" else ""
    return f" (thop counts {few}{_millions(counts.thop)}{rest})"


def _choice(labels: tuple[str, ...]) -> str:
    return "only " + " or ".join(LABELS[label] for label in labels) if labels else "no pretraining"


def _millions(number: int) -> str:
    text = f"{number / 1e6:.1f}"
    return f"{text.removesuffix('.0') if number % 10**6 == 0 else text}M"


@lru_cache(maxsize=1024)
def _counts(backbone: str, views: tuple[tuple[str, Shape], ...], image_px: int) -> Counts:
    published(backbone)  # an unknown name is the caller's error, not one of counting
    shapes = dict(views)

    def build() -> MediaModel:
        return MediaModel(backbone, shapes, image_px=image_px, weights=RANDOM)

    return count(build, example_inputs(shapes, batch=1))
