"""Settings of every test, and media that tests of several folders read."""

import os
import signal
from os import terminal_size
from pathlib import Path

# Before anything loads torch, which reads it then. What is computed here is small, and tests run
# side by side; a person's own setting is kept.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from tests.media.clips import chirp, moving, write_media

# The same examples in every run, however long they take on a busy machine.
settings.register_profile("stable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("stable")

# A shell that puts the tests into the background has Ctrl-C ignored in all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest tests begin first: no process then waits at the end for that of another."""
    items.sort(key=minutes, reverse=True)


def minutes(item: pytest.Item) -> float:
    """Return how long a test takes as its mark `slow` says; 0 where it does not."""
    return max((mark.kwargs.get("minutes", 0) for mark in item.iter_markers("slow")), default=0)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 2 s: 50 frames of 64 x 48 and stereo sound at 44.1 kHz. Do not write to it."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_media(path, sound=chirp(2.0), pictures=moving(50))


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as where there is no terminal, whatever the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(
        "shutil.get_terminal_size", lambda fallback=(80, 24): terminal_size(fallback)
    )
