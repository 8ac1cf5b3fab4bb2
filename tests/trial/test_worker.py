import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.trial.job import Blocked, Bug, Job
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.worker import Beat, LocalJob, work

WAIT_S = 60

PARENT = """
import multiprocessing, sys, time
from pathlib import Path
from workbench.trial.job import Job
from workbench.trial.worker import LocalJob, work

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    here = Path(sys.argv[1])
    ours.send(LocalJob(Job("study", 0, "", ""), here, here, here, here, "cpu", 1))
    print(process.pid, flush=True)
    time.sleep(600)
"""


class Worker:
    """A worker in a process of its own, and this end of its pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.beats: list[Beat] = []
        self.process = context.Process(target=work, args=(theirs,))
        self.process.start()

    def receive(self) -> object:
        """Return what it says besides that it lives."""
        end = time.monotonic() + WAIT_S
        while self.pipe.poll(max(0.0, end - time.monotonic())):
            if not isinstance(said := self.pipe.recv(), Beat):
                return said
            self.beats.append(said)
        raise AssertionError("the worker says nothing")

    def waits(self) -> bool:
        """Say whether a moment passes in which it says nothing else than that it lives."""
        return not self.pipe.poll(0.2) or isinstance(self.pipe.recv(), Beat)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    if made.process.is_alive():
        made.process.kill()
    made.process.join()


def job(recipe: str, prepared: Path, folder: Path, *, num_threads: int = 1) -> LocalJob:
    asked = Job(study="study", trial=0, uid="", recipe=recipe)
    store, cache = folder / "store", folder / "cache"
    return LocalJob(asked, prepared, folder, store, cache, device="cpu", num_threads=num_threads)


def wait_for(is_so: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    return is_so()


def is_gone(pid: int) -> bool:
    """Say whether the process has ended; one that nobody has buried yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def num_threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_cache_that_is_gone_blocks_the_trial_and_is_no_bug(
    worker: Worker, pictures: Prepared, tmp_path: Path
) -> None:
    recipe, folder = recipe_for(pictures), tmp_path / "trials" / "one"
    arrays = {"image": tmp_path / "cache" / "array.u8"}
    Prepared(pictures.table, pictures.views, arrays, "0" * 12).save(tmp_path / "study")
    worker.pipe.send(job(recipe.model_dump_json(), tmp_path / "study", folder))
    said = worker.receive()
    assert isinstance(said, Blocked)
    assert said.reason.startswith(f"The cached image arrays {arrays['image']} are gone.")
    assert TrialFolder(folder).read_result() is None


def test_a_trial_folder_that_cannot_be_made_blocks_the_trial(
    worker: Worker, tmp_path: Path
) -> None:
    folder = Path("/sys/trial")  # not even root can make it
    worker.pipe.send(job("{}", tmp_path, folder))
    said = worker.receive()
    assert isinstance(said, Blocked)
    assert said.reason.startswith(f"{folder}: ")


@pytest.mark.slow
def test_a_worker_outlives_a_bug_and_runs_one_trial_after_another(
    worker: Worker, pictures: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_for(pictures, num_epochs=2)
    pictures.save(tmp_path / "study")

    worker.pipe.send(job("{no recipe", tmp_path / "study", tmp_path / "bug"))
    bug = worker.receive()
    assert isinstance(bug, Bug)
    assert bug.traceback.startswith("Traceback")
    assert "ValidationError" in bug.traceback
    assert "_run" in bug.traceback

    folder = tmp_path / "trials" / recipe.uid
    worker.pipe.send(job(recipe.model_dump_json(), tmp_path / "study", folder))
    epochs = []
    for _ in range(2):
        epoch = worker.receive()
        assert isinstance(epoch, Epoch)
        epochs.append(epoch)
        assert worker.waits()
        worker.pipe.send("go on")
    result = worker.receive()
    assert isinstance(result, Result)
    assert result.state == "complete"
    assert result.epochs == tuple(epochs)
    assert result == TrialFolder(folder).read_result()
    assert TrialFolder(folder).log.exists()

    cut = tmp_path / "trials" / "cut"
    worker.pipe.send(job(recipe.model_dump_json(), tmp_path / "study", cut))
    epoch = worker.receive()
    assert isinstance(epoch, Epoch)
    # The same numbers as in the trial before: nothing is carried over.
    assert epoch.metrics == epochs[0].metrics
    assert epoch.train_loss == epochs[0].train_loss
    worker.pipe.send("prune")
    pruned = worker.receive()
    assert isinstance(pruned, Result)
    assert pruned.state == "pruned"

    # Threads set the order of sums, so each result says how many there were.
    two = tmp_path / "trials" / "two"
    worker.pipe.send(job(recipe.model_dump_json(), tmp_path / "study", two, num_threads=2))
    assert isinstance(worker.receive(), Epoch)
    worker.pipe.send("prune")
    by_two = worker.receive()
    assert isinstance(by_two, Result)
    assert [one.environment and one.environment.num_threads for one in (pruned, by_two)] == [1, 2]

    worker.pipe.send(None)
    worker.process.join(WAIT_S)
    assert worker.process.exitcode == 0


def test_a_worker_says_that_it_lives_and_how_far_it_is(pictures: Prepared, tmp_path: Path) -> None:
    worker = Worker()
    pictures.save(tmp_path / "study")
    recipe = recipe_for(pictures, num_epochs=400)
    folder = tmp_path / "trials" / recipe.uid
    worker.pipe.send(job(recipe.model_dump_json(), tmp_path / "study", folder))
    while len(worker.beats) < 2 or not worker.beats[-1].steps:
        assert isinstance(worker.receive(), Epoch)
        worker.pipe.send("go on")
    worker.process.kill()
    steps = [beat.steps for beat in worker.beats]
    assert steps == sorted(steps)
    assert all(0 <= beat.share <= 1 for beat in worker.beats)


def test_a_worker_knows_neither_optuna_nor_mlflow() -> None:
    code = (
        "import sys\n"
        "import workbench.trial.worker\n"
        "assert 'torch' not in sys.modules, 'a worker should start at once'\n"
        "import workbench.data.prepare, workbench.trial.recipe\n"
        "import workbench.trial.result, workbench.trial.train\n"
        "assert 'torch' in sys.modules\n"
        "print(sorted({'optuna', 'mlflow'} & {name.split('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_worker_ends_with_its_parent_whatever_it_is_doing(tmp_path: Path) -> None:
    # A log that nobody reads holds the worker up for ever: only the parent's end can end it.
    os.mkfifo(tmp_path / "log.txt")
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            # Its second thread is the one that waits for the parent's end.
            assert wait_for(lambda: num_threads(pid) > 1, WAIT_S)
            assert not is_gone(pid)
            parent.send_signal(signal.SIGKILL)
            assert wait_for(lambda: is_gone(pid), 10)
        finally:
            parent.kill()
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_ctrl_c_is_left_to_the_parent(tmp_path: Path) -> None:
    worker = Worker()
    pid = worker.process.pid
    assert pid is not None
    os.mkfifo(tmp_path / "log.txt")
    worker.pipe.send(job("{no recipe", tmp_path, tmp_path))
    try:
        assert wait_for(lambda: num_threads(pid) > 1, WAIT_S)
        os.kill(pid, signal.SIGINT)
        assert not wait_for(lambda: is_gone(pid), 0.5)
    finally:
        worker.process.kill()
        worker.process.join()
