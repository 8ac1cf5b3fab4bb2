"""An MLflow server as the store: it may be away for a while, and keeps artifacts where it likes.

User and password are never seen here: MLflow takes them from the environment.
"""

import os
import re
import uuid
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from workbench.addresses import ServerAddress, TrackingPlace
from workbench.errors import StoreError
from workbench.patience import Patience, causes
from workbench.tracking.store import RunStore, Store, why_refused

# isort: split
# After the store, which sets what MLflow reads when it is imported.
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

T = TypeVar("T")

_AWAY = (408, 429, 500, 502, 503, 504)
"""HTTP answers of a server that will be well again; 503 where its own database is away."""

_TOKEN = "workbench.token"
"""A tag by which a run is found again that was made while the answer was lost."""


def open_store(place: TrackingPlace) -> RunStore:
    """Return the store at `place`; one in a folder is created if there is none.

    Raises:
        StudyError: the folder cannot hold a store, or holds one that cannot be used.
        StoreError: the server does not answer, or refuses to.
    """
    return Store(place) if isinstance(place, Path) else _open_server(place)


@cache
def _open_server(place: ServerAddress) -> "ServerStore":
    # One a process: after a search that gave up waiting, nothing else waits for the same server.
    return ServerStore(place)


class ServerStore(RunStore):
    """The store of an MLflow server.

    Raises:
        StoreError: it does not answer, or refuses to.
    """

    def __init__(self, place: ServerAddress) -> None:
        self.place, self.uri = place, place.url
        # MLflow would try again for minutes without a word; `Patience` says so.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        plain = MlflowClient(tracking_uri=place.url, registry_uri=place.url)
        try:
            plain.search_experiments(max_results=1)
        except MlflowException as error:
            raise _unusable(place, error) from error
        self.client = cast(MlflowClient, _PatientClient(plain, place))

    def close(self) -> None:
        """Do nothing: a server has no lock."""

    def is_there(self) -> bool:
        """Say that it is: one that is away is waited for."""
        return True

    def open_experiment(self, name: str) -> str:
        """Return the id of experiment `name`; created if there is none, restored if deleted.

        Raises:
            StoreError: the server keeps its artifacts in a folder that is not on this machine.
        """
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            experiment = self.client.get_experiment(self.client.create_experiment(name))
        elif experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        self._require_reachable(experiment.artifact_location)
        return experiment.experiment_id

    def _require_reachable(self, location: str) -> None:
        """Refuse a folder of the server's own: MLflow would write to that of this machine."""
        parts = urlsplit(location)
        if parts.scheme not in ("", "file"):
            return
        folder = Path(unquote(parts.path))
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if there in (folder, folder.parent) and os.access(there, os.W_OK):
            return
        raise StoreError(
            f"The MLflow server at {self.place} keeps artifacts in {folder}, a folder that this "
            "machine cannot write. Start it with `--artifacts-destination`, so that it takes them "
            "itself, and give the study another name by --study."
        )


def _unusable(place: ServerAddress, error: MlflowException) -> StoreError:
    if why := why_away(error):
        return StoreError(
            f"The MLflow server at {place} does not answer ({why}). See that it runs and that the "
            "address is right."
        )
    if any(_status(cause) in (401, 403) for cause in causes(error)) or (
        error.error_code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
        or re.search(r"error code 40[13]\b", str(error))
    ):
        return StoreError(
            f"The MLflow server at {place} refuses the user or the password. Set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in "
            "the environment."
        )
    return StoreError(
        f"{place} does not answer as an MLflow server of version 3 does: {why_refused(error)}. "
        "Name another address by `tracking`."
    )


def why_away(error: BaseException) -> str:
    """Return in a few words why a server did not answer; empty for any other error."""
    for cause in causes(error):
        if isinstance(cause, requests.exceptions.RetryError):
            found = re.search(r"too many (\d{3}) error", str(cause))
            if found and int(found[1]) in _AWAY:
                return f"it answers {found[1]}"
        if _status(cause) in _AWAY:
            return f"it answers {_status(cause)}"
        if isinstance(cause, requests.exceptions.Timeout):
            return "no answer in time"
        lost = requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError
        if isinstance(cause, lost):
            refused = "refused" in str(cause).lower()
            return "connection refused" if refused else "the connection is lost"
        if isinstance(cause, MlflowException) and cause.error_code == "TEMPORARILY_UNAVAILABLE":
            return "its database does not answer"
    return ""


def _status(error: BaseException) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


class _PatientClient:
    """An `MlflowClient` each of whose calls waits for its server, and makes nothing twice.

    What is written below is what a second call would make again; of all other calls the second
    changes nothing that the first did.
    """

    def __init__(self, client: MlflowClient, place: ServerAddress) -> None:
        self._client = client
        self._patience = Patience(f"The MLflow server at {place}", why_away)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        @wraps(method)
        def call(*args: Any, **named: Any) -> Any:
            return self._patience.keep_trying(lambda: method(*args, **named))

        return call

    def create_run(self, experiment_id: str, *, tags: Mapping[str, str], **named: Any) -> Any:
        """Make a run, which is found by its token where the answer was lost."""
        token = uuid.uuid4().hex
        whole = {**tags, _TOKEN: token}
        return self._patience.keep_trying(
            lambda: self._client.create_run(experiment_id, tags=whole, **named),
            lambda: _first(
                self._client.search_runs([experiment_id], f"tags.`{_TOKEN}` = '{token}'")
            ),
        )

    def create_logged_model(
        self, experiment_id: str, *, tags: Mapping[str, str] | None = None, **named: Any
    ) -> Any:
        """Make a logged model, which is found by its token where the answer was lost."""
        token = uuid.uuid4().hex
        whole = {**(tags or {}), _TOKEN: token}
        return self._patience.keep_trying(
            lambda: self._client.create_logged_model(experiment_id, tags=whole, **named),
            lambda: _first(
                self._client.search_logged_models(
                    [experiment_id], filter_string=f"tags.`{_TOKEN}` = '{token}'"
                )
            ),
        )

    def create_model_version(self, name: str, source: str, *args: Any, **named: Any) -> Any:
        """Register a version, unless there is one of the same files."""
        return self._patience.keep_trying(
            lambda: self._client.create_model_version(name, source, *args, **named),
            lambda: _first(
                version
                for version in self._client.search_model_versions(f"name = '{name}'")
                if version.source == source
            ),
        )

    def create_experiment(self, name: str) -> Any:
        """Make an experiment, or return the id of the one that another has made just now."""
        return self._patience.keep_trying(
            lambda: _unless_there(
                lambda: self._client.create_experiment(name),
                lambda: cast(Any, self._client.get_experiment_by_name(name)).experiment_id,
            )
        )

    def create_registered_model(self, name: str) -> Any:
        """Make a registered model, or return the one that another has made just now."""
        return self._patience.keep_trying(
            lambda: _unless_there(
                lambda: self._client.create_registered_model(name),
                lambda: self._client.get_registered_model(name),
            )
        )


def _first(found: Any) -> Any:
    return next(iter(found), None)


def _unless_there(make: Callable[[], T], find: Callable[[], T]) -> T:
    try:
        return make()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return find()
