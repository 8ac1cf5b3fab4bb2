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


def artifact_folder(experiment: str) -> str:
    """Return the name of the folder that holds the artifacts of an experiment."""
    return re.sub(r"[^\w\-.]", "_", experiment)


def is_same_folder(address: str, folder: Path) -> bool:
    """Say whether a file address is `folder`, also where that has a second name (a mount)."""
    if address == folder.as_uri():
        return True
    try:
        return Path(unquote(urlsplit(address).path)).samefile(folder)
    except OSError:  # nothing is there
        return False


def addresses_elsewhere(connection: sqlite3.Connection, root: Path) -> list[str]:
    """Return the addresses, other than that of `root`, at which the store once was.

    Of experiments that this program made: another's may keep its artifacts where it likes.
    """
    found = []
    for name, address in connection.execute("SELECT name, artifact_location FROM experiments"):
        tail = f"/{ARTIFACTS}/{artifact_folder(name)}"
        if str(address).startswith("file:") and str(address).endswith(tail):
            base = str(address).removesuffix(tail)
            if not is_same_folder(base, root):
                found.append(base)
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
