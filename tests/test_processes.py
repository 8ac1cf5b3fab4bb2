"""Processes that this program starts from anywhere: a script without a guard, standard input."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.processes import Spawning

# At its top level, as people write it.
SCRIPT = """\
import os
from workbench.processes import Spawning
print("the script", flush=True)
child = Spawning().Process(target=print, args=("the child",))
child.start()
child.join()
assert child.exitcode == 0, child.exitcode
assert __name__ == "__main__" and __import__("sys").modules["__main__"].SCRIPT == "mine"
"""


@pytest.mark.parametrize("is_file", [True, False])
def test_a_child_does_not_run_the_script_again(tmp_path: Path, is_file: bool) -> None:
    file = tmp_path / "script.py"
    file.write_text(f"SCRIPT = 'mine'\n{SCRIPT}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, file if is_file else "-"],
        input=None if is_file else file.read_text(encoding="utf-8"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the script", "the child"]
    assert not done.stderr


def test_the_script_is_in_its_place_after_threads_started_processes_side_by_side() -> None:
    script = sys.modules["__main__"]
    children = [Spawning().Process(target=len, args=("",)) for _ in range(4)]
    threads = [threading.Thread(target=child.start) for child in children]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.modules["__main__"] is script
    for child in children:
        child.join()
        assert child.exitcode == 0


def test_no_process_takes_a_module_from_the_folder_that_the_program_runs_in(tmp_path: Path) -> None:
    file, strange = tmp_path / "script.py", tmp_path / "data"
    file.write_text(f"SCRIPT = 'mine'\n{SCRIPT}", encoding="utf-8")
    strange.mkdir()
    mark = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    for name in ("multiprocessing", "signal", "struct"):
        (strange / f"{name}.py").write_text(mark, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, file], cwd=strange, capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "ran").exists()
    assert done.stdout.splitlines() == ["the script", "the child"], done.stderr


@pytest.mark.parametrize("own", [None, "", "/mine:", "/mine;:/other"])
def test_no_process_looks_for_libraries_in_the_folder_that_it_runs_in(own: str | None) -> None:
    # OpenCV's package puts what an empty name stands for into the environment.
    said = "import os, workbench.opencv; print(os.environ['LD_LIBRARY_PATH'])"
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    if own is not None:
        environment["LD_LIBRARY_PATH"] = own
    done = subprocess.run(
        [sys.executable, "-c", said], env=environment, capture_output=True, text=True, check=True
    )
    paths = done.stdout.strip("\n").split(":")
    assert "" not in paths
    assert paths[1:] == ["/mine", "/other"][: own.count("/") if own else 0]
