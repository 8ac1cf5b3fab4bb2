"""Let `import timm` work where a CPU-only torch stands beside a CUDA build of torchvision."""

import sys
from typing import Any

import torch

_MISSING = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# The operators live as long as the library object does, so it is kept here.
_kept: list[torch.library.Library] = []


def ensure_torchvision() -> str | None:
    """Make `import torchvision` work, and return a sentence if that needed help.

    torchvision's CUDA wheel cannot load its operators into a CPU-only torch, and its own import
    then stops at the first operator it wants to describe. Declaring the two schemas that
    it asks for is enough: timm uses none of the operators. Call this before `import timm`.

    Returns:
        None where torchvision imports by itself, or is not installed; else what was done.
    """
    if _kept:
        return _sentence()
    try:
        import torchvision
    except ModuleNotFoundError:
        return None  # timm's own import says what is missing
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
    else:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _kept.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    import torchvision  # noqa: F401

    return _sentence()


def import_timm() -> Any:
    """Return the module `timm`, imported where a plain import could fail, and `own_models`."""
    ensure_torchvision()
    import timm

    import workbench.parts.own_models  # noqa: F401

    return timm


def _sentence() -> str:
    return (
        f"torch {torch.__version__} is a CPU build beside a CUDA build of torchvision, whose "
        "operators (nms, roi_align) therefore do not load; workbench needs none of them."
    )
