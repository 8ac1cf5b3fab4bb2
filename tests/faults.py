"""A storm of faults over the real `workbench search`.

Kills, a full disk, a hang, a full device, the tracking store removed, the media out of reach.

python -m tests.faults FOLDER [--trials 50] [--kills 20] [--seed 0] [--halving]

The short form is tests/test_faults.py.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.selection.champion import read_champion
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking

COMMAND = Path(sys.executable).with_name("workbench")
NUM_EPOCHS = 4
JOBS = 2
LIMIT_S = 1800.0

HOOK = '''
"""Runs first in every process: counts what is trained, and lets faults happen once each."""
import importlib.abc, importlib.util, os, sys, time
from pathlib import Path

HERE = Path(__file__).parent


class Hook(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "workbench.trial.training":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def run_and_change(module):
            run(module)
            change(module)

        spec.loader.exec_module = run_and_change
        return spec


def happens(fault):
    try:
        (HERE / fault).unlink()
    except FileNotFoundError:
        return False
    return True


def change(module):
    run_epoch = module.Training.run_epoch

    def counted(self):
        import torch

        if self.epochs and happens("hang"):
            time.sleep(3600)
        if self.epochs and happens("memory"):
            raise torch.OutOfMemoryError("CUDA out of memory. (a fault of the test)")
        time.sleep(0.4)  # on a fast machine all trials would have ended before the last kill
        run_epoch(self)
        with (HERE / "ledger").open("a") as ledger:
            ledger.write(f"{self.recipe.uid} {len(self.epochs)}\\n")

    module.Training.run_epoch = counted


sys.meta_path.insert(0, Hook())
'''


@dataclass
class Storm:
    """One study and what befalls it."""

    root: Path
    num_trials: int
    seed: int = 0
    stall: str = "40s"
    halving: bool = False
    """Whether trials pause after their first epochs."""

    said: list[str] = field(default_factory=list)
    """What the command said on stderr, each time."""

    kills: Counter[str] = field(default_factory=Counter)
    stores_removed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.hooks = self.root / "hooks"
        self.hooks.mkdir(parents=True)
        (self.hooks / "sitecustomize.py").write_text(HOOK)
        write_data(self.root / "data")
        space = {**SPACE, "backbone": "test_efficientnet", "num_epochs": NUM_EPOCHS}
        pruning = {"kind": "halving" if self.halving else "none", "warmup_epochs": 1}
        write_experiment(self.root, space, name="storm", pruning=pruning)
        self.folder = StudyFolder(self.root / "experiments" / "storm")

    def start(self) -> "subprocess.Popen[str]":
        """Start the command."""
        words = ("search", "experiments/storm.yaml", "--data", "data", "--jobs", str(JOBS))
        return subprocess.Popen(
            [COMMAND, *words, "--trials", str(self.num_trials), "--stall", self.stall],
            cwd=self.root,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
                "PYTHONFAULTHANDLER": "1",
                "PYTHONPATH": os.pathsep.join([str(self.hooks), os.environ.get("PYTHONPATH", "")]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def let(self, fault: str) -> None:
        """Let `hang` or `memory` befall the next epoch that can have it."""
        (self.hooks / fault).touch()

    def ledger(self) -> list[str]:
        """Return a line for each epoch that was trained to its end."""
        file = self.hooks / "ledger"
        return file.read_text().splitlines() if file.exists() else []

    def kill_some(self, number: int) -> None:
        """Run the command, and again, until `number` kills have struck at random instants."""
        while number:
            process = self.start()
            seen = len(self.ledger())
            while number and process.poll() is None:
                # After something was done: what is killed before has nothing to lose.
                self.until_trained(seen, process)
                time.sleep(self.random.uniform(0, 1.5))
                if process.poll() is not None:
                    break
                what = self.random.choice(("study", "worker", "both"))
                self.strike(what, process)
                number -= 1
                seen = len(self.ledger())
                if what != "worker":
                    break
            if number or process.poll() is not None:
                self.end(process)
            else:
                process.kill()
                self.end(process)
            assert "Traceback" not in self.said[-1], self.said[-1]
            assert number == 0 or len(self.rows()) < self.num_trials, "too few trials to strike"

    def strike(self, what: str, process: "subprocess.Popen[str]") -> None:
        """Kill the study process, one of its workers, or all of them."""
        self.kills[what] += 1
        workers = _workers(process.pid)
        if what != "study" and workers:
            for pid in workers if what == "both" else [self.random.choice(workers)]:
                os.kill(pid, signal.SIGKILL)
        if what != "worker":
            process.kill()

    def until_trained(self, seen: int, process: "subprocess.Popen[str]") -> None:
        """Wait until more than `seen` epochs were trained, or the command ended."""
        end = time.monotonic() + 180
        while len(self.ledger()) <= seen and process.poll() is None:
            if time.monotonic() > end:
                process.send_signal(signal.SIGABRT)  # it says where it is
                self.end(process)
                raise AssertionError(f"no epoch was trained for three minutes\n{self.said[-1]}")
            time.sleep(0.02)

    def end(self, process: "subprocess.Popen[str]") -> int:
        """Wait for the command's end and keep what it said."""
        _, said = process.communicate(timeout=LIMIT_S)
        self.said.append(said)
        return process.returncode

    def fill_disk(self) -> None:
        """Run the command, fill the disk that the study is on in mid-epoch, and free it."""
        process = self.start()
        seen = len(self.ledger())
        self.until_trained(seen, process)
        filler = self.root / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (2**20, 2**12):  # to the last page, whatever others write meanwhile
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        code = self.end(process)
        filler.unlink()
        assert code in (0, 1), self.said[-1]
        assert "Make space; the same command then goes on." in self.said[-1], self.said[-1]
        assert "Traceback" not in self.said[-1], self.said[-1]

    def remove_store(self) -> None:
        """Run the command, and remove the tracking store in mid-study.

        The search writes it anew and goes on; or, struck while it wrote, it stops with a sentence.
        """
        process = self.start()
        self.until_trained(len(self.ledger()), process)
        shutil.rmtree(self.root / "mlruns", ignore_errors=True)
        self.until_trained(len(self.ledger()), process)
        code = self.end(process)
        assert code in (0, 1), self.said[-1]
        assert "Traceback" not in self.said[-1], self.said[-1]
        assert "The tracking store" in self.said[-1] or code == 0, self.said[-1]
        self.stores_removed += 1

    def hide_media(self) -> None:
        """Take the media away before the command starts, and again while it runs.

        Nothing is read of them where all is decoded; without them no study begins or goes on.
        """
        media = self.root / "data" / "trainset"
        away = media.with_name("away")
        media.rename(away)
        seen = len(self.ledger())
        code = self.end(self.start())
        assert code == 1, self.said[-1]
        assert "Traceback" not in self.said[-1], self.said[-1]
        assert self.said[-1].count("error: ") == 1, self.said[-1]
        assert len(self.ledger()) == seen
        away.rename(media)
        process = self.start()
        self.until_trained(seen, process)
        media.chmod(0o000)
        media.rename(away)  # permissions do not stop a test that runs as root
        self.until_trained(len(self.ledger()), process)
        away.chmod(0o755)
        away.rename(media)
        process.send_signal(signal.SIGINT)
        code = self.end(process)
        assert code in (0, 130), self.said[-1]
        assert "Traceback" not in self.said[-1], self.said[-1]

    def finish(self) -> None:
        """Run the command to its end."""
        assert self.end(self.start()) == 0, self.said[-1]

    def rows(self) -> list[TrialRow]:
        """Return the study's ended trials."""
        return read_trials(self.folder) if self.folder.journal.exists() else []

    def check(self) -> dict[str, int]:
        """Check all records, and return what was counted."""
        rows = self.rows()
        assert len(rows) == self.num_trials
        assert len({row.recipe for row in rows}) == self.num_trials
        whole, stopped = {(1, 2, 3, 4)}, {(1,), (1, 2)} if self.halving else set()
        for row in rows:
            epochs = tuple(epoch.epoch for epoch in row.epochs)
            # Only one whose worker was killed twice may have failed.
            assert row.state != "failed" or "died" in row.reason, row.reason
            assert row.state != "complete" or epochs in whole, row
            assert row.state != "pruned" or epochs in stopped, row
        assert any(row.state == "complete" for row in rows)
        trained = Counter(self.ledger())
        again = sum(trained.values()) - len(trained)
        # A kill of a worker costs the epoch it was in; one of the study those of all workers.
        most = self.kills["worker"] + JOBS * (self.kills["study"] + self.kills["both"])
        most += 2 * JOBS  # the fault of the device, the hang, the disk
        most += JOBS * self.stores_removed  # one that was struck while it wrote stopped
        assert again <= most, f"{again} epochs were trained again after {dict(self.kills)}"
        for uid in {row.recipe for row in rows if row.state == "complete"}:
            assert trained[f"{uid} {NUM_EPOCHS}"] >= 1
        info = self.folder.info()
        tracking = Tracking(self.root / "mlruns")
        runs = tracking.trial_runs(tracking.find_study(info.name, info.id))
        assert "RUNNING" not in {run.status for run in runs}
        assert {row.run_id for row in rows} <= {run.run_id for run in runs}
        champion = read_champion(self.folder)
        registry = ModelRegistry(self.root / "mlruns")
        assert registry.set_champion("storm", champion.recipe, info.id) == champion.model_version
        ended = Counter((run.uid, run.state) for run in runs if run.state != "interrupted")
        assert ended == Counter((row.recipe, row.state) for row in rows)
        assert not list(self.folder.path.glob("trials/*/checkpoint.pt"))
        assert not list(self.folder.path.rglob(".part-*"))
        return {
            "trials": len(rows),
            **Counter(row.state for row in rows),
            "kills": self.kills.total(),
            "epochs trained": sum(trained.values()),
            "epochs trained again": again,
            "starts of the command": len(self.said),
        }


def _workers(pid: int) -> list[int]:
    """Return the processes that train, of the command `pid`."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"spawn_main" in command:
            found.append(int(child))
    return found


def main() -> None:
    """Run the whole storm and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--halving", action="store_true", help="trials pause and go on")
    asked = parser.parse_args()
    storm = Storm(asked.folder, asked.trials, asked.seed, halving=asked.halving)
    began = time.monotonic()
    for part in (asked.kills // 2, asked.kills - asked.kills // 2):
        storm.kill_some(part)
        storm.let("memory")
        storm.let("hang")
    storm.remove_store()
    storm.hide_media()
    if shutil.disk_usage(asked.folder).total < 2 * 2**30:
        storm.fill_disk()
    else:
        print(f"The disk was not filled: {asked.folder} is on one of over 2 GiB.")
    storm.finish()
    print(json.dumps({**storm.check(), "seconds": round(time.monotonic() - began)}, indent=2))


if __name__ == "__main__":
    main()
