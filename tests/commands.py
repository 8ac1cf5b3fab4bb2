"""The real commands, each a process of its own, as a person runs them; or in this process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.cli.main import app

COMMAND = Path(sys.executable).with_name("workbench")
# One thread a process, so that tests leave room for others.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
WAIT_S = 300.0
"""A safety net: no command of a test takes so long."""


def run(root: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in folder `root` to its end, and check its exit code."""
    done = subprocess.run(
        [COMMAND, *words],
        cwd=root,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def run_here(root: Path, *words: str) -> str:
    """Run a command in this process, which has loaded most already; return what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, done.output
    return done.stdout
