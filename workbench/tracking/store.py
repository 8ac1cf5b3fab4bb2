"""The store in a folder: its address, opening it, its experiments, and searching its runs.

The other rooms import this module before they import MLflow, which reads the settings below then.
"""

import fcntl
import logging
import os
import random
import sqlite3
import time
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

# Read by MLflow when it is imported, here and in the processes started from here. A person's own
# setting is kept.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # creating a store logs its migrations
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # queues nobody here uses
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow warns where git is not installed

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from workbench.access import open_lock, require_writable, take_lock
from workbench.addresses import TrackingPlace, folders_of
from workbench.console import say
from workbench.errors import StudyError
from workbench.files import PART, finished, remove_left
from workbench.tracking.moving import (
    ARTIFACTS,
    addresses_elsewhere,
    artifact_address,
    lies_in,
    move_addresses,
)

# What it logs there, with a traceback of its own, it raises as well.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

WriteError = MlflowException
"""What a write that the store does not take raises; see `why_refused`."""

DATABASE = "mlflow.db"
LOCK = "lock"
_PATIENCE_S = 60.0
"""For another command that makes the store."""

_RUNS_PER_PAGE = 1000


class RunStore(ABC):
    """What keeps experiments, runs and registered models; there are two, which open themselves."""

    place: TrackingPlace
    uri: str
    """As MLflow's own tools take it."""

    client: MlflowClient

    @property
    def root(self) -> Path:
        """Its folder; raises ValueError of a server."""
        (root,) = folders_of(self.place)
        return root

    @abstractmethod
    def close(self) -> None:
        """Let others make it anew or move it; nothing may be written through it after."""

    @abstractmethod
    def is_there(self) -> bool:
        """Say whether it is still the one that was opened, not removed or replaced."""

    @abstractmethod
    def open_experiment(self, name: str) -> str:
        """Return the id of experiment `name`; created if there is none, restored if deleted."""

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


class Store(RunStore):
    """The tracking store in folder `root`; opening creates it, which takes some seconds once.

    A store that was moved or copied to `root` is made to keep its artifacts there.

    Raises:
        StudyError: the folder cannot hold a store, or holds one that cannot be used.
        AccessError: this user may not write to it.
        LockError: the folder cannot be locked.
    """

    def __init__(self, root: Path) -> None:
        self.place = root.resolve()
        # SQLite and MLflow have errors of their own for that, each another one.
        for place in (self.root, self.root / DATABASE, self.root / ARTIFACTS):
            require_writable(place)
        self.uri = store_uri(self.root)
        self._database = self.root / DATABASE
        self._lock = _prepare(self._database)
        self._identity = _identity(self._database)
        self.client = _open_client(self._database)

    def close(self) -> None:
        """Let others make the store anew or move it; nothing may be written through it after."""
        self._lock.close()

    def is_there(self) -> bool:
        """Say whether the database is still the one that was opened, not removed or replaced."""
        lock = os.fstat(self._lock.fileno())
        same_lock = _identity(self.root / LOCK) == (lock.st_dev, lock.st_ino)
        return same_lock and _identity(self._database) == self._identity

    def open_experiment(self, name: str) -> str:
        """Return the id of experiment `name`; created if there is none, restored if deleted.

        Raises:
            StudyError: the experiment keeps its artifacts outside this store.
        """
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            address = artifact_address(self.root, name)
            return self.client.create_experiment(name, artifact_location=address)
        if not lies_in(self.root, experiment.artifact_location, name):
            raise StudyError(
                f"The record of study {name!r} keeps its artifacts in "
                f"{experiment.artifact_location}, but the store is now in {self.root}. "
                "Move it back, or give the study another name."
            )
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id


def store_uri(root: Path) -> str:
    """Return the address of the store in folder `root`, as MLflow's own tools take it.

    Raises:
        StudyError: the folder's name has a character that means something else in an address.
    """
    return _address(root.resolve() / DATABASE)


def why_refused(error: WriteError) -> str:
    """Return why the store did not take what was written, in the words of the database."""
    cause: BaseException = error
    while inner := cause.__cause__ or getattr(cause, "orig", None):
        cause = inner
    return " ".join(str(cause).split()).rstrip(".")


def _prepare(database: Path) -> IO[str]:
    """Make the store if there is none, and its addresses right; return the lock that says: in use.

    Everybody who uses a store shares its lock; who makes or moves it holds it alone.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = open_lock(database.parent / LOCK)
    except OSError as error:
        raise _unusable(database, error) from error
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while True:
            take_lock(lock, fcntl.LOCK_SH)
            if not (todo := _what_is_missing(database)):
                return lock
            with suppress(BlockingIOError):
                take_lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (todo := _what_is_missing(database)) == "making":
                    _make(database)
                elif todo:
                    former = ", ".join(move_addresses(database))
                    say(f"The tracking store was moved from {former}: it keeps to its new place.")
                continue
            if time.monotonic() > deadline:
                raise StudyError(
                    f"The tracking store in {database.parent} needs {todo}, and another command "
                    "uses it. Wait for its end, or end it."
                )
            # Two that share the lock and want it alone would wait for each other.
            take_lock(lock, fcntl.LOCK_UN)
            time.sleep(random.uniform(0.05, 0.2))
    except (OSError, sqlite3.DatabaseError) as error:
        lock.close()
        raise _unusable(database, error) from error
    except BaseException:
        lock.close()
        raise


def _what_is_missing(database: Path) -> str:
    """Return what has to be done to a store before it can be used; empty if nothing."""
    if not database.exists() or not database.stat().st_size:
        return "making"
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "experiments" not in tables:
            return "making" if not tables else ""  # another program's; MLflow says so
        return "moving" if addresses_elsewhere(connection, database.parent) else ""


def _make(database: Path) -> None:
    # What a making left that was killed; this one has the store alone.
    remove_left(database.parent.glob(f"{PART}*{database.suffix}*"))
    # Made beside its name, then renamed: MLflow cannot open a store whose making was
    # interrupted, and making one takes long enough for an impatient Ctrl-C.
    with finished(database) as part:
        # MLflow begins with an empty experiment that nothing here uses.
        MlflowClient(tracking_uri=_address(part)).delete_experiment("0")


def _open_client(database: Path) -> MlflowClient:
    address = _fresh_address(database)
    try:
        # MLflow would try again for 100 s, with a warning each time, before it said what is wrong.
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(str(found))
        return MlflowClient(tracking_uri=address, registry_uri=address)
    except (OSError, sqlite3.DatabaseError) as error:
        raise _unusable(database, error) from error
    except MlflowException as error:
        # A store made by another version of MLflow; the message names the command that helps.
        raise StudyError(
            f"The tracking store {database} cannot be opened: {error.message}"
        ) from error


def _unusable(database: Path, error: Exception) -> StudyError:
    why = " ".join(str(error).split())
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return StudyError(
            f"The tracking store {database} cannot be opened: {why}. Move the file away: the "
            "next `workbench search` or `promote` of a study writes its runs anew."
        )
    return StudyError(
        f"The tracking store {database} cannot be opened: {why}. Check that the folder can "
        "be written and that no other program holds the file, or use another folder."
    )


_opened: dict[Path, list[tuple[int, int] | None]] = {}
"""The databases that this process opened at a path, one after another."""


def _fresh_address(database: Path) -> str:
    """Return the address of a database, another one for each that was at the same path.

    MLflow keeps its connections for as long as the process lives, by address, and would go on to
    write into the removed file.
    """
    there, address = _identity(database), _address(database)
    before = _opened.setdefault(database, [])
    if there not in before:
        before.append(there)
    again = "./" * before.index(there)
    return f"{address.removesuffix(database.name)}{again}{database.name}"


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _address(database: Path) -> str:
    if "?" in str(database) or "%" in str(database):
        raise StudyError(
            f"The tracking store cannot be in {database.parent}: SQLite addresses give '?' and '%' "
            "another meaning. Use a folder without them."
        )
    return f"sqlite:///{database.as_posix()}"
