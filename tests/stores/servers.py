"""A PostgreSQL and an MLflow server on loopback, that can be killed and begun again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

REQUIRED = "WORKBENCH_REQUIRE_SERVERS"
"""Set where a test must not be skipped for want of a server, as `.ci/run` does."""

_PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def skip_or_fail(lacking: str) -> None:
    """Skip the test that lacks something, or fail where nothing may be lacking."""
    if REQUIRED in os.environ:
        pytest.fail(f"{lacking}, and {REQUIRED} is set")
    pytest.skip(lacking)


def _until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs: `initdb` is rarely on the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


class Postgres:
    """A PostgreSQL server with a database `optuna` and a user who has a password."""

    USER, PASSWORD = "searcher", "pass-word-of-a-test"

    def __init__(self, programs: Path) -> None:
        # Not below pytest's folder: that is closed to other users, and as root PostgreSQL does not
        # run, so it runs as somebody who owns nothing else.
        self._whole = Path(tempfile.mkdtemp(prefix="workbench-postgres-"))
        self._whole.chmod(0o755)
        self._folder, self._programs = self._whole / "data", programs
        folder = self._folder
        self.port = free_port()
        self.address = f"postgresql://127.0.0.1:{self.port}/optuna"
        self._user = "nobody" if os.geteuid() == 0 else None
        folder.mkdir()
        if self._user:
            shutil.chown(folder, self._user)
        password = self._whole / "password"
        password.write_text(self.PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        how = ["--auth=scram-sha-256", f"--username={self.USER}", f"--pwfile={password}"]
        self._run("initdb", f"--pgdata={folder}", "--no-sync", "--encoding=UTF8", *how)
        self._server: subprocess.Popen[bytes] | None = None
        self.start()
        self._run("createdb", "--host=127.0.0.1", f"--port={self.port}", "optuna")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs / program, *words],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd="/",
            env={**os.environ, **self.environment},
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {"PGUSER": self.USER, "PGPASSWORD": self.PASSWORD}

    @property
    def is_running(self) -> bool:
        """Say whether it was begun and not killed since."""
        return self._server is not None

    def start(self) -> None:
        """Begin the server, again after `kill`."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", self._folder, *where, "-c", "fsync=off"],
            user=self._user,
            cwd="/",
            stderr=subprocess.DEVNULL,
        )
        _until(self._answers, "PostgreSQL did not start")

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, "PostgreSQL ended"
        words = ["--host=127.0.0.1", f"--port={self.port}", "--quiet"]
        ready = subprocess.run([self._programs / "pg_isready", *words], check=False)
        return ready.returncode == 0

    def close(self) -> None:
        """End the server and remove what it kept."""
        self.kill()
        shutil.rmtree(self._whole)

    def kill(self) -> None:
        """End the server at once, whatever it does: its clients lose their connections."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)  # PostgreSQL's word for a crash
            self._server.wait()
            self._server = None


class MlflowServer:
    """`mlflow server` with a database and artifacts in `folder`, which it takes itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def is_running(self) -> bool:
        """Say whether it was begun and not killed since."""
        return self._server is not None

    def start(self) -> None:
        """Begin the server, again after `kill`."""
        words = [
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self._folder}/server.db"),
            *("--artifacts-destination", (self._folder / "artifacts").as_uri()),
        ]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "log.txt").open("ab"),
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
        _until(self._answers, "the MLflow server did not start")

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "log.txt").read_text()
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End the server and its workers at once, whatever they do."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._server = None
