"""MLflow's user interface: the command that serves a store, and the page of a study in it."""

import base64
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import StudyError
from workbench.tracking.moving import ARTIFACTS
from workbench.tracking.store import DATABASE, store_uri
from workbench.tracking.writing import allowed

_LEADERBOARD = "trials"


def ui_command(root: Path, *, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """Return the command that serves the store in `root` as a web page until it is ended.

    Raises:
        StudyError: there is no store in `root`.
    """
    if not (root / DATABASE).is_file():
        raise StudyError(f"{root} holds no tracking store yet. Run `workbench search` first.")
    server = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    where = ["--host", host, "--port", str(port)]
    artifacts = (root.resolve() / ARTIFACTS).as_uri()
    store = ["--backend-store-uri", store_uri(root), "--artifacts-destination", artifacts]
    return [*server, *where, *store]


def page_of(experiment_id: str) -> str:
    """Return the page of an experiment's leaderboard, without the address of the server."""
    view = f"workflowType=machine_learning&viewStateShareKey={_LEADERBOARD}"
    return f"/#/experiments/{experiment_id}/runs?{view}"


def leaderboard_tag(
    metrics: Sequence[str], params: Sequence[str], *, greatest: bool
) -> tuple[str, str]:
    """Return the experiment's tag (name, value) that its leaderboard is read from.

    It is what the button "share view" writes: the trials in order of the first metric.
    """
    columns = [_column("metrics", allowed(name)) for name in metrics]
    view = {
        "searchFilter": "tags.`workbench.kind` = 'trial'",
        "orderByKey": columns[0],
        "orderByAsc": not greatest,
        "selectedColumns": [
            _column("tags", "workbench.state"),
            *columns,
            *(_column("params", allowed(name)) for name in params),
            _column("attributes", "Description"),
        ],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()
    return f"mlflow.sharedViewState.{_LEADERBOARD}", f"deflate;{packed}"


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
