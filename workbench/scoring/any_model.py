"""Reading and scoring what may be one model or a pack of several.

A bundle of one model carries this module without packs; see `submission.bundle_code`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack import PackModel
from workbench.parts.pack_spec import PackSpec, members_of
from workbench.scoring.evaluator import Evaluator, ViewSource


def read_spec(tree: Any) -> ModelSpec | PackSpec:
    """Return the spec that JSON values are: that of one model, or of a pack of several.

    Raises:
        ValueError: they are neither.
    """
    is_pack = isinstance(tree, Mapping) and tree.get("kind") == "pack"
    return PackSpec.model_validate(tree) if is_pack else ModelSpec.model_validate(tree)


def scores_of(
    spec: ModelSpec | PackSpec,
    model: nn.Module,
    source_for: Callable[[ModelSpec], ViewSource],
    *,
    batch_size: int,
) -> npt.NDArray[np.float64]:
    """Return the probability of each file to be fake, by a model or by a pack of several, (files,).

    Args:
        spec: What is scored.
        model: The model itself, on its device.
        source_for: Returns the files as a model of such a spec sees them: the same files each time.
        batch_size: Samples that are scored at once.
    """
    columns = [
        Evaluator(member, network).scores(source_for(member), batch_size=batch_size)
        for member, network in zip(members_of(spec), models_within(model), strict=True)
    ]
    if not isinstance(model, PackModel):
        return columns[0]
    device = model.joint.linear.weight.device
    with torch.inference_mode():
        found = model.joint(torch.from_numpy(np.stack(columns, axis=1)).to(device))
    scores: npt.NDArray[np.float64] = found.cpu().numpy()
    return scores


def models_within(model: nn.Module) -> Sequence[nn.Module]:
    """Return the models of a pack in its order, or the one model."""
    return list(model.members) if isinstance(model, PackModel) else [model]
