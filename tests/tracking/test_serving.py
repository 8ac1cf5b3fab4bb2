"""The user interface: its port, who is warned, who is refused, and that nothing of it is left."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from workbench.errors import StudyError
from workbench.tracking.runs import Tracking
from workbench.tracking.ui import free_port, is_private, serve, shown_host, ui_command


@pytest.fixture
def used() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_used_port_is_passed_over(used: int) -> None:
    assert free_port("127.0.0.1", used) > used


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(StudyError, match=r"192\.0\.2\.1 port 5000 cannot be listened on"):
        free_port("192.0.2.1", 5000)


@pytest.mark.parametrize(
    ("host", "private"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_this_machine_reaches_a_private_host(host: str, *, private: bool) -> None:
    assert is_private(host) is private


def test_an_address_for_a_browser_names_this_machine() -> None:
    assert shown_host("127.0.0.1") == "127.0.0.1"
    assert shown_host("::1") == "[::1]"
    assert shown_host("0.0.0.0") == socket.gethostname()


def allowed_hosts(command: list[str]) -> list[str]:
    return command[command.index("--allowed-hosts") + 1].split(",")


def test_the_server_answers_to_its_own_names_only(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tracking.store.root
    assert allowed_hosts(ui_command(root, port=5001)) == [
        "localhost:5001",
        "127.0.0.1:5001",
        "[::1]:5001",
    ]
    everywhere = allowed_hosts(ui_command(root, host="0.0.0.0", port=5001))
    assert f"{socket.gethostname()}:5001" in everywhere
    assert not any("*" in name for name in everywhere)
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "mine.example")
    assert "--allowed-hosts" not in ui_command(root)


SERVE = """
import sys
from pathlib import Path
from workbench.tracking.ui import serve
print("begun", flush=True)
server = "import os, time; os.fork() and print(os.getpid(), flush=True); time.sleep(600)"
sys.exit(serve([sys.executable, "-c", server], Path()))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_is_left_of_a_server_that_was_told_to_end(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        group = int(process.stdout.readline())
        try:
            process.send_signal(number)
            assert process.wait(timeout=30) == (0 if number == signal.SIGINT else 128 + number)
            assert is_gone(group), "the server or its child lives on"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            process.kill()


def is_gone(group: int) -> bool:
    """Say whether no process of the group is left, soon."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_the_servers_own_deprecation_is_not_shown_and_other_warnings_are() -> None:
    server = "; ".join(
        [
            "from warnings import warn",
            "warn('starlette.middleware.wsgi is deprecated and will go', UserWarning)",
            "warn('another', UserWarning)",
        ]
    )
    command = f"serve([sys.executable, '-c', {server!r}], '.')"
    code = f"import sys; from workbench.tracking.ui import serve; {command}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "UserWarning: another" in done.stderr
    assert "starlette" not in done.stderr


def test_a_server_runs_in_the_folder_of_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.py").write_text("raise SystemExit(3)", encoding="utf-8")  # a stranger's
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    assert serve([sys.executable, "-c", "from mlflow import version"], tmp_path / "store") == 0


@pytest.mark.slow
def test_a_name_that_is_not_the_servers_is_refused(tmp_path: Path) -> None:
    Tracking(tmp_path).open_study("seen", tags={})
    port = free_port("127.0.0.1", 5050)
    with subprocess.Popen(
        ui_command(tmp_path, port=port), start_new_session=True, stderr=subprocess.DEVNULL
    ) as server:
        try:
            end = time.monotonic() + 120
            while (answer := ask(port, f"127.0.0.1:{port}")) is None:
                assert time.monotonic() < end
                time.sleep(0.2)
            assert answer == 200
            assert ask(port, f"localhost:{port}") == 200
            assert ask(port, f"evil.example:{port}") == 403
            assert ask(port, "192.168.evil.example") == 403
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def ask(port: int, host: str) -> int | None:
    """Return how the server answers one who calls it `host`; nothing before it is up."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
