"""A store that was moved or copied: MLflow keeps absolute addresses of artifacts in its database.

Used as they are, the copy of a project would write into the original.
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "artifacts"
BACKUP = "mlflow.db.before-move"

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and their columns that hold addresses of artifacts."""


def artifact_address(root: Path, experiment: str) -> str:
    """Return where the store in `root` keeps the artifacts of an experiment."""
    return f"{root.as_uri()}{_tail(experiment)}"


def lies_in(root: Path, address: str, experiment: str) -> bool:
    """Say whether `address` is that of `artifact_address`, also by another name (a mount)."""
    return _base(address, experiment) is not None and not _is_elsewhere(address, experiment, root)


def _tail(experiment: str) -> str:
    folder = re.sub(r"[^\w\-.]", "_", experiment)
    return f"/{ARTIFACTS}/{folder}"


def _base(address: str, experiment: str) -> str | None:
    """Return the store's folder, if `address` is what this program gives an experiment."""
    is_ours = address.startswith("file:") and address.endswith(_tail(experiment))
    return address.removesuffix(_tail(experiment)) if is_ours else None


def _is_elsewhere(address: str, experiment: str, root: Path) -> bool:
    base = _base(address, experiment)
    if base is None or base == root.as_uri():
        return False
    try:
        return not Path(unquote(urlsplit(base).path)).samefile(root)
    except OSError:  # nothing is there
        return True


def addresses_elsewhere(connection: sqlite3.Connection, root: Path) -> list[str]:
    """Return the addresses, other than that of `root`, at which the store once was.

    Of experiments that this program made: another's may keep its artifacts where it likes.
    """
    rows = connection.execute("SELECT name, artifact_location FROM experiments")
    found = [
        str(_base(address, name))
        for name, address in rows
        if address and _is_elsewhere(address, name, root)
    ]
    return list(dict.fromkeys(found))


def move_addresses(database: Path) -> list[str]:
    """Rewrite the addresses of a store that lies elsewhere than it did; return the former ones.

    In one transaction, after a copy of the database was put beside it. The former place is neither
    written to nor read. The caller keeps others from using the store meanwhile.

    Raises:
        sqlite3.DatabaseError: the database is damaged or in use.
    """
    root = database.parent
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        former = addresses_elsewhere(connection, root)
        if not former:
            return []
        with closing(sqlite3.connect(root / BACKUP)) as backup:
            connection.backup(backup)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for base in former:
                for table, column in _ADDRESSES:
                    old = f"{base}/{ARTIFACTS}/"
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE substr({column}, 1, ?) = ?",
                        (f"{root.as_uri()}/{ARTIFACTS}/", len(old) + 1, len(old), old),
                    )
        return former
