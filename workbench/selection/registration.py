"""The registration of a trial's trained model, a version of the study's registered model."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from workbench.errors import StudyError
from workbench.files import require_readable, write_text
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.scoring.served import FlatModel
from workbench.study.disk import without_weights
from workbench.study.folder import StudyFolder
from workbench.study.packs import spec_of
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective
from workbench.trial.result import ModelFolder


class Registry(Protocol):
    """What a promotion needs of `workbench.tracking.registry.ModelRegistry`."""

    def set_champion(self, name: str, uid: str, study_id: str, weights_sha256: str) -> str | None:
        """Give the alias `champion` to the study's version of recipe `uid`; return it, if any."""

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
        StudyError: it has no run in the tracking store, or its files are gone or damaged.
        DamagedFileError: recipe or weights are not what the trial wrote.
    """
    if row.run_id is None:
        raise StudyError(
            f"Trial {row.number} has no run in the tracking store, so its model cannot be "
            "registered. Promote another trial."
        )
    if row.objective is None:
        raise StudyError(
            f"The files of trial {row.number} are gone or damaged, so its model cannot be "
            "registered. Promote another trial."
        )
    return register_model(
        folder,
        registry,
        row.recipe,
        run_id=row.run_id,
        title=f"trial {row.number}",
        tags={"workbench.trial": str(row.number)},
        description=f"{row.backbone}, {objective.metric} {row.objective:.5f} on {objective.place}.",
    )


def known_version(folder: StudyFolder, registry: Registry, uid: str) -> str | None:
    """Give the alias `champion` to the version of a model as it is now; return it, if any.

    `uid` is that of a trial's recipe, of a soup or of a pack.
    """
    study_id, weights = folder.info().id, weights_of(folder, uid)
    was_cut_off = folder.registering.exists()
    write_text(folder.registering, "")
    version = registry.set_champion(folder.name, uid, study_id, weights)
    if version is None and not was_cut_off:
        folder.registering.unlink()
    return version


def weights_of(folder: StudyFolder, uid: str) -> str:
    """Return the SHA-256 of a model's file of weights; empty where nothing tells."""
    result = folder.model(uid).kept_result()
    return result.weights_sha256 if result else ""


def register_model(
    folder: StudyFolder,
    registry: Registry,
    uid: str,
    *,
    run_id: str,
    title: str,
    tags: Mapping[str, str],
    description: str,
) -> str:
    """Register the model of a trial or of a pack; return the version.

    Args:
        folder: The study.
        registry: Where it is registered, under the study's name.
        uid: Of the trial's recipe, or of the pack.
        run_id: The MLflow run that it came from.
        title: What a person calls it: `trial 5`.
        tags: Of the version, beside the uid.
        description: What it is and what it reached, in a sentence.

    Raises:
        StudyError: its weights are gone or damaged.
        DamagedFileError: record or weights are not what was written.
    """
    files = folder.model(uid)
    spec = spec_of(files)
    served = FlatModel(spec, load_trained(files, spec, title)).eval()
    # Two rows, so that the exported graph takes any number of them; grey, as good as any picture.
    dtype = np.uint8 if served.takes_bytes else np.float32
    example = np.full((2, served.num_values), 128, dtype)
    weights = weights_of(folder, uid)
    known = {"workbench.weights_sha256": weights} if weights else {}
    versions = {"torch": torch.__version__.partition("+")[0], "numpy": np.__version__}
    write_text(folder.registering, "")  # until the champion's record names the version
    return registry.register_champion(
        folder.name,
        model=served,
        example=example,
        run_id=run_id,
        pip_requirements=[f"{name}=={version}" for name, version in versions.items()],
        tags={**tags, "workbench.uid": uid, **known},
        description=f"{title[0].upper()}{title[1:]} of study {folder.name}: {description}",
    )


def load_trained(files: ModelFolder, spec: ModelSpec | PackSpec, title: str) -> torch.nn.Module:
    """Return a trained model.

    Args:
        files: Of a complete trial, of a repeat of one, or of a pack.
        spec: What its record says that it is.
        title: What a person calls it.

    Raises:
        StudyError: its weights are gone, or are not those of its record.
        DamagedFileError: record or weights are not what was written.
    """
    file = files.weights
    remedy = "Put the file back, or promote another trial."
    if not file.is_file():
        raise StudyError(without_weights(files, title))
    require_readable(file)
    model = spec.build()
    try:
        model.load_state_dict(load_file(file))
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{file} is not a safetensors file ({error}). {remedy}") from error
    except RuntimeError as error:  # names or shapes of the tensors differ
        raise StudyError(f"{file} does not hold the model of its recipe. {remedy}") from error
    files.require_unchanged()
    return model
