"""What a search of very many trials costs the study process, with a runner that makes answers up.

The whole of `run_search` runs: sampler, journal, tracking store, scheduler. Trials train nothing:
a trial of ten epochs "takes" about ten minutes on one of 500 workers, by a clock that is simulated,
and every epoch and every end comes to the search alone, as they would. So its CPU seconds, without
those of the runner, by the seconds of that clock are the share of a core that it would take.

A study can be given ended trials before: what an event costs with so many behind it is then known
without as many hours. They are in its journal alone, and the tracking store is left as it is.

python -m tests.benchmarks.scale [TRIALS [WORKERS [none|halving|median [tpe|random [BEFORE]]]]]
With PROFILE=FILE in the environment, a profile of it is written there.
"""

import cProfile
import heapq
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pandas as pd
from optuna.trial import TrialState

from tests.study.inline import make_result
from tests.study.tiny import write_data, write_experiment
from tests.study.workers import epoch
from workbench.searching import loop
from workbench.searching.devices import Seats
from workbench.searching.options import RunOptions
from workbench.searching.recording import StudyRuns
from workbench.searching.runner import Event
from workbench.searching.start import run_search
from workbench.space.experiment import read_experiment
from workbench.study.folder import StudyFolder
from workbench.study.records import REASON, SECONDS, UID
from workbench.study.storage import open_journal
from workbench.tracking import writing
from workbench.trial.decision import Decision
from workbench.trial.job import Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, State
from workbench.workspace import Workspace

NUM_EPOCHS, EPOCH_S = 10, 60.0

SPACE: dict[str, Any] = {
    "views": ["image"],
    "backbone": {"choice": ["test_resnet", "test_efficientnet"]},
    "pretrained": "none",
    "image_px": 32,
    "num_epochs": NUM_EPOCHS,
    "precision": "float32",
    "batch_size": {"choice": [8, 16, 32]},
    "dropout": {"float": [0.0, 0.5]},
    "optimizer": {
        "choice": [
            {"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}, "weight_decay": 0.01},
            {"kind": "sgd", "lr": {"float": [1e-3, 1e-1], "log": True}, "weight_decay": 1e-4},
        ]
    },
    "schedule": {
        "choice": [
            {"kind": "cosine", "warmup_share": {"float": [0.0, 0.2]}},
            {"kind": "step", "step_epochs": 1, "gamma": 0.4},
        ]
    },
    "loss": {
        "choice": [
            {"kind": "cross_entropy", "label_smoothing": {"float": [0.0, 0.1]}},
            {"kind": "focal", "gamma": {"float": [1.0, 3.0]}},
        ]
    },
    "augment": {
        "pictures": {"hflip": 0.5, "rotation_deg": {"float": [0, 8]}},
        "mixup_alpha": {"choice": [0.0, 0.2]},
    },
}
"""As many dimensions as a usual search has."""

SCORES = pd.DataFrame(
    [
        {"slice": name, "name": f"{name}{i}", "target": i % 2, "score": i % 7 / 7}
        for name in ("val", "test")
        for i in range(200)
    ]
)


@dataclass
class _Trial:
    job: Job
    recipe: Recipe
    worth: float
    epochs: list[Epoch] = field(default_factory=list)
    decision: Decision = "go on"


class MadeUp:
    """A runner whose clock jumps to the next event; each call of `events` brings one."""

    def __init__(self, workspace: Workspace, num_workers: int, every: int) -> None:
        self._workspace, self._num_workers, self._every = workspace, num_workers, every
        self._running: dict[int, _Trial] = {}
        self._kept: dict[str, list[Epoch]] = {}
        self._next: list[tuple[float, int]] = []
        self._now, self._random = 0.0, random.Random(0)
        self._begun: set[int] = set()
        self._events = 0
        self._own_s = 0.0
        self._last = (time.process_time(), 0.0, 0, 0.0)

    def prepare(self, recipes: Iterable[Recipe]) -> None:
        pass

    def has_room(self) -> bool:
        return len(self._running) < self._num_workers

    def submit(self, job: Job) -> None:
        start = time.process_time()
        recipe = Recipe.model_validate_json(job.recipe)
        worth = random.Random(recipe.uid).gauss(0.7, 0.05)
        trial = _Trial(job, recipe, worth, self._kept.pop(recipe.uid, []))
        self._running[job.trial] = trial
        self._later(job.trial)
        self._own_s += time.process_time() - start
        if job.trial not in self._begun:
            self._begun.add(job.trial)
            if len(self._begun) % self._every == 0:
                self._tell()

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        start = time.process_time()
        self._now, number = heapq.heappop(self._next)
        said = self._say(self._running[number])
        self._own_s += time.process_time() - start
        self._events += 1
        return [(number, said)]

    def answer(self, trial: int, decision: Decision) -> None:
        self._running[trial].decision = decision
        self._later(trial)

    def stop(self, trial: int) -> None:
        del self._running[trial]
        self._next = [entry for entry in self._next if entry[1] != trial]
        heapq.heapify(self._next)

    def share(self, trial: int) -> float:
        return 0.5

    def close(self, *, at_once: bool) -> None:
        self._running = {}

    def _later(self, number: int) -> None:
        trial = self._running[number]
        goes_on = trial.decision == "go on" and len(trial.epochs) < NUM_EPOCHS
        takes = EPOCH_S * self._random.uniform(0.5, 1.5) if goes_on else 1.0
        heapq.heappush(self._next, (self._now + takes, number))

    def _say(self, trial: _Trial) -> Event:
        number = len(trial.epochs) + 1
        if trial.decision == "go on" and number <= NUM_EPOCHS:
            reached = trial.worth - 0.2 / number + self._random.gauss(0, 0.01)
            trial.epochs.append(epoch(number, reached).model_copy(update={"seconds": EPOCH_S}))
            return trial.epochs[-1]
        ends: dict[Decision, State] = {"go on": "complete", "prune": "pruned", "pause": "paused"}
        state = ends[trial.decision]
        result = make_result(trial.recipe, trial.epochs, state)
        files = StudyFolder(self._workspace.studies / trial.job.study).trial(trial.job.uid)
        if state == "complete":
            files.write_scores(SCORES)
        elif state == "paused":
            self._kept[trial.recipe.uid] = trial.epochs
        files.write_result(result)
        del self._running[trial.job.trial]
        return result

    def _tell(self) -> None:
        """Print what the last so many trials cost, without what this runner did itself."""
        used, own, events, then = self._last
        now = time.process_time()
        self._last = (now, self._own_s, self._events, self._now)
        took = now - used - (self._own_s - own)
        share = took / (self._now - then) if self._now > then else 0.0
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        print(
            f"{len(self._begun):6} begun  {1000 * took / self._every:7.1f} CPU ms a trial"
            f"  {(self._events - events) / self._every:5.1f} events a trial"
            f"  {share:7.1%} of a core  {resident / 2**20:6.0f} MiB"
            f"  {self._now / 3600:6.2f} h simulated",
            flush=True,
        )


def give(study_path: Path, experiment: Path, number: int) -> None:
    """Write so many ended trials into the journal of a study: two of three after one epoch.

    In a process of its own, whose memory is none of the search.
    """
    folder, space = StudyFolder(study_path), read_experiment(experiment)[1]
    study = optuna.load_study(study_name=folder.name, storage=open_journal(folder))
    draws = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chance = random.Random(0)
    for place in range(number):
        drawn = draws.ask()
        space.draw(drawn)
        worth, num_epochs = chance.gauss(0.7, 0.05), 1 if place % 3 else NUM_EPOCHS
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if place % 3 else TrialState.COMPLETE,
                value=worth,
                params=drawn.params,
                distributions=drawn.distributions,
                user_attrs={UID: f"made-{place}", SECONDS: num_epochs * EPOCH_S, REASON: ""},
                intermediate_values={n: worth - 0.2 / n for n in range(1, num_epochs + 1)},
            )
        )
        draws.tell(drawn, worth)


def main(num_trials: int, num_workers: int, pruning: str, sampler: str, before: int) -> None:
    """Search, and print figures after every tenth of the trials."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder) / "data")
        keys = {"pruning": {"kind": pruning}, "sampler": {"kind": sampler}}
        experiment = write_experiment(Path(folder), SPACE, name="scale", **keys)

        def make(workspace: Workspace, seats: Seats, options: RunOptions) -> MadeUp:
            return MadeUp(workspace, num_workers, max(1, num_trials // 10))

        workspace = Workspace(Path(folder))
        options = RunOptions(num_trials=before + num_trials, data=data, device="cpu", jobs=1)
        # Epochs a minute apart are each written on their own.
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(writing, "TOGETHER_S", 0.0))
            stack.enter_context(mock.patch.object(loop, "say"))
            if before:
                none = replace(options, num_trials=0)
                study = run_search(experiment, workspace, none, make_runner=make).folder
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    pool.submit(give, study.path, experiment, before).result()
                stack.enter_context(mock.patch.object(StudyRuns, "agree", return_value=0))
            began, used = time.monotonic(), time.process_time()
            run_search(experiment, workspace, options, make_runner=make)
            print(
                f"{time.monotonic() - began:.0f} s in all, {time.process_time() - used:.0f} of CPU"
            )


if __name__ == "__main__":
    asked = sys.argv[1:]
    usual = ("10000", "500", "halving", "tpe", "0")
    trials, workers, kind, draws, there = (*asked, *usual[len(asked) :])
    if file := os.environ.get("PROFILE"):
        with cProfile.Profile() as profile:
            main(int(trials), int(workers), kind, draws, int(there))
        profile.dump_stats(file)
    else:
        main(int(trials), int(workers), kind, draws, int(there))
