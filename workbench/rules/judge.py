"""The judge of a built model: what each rule of a rulebook says of it."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from workbench.data.measured import Measured
from workbench.media.image import Image
from workbench.media.view import View
from workbench.media.waveform import Waveform
from workbench.parts import model as model_module
from workbench.parts.example_inputs import example_inputs
from workbench.parts.heads import LINEAR, Head
from workbench.parts.model import PLAIN, MediaModel, Reading, backboned
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack import PackModel
from workbench.parts.pack_spec import PackSpec
from workbench.parts.per_view import PerView, for_each, label_of
from workbench.parts.plugins import own_versions
from workbench.parts.pretraining import saw, saw_by
from workbench.parts.suited import about, reads_waveforms, require_readable, require_suited
from workbench.parts.weights import RANDOM, Weights, published
from workbench.rules.counts import count, counted_by
from workbench.rules.helper_models import helpers_of
from workbench.rules.rulebook import Rulebook, Verdict
from workbench.rules.subject import Counts, HelperModel, StartWeights, Subject
from workbench.tables import counted
from workbench.values import Frozen

_Named = tuple[tuple[str, str], ...]
_Views = tuple[tuple[str, View], ...]


class Built(Frozen):
    """What building a model tells."""

    counts: Counts
    networks: dict[str, int]
    """How many networks read each view."""


def judge(
    rulebook: Rulebook,
    backbone: PerView[str],
    views: Mapping[str, View],
    *,
    image_px: int,
    weights: PerView[Weights | None],
    head: Head = LINEAR,
    reading: Reading = PLAIN,
    counted: Path | None = None,
) -> Verdict:
    """Judge the whole model of `views` on `backbone` by `rulebook`.

    Args:
        rulebook: The rules.
        backbone: A timm model name, with or without a tag, or one for each view of pictures.
        views: Each view by its name; each has its own copy of its backbone, and all of them count.
        image_px: Side of the images that the backbones see, in pixels.
        weights: What all backbones start from, or each does; None judges the weights that timm
            publishes.
        head: What makes logits of the features.
        reading: How pictures are read.
        counted: The folder that keeps what was counted of a model by the same versions: what is
            known there is not built again. None builds it whatever is kept.

    Raises:
        ConfigError: timm knows no such backbone, or it cannot take such images; or no view is of
            what `reading` is about.
    """
    # A name for all views is judged even where none of them goes through it.
    names = for_each(backbone, backboned(views) or ([""] if isinstance(backbone, str) else []))
    require_suited(names, views)
    require_readable(reading, views)
    found = for_each(weights, names)
    own = tuple(own_versions(names.values()).items())
    what = tuple(names.items()), tuple(views.items()), image_px, head, reading
    built = _counted(*what, own, counted)
    subject = Subject(
        starts=tuple(dict.fromkeys(_start(name, found[view]) for view, name in names.items())),
        counts=built.counts,
        counted_by=counted_by(),
        networks=built.networks,
        helpers=_helpers(views),
    )
    return _verdict(rulebook, label_of(backbone), subject)


def judge_spec(rulebook: Rulebook, spec: ModelSpec | PackSpec) -> Verdict:
    """Judge the whole model of a spec by `rulebook`; a pack as the one model that it is.

    Raises:
        ConfigError: timm does not know a backbone of it, or it cannot take such images.
    """
    if isinstance(spec, ModelSpec):
        return judge(
            rulebook,
            spec.backbone,
            spec.views,
            image_px=spec.image_px,
            weights=spec.weights,
            head=spec.head,
            reading=spec.reading,
        )
    starts = (
        _start(name, member.weights_of[view])
        for member in spec.members
        for view, name in member.backbone_of.items()
    )
    networks: dict[str, int] = {}

    def build() -> PackModel:
        model = spec.build()
        networks.update(networks_of(model))
        return model

    subject = Subject(
        starts=tuple(dict.fromkeys(starts)),
        counts=count(build, example_inputs(spec.views, batch=1)),
        counted_by=counted_by(),
        networks=networks,
        helpers=_helpers(spec.views),
    )
    return _verdict(rulebook, f"the pack of {counted(len(spec.members), 'model')}", subject)


def _helpers(views: Mapping[str, View]) -> tuple[HelperModel, ...]:
    return tuple(dict.fromkeys(helper for view in views.values() for helper in helpers_of(view)))


def _verdict(rulebook: Rulebook, label: str, subject: Subject) -> Verdict:
    assert subject.counts is not None and subject.helpers is not None  # the model was built
    counts, starts = subject.counts, subject.starts
    results = tuple(rule.check(subject) for rule in rulebook.rules)
    legal = all(result.ok for result in results)
    clauses = [result.sentence for result in results if legal or not result.ok]
    over = next(result.over for result in results if result.name == "params")
    assert over is not None  # the model was counted
    return Verdict(
        legal=legal,
        backbone=label,
        params_thop=counts.thop,
        params_true=counts.true,
        params_counted=rulebook.max_params + over,
        over_limit=over,
        counted_by=subject.counted_by,
        pretraining=" + ".join(dict.fromkeys(start.label for start in starts)) or "none",
        helpers=subject.helpers,
        macs=counts.macs,
        results=results,
        sentence=f"{label} is {'allowed' if legal else 'refused'}: {_joined(clauses)}.",
    )


def _start(backbone: str, weights: Weights | None) -> StartWeights:
    if weights is None:
        return published_start(backbone)
    label, why = saw_by(weights)
    return StartWeights(name=weights.name, label=label, why=why)


def judge_published(rulebook: Rulebook, backbone: str) -> Verdict:
    """Judge one backbone with the weights that timm publishes for it, on one image or sound.

    Raises:
        ConfigError: timm knows no such backbone.
    """
    side = published(backbone).input_size[-1]
    hears = reads_waveforms(backbone)
    view: View = Waveform(num_samples=side) if hears else Image(image_px=side)
    views, image_px = {view.kind: view}, 224 if hears else side
    return judge(rulebook, backbone, views, image_px=image_px, weights=None)


def published_start(backbone: str) -> StartWeights:
    """Return the weights that timm publishes of `backbone`, and what they saw by their tag.

    Args:
        backbone: A timm model name; without a tag, timm's default tag counts.

    Raises:
        ConfigError: timm knows no such model or tag.
    """
    config = published(backbone)
    arch, tag = backbone.partition(".")[0], config.tag or ""
    if not config.has_weights:
        return StartWeights(name=arch)
    label, why = saw(arch, tag)
    return StartWeights(name=f"{arch}.{tag}" if tag else arch, label=label, why=why)


def networks_of(model: nn.Module) -> dict[str, int]:
    """Return how many networks of `model` read each view, whatever modules they stand in."""
    parts = (part for part in model.modules() if isinstance(part, MediaModel))
    return dict(Counter(name for part in parts for name in part.readers))


def _counted(
    backbones: _Named,
    views: _Views,
    image_px: int,
    head: Head,
    reading: Reading,
    own: _Named,
    folder: Path | None,
) -> Built:
    """Return what `_built` returns, as it was kept in `folder` or kept there from now on."""
    if folder is None:
        return _built(backbones, views, image_px, head, reading, own)
    key = {
        "backbones": backbones,
        "views": [(name, view.model_dump(mode="json")) for name, view in views],
        "image_px": image_px,
        **({"head": head.model_dump()} if head != LINEAR else {}),
        **about(reading),
        **({"own": own} if own else {}),
        "counted_by": counted_by(),
        "buffers": True,  # what was kept before did not count them
        "timm": version("timm"),
        "torch": torch.__version__,
        "parts": _digest_of_parts(),
    }
    kept = Measured(folder, "counts")
    if (known := kept.get(key)) is not None:
        return Built(**known)
    built = _built(backbones, views, image_px, head, reading, own)
    if os.access(folder, os.W_OK):
        kept.keep(key, built.model_dump())
    return built


@cache
def _digest_of_parts() -> str:
    """Return a digest of the code that models are made by."""
    digest = hashlib.sha256()
    for file in sorted(Path(model_module.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1024)
def _built(
    backbones: _Named, views: _Views, image_px: int, head: Head, reading: Reading, own: _Named
) -> Built:
    """Return what a model without weights tells, built and counted.

    `own` are the versions of backbones that plugins bring: another version is another model.
    """
    for _, name in backbones:
        published(name)  # an unknown name is the caller's error, not one of counting
    networks: dict[str, int] = {}

    def build() -> MediaModel:
        model = MediaModel(
            dict(backbones),
            dict(views),
            image_px=image_px,
            weights=RANDOM,
            head=head,
            reading=reading,
        )
        networks.update(networks_of(model))
        return model

    counts = count(build, example_inputs(dict(views), batch=1))
    return Built(counts=counts, networks=networks)


def _joined(clauses: list[str]) -> str:
    *most, last = clauses
    return f"{', '.join(most)}, and {last}" if most else last
