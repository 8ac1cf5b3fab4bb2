"""One tracking store for all tests of it: each study has its test's name."""

import pytest

from tests.tracking.trials import start
from workbench.tracking import writing
from workbench.tracking.runs import Tracking

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
from mlflow import MlflowClient


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no epoch wait for the next one."""
    monkeypatch.setattr(writing, "TOGETHER_S", 0.0)


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(tmp_path_factory.mktemp("my runs #1"))


@pytest.fixture(scope="session")
def client(tracking: Tracking) -> MlflowClient:
    return MlflowClient(tracking.store.uri)


@pytest.fixture
def parent(tracking: Tracking, request: pytest.FixtureRequest) -> str:
    return tracking.open_study(request.node.name, tags={})


@pytest.fixture
def trial(tracking: Tracking, parent: str) -> str:
    return start(tracking, parent)
