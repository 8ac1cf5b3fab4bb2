"""Where Optuna keeps the trials of a study: in its own journal file, or in a PostgreSQL database.

User and password of the database are never seen here: libpq takes them from its environment.
"""

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from workbench.errors import StoreError, StudyError
from workbench.patience import causes
from workbench.study.folder import StudyFolder

# What it logs there, with the whole of its SQL, it raises or repeats as well.
logging.getLogger("optuna.storages").setLevel(logging.ERROR)

_CONNECTION: dict[str, Any] = {
    # So that a machine that is gone without a word is noticed within a minute.
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "workbench",
}
_TABLES_KEY = 0x776F726B
"""Of the lock that one process holds while it makes Optuna's tables."""

_AWAY = (
    ("connection refused", "connection refused"),
    ("starting up", "it is starting"),
    ("shutting down", "it is shutting down"),
    ("recovery", "it recovers"),
    ("too many", "it has too many connections"),
    ("timeout", "no answer in time"),
    ("no space left", "its disk is full"),
    ("authentication failed", "it refuses the user or the password"),
)
"""Pieces of PostgreSQL's messages, and what is told of them: the whole names the user."""


class _NoLock(JournalFileOpenLock):
    """The journal has one writer, which holds the study's lock; see `StudyFolder.held`."""

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


class HeldElsewhereError(Exception):
    """Another process holds a study in its database."""


def address_of(folder: StudyFolder) -> str | None:
    """Return the address of the database that keeps a study's trials; None of a journal."""
    # Without that file nothing names another place.
    return folder.experiment().storage if folder.experiment_file.exists() else None


def open_storage(folder: StudyFolder) -> BaseStorage:
    """Return what keeps the trials of a study, without waiting where it does not answer.

    Raises:
        StoreError: the database does not answer, or refuses to.
    """
    address = address_of(folder)
    return open_journal(folder) if address is None else open_database(address)


def open_journal(folder: StudyFolder) -> BaseStorage:
    """Return the journal file of a study as a storage."""
    return optuna.storages.JournalStorage(journal_file(folder))


def journal_file(folder: StudyFolder) -> JournalFileBackend:
    """Return the journal file of a study, which needs no lock: its folder has one."""
    return JournalFileBackend(str(folder.journal), lock_obj=_NoLock(str(folder.journal)))


def name_in_storage(folder: StudyFolder) -> str:
    """Return what a study is called there: many studies of one name may share a database."""
    if address_of(folder) is None:
        return folder.name
    return f"{folder.name} {folder.info().id}"


def find_trials(folder: StudyFolder) -> optuna.Study | None:
    """Return the study as its storage has it, to read it; None where that does not know it.

    Raises:
        StoreError: the database does not answer, or refuses to.
    """
    storage = open_storage(folder)
    try:
        return optuna.load_study(study_name=name_in_storage(folder), storage=storage)
    except KeyError:
        return None
    except Exception as error:
        if why := why_away(error):
            raise StoreError(f"{database(str(address_of(folder)))} does not answer: {why}.") from (
                error
            )
        raise


def copy_study(source: optuna.Study, storage: BaseStorage, name: str) -> optuna.Study:
    """Return a new study called `name` in `storage` that has all of `source`, numbers too."""
    study = optuna.create_study(study_name=name, storage=storage, direction=source.direction)
    for key, value in source.user_attrs.items():
        study.set_user_attr(key, value)
    for trial in source.get_trials(deepcopy=False):
        study.add_trial(trial)
    return study


def remove_trials(folder: StudyFolder) -> None:
    """Remove a study from its database, where it is in one; its journal goes with its folder.

    Raises:
        StudyError: another process holds it there.
        StoreError: the database does not answer, or refuses to.
    """
    address = address_of(folder)
    if address is None or find_trials(folder) is None:
        return
    take_study(folder, open_database(address))
    try:
        optuna.delete_study(study_name=name_in_storage(folder), storage=open_database(address))
    finally:
        leave_study(folder)


def database(address: str) -> str:
    """Return what a database is called in sentences."""
    return f"The database {address}"


@cache
def open_database(address: str) -> RDBStorage:
    """Return Optuna's storage in the database at `address`; its tables are made if need be.

    Raises:
        StoreError: the database does not answer, or refuses to.
    """
    import sqlalchemy  # half a second, and only here

    url = "postgresql+psycopg" + address.removeprefix("postgresql")
    # A connection that was lost since it was last used is noticed, and another takes its place.
    how = {"pool_pre_ping": True, "connect_args": _CONNECTION}
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **how)
        with engine.connect() as connection:
            # Two that make the tables at once would each meet half of them.
            lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _TABLES_KEY})
            return RDBStorage(url, engine_kwargs=how)
    except ImportError as error:
        raise StoreError(
            "`storage` in a database needs psycopg: pip install 'workbench[postgres]'."
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _unusable(address, error) from error
    except RuntimeError as error:  # its tables are of another version of Optuna
        raise StoreError(f"{database(address)} cannot be used: {error}") from error


def _unusable(address: str, error: Exception) -> StoreError:
    text = str(getattr(error, "orig", error)).lower()
    if "permission denied" in text:
        what = "does not let this user make tables. Let its owner GRANT CREATE ON SCHEMA public"
    elif "database" in text and "does not exist" in text:
        what = "is not there. Create it by `createdb`"
    elif any(word in text for word in ("authentication", "no password", "role ", "pg_hba")):
        what = "refuses the user or the password. Set PGUSER and PGPASSWORD in the environment"
    else:
        why = why_away(error) or "an error of its own"
        what = f"does not answer ({why}). See that it runs and that the address is right"
    return StoreError(f"{database(address)} {what}.")


def why_away(error: BaseException) -> str:
    """Return in a few words why a database did not answer; empty for any other error."""
    import sqlalchemy.exc

    for cause in causes(error):
        if isinstance(cause, HeldElsewhereError):
            return str(cause)
        lost = getattr(cause, "connection_invalidated", False)
        gone = sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
        if lost or isinstance(cause, gone):
            text = str(getattr(cause, "orig", cause)).lower()
            return next((told for piece, told in _AWAY if piece in text), "the connection is lost")
    return ""


class DatabaseLock:
    """The right to write a study, by its name in a database, which one process has at a time.

    PostgreSQL frees it when its holder's connection ends, however it ends.
    """

    def __init__(self, storage: RDBStorage, study: str) -> None:
        self._engine = storage.engine
        digest = hashlib.sha256(study.encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._connection: Any = None

    def ensure(self) -> None:
        """Take the lock, or see that it is still held; a connection that was lost is made anew.

        Raises:
            HeldElsewhereError: another process holds it.
        """
        import sqlalchemy

        if self._connection is not None:
            try:
                self._connection.execute(sqlalchemy.text("SELECT 1"))
                return
            except sqlalchemy.exc.SQLAlchemyError:
                self.release()
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection = connection
        lock = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
        if not connection.execute(lock, {"key": self._key}).scalar():
            self.release()
            raise HeldElsewhereError("another search holds the study there")

    def release(self) -> None:
        """Give the lock up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # closed, not handed to the next one with its lock
            connection.close()


_open: dict[str, Callable[[], None]] = {}


def take_study(folder: StudyFolder, storage: RDBStorage) -> DatabaseLock:
    """Return the lock of a study in its database, taken; see `leave_study`.

    Raises:
        StudyError: another process holds it, of another folder or machine.
    """
    leave_study(folder)  # this process holds the folder, so an earlier lock of its own is a rest
    name = name_in_storage(folder)
    lock = DatabaseLock(storage, name)
    try:
        lock.ensure()
    except HeldElsewhereError as error:
        raise StudyError(
            f"The study {folder.name} is held in {address_of(folder)} by another search, from "
            "another copy of this folder. Wait for its end, or give another name by --study."
        ) from error
    except Exception as error:
        if not (why := why_away(error)):
            raise
        raise StoreError(
            f"{database(str(address_of(folder)))} does not answer ({why}). See that it runs; the "
            "same command then goes on."
        ) from error
    _open[str(folder.path)] = lock.release
    return lock


def leave_study(folder: StudyFolder) -> None:
    """Let others write a study in its database, where this process held it."""
    _open.pop(str(folder.path), lambda: None)()
