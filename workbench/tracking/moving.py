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
"""The copy of the database as it was; later ones have a number behind it."""

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and their columns that hold addresses of artifacts."""


def artifact_address(root: Path, experiment: str) -> str:
    """Return where the store in `root` keeps the artifacts of a new experiment."""
    return f"{root.as_uri()}/{ARTIFACTS}/{_folder(experiment)}"


def lies_in(root: Path, address: str, experiment: str) -> bool:
    """Return whether `address` is one of this store, also by another name (a mount)."""
    base = _base(address, experiment, root)
    return base is not None and not _is_elsewhere(base, root)


def _folder(experiment: str) -> str:
    return re.sub(r"[^\w\-.]", "_", experiment)


def _base(address: str, experiment: str, root: Path) -> str | None:
    """Return the address of the store's folder, if this program made that of the experiment.

    It ends in the name of the experiment, or, where that was renamed since, in that of a folder of
    artifacts which lies in the store.
    """
    base, _, folder = address.rpartition(f"/{ARTIFACTS}/")
    if not base.startswith("file:") or not folder or "/" in folder:
        return None
    is_ours = folder == _folder(experiment) or (root / ARTIFACTS / unquote(folder)).is_dir()
    return base if is_ours else None


def _is_elsewhere(base: str, root: Path) -> bool:
    if base == root.as_uri():
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
    bases = [_base(address, name, root) for name, address in rows if address]
    return list(dict.fromkeys(base for base in bases if base and _is_elsewhere(base, root)))


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
        with closing(sqlite3.connect(_new_file(root))) as backup:
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


def _new_file(root: Path) -> Path:
    """Make an empty file for the copy, under a name that nothing has, no link either."""
    number, file = 1, root / BACKUP
    while True:
        try:
            file.open("xb").close()
            return file
        except FileExistsError:
            number += 1
            file = root / f"{BACKUP}-{number}"
