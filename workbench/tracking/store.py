"""The store: its address, opening it, its experiments, and searching its runs.

The other rooms import this module before they import MLflow, which reads the settings below then.
"""

import logging
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

# Read by MLflow when it is imported, here and in the processes started from here. A person's own
# setting is kept.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # creating a store logs its migrations
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # queues nobody here uses
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow warns where git is not installed

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from workbench.errors import StudyError
from workbench.files import finished, require_writable

# What it logs there, with a traceback of its own, it raises as well.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"
_RUNS_PER_PAGE = 1000


class Store:
    """The tracking store in folder `root`; opening creates it, which takes some seconds once.

    Raises:
        StudyError: the folder cannot hold a store, or holds one that cannot be used.
        AccessError: this user may not write to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        # SQLite and MLflow have errors of their own for that, each another one.
        for place in (self.root, self.root / DATABASE, self.root / ARTIFACTS):
            require_writable(place)
        self.uri = store_uri(self.root)
        self.client = _open_client(self.root / DATABASE)

    def open_experiment(self, name: str) -> str:
        """Return the id of experiment `name`; created if there is none, restored if deleted.

        Raises:
            StudyError: the experiment keeps its artifacts outside this store.
        """
        artifacts = (self.root / ARTIFACTS / _folder(name)).as_uri()
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            return self.client.create_experiment(name, artifact_location=artifacts)
        if experiment.artifact_location != artifacts:
            raise StudyError(
                f"The record of study {name!r} keeps its artifacts in "
                f"{experiment.artifact_location}, but the store is now in {self.root}. "
                "Move it back, or give the study another name."
            )
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def experiment_of(self, run_id: str) -> str:
        """Return the id of the experiment that a run is in."""
        return self.client.get_run(run_id).info.experiment_id

    def find_runs(self, experiment_id: str, where: str, *, with_deleted: bool = False) -> list[Run]:
        """Return all matching runs, oldest first, read page by page."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [experiment_id],
                where,
                run_view_type=ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY,
                max_results=_RUNS_PER_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs


def store_uri(root: Path) -> str:
    """Return the address of the store in folder `root`, as MLflow's own tools take it.

    Raises:
        StudyError: the folder's name has a character that means something else in an address.
    """
    return _address(root.resolve() / DATABASE)


def _open_client(database: Path) -> MlflowClient:
    address = _address(database)
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            # Made beside its name, then renamed: MLflow cannot open a store whose making was
            # interrupted, and making one takes long enough for an impatient Ctrl-C.
            with finished(database) as part:
                MlflowClient(tracking_uri=_address(part))
        # MLflow would try again for 100 s, with a warning each time, before it said what is wrong.
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
        return MlflowClient(tracking_uri=address, registry_uri=address)
    except (OSError, sqlite3.DatabaseError) as error:
        raise StudyError(
            f"The tracking store {database} cannot be opened: {error}. Check that the folder can "
            "be written and that no other program holds the file, or name another folder."
        ) from error
    except MlflowException as error:
        # A store made by another version of MLflow; the message names the command that helps.
        raise StudyError(
            f"The tracking store {database} cannot be opened: {error.message}"
        ) from error


def _address(database: Path) -> str:
    if "?" in str(database) or "%" in str(database):
        raise StudyError(
            f"The tracking store cannot be in {database.parent}: SQLite addresses give '?' and '%' "
            "another meaning. Use a folder without them."
        )
    return f"sqlite:///{database.as_posix()}"


def _folder(name: str) -> str:
    return re.sub(r"[^\w\-.]", "_", name)
