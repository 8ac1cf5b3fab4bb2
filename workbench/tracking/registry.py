"""The model registry: a study's champion, a version of the registered model of its name."""

import copy
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np

from workbench.addresses import TrackingPlace
from workbench.console import say
from workbench.errors import StudyError
from workbench.tracking.server import open_store
from workbench.tracking.writing import KEY_LENGTH

# isort: split
# After the store, which sets what MLflow reads when it is imported.
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model

if TYPE_CHECKING:
    import torch

_CHAMPION = "champion"
_UID = "workbench.uid"
_WEIGHTS = "workbench.weights_sha256"
_NEEDED = ("MLmodel", "data/model.pt2")
"""The files of a version without which it does not load."""


class ModelRegistry:
    """The registered models in the tracking store at `place`.

    Raises:
        StudyError: the folder cannot hold a store, or holds one that cannot be used.
        StoreError: the server does not answer, or refuses to.
    """

    def __init__(self, place: TrackingPlace) -> None:
        self._client = open_store(place).client

    def set_champion(
        self, name: str, uid: str, study_id: str, weights_sha256: str = ""
    ) -> str | None:
        """Give the alias `champion` to the version of model `name` tagged with recipe `uid`.

        Anybody can change a tag: the model that was logged for the version has it as well, and
        where the two differ the version is passed over, with a line for the user. An earlier study
        of that name may have trained the same recipe to other weights, so the version is to come
        from a run of the study `study_id`. So may this study, whose folder was put back from a
        copy: a version that tells of another file of weights than `weights_sha256` is passed over.

        Returns:
            The version; nothing if the study has none of that recipe, or its files are gone.
        """
        for version in self._client.search_model_versions(f"name = '{name}'"):
            if version.tags.get(_UID) != uid or not self._is_whole(version.source):
                continue
            if self._study_of(version.run_id) != study_id:
                continue
            if weights_sha256 and version.tags.get(_WEIGHTS, weights_sha256) != weights_sha256:
                continue
            if (logged := self._logged_uid(version.source)) not in (uid, None):
                say(
                    f"Version {version.version} of {name} in the MLflow registry is not used: by "
                    f"its tag {_UID} it is recipe {uid}, and its logged model is {logged}. Write "
                    "the right one into the tag, or delete the version."
                )
                continue
            if (held := _model_in(version.source)) not in (_logged_id(version.source), None):
                say(
                    f"Version {version.version} of {name} in the MLflow registry is not used: "
                    f"{version.source} has the files of another model, {held}. Put its own there, "
                    "or delete the version."
                )
                continue
            self._client.set_registered_model_alias(name, _CHAMPION, str(version.version))
            return str(version.version)
        return None

    def describe(self, name: str, text: str) -> None:
        """Let the page of a registered model begin with `text`, which is Markdown."""
        self._client.update_registered_model(name, text)

    def register_champion(
        self,
        name: str,
        *,
        model: "torch.nn.Module",
        example: np.ndarray,
        run_id: str,
        pip_requirements: Sequence[str],
        tags: Mapping[str, str],
        description: str,
    ) -> str:
        """Register `model` as a new version of `name`, alias `champion`, and return the version.

        It is saved as an exported graph, which loads without this package. Load only what lies in a
        store that you trust: whoever can write to it can make MLflow run code, by the `MLmodel`
        file, which names what is imported, or by the graph, of which torch unpickles parts and
        evaluates shapes. With MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false MLflow refuses pickles, but
        for plain tensors, and a version that was registered here still loads; the rest stays. This
        program itself never loads a registered model: a promotion reads the trial's safetensors.

        `mlflow.pyfunc.load_model("models:/<name>@champion").predict(rows)` and
        `mlflow.pytorch.load_model(...)` read it. The graph lives on the CPU and is in evaluation
        mode; `model` itself is left as it is.

        Args:
            name: The registered model, created if there is none.
            model: Takes one tensor like `example`, gives one tensor.
            example: (2 or more, ...) input rows, by which the graph is traced; zeros will do.
                Their dtype is the only one the version accepts.
            run_id: The trial that trained the model.
            pip_requirements: What loading needs, such as "torch==2.13.0".
            tags: Of the version.
            description: Of the version, for a person.

        Raises:
            StudyError: `example` has fewer than two rows.
        """
        if len(example) < 2:
            raise StudyError(
                f"A model is registered with an example of 2 or more rows, and this one has "
                f"{len(example)}: the exported graph would accept that batch size alone."
            )
        run = self._client.get_run(run_id)
        logged = self._client.create_logged_model(
            run.info.experiment_id,
            name=name.replace(".", "-"),  # here, and here alone, MLflow takes no dots
            source_run_id=run_id,
            params={key: value[:KEY_LENGTH] for key, value in run.data.params.items()},
            tags=dict(tags),
        )
        about = Model(
            artifact_path=logged.artifact_location, run_id=run_id, model_uuid=logged.model_id
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            _save_model(path, about, model=model, example=example, pip=list(pip_requirements))
            self._client.log_model_artifacts(logged.model_id, str(path))
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self._ensure_registered(name)
        # The artifacts' address, not models:/<id>: MLflow looks that one up in the store of its
        # global address, which is not ours.
        version = self._client.create_model_version(
            name,
            logged.artifact_location,
            run_id,
            tags=dict(tags),
            description=description,
            model_id=logged.model_id,
        ).version
        self._client.set_registered_model_alias(name, _CHAMPION, str(version))
        return str(version)

    def _ensure_registered(self, name: str) -> None:
        try:
            self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(name)

    def _is_whole(self, source: str | None) -> bool:
        """Say whether a version's files are there: `mlflow gc` and people remove them."""
        address = urlsplit(source or "file:")
        if address.scheme == "file":
            files = [Path(unquote(address.path), name) for name in _NEEDED]
            return all(file.is_file() and file.stat().st_size for file in files)
        if (model_id := _logged_id(source)) is None:
            return False
        try:
            found = [
                file
                for folder in ("", "data")
                for file in self._client.list_logged_model_artifacts(model_id, folder or None)
            ]
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        # Not every server tells the sizes.
        return set(_NEEDED) <= {file.path for file in found if file.file_size != 0}

    def _study_of(self, run_id: str | None) -> str | None:
        """Return the id of the study that the run of a trial is of; None where nothing tells."""
        tags: Mapping[str, str] = {"mlflow.parentRunId": run_id or ""}
        for _ in ("the trial's", "the study's"):
            if not (next_id := tags.get("mlflow.parentRunId")):
                return None
            try:
                tags = self._client.get_run(next_id).data.tags
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a person removed it for good
                    raise
                return None
        return tags.get("workbench.study_id")

    def _logged_uid(self, source: str | None) -> str | None:
        """Return the recipe that the logged model of a version is of; None where nothing tells."""
        if (model_id := _logged_id(source)) is None:
            return None
        try:
            uid: str | None = self._client.get_logged_model(model_id).tags.get(_UID)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a person deleted it
                raise
            return None
        return uid


def _logged_id(source: str | None) -> str | None:
    """Return the id of the logged model at a version's address."""
    found = re.search(r"/models/(m-[0-9a-f]+)/artifacts/?$", urlsplit(source or "").path)
    return found[1] if found else None


def _model_in(source: str | None) -> str | None:
    """Return the id of the logged model whose files are at an address; None where nothing tells."""
    address = urlsplit(source or "")
    if address.scheme != "file":
        return None
    about = Path(unquote(address.path), _NEEDED[0]).read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^model_uuid: (m-[0-9a-f]+)$", about, re.MULTILINE)
    return found[1] if found else None


def _save_model(
    path: Path, about: Model, *, model: "torch.nn.Module", example: np.ndarray, pip: list[str]
) -> None:
    import mlflow.pytorch  # all are slow to import
    import torch
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    # Without gradients, or a model that turns them off for a part of itself is saved as a graph
    # that cannot be loaded.
    with torch.no_grad(), warnings.catch_warnings():
        # Of weights that are not laid out in the usual order, which are saved right all the same.
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
        given = model(torch.from_numpy(example)).numpy()
        inputs, outputs = (
            Schema([TensorSpec(of.dtype, (-1, *of.shape[1:]))]) for of in (example, given)
        )
        mlflow.pytorch.save_model(
            model,
            str(path),
            mlflow_model=about,
            signature=ModelSignature(inputs, outputs),
            # Of a bare array MLflow stores two JSON files: of video 110 MB for one model.
            input_example=[example],
            pip_requirements=pip,
            serialization_format="pt2",
        )
    # Where there is a CUDA device MLflow would want the graph there, and refuse one saved on CPU.
    about.flavors["python_function"]["config"]["device"] = "cpu"
    about.save(str(path / "MLmodel"))
