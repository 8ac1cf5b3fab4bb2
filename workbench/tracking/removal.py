"""A study's record in the tracking store as a whole: what it takes, and how it is removed for good.

What MLflow deletes it keeps, artifacts and all, until its own `mlflow gc` removes it. That is told
here exactly what to remove: left to itself it empties the whole trash of the store.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from workbench.addresses import TrackingPlace, folders_of
from workbench.errors import StudyError
from workbench.gate import is_inside
from workbench.tracking.moving import ARTIFACTS, artifact_address
from workbench.tracking.server import open_store
from workbench.tracking.store import DATABASE, WriteError
from workbench.values import Frozen

_IDS_PER_CALL = 3000
"""Of a run is 32 letters, and a word of a command may have some 130,000."""

_PAGE = 200


class RegisteredVersion(Frozen):
    """A registered version of a study's model."""

    version: str
    uid: str
    """The recipe of the trial, or repeat of one, that it is of."""

    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    folder: Path | None
    """Where its files are; None where that is not in this store."""


class RemovedRecord(Frozen):
    """What was removed of a study."""

    num_runs: int = 0
    num_versions: int = 0


def has_store(place: TrackingPlace) -> bool:
    """Say whether there is a tracking store; it is not opened, which takes a while."""
    return all((root / DATABASE).exists() for root in folders_of(place))


def artifact_folder(root: Path, name: str) -> Path:
    """Return where the store in `root` keeps the artifacts of the studies called `name`."""
    return Path(unquote(urlsplit(artifact_address(root.resolve(), name)).path))


class StudyRecord:
    """The record of one study in the tracking store at `place`, which is there.

    Args:
        study_id: Tells it from earlier ones of the same name.

    Raises:
        StudyError: the store cannot be used.
        StoreError: the server does not answer, or refuses to.
    """

    def __init__(self, place: TrackingPlace, name: str, study_id: str) -> None:
        self.store = open_store(place)
        self._client, self._name, self._study_id = self.store.client, name, study_id
        experiment = self._client.get_experiment_by_name(name)
        self.experiment_id: str | None = experiment.experiment_id if experiment else None

    def runs(self) -> list[Any]:
        """Return the MLflow runs of the study, deleted ones too: its own first, then those below.

        Those below are oldest first.
        """
        if self.experiment_id is None:
            return []
        everything = self.store.find_runs(self.experiment_id, "", with_deleted=True)
        own = {
            "workbench.kind": "study",
            "workbench.study": self._name,
            "workbench.study_id": self._study_id,
        }
        parents = [run for run in everything if own.items() <= run.data.tags.items()]
        ids = {run.info.run_id for run in parents}
        return parents + [
            run for run in everything if run.data.tags.get("mlflow.parentRunId") in ids
        ]

    def versions(self) -> list[RegisteredVersion]:
        """Return the registered versions that runs of this study gave, oldest first."""
        ids = {run.info.run_id for run in self.runs()}
        if self.experiment_id is None or not ids:
            return []
        names = ids | {model.model_id for model in self._logged_models(self.experiment_id, ids)}
        found = []
        for version in self._client.search_model_versions(f"name = '{self._name}'"):
            if version.run_id not in ids:
                continue
            # A search does not tell the aliases.
            whole = self._client.get_model_version(self._name, version.version)
            folder = self.own_folder(whole.source, names)
            # The registry does not keep the id of the logged model, by which its folder is named.
            is_logged = folder is not None and folder.parent.parent.name == "models"
            found.append(
                RegisteredVersion(
                    version=str(whole.version),
                    uid=whole.tags.get("workbench.uid", ""),
                    run_id=whole.run_id,
                    model_id=folder.parent.name if folder and is_logged else "",
                    aliases=tuple(whole.aliases),
                    folder=folder,
                )
            )
        return sorted(found, key=lambda one: int(one.version))

    def remove_versions(self, versions: Sequence[RegisteredVersion]) -> None:
        """Remove registered versions with their files, and what runs say of them.

        The files first: after a kill nothing but its version tells that a folder is of the study.
        """
        for one in versions:
            if one.folder is not None:
                shutil.rmtree(one.folder, ignore_errors=True)
            if one.model_id:
                self._client.delete_logged_model(one.model_id)
            self._client.delete_model_version(self._name, one.version)
        self._forget_outputs([one.model_id for one in versions if one.model_id])

    def remove(self) -> RemovedRecord:
        """Remove the study's runs with their artifacts, and what is registered of it, for good.

        A server keeps what is deleted until its owner has `mlflow gc` run there.

        Raises:
            StudyError: the store does not take it.
        """
        try:
            if self.experiment_id is None:
                return self._remove_rest()
            if not folders_of(self.store.place):
                return self._remove_from_server(self.experiment_id)
            return self._remove(self.experiment_id)
        except WriteError as error:
            raise StudyError(
                f"The record of the study {self._name} cannot be removed from {self.store.place}: "
                f"{error.message}. Run the same command again."
            ) from error

    def _remove(self, experiment_id: str) -> RemovedRecord:
        runs, versions = self.runs(), self.versions()
        if not runs:
            return self._remove_rest()
        ids = [run.info.run_id for run in runs]
        models = self._logged_models(experiment_id, set(ids))
        addresses = {run.info.run_id: run.info.artifact_uri for run in runs}
        addresses |= {model.model_id: model.artifact_location for model in models}
        places = [self.own_folder(address, [name]) for name, address in addresses.items()]
        self.remove_versions(versions)
        for model in models:
            if model.model_id not in {one.model_id for one in versions}:
                self._client.delete_logged_model(model.model_id)
        for run in runs:
            if run.info.lifecycle_stage == "active":
                self._client.delete_run(run.info.run_id)
        self._forget_outputs([model.model_id for model in models])
        self._leave_out(
            [name for name, place in zip(addresses, places, strict=True) if place is None]
        )
        self._collect(experiment_id, ids, [model.model_id for model in models])
        for place in places:
            if place is not None:
                shutil.rmtree(place.parent, ignore_errors=True)
        self._remove_rest()
        return RemovedRecord(num_runs=len(runs), num_versions=len(versions))

    def _remove_rest(self) -> RemovedRecord:
        """Remove what is left without runs; a removal that was killed leaves it, too."""
        if folders_of(self.store.place):
            self._remove_empty_folders()
        self._remove_empty_model()
        return RemovedRecord()

    def _remove_from_server(self, experiment_id: str) -> RemovedRecord:
        runs, versions = self.runs(), self.versions()
        for one in versions:
            self._client.delete_model_version(self._name, one.version)
        for model in self._logged_models(experiment_id, {run.info.run_id for run in runs}):
            self._client.delete_logged_model(model.model_id)
        active = [run.info.run_id for run in runs if run.info.lifecycle_stage == "active"]
        for run_id in reversed(active):  # the study's own last: by it the others are found
            self._client.delete_run(run_id)
        self._remove_empty_model()
        return RemovedRecord(num_runs=len(active), num_versions=len(versions))

    def _collect(self, experiment_id: str, runs: Sequence[str], models: Sequence[str]) -> None:
        """Have `mlflow gc` remove what was deleted, and the experiment if nothing else is in it."""
        there = self.store.find_runs(experiment_id, "", with_deleted=True)
        is_alone = {run.info.run_id for run in there} <= set(runs)
        if is_alone and self._client.get_experiment(experiment_id).lifecycle_stage == "active":
            self._client.delete_experiment(experiment_id)
        for start in range(0, len(runs), _IDS_PER_CALL):
            is_last = start + _IDS_PER_CALL >= len(runs)
            experiment, model = self._spare()
            self._gc(
                runs[start : start + _IDS_PER_CALL],
                [model, *models] if is_last else [model],
                [experiment, experiment_id] if is_last and is_alone else [experiment],
            )

    def _spare(self) -> tuple[str, str]:
        """Return an experiment and a model of no use, both deleted.

        Where none is named, gc removes all experiments, or models, that ever were deleted.
        """
        name = f"removed {uuid.uuid4().hex}"
        address = artifact_address(self.store.root, name)
        experiment = self._client.create_experiment(name, artifact_location=address)
        model = self._client.create_logged_model(experiment, name="removed")
        self._client.delete_logged_model(model.model_id)
        self._client.delete_experiment(experiment)
        return experiment, model.model_id

    def _gc(self, runs: Sequence[str], models: Sequence[str], experiments: Sequence[str]) -> None:
        named = [
            word
            for option, ids in (
                ("--run-ids", runs),
                ("--logged-model-ids", models),
                ("--experiment-ids", experiments),
            )
            for word in (option, ",".join(ids))
        ]
        uri = self.store.uri
        words = ["--backend-store-uri", uri, "--tracking-uri", uri, *named]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mlflow", "gc", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise StudyError(
                f"MLflow could not remove the runs of the study {self._name} "
                f"({said[-1] if said else 'it did not say why'}). Run the same command again."
            )

    def _logged_models(self, experiment_id: str, runs: set[str]) -> list[Any]:
        """Return the logged models of these runs."""
        found, token = [], None
        while True:
            page = self._client.search_logged_models(
                [experiment_id], max_results=_PAGE, page_token=token
            )
            found += [model for model in page if model.source_run_id in runs]
            token = page.token
            if not token:
                return found

    def _forget_outputs(self, models: Sequence[str]) -> None:
        """Let no run name these models as what came of it: MLflow itself cannot take that back."""
        if not models:
            return
        database = sqlite3.connect(self.store.root / DATABASE, timeout=30)
        with closing(database), database:
            database.executemany(
                "DELETE FROM inputs WHERE destination_type = 'MODEL_OUTPUT' AND destination_id = ?",
                [(model,) for model in models],
            )

    def _leave_out(self, names: Sequence[str]) -> None:
        """Let gc, which removes whatever an address names, find nothing at those of these."""
        database = sqlite3.connect(self.store.root / DATABASE, timeout=30)
        with closing(database), database:
            for name in names:
                address = f"{artifact_address(self.store.root, self._name)}/{name}/artifacts"
                database.execute(
                    "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (address, name)
                )
                database.execute(
                    "UPDATE logged_models SET artifact_location = ? WHERE model_id = ?",
                    (address, name),
                )

    def _remove_empty_folders(self) -> None:
        whole = artifact_folder(self.store.root, self._name)
        for folder in sorted((whole, *whole.rglob("*/")), reverse=True):
            with suppress(OSError):  # it is not empty, or not there
                folder.rmdir()

    def _remove_empty_model(self) -> None:
        """Remove the registered model if no version of it is left."""
        if self._client.search_model_versions(f"name = '{self._name}'"):
            return
        if self._client.search_registered_models(f"name = '{self._name}'"):
            self._client.delete_registered_model(self._name)

    def own_folder(self, address: str | None, names: Collection[str]) -> Path | None:
        """Return the folder of artifacts at an address, if it is in this store and of `names`.

        An address is what somebody wrote into a database: that of a run or a model of another name,
        or of the store as a whole, is none of this study. `names` are ids of runs and models;
        MLflow calls the folders by them.
        """
        parts = urlsplit(address or "")
        place = Path(os.path.realpath(unquote(parts.path)))
        roots = folders_of(self.store.place) if parts.scheme == "file" else ()
        is_here = any(is_inside(place, root / ARTIFACTS) for root in roots)
        return place if is_here and set(names) & set(place.parent.parts) else None
