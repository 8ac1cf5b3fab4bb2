"""A search on a real Ray cluster of two nodes of this machine: a storm of faults, and its overhead.

The storm: trials of a tiny task, while nodes are killed, processes of trials stopped by SIGSTOP or
killed, and the head is lost once, after which the same command goes on. All trials must be there
once, with all of their epochs, and each fault may cost each trial that it hit one epoch again.
Overhead: the same tiny trials by processes of this machine and by the cluster, two side by side.
The extra `ray` and Linux are needed; ports and processes are this machine's own.

python -m tests.benchmarks.ray_cluster storm [TRIALS [STALL_S]]       50 60; ten minutes or more
python -m tests.benchmarks.ray_cluster overhead [TRIALS]              10
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials

PORT, NUM_EPOCHS, ROOT = 6399, 8, Path(__file__).parents[2]

COUNT_EPOCHS = '''
"""Imported by every Python process of the storm: it notes each epoch that a trial begins."""
import importlib.util, os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "workbench.trial.training":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            run = module.Training.run_epoch
            def run_epoch(training):
                with open(os.environ["EPOCHS_BEGUN"], "a") as file:
                    file.write(f"{training.recipe.uid} {len(training.epochs) + 1}\\n")
                run(training)
            module.Training.run_epoch = run_epoch
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
'''


class Cluster:
    """Two nodes of this machine, `a` with the head and `b`, each with room for two trials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"HOME={folder}"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), os.environ["PYTHONPATH"]]),
            "EPOCHS_BEGUN": str(folder / "epochs-begun.txt"),
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        }
        self._ray("get-auth-token", "--generate")

    def start(self) -> None:
        head = ("--head", f"--port={PORT}", "--include-dashboard=false")
        self._ray("start", *head, f"--temp-dir={self.folder}/r", *self._size(), NODE="a")
        self.start_b()

    def start_b(self) -> None:
        self._ray("start", f"--address=127.0.0.1:{PORT}", *self._size(), NODE="b")

    def stop(self) -> None:
        """Kill all that belongs to it."""
        for pid in self.processes():
            _kill(pid)

    def processes(self, title: str = "", node: str = "") -> list[int]:
        """Return its processes whose command line holds `title`, of one node or of both."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or entry.name == str(os.getpid()):
                    continue
                having = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            wanted = [self.mark] + ([f"NODE={node}"] if node else [])
            if all(w.encode() in having for w in wanted) and title.encode() in command:
                found.append(int(entry.name))
        return found

    def search(self, name: str, num_trials: int, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "workbench", "search", f"experiments/{name}.yaml"]
        command += ["--data", str(self.folder / "data"), "--trials", str(num_trials)]
        with (self.folder / f"{name}.txt").open("ab") as said:
            return subprocess.Popen(
                [*command, "--device", "cpu", *options],
                cwd=self.folder,
                env=self.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def _size(self) -> tuple[str, ...]:
        return "--num-cpus=2", f"--object-store-memory={80 * 2**20}"

    def _ray(self, *arguments: str, **environment: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", *arguments],
            env={**self.environment, **environment},
            check=True,
            capture_output=True,
        )


def _kill(pid: int, by: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, by)


def storm(cluster: Cluster, num_trials: int, stall_s: int) -> None:
    """Search while faults come; print what became of the trials."""
    space = {**SPACE, "backbone": "test_resnet", "num_epochs": NUM_EPOCHS}
    write_experiment(cluster.folder, space, name="storm")
    study = StudyFolder(cluster.folder / "experiments" / "storm")
    (cluster.folder / "sitecustomize.py").write_text(COUNT_EPOCHS)
    ray = ("--runner", "ray", "--address", f"127.0.0.1:{PORT}", "--stall", f"{stall_s}s")
    hit = 0

    def a_host() -> list[int]:
        return cluster.processes("ray::TrialHost")[:1]

    def kill_b() -> None:
        for pid in cluster.processes("raylet/raylet", "b"):
            _kill(pid)
        time.sleep(5.0)
        cluster.start_b()

    def kill_host() -> None:
        for pid in a_host():
            _kill(pid)

    def stop_host() -> None:
        for pid in a_host():
            _kill(pid, signal.SIGSTOP)

    def stop_worker() -> None:
        trials = [p for host in a_host() for p in _children(host) if _is_trial(p)]
        for pid in trials[:1]:
            _kill(pid, signal.SIGSTOP)

    def lose_head() -> None:
        for pid in cluster.processes("gcs_server"):
            _kill(pid)

    order = (kill_b, stop_host, kill_host, lose_head, stop_worker, kill_b, kill_host)
    plan = [
        (num_trials * (place + 1) // (len(order) + 1), fault) for place, fault in enumerate(order)
    ]
    began = time.monotonic()
    searching = cluster.search("storm", num_trials, *ray)
    while True:
        time.sleep(1.0)
        ended = len(list(study.path.glob("trials/*/result.json")))
        if plan and ended >= plan[0][0]:
            fault = plan.pop(0)[1]
            print(
                f"{time.monotonic() - began:5.0f} s, {ended} results: {fault.__name__}", flush=True
            )
            fault()
            hit += 1
        if (code := searching.poll()) is None:
            continue
        if code == 0:
            break
        said = (cluster.folder / "storm.txt").read_text().strip().splitlines()[-1]
        print(f"the search ended with {code}: {said}", flush=True)
        assert "head of the Ray cluster" in said
        cluster.stop()
        cluster.start()
        searching = cluster.search("storm", num_trials, *ray)
    took = time.monotonic() - began
    rows = read_trials(study)
    begun = Counter((cluster.folder / "epochs-begun.txt").read_text().splitlines())
    again = Counter({key: times - 1 for key, times in begun.items() if times > 1})
    said = (cluster.folder / "storm.txt").read_text()
    restarts = len(re.findall(r"Another worker", said))
    print(
        f"{len(rows)} trials, {len({row.recipe for row in rows})} recipes, {took:.0f} s; ", end=""
    )
    print(dict(Counter(row.state for row in rows)), f"after {hit} faults; {restarts} restarts")
    print(f"{begun.total()} epochs begun, {len(begun)} different, {again.total()} again: {again}")
    for row in rows:
        if row.state == "complete":
            assert [epoch.epoch for epoch in row.epochs] == [*range(1, NUM_EPOCHS + 1)], row
    # A second death fails a trial, and the head is lost once.
    of_trial = Counter(key.split()[0] for key in again.elements())
    assert max(of_trial.values(), default=0) <= 2, of_trial
    assert len(rows) == len({row.recipe for row in rows}) == num_trials
    assert len(begun) >= NUM_EPOCHS * sum(row.state == "complete" for row in rows)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def _is_trial(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def overhead(cluster: Cluster, num_trials: int) -> None:
    """Print what the same trials take by both runners, in turn, two side by side."""
    space = {**SPACE, "backbone": "test_resnet", "num_epochs": NUM_EPOCHS}
    ray = ("--runner", "ray", "--address", f"127.0.0.1:{PORT}", "--jobs", "2")
    kinds: dict[str, tuple[str, ...]] = {"local": ("--jobs", "2"), "ray": ray}
    for again in range(2):
        for kind, options in kinds.items():
            name = f"{kind}{again}"
            write_experiment(cluster.folder, space, name=name)
            began = time.monotonic()
            assert cluster.search(name, num_trials, *options).wait() == 0
            took = time.monotonic() - began
            print(f"{kind:6} {took:6.1f} s, {took / num_trials:6.1f} a trial", flush=True)


def main(what: str, *numbers: int) -> None:
    """Run one of them on a cluster of its own."""
    folder = Path(
        tempfile.mkdtemp(dir="/tmp", prefix="wb")
    )  # a short path: Ray's sockets are there
    cluster = Cluster(folder)
    whole: dict[str, Callable[[], None]] = {
        "storm": lambda: storm(cluster, *(numbers + (50, 60)[len(numbers) :])),
        "overhead": lambda: overhead(cluster, *(numbers or (10,))),
    }
    try:
        write_data(folder / "data")
        cluster.start()
        whole[what]()
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
