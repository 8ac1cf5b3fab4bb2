"""Models with random weights, as a bundle holds them."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from workbench.files import write_text
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.submission.places import MODEL, WEIGHTS


def save_model(folder: Path, spec: ModelSpec | PackSpec) -> Path:
    """Write into the new folder what a predictor reads of a bundle; return the folder."""
    torch.manual_seed(0)
    folder.mkdir()
    write_text(folder / MODEL, spec.model_dump_json())
    tensors = {name: tensor.contiguous() for name, tensor in spec.build().state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    return folder
