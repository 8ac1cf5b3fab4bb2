"""Where the alias `champion` leads in a store in a folder; read without MLflow, which is slow."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

_QUERY = """\
SELECT alias.version, tag.key, tag.value FROM registered_model_aliases AS alias
LEFT JOIN model_version_tags AS tag ON tag.name = alias.name AND tag.version = alias.version
WHERE alias.name = ? AND alias.alias = 'champion'"""


class Aliased(NamedTuple):
    """The version that the alias leads to."""

    version: str
    uid: str | None
    """Of the recipe, the pack or the soup; None where nothing tells."""

    weights_sha256: str | None


def champion_alias(root: Path, name: str) -> Aliased | None:
    """Return the version of model `name` that has the alias, in the store in the folder `root`.

    Nothing where there is none, or the database cannot be read now: it is not waited for.
    """
    address = f"{(root / 'mlflow.db').absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0.5)) as database:
            rows = database.execute(_QUERY, (name,)).fetchall()
    except sqlite3.Error:
        return None
    if not rows:
        return None
    tags = {key: value for _, key, value in rows}
    return Aliased(str(rows[0][0]), tags.get("workbench.uid"), tags.get("workbench.weights_sha256"))
