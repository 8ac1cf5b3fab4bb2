"""The registration of a trial's trained model, a version of the study's registered model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from workbench.errors import StudyError
from workbench.scoring.served import FlatModel
from workbench.study.disk import without_weights
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective, Recipe


class Registry(Protocol):
    """What a promotion needs of `workbench.tracking.registry.ModelRegistry`."""

    def set_champion(self, name: str, uid: str) -> str | None:
        """Give the alias `champion` to the version of recipe `uid`; return it, if there is one."""

    def register_champion(
        self,
        name: str,
        *,
        model: torch.nn.Module,
        example: np.ndarray,
        run_id: str,
        pip_requirements: Sequence[str],
        tags: dict[str, str],
        description: str,
    ) -> str:
        """Register `model` as a new version of `name`, alias `champion`; return the version."""


def register(folder: StudyFolder, registry: Registry, row: TrialRow, objective: Objective) -> str:
    """Register the model of a complete trial, or repeat of one; return the version.

    Raises:
        StudyError: it has no run in the tracking store, or its weights are gone or damaged.
        DamagedFileError: recipe or weights are not what the trial wrote.
    """
    if row.run_id is None:
        raise StudyError(
            f"Trial {row.number} has no run in the tracking store, so its model cannot be "
            "registered. Promote another trial."
        )
    recipe = folder.trial(row.recipe).read_recipe()
    served = FlatModel(recipe.model, load_trained(folder, row, recipe)).eval()
    # Two rows, so that the exported graph takes any number of them; grey, as good as any picture.
    dtype = np.uint8 if served.takes_bytes else np.float32
    example = np.full((2, served.num_values), 128, dtype)
    versions = {"torch": torch.__version__.partition("+")[0], "numpy": np.__version__}
    return registry.register_champion(
        folder.name,
        model=served,
        example=example,
        run_id=row.run_id,
        pip_requirements=[f"{name}=={version}" for name, version in versions.items()],
        tags={"workbench.trial": str(row.number), "workbench.uid": row.recipe},
        description=(
            f"Trial {row.number} of study {folder.name}: {row.backbone}, "
            f"{objective.metric} {row.objective:.5f} on {objective.place}."
        ),
    )


def load_trained(folder: StudyFolder, row: TrialRow, recipe: Recipe) -> torch.nn.Module:
    """Return the trained model of a complete trial, or repeat of one.

    Raises:
        StudyError: its weights are gone, or are not those of its recipe.
        DamagedFileError: recipe or weights are not what the trial wrote.
    """
    file = folder.trial(row.recipe).weights
    remedy = "Put the file back, or promote another trial."
    if not file.exists():
        raise StudyError(without_weights(folder.trial(row.recipe), f"trial {row.number}"))
    model = recipe.model.build()
    try:
        model.load_state_dict(load_file(file))
    except SafetensorError as error:
        raise StudyError(f"{file} is not a safetensors file ({error}). {remedy}") from error
    except RuntimeError as error:  # names or shapes of the tensors differ
        raise StudyError(f"{file} does not hold the model of its recipe. {remedy}") from error
    folder.trial(row.recipe).require_unchanged()
    return model
