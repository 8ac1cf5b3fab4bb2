"""What moviepy and Numba read of the folder that a process runs in: it may be a stranger's."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from workbench.media import audio_features
from workbench.media.ffmpeg import load_moviepy

# In a process that multiprocessing starts there is no `__main__.__file__`, as in a notebook.
SCRIPT = """\
from workbench.media.ffmpeg import load_moviepy
from workbench.processes import Spawning
child = Spawning().Process(target=load_moviepy)
child.start()
child.join()
assert child.exitcode == 0, child.exitcode
"""


def test_no_program_is_run_that_a_file_env_names(tmp_path: Path) -> None:
    strange = tmp_path / "data"
    strange.mkdir()
    program = strange / "ffmpeg"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n", encoding="utf-8")
    program.chmod(0o700)
    (strange / ".env").write_text("FFMPEG_BINARY=./ffmpeg\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        cwd=strange,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()


def test_the_program_is_told_and_others_may_read_a_file_env_as_before() -> None:
    assert Path(load_moviepy()).exists()
    from dotenv import find_dotenv

    assert callable(find_dotenv)


def test_nothing_compiled_is_loaded_from_where_a_file_of_this_folder_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: ./strange\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # puts it back
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    audio_features._librosa.cache_clear()
    audio_features._librosa()
    assert _numbas_folder() == ""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    audio_features._librosa.cache_clear()
    audio_features._librosa()
    assert _numbas_folder() == "mine"


def _numbas_folder() -> Any:
    config: Any = import_module("numba.core.config")
    config.reload_config()
    return config.CACHE_DIR
