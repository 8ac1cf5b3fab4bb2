"""Trials on a cluster: what the runner makes of what the machines say, here without any."""

import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.study.workers import epoch, scripted_work
from workbench.errors import ConfigError, StudyError
from workbench.searching import pool as pool_module
from workbench.searching import ray_runner
from workbench.searching.devices import Seats
from workbench.searching.options import RunOptions
from workbench.searching.ray_cluster import ClusterOptions, RayCluster, require_answer
from workbench.searching.ray_runner import RayRunner, on_ray
from workbench.searching.runner import Event
from workbench.searching.trial_host import TrialHost, answer_mark
from workbench.trial.decision import Decision
from workbench.trial.job import Blocked, Died, Job
from workbench.trial.result import Epoch, Result
from workbench.trial.worker import Beat, LocalJob
from workbench.workspace import Workspace

DONE = Result(recipe="uid", state="complete", objective=0.5)


class Machines:
    """A cluster in this process: each trial says what the test gave it to say."""

    def __init__(self, room: int, **said: list[Event | Beat]) -> None:
        self.num = room
        self.said = {int(name[1:]): deque(events) for name, events in said.items()}
        self.jobs: dict[int, LocalJob] = {}
        self.told: list[tuple[int, Decision]] = []
        self.ended: list[tuple[int, bool]] = []
        """Trials whose process was ended, and whether that was waited for."""

    def room(self) -> int:
        return self.num

    def start(self, trial: int, local: LocalJob) -> None:
        assert trial not in self.jobs
        self.jobs[trial] = local

    def wait(self, timeout_s: float) -> list[int]:
        return [trial for trial in self.jobs if self.said.get(trial)]

    def read(self, trial: int) -> Event | Beat:
        return self.said[trial].popleft()

    def answer(self, trial: int, decision: Decision) -> None:
        self.told.append((trial, decision))

    def end(self, trial: int, *, wait_s: float = 0.0) -> None:
        del self.jobs[trial]
        self.ended.append((trial, wait_s > 0))

    def close(self) -> None:
        for trial in list(self.jobs):
            self.end(trial)


class Clock:
    """Time as the runner sees it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ray_runner, "time", made)
    return made


def job(trial: int) -> Job:
    return Job(study="tiny", trial=trial, uid=f"uid{trial}", recipe="{}")


def runner_on(machines: Machines, root: Path, most: int | None = None) -> RayRunner:
    return RayRunner(
        machines,
        Workspace(root),
        device="cuda",
        num_threads=2,
        share=0.25,
        stall_s=60.0,
        most=most,
    )


def test_a_trial_goes_from_its_job_to_its_result(tmp_path: Path) -> None:
    machines = Machines(2, t7=[Beat(0, 0.0), Beat(0, 0.4), epoch(1), DONE])
    runner = runner_on(machines, tmp_path)
    runner.submit(job(7))
    folder = Workspace(tmp_path).studies / "tiny"
    local = machines.jobs[7]
    assert (local.prepared, local.folder) == (folder, folder / "trials" / "uid7")
    assert (local.device, local.num_threads, local.share) == ("cuda", 2, 0.25)
    assert runner.events(0.0) == []
    assert runner.events(0.0) == []
    assert runner.share(7) == 0.4
    [(trial, event)] = runner.events(0.0)
    assert trial == 7 and isinstance(event, Epoch)
    assert runner.share(7) == 0.0
    runner.answer(7, "prune")
    assert machines.told == [(7, "prune")]
    assert runner.events(0.0) == [(7, DONE)]
    assert machines.ended == [(7, False)]
    assert runner.events(0.0) == []


def test_there_is_room_as_the_machines_come_and_go_but_never_for_more_than_asked(
    tmp_path: Path,
) -> None:
    machines = Machines(3)
    runner = runner_on(machines, tmp_path, most=2)
    runner.submit(job(0))
    assert runner.has_room()
    machines.num = 1
    assert not runner.has_room()
    machines.num = 3
    runner.submit(job(1))
    assert not runner.has_room()
    runner.stop(0)
    assert runner.has_room()


def test_a_silent_trial_is_ended_for_good_before_another_may_write_its_files(
    tmp_path: Path, clock: Clock
) -> None:
    machines = Machines(2, t0=[Beat(0, 0.0)])
    runner = runner_on(machines, tmp_path)
    runner.submit(job(0))
    runner.events(0.0)
    clock.now += 59.0
    assert runner.events(0.0) == []
    clock.now += 1.0
    [(trial, event)] = runner.events(0.0)
    assert trial == 0 and isinstance(event, Died)
    assert event.reason == "its process in the cluster said nothing for 1 min 00 s: it hangs."
    assert machines.ended == [(0, True)]
    runner.submit(job(0))  # it may go on elsewhere


def test_a_trial_that_waits_for_a_machine_does_not_hang(tmp_path: Path, clock: Clock) -> None:
    machines = Machines(2)
    runner = runner_on(machines, tmp_path)
    runner.submit(job(0))
    clock.now += 3600.0
    assert runner.events(0.0) == []


def test_the_time_until_an_epoch_is_answered_is_not_the_trials(
    tmp_path: Path, clock: Clock
) -> None:
    machines = Machines(2, t0=[epoch(1)])
    runner = runner_on(machines, tmp_path)
    runner.submit(job(0))
    runner.events(0.0)
    clock.now += 3600.0
    runner.answer(0, "go on")
    assert runner.events(0.0) == []


def test_what_cannot_be_asked_of_a_cluster_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ray://head:10001 is one of Ray's client"):
        on_ray(ClusterOptions(address="ray://head:10001"))
    for cpus, gpus in ((0, None), (1, 1.5), (1, -0.5), (1, 2)):
        with pytest.raises(ConfigError, match=f"cannot take {cpus} CPU cores and {gpus} GPUs"):
            on_ray(ClusterOptions(cpus=cpus, gpus=gpus))
    make = on_ray(ClusterOptions())
    with pytest.raises(ConfigError, match="--jobs auto measures this machine alone"):
        make(Workspace(tmp_path), Seats(("cpu",), 1), RunOptions(num_trials=1, jobs="auto"))
    pair = Seats(("cuda:0",), 1, (("cuda:1",),))
    with pytest.raises(ConfigError, match="is 2, and a trial on a cluster takes one GPU at most"):
        make(Workspace(tmp_path), pair, RunOptions(num_trials=1))


def test_a_head_that_does_not_answer_is_told_at_once() -> None:
    require_answer("auto")  # Ray looks for it
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        require_answer(address)
    with pytest.raises(StudyError, match=f"No Ray cluster answers at {address}"):
        require_answer(address)
    with pytest.raises(ConfigError, match="--address head is no HOST:PORT"):
        require_answer("head")


@pytest.mark.parametrize("by_address", [False, True])
def test_modules_of_the_folder_that_a_search_runs_in_are_none_of_a_clusters(
    by_address: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray adds that folder to `sys.path` of its processes unless the job has a `working_dir`.
    asked: list[dict[str, Any]] = []

    def init(**values: Any) -> None:
        folder = Path(values["runtime_env"]["working_dir"])
        asked.append({**values, "holds": list(folder.iterdir())})

    ray: Any = ModuleType("ray")
    ray.init, ray.is_initialized = init, lambda: False
    ray.exceptions = type("", (), {"RayError": RuntimeError})
    ray.get_runtime_context = lambda: type("", (), {"gcs_address": "head:1"})
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        options = ClusterOptions(address=address if by_address else None)
        RayCluster(options, gpus=0, num_here=1, stall_s=60)
    assert asked[0]["address"] == (address if by_address else "local")
    assert ("num_cpus" in asked[0]) is not by_address  # a cluster that runs has its own
    assert asked[0]["holds"] == []


@pytest.fixture
def local(tmp_path: Path) -> Callable[[str], LocalJob]:
    def made(recipe: str) -> LocalJob:
        return LocalJob(
            Job(study="tiny", trial=0, uid="uid", recipe=recipe),
            prepared=tmp_path,
            folder=tmp_path / "uid",
            weights=tmp_path,
            cache=tmp_path,
            device="cpu",
            num_threads=1,
        )

    return made


def test_a_host_waits_for_an_answer_and_ends_its_worker(
    local: Callable[[str], LocalJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "work", scripted_work)
    host = TrialHost(60.0)
    said = host.run(local("ask"))
    events = (event for event in said if not isinstance(event, Beat))
    assert isinstance(next(events), Epoch)
    host.answer("pause")
    assert list(events) == [Result(recipe="uid", state="pruned", reason="pause")]


def test_a_host_that_does_not_see_the_study_says_so(
    local: Callable[[str], LocalJob], tmp_path: Path
) -> None:
    asked = replace(local("finish"), prepared=tmp_path / "elsewhere")
    _, ended = TrialHost(60.0).run(asked)
    assert isinstance(ended, Blocked)
    assert "does not see" in ended.reason and "--shared DIR" in ended.reason


def test_a_mark_is_answered_where_it_is_what_was_written(tmp_path: Path) -> None:
    mark = tmp_path / ".seen"
    assert not answer_mark(mark, "word", "node")
    mark.write_text("another study's")
    assert not answer_mark(mark, "word", "node")
    mark.write_text("word")
    assert answer_mark(mark, "word", "node")
    assert (tmp_path / ".seen.node").read_text() == "word"
