"""MLflow's user interface: the command that serves a store, and the page of a study in it."""

import base64
import errno
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from workbench.addresses import TrackingPlace, folders_of
from workbench.errors import StudyError
from workbench.tracking.moving import ARTIFACTS
from workbench.tracking.store import DATABASE, store_uri
from workbench.tracking.writing import allowed

KIND = ("mlflow.experimentKind", "custom_model_development")
"""The experiment's tag without which MLflow shows pages of conversations with language models."""

_LEADERBOARD = "trials"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")
_NOISE = "ignore:starlette.middleware.wsgi is deprecated"
"""A warning that MLflow's server gives at each start, of which nobody here can do anything."""


def require_store(place: TrackingPlace) -> None:
    """Raise StudyError unless there is a store at `place`; it is not opened."""
    for root in folders_of(place):
        if not (root / DATABASE).is_file():
            raise StudyError(f"{root} holds no tracking store yet. Run `workbench search` first.")


def ui_command(root: Path, *, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """Return the command that serves the store in `root` as a web page until it is ended.

    Raises:
        StudyError: there is no store in `root`.
    """
    require_store(root)
    server = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    where = ["--host", host, "--port", str(port)]
    if "MLFLOW_SERVER_ALLOWED_HOSTS" not in os.environ:  # a person's own setting is kept
        names = [f"[{name}]" if ":" in name else name for name in _names(host)]
        where += ["--allowed-hosts", ",".join(f"{name}:{port}" for name in names)]
    artifacts = (root.resolve() / ARTIFACTS).as_uri()
    store = ["--backend-store-uri", store_uri(root), "--artifacts-destination", artifacts]
    return [*server, *where, *store]


def free_port(host: str, port: int) -> int:
    """Return the first port from `port` on at which nothing listens yet.

    Raises:
        StudyError: the address cannot be listened on, or no port is free.
    """
    for candidate in range(port, min(port + 100, 2**16)):
        try:
            family, *_, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as listener:
                # As the server does: the port of one that ended just now is free.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise StudyError(
                f"{host} port {candidate} cannot be listened on: {error.strerror}. Name another "
                "by --host and --port."
            ) from error
        return candidate
    raise StudyError(f"All ports from {port} on are used. Name another one by --port.")


def is_private(host: str) -> bool:
    """Say whether only this machine reaches what listens on `host`."""
    return all(ipaddress.ip_address(address).is_loopback for address in _addresses(host))


def shown_host(host: str) -> str:
    """Return what to put into an address for a browser: of all addresses, this machine's name."""
    name = socket.gethostname() if host in _EVERYWHERE else host
    return f"[{name}]" if ":" in name else name


def serve(command: Sequence[str], root: Path) -> int:
    """Run a server until it ends, or Ctrl-C, SIGTERM or SIGHUP ends it; return an exit code.

    The server and its workers are a group of processes of their own, and all of it is ended. They
    run in the store's folder `root`: MLflow looks for modules in the folder that it runs in first.
    """

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        own = os.environ.get("PYTHONWARNINGS")  # of two filters the later one counts
        filters = {"PYTHONWARNINGS": f"{_NOISE},{own}" if own else _NOISE}
        with subprocess.Popen(
            command, cwd=root, start_new_session=True, env={**os.environ, **filters}
        ) as server:
            try:
                return server.wait()
            except KeyboardInterrupt:
                return 0  # as it was told to end
            finally:
                _end_group(server)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=10)


def _names(host: str) -> list[str]:
    """Return what a browser may call the server by; any other name is somebody's trick.

    A page of another site can have its own name point here and read the answers, unless the server
    looks at the name that it was asked by.
    """
    if host in _EVERYWHERE:
        own = socket.gethostname()
        return list(dict.fromkeys([*_LOOPBACK, own, socket.getfqdn(), *_addresses(own)]))
    return [*_LOOPBACK] if is_private(host) else [host, *_addresses(host)]


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        if host == socket.gethostname():
            return []  # a machine need not know itself by name
        raise StudyError(f"{host} is no address of this machine. Name one by --host.") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


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
        ],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()
    return f"mlflow.sharedViewState.{_LEADERBOARD}", f"deflate;{packed}"


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
