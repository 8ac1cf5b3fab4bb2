"""One PostgreSQL and one MLflow server for all tests of them: each study has its own name."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.servers import MlflowServer, Postgres, find_postgres, skip_or_fail
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import write_data
from workbench.workspace import Workspace


@pytest.fixture(scope="session")
def _database() -> Iterator[Postgres]:
    if importlib.util.find_spec("psycopg") is None:
        skip_or_fail("psycopg is not installed: pip install -e '.[postgres]'")
    programs = find_postgres()
    if programs is None:
        skip_or_fail("PostgreSQL is not installed: apt-get install postgresql")
        return
    server = Postgres(programs)
    yield server
    server.close()


@pytest.fixture
def postgres(_database: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """Return the database, which runs, with user and password in the environment."""
    for name, value in _database.environment.items():
        monkeypatch.setenv(name, value)
    if not _database.is_running:
        _database.start()
    return _database


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server") / "mlflow")
    yield server
    server.kill()


@pytest.fixture
def mlflow_server(_server: MlflowServer) -> MlflowServer:
    """Return the server, which runs."""
    if not _server.is_running:
        _server.start()
    return _server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a workspace of the test alone."""
    return Bench(Workspace(tmp_path / "project"), write_data(tmp_path / "data"))


@pytest.fixture
def inline(bench: Bench) -> InlineTrials:
    """Return trials that train nothing, in all searches of the bench."""
    trials = InlineTrials()
    bench.make_runner = trials.make_runner
    return trials
