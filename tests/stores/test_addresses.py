"""Addresses in an experiment: which are taken, and that no password of one is ever shown."""

import re
from pathlib import Path

import pytest
import yaml

from tests.study.tiny import write_experiment
from workbench.addresses import ServerAddress, check_database, check_server, without_secrets
from workbench.errors import ConfigError, StoreError
from workbench.space.experiment import read_experiment
from workbench.study.storage import open_database
from workbench.tracking.server import ServerStore, open_store

DOCS = Path(__file__).parents[2] / "docs" / "stores.md"
SECRET = "s3cret"


@pytest.mark.parametrize(
    "address", ["postgresql://db/optuna", "postgresql://10.0.0.7:6432/optuna", "postgresql:///own"]
)
def test_a_database_is_taken_as_it_is(address: str) -> None:
    assert check_database(address) == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"postgresql://me:{SECRET}@db/optuna", "PGUSER and PGPASSWORD"),
        (f"postgresql://me:{SECRET}/@db/optuna", "PGUSER and PGPASSWORD"),
        ("postgresql://me@db/optuna", "PGUSER and PGPASSWORD"),
        (f"postgresql://db/optuna?password={SECRET}", "PGUSER and PGPASSWORD"),
        (f"postgresql://db/optuna;password={SECRET}", "PGUSER and PGPASSWORD"),
        (f"postgresql://db/optuna%3Fpassword%3D{SECRET}", "PGUSER and PGPASSWORD"),
        (f"postgresql://me:{SECRET}%40db/optuna", "PGUSER and PGPASSWORD"),
        ("postgresql://db", "must be postgresql://HOST/DATABASE"),
        ("postgresql+psycopg://db/optuna", "must be postgresql://HOST/DATABASE"),
        ("sqlite:///optuna.db", "must be postgresql://HOST/DATABASE"),
        ("postgresql://db:port/optuna", "not an address"),
    ],
)
def test_another_database_is_refused_and_no_secret_shown(
    tmp_path: Path, address: str, said: str
) -> None:
    file = write_experiment(tmp_path, storage=address)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        read_experiment(file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"https://me:{SECRET}@mlflow.example.org", "MLFLOW_TRACKING_USERNAME"),
        (f"http://host:5000/?token={SECRET}", "MLFLOW_TRACKING_USERNAME"),
        ("postgresql://db/mlflow", "mlflow server --backend-store-uri"),
        ("mlruns", "http:// or https://"),
    ],
)
def test_another_server_is_refused_and_no_secret_shown(
    tmp_path: Path, address: str, said: str
) -> None:
    file = write_experiment(tmp_path, tracking=address)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        read_experiment(file)
    assert SECRET not in str(caught.value)


def test_no_secret_is_shown_under_a_wrong_key_or_in_broken_yaml(tmp_path: Path) -> None:
    address = f"postgresql://me:{'x' * 200}{SECRET}@db/optuna"
    with pytest.raises(ConfigError, match="not a known key") as caught:
        read_experiment(write_experiment(tmp_path, storrage=address))
    assert "xxx" not in str(caught.value)
    file = tmp_path / "experiments" / "broken.yaml"
    file.write_text(f"name: broken\nstorage: postgresql://me:{SECRET}@db/x: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not valid YAML") as caught:
        read_experiment(file)
    assert SECRET not in str(caught.value)


def test_secrets_are_starred_out() -> None:
    assert without_secrets("at http://me:p@ss@host/x") == "at http://***@host/x"
    assert without_secrets("host/x?password=abc&y=1") == "host/x?password=***&y=1"
    assert without_secrets("http://host/x?y=1") == "http://host/x?y=1"
    assert without_secrets("host=db password='two words' x") == "host=db password=*** x"


def test_a_slash_behind_a_server_says_nothing() -> None:
    assert check_server("http://host:5000/") == "http://host:5000"
    assert check_server(None) is None


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(StoreError, match=r"at http://127.0.0.1:9 does not answer \(connection"):
        open_store(ServerAddress("http://127.0.0.1:9"))


def test_a_folder_of_the_servers_own_machine_is_refused(tmp_path: Path) -> None:
    store = ServerStore.__new__(ServerStore)  # without a server
    store.place = ServerAddress("http://host")
    store._require_reachable("mlflow-artifacts:/3")
    store._require_reachable("s3://bucket/3")
    store._require_reachable(f"{tmp_path.as_uri()}/3")  # one that both machines see
    with pytest.raises(StoreError, match=r"keeps artifacts in /nowhere/at/all/3, a folder that"):
        store._require_reachable("/nowhere/at/all/3")


def test_a_database_that_is_not_there_is_told_at_once() -> None:
    pytest.importorskip("psycopg", reason="needs pip install -e '.[postgres]'")
    with pytest.raises(StoreError, match=r"127.0.0.1:9/x does not answer \(connection refused"):
        open_database("postgresql://127.0.0.1:9/x")


def test_the_documented_lines_are_taken(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    keys = yaml.safe_load(block)
    experiment, _ = read_experiment(write_experiment(tmp_path, **keys))
    assert experiment.model_dump(include=set(keys)) == keys


def test_the_documented_server_has_these_options() -> None:
    from mlflow.cli import server

    known = {option for parameter in server.params for option in parameter.opts}
    named = re.findall(r"--[a-z-]+", " ".join(re.findall(r"mlflow server.*", DOCS.read_text())))
    assert set(named) <= known
