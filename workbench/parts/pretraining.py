"""What published weights have seen: the facts behind timm's pretrained tags, as one table.

A tag such as `fcmae_ft_in22k_in1k` names data sets and recipes, joined by `_`. A label here names
the widest data set that the weights learned from, directly or through a teacher that labelled
images for them: a student of a network that saw a billion photos saw them too.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # loads torch, and ranking does not
    from workbench.parts.weights import Weights

LABELS: dict[str, str] = {
    "none": "nothing",
    "in1k": "ImageNet-1K",
    "in1k-ssl": "the images of ImageNet-1K without their labels",
    "in12k": "ImageNet-12K",
    "in21k": "ImageNet-21K",
    "jft": "JFT-300M",
    "instagram": "photos from Instagram",
    "yfcc": "YFCC-100M",
    "merged": "Merged-30M or Merged-38M (ImageNet-21K, CC12M, COCO and others)",
    "web": "captioned images from the web",
    "lvd": "curated photos from the web (LVD or SAT collections)",
    "sa1b": "SA-1B",
    "bamboo": "Bamboo",
    "unknown": "data that nobody has named",
}
"""Every label with the words a sentence uses for it."""


class Saw(NamedTuple):
    """What weights saw: a key of `LABELS`, and why if the tag alone does not show it."""

    label: str
    why: str = ""


# Exact facts that a tag does not show, by architecture and tag; tried first, in order.
_EXCEPTIONS: tuple[tuple[str, str, Saw], ...] = (
    (r"beitv2_.*", r".*", Saw("web", "BEiT v2 learned from CLIP's features")),
    (r"eva02_.*", r"mim_in22k_.*", Saw("web", "EVA-02 learned from EVA-CLIP's features")),
    (r"beit_.*", r".*", Saw("web", "BEiT learned the tokens of DALL-E's tokenizer")),
    (r"eva_large_.*", r".*", Saw("web", "EVA-L learned from EVA-CLIP's features")),
    (r"tiny_vit_.*", r"dist_.*", Saw("web", "its teacher is a CLIP")),
    (r"beit3_.*", r".*", Saw("web", "BEiT-3 learned from image-text pairs or CLIP's features")),
    (r".*_ssld", r".*", Saw("in21k", "SSLD distilled it on images mined from ImageNet-22K")),
    (r".*", r"ssld_in1k", Saw("in21k", "SSLD distilled it on images mined from ImageNet-22K")),
    (r".*", r"ssld_stage2_ft_in1k", Saw("in21k", "SSLD's first stage used ImageNet-22K")),
    (r".*", r"bd_ssld_6m_in1k.*", Saw("unknown", "it was distilled on 6M images of its makers")),
    (r".*", r"goog_distilled_in1k", Saw("in21k", "its teacher, a BiT, saw ImageNet-21K")),
    (r"ghostnetv3_.*", r"in1k", Saw("unknown", "its teacher is named by no tag")),
    (r".*", r"usi_in1k", Saw("in21k", "its teacher, a TResNet-L, saw ImageNet-21K")),
    (r".*", r"(fb_)?dino", Saw("in1k-ssl", "DINO (the first) is self-supervised")),
    (r".*", r"mae", Saw("in1k-ssl", "a masked autoencoder is self-supervised")),
    (r".*", r"fcmae", Saw("in1k-ssl", "a masked autoencoder is self-supervised")),
    (r".*", r"in1k_ijepa", Saw("in1k-ssl", "I-JEPA is self-supervised")),
)

# Words of a tag that name more than ImageNet-1K; the first row that has one decides, so the rows
# stand from the widest collection to the narrowest. `ns` is noisy student (on JFT); `c2ns` is
# another recipe, as `sam` (sharpness-aware minimisation) is not Segment Anything.
_WORDS: tuple[tuple[str, str], ...] = (
    (
        "web",
        r"openai|m?clip2?|tinyclip|laion.*|datacomp.*|metaclip2?|dfn.*|dfndr.*|merged2b|cc12m"
        r"|yfcc15m|webli|pali2?|florence2|altogether|worldwide",
    ),
    ("instagram", r"ig1b|swsl|wsl|swag|seer"),
    ("jft", r"jft|ns"),
    ("lvd", r"lvd\d*m|sat493m|dinov2|dinov3"),
    ("sa1b", r"sa1b"),
    ("merged", r"m3[08]m"),
    ("yfcc", r"yfcc100m|ssl"),
    ("bamboo", r"bamboo"),
    ("in21k", r"in21k|in22k|inw21k"),
    ("in12k", r"in12k"),
)

# Architectures whose every weight saw more than the words of some of their tags say.
_FAMILIES: tuple[tuple[str, str], ...] = ((r".*(clip|siglip).*", "web"),)


def saw(arch: str, tag: str) -> Saw:
    """Return what the weights `tag` of the timm architecture `arch` saw; never raises.

    A tag that names a wider data set than ImageNet-1K has that label; one that names `in1k`
    and nothing wider is `in1k`; every other one is `unknown`.
    """
    for arch_pattern, tag_pattern, fact in _EXCEPTIONS:
        if re.fullmatch(arch_pattern, arch) and re.fullmatch(tag_pattern, tag):
            return fact
    words = tag.split("_")
    for label, pattern in _WORDS:
        if any(re.fullmatch(pattern, word) for word in words):
            return Saw(label)
    for pattern, label in _FAMILIES:
        if re.fullmatch(pattern, arch):
            return Saw(label, "it is the image half of an image-text model")
    if "in1k" in words:
        return Saw("in1k")
    return Saw("unknown", "its tag names no data set that workbench knows")


def saw_by(weights: "Weights") -> Saw:
    """Return what weights saw: as their name tells it today, else as it was noted of them.

    What a recipe notes is what an older version of this table knew, or what a person said of a
    file whose name tells nothing.
    """
    arch, _, tag = weights.name.partition(".")
    told = saw(arch, tag)
    if weights.source == "hub" or (weights.source == "local" and told.label != "unknown"):
        return told
    return Saw(weights.pretraining)
