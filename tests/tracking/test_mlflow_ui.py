"""What a person sees in MLflow's user interface, in a real browser."""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from workbench.tracking.runs import Tracking
from workbench.tracking.ui import ui_command
from workbench.tracking.writing import RunState

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs the programs chromium and chromedriver (on Debian: the packages "
        "chromium and chromium-driver)",
    ),
]
BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1680,1000",
]
AUCS = {"efficientnet_lite0": 0.9125, "vit_tiny": 0.8675, "mobilenetv2": 0.6125}


def ask(method: str, url: str, body: Any = None) -> Any:
    """Send one WebDriver command and return its value."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def wait(condition: Callable[[], bool], what: str, *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(0.25)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[str], *, until: str, log: Path) -> Iterator[None]:
    """Run `command` in its own process group, which is ended afterwards with its children."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )
        try:
            wait(lambda: process.poll() is not None or is_up(until), f"{until}: {command[:4]}")
            assert process.poll() is None, log.read_text()
            yield
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=30)


class Browser:
    """One headless window, driven over the WebDriver protocol."""

    def __init__(self, driver: str, profile: Path) -> None:
        flags = [*BROWSER_FLAGS, f"--user-data-dir={profile}"]
        options = {"goog:chromeOptions": {"args": flags, "binary": shutil.which("chromium")}}
        session = ask("POST", f"{driver}/session", {"capabilities": {"alwaysMatch": options}})
        self.session = f"{driver}/session/{session['sessionId']}"

    def open(self, url: str) -> None:
        ask("POST", f"{self.session}/url", {"url": url})

    def text(self) -> str:
        script = {"script": "return document.body ? document.body.innerText : ''", "args": []}
        return str(ask("POST", f"{self.session}/execute/sync", script))

    def shows(self, *words: str) -> None:
        """Wait until all of `words` are on the page."""
        wait(lambda: all(word in self.text() for word in words), f"{words} in {self.text()!r}")

    def shoot(self, path: Path) -> None:
        """Save what the window shows, for a person to look at."""
        path.write_bytes(base64.b64decode(ask("GET", f"{self.session}/screenshot")))
        assert path.stat().st_size > 10_000  # an empty page is smaller

    def close(self) -> None:
        ask("DELETE", self.session)


class Study(NamedTuple):
    """A store with one study of a complete, a pruned and a failed trial."""

    tracking: Tracking
    parent: str
    trials: list[str]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    tracking = Tracking(tmp_path_factory.mktemp("mlruns"))
    parent = tracking.open_study("demo", tags={})
    tracking.set_leaderboard(
        parent, metrics=["best/auc", "val/auc"], params=["backbone", "optimizer.lr"]
    )
    trials = []
    for number, (backbone, auc) in enumerate(AUCS.items()):
        recipe = {"backbone": backbone, "optimizer": {"kind": "adamw", "lr": 10 ** -(number + 3)}}
        trial = tracking.start_trial(
            parent, number=number, uid=f"{number:012x}", name=backbone, recipe=recipe, tags={}
        )
        for epoch in range(3):
            metrics = {"val/auc": auc - 0.1 + epoch / 20, "train/loss": 1 / (1 + epoch)}
            tracking.log_epoch(trial, metrics, epoch)
        trials.append(trial)
    endings: list[tuple[RunState, str]] = [
        ("complete", ""),
        ("pruned", "below the median after epoch 2"),
        ("failed", "out of device memory"),
    ]
    for trial, (state, reason), auc in zip(trials, endings, AUCS.values(), strict=True):
        tracking.end_trial(trial, state=state, reason=reason, metrics={"best/auc": auc})
    tracking.end_study(parent, state="complete", metrics={"best/auc": 0.9125})
    return Study(tracking, parent, trials)


@pytest.fixture(scope="module")
def site(study: Study) -> Iterator[str]:
    root, port = study.tracking.store.root, free_port()
    address = f"http://127.0.0.1:{port}"
    command = ui_command(root, host="127.0.0.1", port=port)
    with running(command, until=f"{address}/health", log=root.parent / "server.log"):
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    port, folder = free_port(), tmp_path_factory.mktemp("browser")
    driver = f"http://127.0.0.1:{port}"
    command = ["chromedriver", f"--port={port}"]
    with running(command, until=f"{driver}/status", log=folder / "driver.log"):
        window = Browser(driver, folder / "profile")
        yield window
        window.close()


def test_the_page_of_a_study_ranks_its_trials(
    study: Study, site: str, browser: Browser, tmp_path: Path
) -> None:
    browser.open(site + study.tracking.page(study.parent))
    browser.shows("3 matching runs", "000 efficientnet_lite0", "002 mobilenetv2")
    browser.shows("001 pruned: vit_tiny", "best/auc", "0.9125", "0.8675", "0.6125")
    text = browser.text()
    assert text.index("0.9125") < text.index("0.8675") < text.index("0.6125")
    browser.shoot(tmp_path / "study.png")


def test_two_trials_are_compared_side_by_side(
    study: Study, site: str, browser: Browser, tmp_path: Path
) -> None:
    experiment = study.tracking.page(study.parent).split("/")[3]
    runs, experiments = (quote(json.dumps(ids)) for ids in (study.trials[:2], [experiment]))
    browser.open(f"{site}/#/compare-runs?runs={runs}&experiments={experiments}")
    browser.shows("Comparing 2 Runs", "000 efficientnet_lite0", "001 pruned: vit_tiny")
    browser.shows("best/auc", "0.913", "0.868", "below the median after epoch 2")
    browser.shoot(tmp_path / "compare.png")


def test_the_page_of_a_trial_tells_why_it_ended(
    study: Study, site: str, browser: Browser, tmp_path: Path
) -> None:
    experiment = study.tracking.page(study.parent).split("/")[3]
    browser.open(f"{site}/#/experiments/{experiment}/runs/{study.trials[1]}")
    browser.shows("001 pruned: vit_tiny", "below the median after epoch 2", "study demo", "0.8675")
    browser.shoot(tmp_path / "trial.png")
