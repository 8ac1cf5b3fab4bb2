"""The main job by the real command: search, compare, promote, export, predict; and what stops it.

Every command is a process of its own, as a person runs it; those that come a second time are not.
"""

import csv
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND, ENVIRONMENT, WAIT_S, run, run_here
from tests.study.tiny import SPACE, write_data, write_experiment
from tests.submission.page import words_of
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.tracking.runs import Tracking, TrialRun

# Long enough to be caught in the middle of a trial.
NUM_EPOCHS = 40
SLOW = {**SPACE, "backbone": "test_efficientnet", "num_epochs": NUM_EPOCHS}
SEARCH = ("search", "experiments/slow.yaml", "--data", "data", "--trials", "3", "--jobs", "2")

Process = subprocess.Popen[str]


class Place:
    """A folder with data and experiments that commands run in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_data(root / "data")
        write_experiment(root)
        write_experiment(root, SLOW, name="slow")

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code."""
        return run(self.root, *words, code=code)

    def run_here(self, *words: str) -> str:
        """Run a command in this process; return what it prints."""
        return run_here(self.root, *words)

    def start(self, *words: str) -> Process:
        """Start a command in a process group of its own, as a shell does."""
        return subprocess.Popen(
            [COMMAND, *words],
            cwd=self.root,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def study(self, name: str) -> StudyFolder:
        return StudyFolder(self.root / "experiments" / name)

    def rows(self, name: str) -> list[TrialRow]:
        return read_trials(self.study(name))

    def runs(self, name: str) -> list[TrialRun]:
        tracking = Tracking(self.root / "mlruns")
        info = self.study(name).info()
        return tracking.trial_runs(tracking.find_study(info.name, info.id))

    def parent_status(self, name: str) -> str:
        tracking = Tracking(self.root / "mlruns")
        info = self.study(name).info()
        parent = tracking.find_study(info.name, info.id)
        return str(tracking.store.client.get_run(parent).info.status)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def started(place: Place) -> Iterator[Callable[..., Process]]:
    """Starts commands, and kills those that the test leaves."""
    processes: list[Process] = []

    def start(*words: str) -> Process:
        processes.append(place.start(*words))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def until(happened: Callable[[], bool], process: Process | None = None) -> None:
    """Wait until something happened; `process` must live that long."""
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end, f"it did not happen in {WAIT_S} s"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def reported(folder: StudyFolder) -> int:
    """Return how many epochs the study's journal holds."""
    if not folder.journal.exists():
        return 0
    return folder.journal.read_text(encoding="utf-8").count('"intermediate_value"')


def in_mid_trial(folder: StudyFolder) -> bool:
    """Say whether an epoch was reported by a trial that has not ended."""
    ended = len(list(folder.path.glob("trials/*/result.json")))
    return reported(folder) > NUM_EPOCHS * ended


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they started."""
    direct = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in direct] + [g for p in direct for g in children(int(p))]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def assert_whole(place: Place, name: str, num_trials: int) -> None:
    """Check that a study's books are closed and no recipe was counted twice."""
    rows = place.rows(name)
    assert len(rows) == num_trials
    assert {row.state for row in rows} == {"complete"}
    assert len({row.recipe for row in rows}) == num_trials
    assert len({row.drawn["optimizer.lr"] for row in rows}) == num_trials
    runs = place.runs(name)
    finished = [run.uid for run in runs if run.status == "FINISHED"]
    assert sorted(finished) == sorted(row.recipe for row in rows)
    assert "RUNNING" not in {run.status for run in runs}
    assert place.parent_status(name) == "FINISHED"


@pytest.mark.slow(minutes=1.5)
def test_from_an_experiment_to_predictions(place: Place) -> None:
    words = ("search", "experiments/tiny.yaml", "--data", "data", "--trials", "3")
    searched = place.run(*words, "--jobs", "1")
    assert "3 complete, 0 pruned, 0 failed." in searched.stdout
    assert "Champion: trial " in searched.stdout
    assert searched.stdout.endswith("Next: workbench compare tiny\n")
    assert_whole(place, "tiny", 3)

    again = place.run_here(*words, "--jobs", "1", "--device", "cpu")
    assert "The study tiny already has its 3 trials." in again

    found = json.loads(place.run_here("compare", "--json"))
    assert len(found["decision"]["decision"]) == 3
    trials = found["trials"]
    assert [trial["number"] for trial in trials] == [row.number for row in place.rows("tiny")]
    for trial in trials:
        assert trial["state"] == "complete"
        assert trial["objective"] == trial["auc"]
        assert {"recipe", "f1", "log_loss", "tpr", "fpr", "params_thop", "seconds"} <= trial.keys()
    compared = place.run("compare", "tiny", "--top", "2")
    assert "Next: workbench export tiny --out bundle" in compared.stdout
    table, _ = compared.stdout.split("3 complete, ")
    assert len([line for line in table.splitlines() if "test_" in line]) == 2
    page = (place.study("tiny").path / "compare.html").read_text(encoding="utf-8")
    assert trials[0]["backbone"] in page

    champion = json.loads(place.study("tiny").champion.read_text())["number"]
    other = next(t["number"] for t in trials if t["number"] != champion)
    promoted = json.loads(place.run("promote", "tiny", "--trial", str(other), "--json").stdout)
    assert (promoted["number"], promoted["chosen_by"]) == (other, "by hand")
    assert int(promoted["model_version"]) == 2

    exported = place.run(*words_of("export", STUDY="tiny"))
    assert "8 predictions" in exported.stdout
    assert "8 scores" in exported.stdout
    assert "\nfail" not in exported.stdout
    assert exported.stdout.endswith(
        "Next: workbench predict bundle FILE... --out predictions.csv\n"
    )
    verified = json.loads((place.root / "bundle-verify" / "verify.json").read_text())
    assert verified["passed"]
    assert verified["study"] == "tiny"
    page = (place.root / "bundle" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"page made \d{4}-\d\d-\d\d \d\d:\d\d UTC of 3 ended trials", page)

    files = [f"data/testset/{name}" for name in template_names(place)]
    place.run("predict", "bundle", *files, "--out", "scores.csv")
    with (place.root / "scores.csv").open() as scored:
        scores = [float(row[1]) for row in list(csv.reader(scored))[1:]]
    with (place.root / "bundle" / "predictions.csv").open() as exported_scores:
        predictions = [float(row["y_pred"]) for row in csv.DictReader(exported_scores)]
    assert scores == pytest.approx(predictions, abs=1e-5)
    assert len(set(predictions)) > 1


def template_names(place: Place) -> list[str]:
    with (place.root / "data" / "prediction.txt.csv").open() as template:
        return [row["img_name"] for row in csv.DictReader(template)]


@pytest.mark.slow(minutes=2)
def test_a_search_is_held_by_one_process_and_goes_on_after_ctrl_c_and_after_a_kill(
    place: Place, started: Callable[..., Process]
) -> None:
    folder = place.study("slow")
    search = started(*SEARCH)
    until(lambda: in_mid_trial(folder), search)

    # A second search of the study.
    os.kill(search.pid, signal.SIGSTOP)  # so that it cannot end before the other one has begun
    second = place.run(*SEARCH, code=1)
    assert "The study slow is held by another search" in second.stderr
    assert f"process {search.pid} on " in second.stderr
    assert "Traceback" not in second.stderr
    os.kill(search.pid, signal.SIGCONT)

    # Ctrl-C.
    workers = children(search.pid)
    assert len(workers) >= 2
    before = reported(folder)
    os.killpg(search.pid, signal.SIGINT)  # what a terminal does
    _, said = search.communicate(timeout=WAIT_S)
    assert search.returncode == 130
    # Each of the two trials ends the epoch that it is in, and one that ended meanwhile.
    assert reported(folder) <= before + 4
    assert "Stopped. Ended trials are kept; the same command goes on with the rest." in said
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    until(lambda: not any(map(alive, workers)))
    assert "RUNNING" not in {run.status for run in place.runs("slow")}
    assert place.parent_status("slow") == "KILLED"
    already = reported(folder)

    # A kill that no process can answer.
    search = started(*SEARCH)
    until(lambda: reported(folder) > already and in_mid_trial(folder), search)
    workers = children(search.pid)
    assert len(workers) >= 2
    search.kill()
    assert search.wait(WAIT_S) == -signal.SIGKILL
    until(lambda: not any(map(alive, workers)))

    done = place.run(*SEARCH)
    assert "The last search was cut off: " in done.stderr
    assert_whole(place, "slow", 3)
    assert {run.status for run in place.runs("slow")} == {"FINISHED", "KILLED"}
