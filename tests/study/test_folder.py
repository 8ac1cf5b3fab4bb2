"""The folder of a study: who may write it, and how it is found."""

import errno
import fcntl
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from workbench import access
from workbench.access import is_locked, take_lock
from workbench.errors import DamagedFileError, LockError, StudyError
from workbench.files import PART, finished, write_text
from workbench.study import folder as folder_module
from workbench.study.folder import StudyFolder, StudyInfo, find_study, new_or_known, remember_last

HOLD = """
import sys, time
from pathlib import Path
from workbench.study.folder import StudyFolder
with StudyFolder(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the study `tmp_path/mine`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "mine")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def begun(root: Path, name: str) -> StudyFolder:
    folder = StudyFolder(root / name)
    info = StudyInfo(
        name=name, id="0", experiment="e.yaml", data="d", fingerprint="f", seed=0, created="now"
    )
    folder.write_info(info)
    return folder


def test_what_a_killed_promotion_left_goes_and_what_is_written_stays(tmp_path: Path) -> None:
    folder = begun(tmp_path, "mine")
    left = folder.path / f"{PART}left.json"
    left.write_text("half")
    with finished(folder.report) as part:
        part.write_text("a page")
        with folder.promoting():
            assert not left.exists()
    assert folder.report.read_text() == "a page"


def test_a_lock_that_was_deleted_with_its_study_keeps_nobody_away_and_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, "mine")

    def deleted(lock: IO[str], *how: int) -> None:  # while it was waited for
        shutil.rmtree(folder.path)
        take_lock(lock, *how)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "take_lock", deleted)
        with pytest.raises(StudyError, match="The study mine was deleted meanwhile"), folder.held():
            pass
    folder = begun(tmp_path, "mine")
    with monkeypatch.context() as patch:
        patch.setattr(access, "take_lock", deleted)
        with pytest.raises(LockError, match="mine was removed by another"), folder.promoting():
            pass
    assert not folder.path.exists()
    folder = begun(tmp_path, "mine")

    def made_anew(lock: IO[str], *how: int) -> None:
        patch.setattr(access, "take_lock", take_lock)
        (folder.path / ".promoting").unlink()
        take_lock(lock, *how)

    with monkeypatch.context() as patch:
        patch.setattr(access, "take_lock", made_anew)
        with folder.promoting():
            assert is_locked(folder.path / ".promoting")


def test_who_waits_for_a_promotion_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, said = begun(tmp_path, "mine"), queue.SimpleQueue[str]()
    monkeypatch.setattr(folder_module, "say", said.put)

    def promote() -> None:
        with folder.promoting():
            pass

    waiting = threading.Thread(target=promote)
    with folder.promoting():
        waiting.start()
        assert said.get(timeout=30) == (
            "Waiting for another command that promotes or deletes in the study mine."
        )
        assert waiting.is_alive()
    waiting.join()
    assert said.empty()


def test_a_second_process_is_refused_and_told_who_holds_the_study(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(StudyError) as refused, StudyFolder(tmp_path / "mine").held():
        pass
    message = str(refused.value)
    assert "The study mine is held" in message
    assert f"process {holder.pid} on {socket.gethostname()} since 2" in message
    assert "--study" in message


def test_a_killed_holder_leaves_no_lock(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    with StudyFolder(tmp_path / "mine").held():
        pass


def test_the_lock_is_free_after_the_body_and_after_an_error_in_it(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "mine")
    with pytest.raises(ZeroDivisionError), folder.held():
        raise ZeroDivisionError
    with folder.held(), pytest.raises(StudyError, match=f"process {os.getpid()} "), folder.held():
        pass
    with folder.held():
        pass


def test_who_only_asks_whether_a_study_is_held_is_no_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(tmp_path / "mine")
    with folder.held():
        pass
    asking = (tmp_path / "mine" / "lock").open("rb")
    fcntl.flock(asking, fcntl.LOCK_EX)
    monkeypatch.setattr(time, "sleep", lambda seconds: asking.close())
    with folder.held():
        pass


def test_two_studies_can_be_held_at_once(tmp_path: Path) -> None:
    with StudyFolder(tmp_path / "one").held(), StudyFolder(tmp_path / "two").held():
        pass


def test_a_holders_name_replaces_a_longer_one_before_it(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "mine")
    folder.path.mkdir()
    (folder.path / "lock").write_text("process 1 on a-host-with-a-long-name" * 9)
    with folder.held():
        said = (folder.path / "lock").read_text()
    assert said.startswith(f"process {os.getpid()} on ")
    assert len(said.splitlines()) == 1


def test_without_any_study_the_next_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no study yet\. Run `workbench search` first"):
        find_study(tmp_path, None)
    with pytest.raises(StudyError, match=r"no study 'mine'.*There is none yet"):
        find_study(tmp_path, "mine")


def test_an_unknown_study_is_refused_with_those_there_are(tmp_path: Path) -> None:
    begun(tmp_path, "one")
    begun(tmp_path, "two")
    (tmp_path / "cache").mkdir()
    with pytest.raises(StudyError, match=r"no study 'three'.*There is one, two\."):
        find_study(tmp_path, "three")


def test_the_last_study_is_the_one_without_a_name(tmp_path: Path) -> None:
    one, two = begun(tmp_path, "one"), begun(tmp_path, "two")
    remember_last(two)
    remember_last(one)
    assert find_study(tmp_path, None).path == one.path
    assert find_study(tmp_path, "two").path == two.path


def test_a_last_study_that_was_removed_is_not_found(tmp_path: Path) -> None:
    gone = begun(tmp_path, "gone")
    begun(tmp_path, "there")
    remember_last(gone)
    gone.info_file.unlink()
    with pytest.raises(StudyError, match=r"no study 'gone'.*There is there"):
        find_study(tmp_path, None)


ACTING = ["a\\b", "a\0", "\x1b[2J", "*", "~", "$(id)", "a;b", "\u202ea", "_x", "a:b", "models:/x"]
LEADING = ["", ".hidden", "a/b", "..", "-x", ".", "/", "/tmp/x", "../x", "a/.."]


@pytest.mark.parametrize("name", [*LEADING, *ACTING, "a b", "x" * 65, "ü", "a\n"])
def test_a_name_that_no_folder_should_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match="cannot be used"):
        new_or_known(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "ffdv-2.1_b", "X" * 64])
def test_a_plain_name_is_a_folder_below_the_root(tmp_path: Path, name: str) -> None:
    assert new_or_known(tmp_path, name).path == tmp_path / name


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"x.txt": ""}, "x.txt"),
        ({"experiment.yaml": "name: mine\nsearch_space: ../space.yaml\n"}, "experiment.yaml"),
        ({"manifest.parquet": "a table"}, "manifest.parquet"),
        ({"template.csv": "name,score\n"}, "template.csv"),
        ({"lock": "", "train/real/1.png": ""}, "train"),
        ({"trials/1/notes.txt": ""}, "trials"),
        ({".git/HEAD": "", "lock": ""}, ".git"),
        ({"folds/fold0.csv": ""}, "folds"),
    ],
)
def test_a_folder_of_somebodys_files_is_no_new_study(
    tmp_path: Path, written: dict[str, str], named: str
) -> None:
    for name, text in written.items():
        write_text(tmp_path / "mine" / name, text)
    with pytest.raises(StudyError, match=f"not a study's, e.g. '{named}'"):
        new_or_known(tmp_path, "mine")
    assert all((tmp_path / "mine" / name).read_text() == text for name, text in written.items())


@pytest.mark.parametrize(
    "left",
    [
        {},
        {"lock": "", ".promoting": "", ".part-1.json": "{", ".DS_Store": "x"},
        {"experiment.yaml": "experiment: {name: mine}\nspace: {}\n", "lock": ""},
        {"folds/clusters.json": ""},
        {"folds/.part-0.parquet": "", "lock": ""},
        {"journal.log": "", "manifest.parquet": "", "experiment.yaml": "torn"},
        {"trials/1/recipe.json": "{}", "experiment.yaml": "torn"},
        {"study.json": "torn", "x.txt": ""},
    ],
)
def test_what_is_left_of_a_study_is_the_study(tmp_path: Path, left: dict[str, str]) -> None:
    for name, text in left.items():
        write_text(tmp_path / "mine" / name, text)
    (tmp_path / "mine" / "trials").mkdir(parents=True, exist_ok=True)
    assert new_or_known(tmp_path, "mine").path == tmp_path / "mine"


def test_what_a_study_is_reads_back(tmp_path: Path) -> None:
    assert begun(tmp_path, "one").info().name == "one"


@pytest.mark.parametrize("name", ["cache", "recipes", "demo-data"])
def test_a_study_cannot_take_the_name_of_a_folder_beside_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match=f"'{name}' cannot be used: a folder of that name"):
        new_or_known(tmp_path, name)


def test_a_lock_that_a_reused_process_number_seems_to_hold_is_free(tmp_path: Path) -> None:
    # Left by a process that was killed; this one happens to have its number now.
    folder = begun(tmp_path, "one")
    (folder.path / "lock").write_text(f"process {os.getpid()} on here since 2001-01-01\n")
    with folder.held():
        pass


def test_a_folder_in_the_place_of_a_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "one" / "lock").mkdir(parents=True)
    with pytest.raises(LockError, match="lock is a folder, where a lock file has to be written"):
        begun(tmp_path, "one").held().__enter__()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    folder = begun(tmp_path, "one")
    with pytest.raises(LockError, match=r"one cannot be locked \(.*give --no-lock, and take care"):
        folder.held().__enter__()
    monkeypatch.setenv("WORKBENCH_NO_LOCKS", "1")
    with folder.held():
        pass


@pytest.mark.parametrize("uid", ["../../other/trials/0123456789ab", "/etc", "..", "a/b"])
def test_what_a_record_names_lies_in_the_study(tmp_path: Path, uid: str) -> None:
    folder = begun(tmp_path, "mine")
    places = (folder.trial, folder.repeat, folder.soup, folder.refit, folder.pack, folder.model)
    for place in (*places, folder.refit_pack):
        with pytest.raises(DamagedFileError, match="is no trial, pack or soup: it is damaged"):
            place(uid)
