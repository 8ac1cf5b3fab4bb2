"""The real commands, each a process of its own, as a person runs them."""

import os
import subprocess
import sys
from pathlib import Path

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
