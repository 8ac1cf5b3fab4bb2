"""The tracking store: its making, what cannot be one, and the command that serves it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import StudyError
from workbench.tracking.runs import Tracking
from workbench.tracking.store import Store, store_uri
from workbench.tracking.ui import ui_command


def test_opening_a_new_store_and_reopening_it_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.tracking.runs import Tracking\n"
        "for _ in range(2): Tracking(Path(sys.argv[1]) / 'runs').open_study('s', tags={})"
    )
    (tmp_path / "runs").mkdir()
    for left in (".part-0123.db", ".part-0123.db-journal"):  # by a making that was killed
        (tmp_path / "runs" / left).touch()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**env, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == ["runs"]
    # A part left behind, or a database elsewhere, would show here.
    assert sorted(file.name for file in (tmp_path / "runs").iterdir()) == ["lock", "mlflow.db"]


@pytest.mark.parametrize("room", ["store", "writing", "ui", "runs", "registry"])
def test_mlflow_tells_nobody_that_it_runs(room: str) -> None:
    code = (
        f"import workbench.tracking.{room}\n"
        "from mlflow.telemetry.client import get_telemetry_client\n"
        "assert get_telemetry_client() is None"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "MLFLOW_DISABLE_TELEMETRY")}
    env = {k: v for k, v in env.items() if not k.startswith(("PYTEST", "GITHUB"))}
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=Path(__file__).parents[2],
        env=env,
    )


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("these are words, not a database\n" * 200)
    with pytest.raises(StudyError, match=r"mlflow\.db cannot be opened: file is not a database"):
        Store(tmp_path)


def test_a_store_of_another_mlflow_is_named(tracking: Tracking, tmp_path: Path) -> None:
    shutil.copy(tracking.store.root / "mlflow.db", tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as copy:
        copy.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    copy.close()
    with pytest.raises(StudyError, match=r"mlflow\.db cannot be opened: .*mlflow db upgrade"):
        Store(tmp_path)


@pytest.mark.parametrize("folder", ["50%20", "what?"])
def test_a_folder_that_an_address_cannot_hold_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(StudyError, match="Use a folder without them"):
        Store(tmp_path / folder)


def test_the_user_interface_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no tracking store"):
        ui_command(tmp_path)


def test_the_user_interface_serves_this_store(tracking: Tracking) -> None:
    command = ui_command(tracking.store.root, host="127.0.0.1", port=5001)
    assert command[command.index("--backend-store-uri") + 1] == store_uri(tracking.store.root)
    assert command[command.index("--port") + 1] == "5001"
