"""A file of weights that somebody brought: how it is written, and does timm's model load it."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from workbench.errors import WeightsError
from workbench.parts.archives import require_sane
from workbench.parts.pretrained import load_as_published
from workbench.parts.torchvision_fix import import_timm


def ending(file: Path) -> str:
    """Return the ending that says how the file is written, whatever its name ends with."""
    with file.open("rb") as opened:
        head = opened.read(9)
    if head[8:] == b"{":  # after eight bytes of length
        return ".safetensors"
    if head.startswith((b"PK", b"\x80")):  # a zip; in older files a bare pickle
        return ".pth"
    raise WeightsError(
        f"{file} is neither a safetensors file nor one of torch.save. Download it again."
    )


def hold_against(path: Path, name: str, *, called: str) -> None:
    """Hold names and shapes against timm's `name`, as `load` does; no tensor is read."""
    with torch.device("meta"):
        load_as_published(name, called, {"state_dict": _shapes(path, called)})


def load(path: Path, name: str, *, called: str) -> None:
    """Load the file as a trial would, and look at every number.

    An error calls it `called`.

    Raises:
        WeightsError: the file is damaged, holds code, or is not that of this model.
    """
    _shapes(path, called)  # its sentences on what is wrong with a file are the clearer ones
    model = load_as_published(name, called, {"file": str(path), "custom_load": False})
    require_numbers(model.state_dict(), called=called)


def _shapes(path: Path, called: str) -> dict[str, Tensor]:
    """Return the tensors of a file on the meta device: their names and shapes."""
    if ending(path) != path.suffix:
        raise WeightsError(
            f"{called} has the format of a {ending(path)} file, which its ending does not say. "
            "Rename it."
        )
    require_sane(path, called=called)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {
                    name: torch.empty(file.get_slice(name).get_shape(), device="meta")
                    for name in file.keys()  # noqa: SIM118 (it is no mapping)
                }
        return dict(import_timm().models.load_state_dict(str(path), device="meta"))
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise WeightsError(
                f"{called} holds Python objects that may run code, not tensors alone, so it is "
                "not read. Ask its maker for a safetensors file."
            ) from error
        reason = " ".join(str(error).split()).partition(". ")[0][:120] or type(error).__name__
        raise WeightsError(
            f"{called} is damaged or cut off ({reason}). Download it again."
        ) from error
    except AttributeError as error:  # what timm's loader does where there is no dictionary
        raise WeightsError(
            f"{called} holds no table of tensors by name. Write one by "
            "`torch.save(model.state_dict(), FILE)`."
        ) from error


def require_numbers(tensors: Mapping[str, Tensor], *, called: str) -> None:
    """Refuse tensors in which a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"{called} has NaN or infinite values in {name}. Download it again.")
