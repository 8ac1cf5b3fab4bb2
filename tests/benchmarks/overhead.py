"""What the study itself takes of a trial: Optuna's journal, pruning decisions and MLflow.

python -m tests.benchmarks.overhead [--profile SIZE]

Studies of 10, 100 and 1,000 ended trials of 20 epochs; in turns, each gets one more, through the
study's own books, and every second of it is booked to what took it. Nothing is trained. The ended
trials are not searched, they are written: Optuna's by its own call, MLflow's as copies of the rows
of a real run.
"""

import cProfile
import pstats
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
import pandas as pd
import yaml
from safetensors.numpy import save_file

from workbench.files import write_text
from workbench.parts.weights import RANDOM
from workbench.rules.rulebook import Verdict
from workbench.searching.recording import StudyRuns
from workbench.searching.study_store import StudyStore
from workbench.space.experiment import Experiment, read_experiment
from workbench.space.space import SampledConfig
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.study.records import RUN, SECONDS, UID
from workbench.tracking import writing
from workbench.trial import plots
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, TrialFolder

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "demo.yaml"
SIZES = (10, 100, 1000)
ROUNDS, EPOCHS, SAMPLES = 7, 20, 1000
TRIAL_S, TARGET = 60.0, 0.01
LOOKS = 60
"""How often the live view asks for its numbers in that time."""

VERDICT = Verdict(
    legal=True,
    backbone="",
    params_thop=1,
    params_true=1,
    params_counted=1,
    over_limit=-1,
    counted_by="",
    pretraining="none",
    helpers=(),
    results=(),
    sentence="",
)


class Clock:
    """The time by which epochs are written together: that of trials of a minute."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()
RNG = np.random.default_rng(0)


class Bench:
    """A study of some ended trials, and what one more costs."""

    def __init__(self, root: Path, size: int) -> None:
        self.folder = StudyFolder(root / "study")
        self.folder.path.mkdir(parents=True)
        self.experiment, self.space = read_experiment(EXPERIMENT)
        about = {"experiment": self.experiment.model_dump(mode="json"), "space": self.space.tree}
        write_text(self.folder.experiment_file, yaml.safe_dump(about, sort_keys=False))
        self.folder.write_info(
            StudyInfo(
                name="study", id="0", experiment="", data="", fingerprint="", seed=0, created=""
            )
        )
        made_by = {f"version.{n}": "1.2.3" for n in range(16)}
        self.runs = StudyRuns(self.folder, root / "mlruns", made_by)
        self.tracking = self.runs.tracking
        self.store = self._open()
        self.took: dict[str, float] = defaultdict(float)
        first = self.trial()
        self._fill(size - 1, first)
        began = time.monotonic()
        self.store = self._open()
        self.opened_s = time.monotonic() - began
        self._time(self.tracking, "start_trial", "log_epoch", "end_trial")

    def trial(self) -> str:
        """Enter one trial; return its MLflow run."""
        took = self.took = defaultdict(float)
        self._timed(took, "known", self.store.proposals.uids)
        asked, draft = self._timed(took, "ask", self.store.proposals.ask)
        recipe = _recipe(draft, self.experiment)
        running = self._timed(
            took, "begin", lambda: self.store.begin(asked, recipe, VERDICT, refused=False)
        )
        epochs = _epochs()
        for epoch in epochs:
            CLOCK.now += epoch.seconds
            self._timed(took, "report", partial(self.store.report, running, epoch))
        result = _write_files(self.folder.trial(recipe.uid), recipe, epochs)
        self._timed(took, "end", lambda: self.store.end(running, result))
        self._timed(took, "num_ended", self.store.num_ended)
        run: str = running.run
        return run

    def look(self) -> float:
        """Return the seconds of one look that the live view takes."""
        began = time.monotonic()
        self.store.counts(), self.store.complete(), self.store.num_ended(), self.store.importances()
        return time.monotonic() - began

    def _open(self) -> StudyStore:
        return StudyStore(
            self.folder,
            self.experiment,
            self.space,
            seed=0,
            runs=self.runs,
        )

    def _time(self, owner: Any, *names: str) -> None:
        """Book the calls of some methods of `owner` to what they are called."""
        for name in names:
            call = getattr(owner, name)

            def timed(*args: Any, _call: Any = call, _name: str = name, **kwargs: Any) -> Any:
                return self._timed(self.took, _name, lambda: _call(*args, **kwargs))

            setattr(owner, name, timed)

    @staticmethod
    def _timed(took: dict[str, float], name: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            return call()
        finally:
            took[name] += time.monotonic() - began

    def _fill(self, number: int, run: str) -> None:
        """Write `number` ended trials, with runs like `run`."""
        made = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1)
        )
        runs = [uuid.uuid4().hex for _ in range(number)]
        pasts = [_epochs() for _ in range(20)]
        for place, new in enumerate(runs):
            trial = made.ask()
            recipe = _recipe(self.space.draw(trial), self.experiment)
            for key, value in {UID: recipe.uid, RUN: new, SECONDS: TRIAL_S}.items():
                trial.set_user_attr(key, value)
            trial.set_constraint("params_over_limit", -1.0)
            trial.set_constraint("refused", 0.0)
            epochs = pasts[place % len(pasts)]
            for epoch in epochs:
                trial.report(epoch.objective, epoch.epoch)
            made.tell(trial, max(epoch.objective for epoch in epochs))
        self.store._study.add_trials(made.trials)
        database = self.tracking.store.root / "mlflow.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            for table in ("runs", "params", "tags", "metrics", "latest_metrics"):
                names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                new = ", ".join("?" if name == "run_uuid" else name for name in names)
                connection.executemany(
                    f"INSERT INTO {table} ({', '.join(names)}) "
                    f"SELECT {new} FROM {table} WHERE run_uuid = ?",
                    [(copy, run) for copy in runs],
                )


def main(profile: int | None) -> None:
    """Print what took the time at each size, and the share of a trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, patch.object(writing, "monotonic", CLOCK):
        if profile:
            show_profile(Bench(Path(folder), profile))
            return
        benches = {size: Bench(Path(folder) / str(size), size) for size in SIZES}
        took: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
        looks: dict[int, list[float]] = {size: [] for size in SIZES}
        for turn in range(ROUNDS + 1):
            for size, bench in benches.items():
                bench.trial()
                look = bench.look()
                if turn:  # the first warms up
                    took[size].append(bench.took)
                    looks[size].append(look)
    parts: dict[str, Callable[[dict[str, float]], float]] = {
        "known and counted": lambda t: t["known"] + t["num_ended"],
        "ask": lambda t: t["ask"],
        "begin, but for MLflow": lambda t: t["begin"] - t["start_trial"],
        "20 reports, but for MLflow": lambda t: t["report"] - t["log_epoch"],
        "end, but for MLflow": lambda t: t["end"] - t["end_trial"],
        "MLflow: a run begins": lambda t: t["start_trial"],
        "MLflow: 20 epochs": lambda t: t["log_epoch"],
        "MLflow: a run ends, 5 files": lambda t: t["end_trial"],
        "all": whole,
    }
    print(f"{'ms a trial, median':<30}" + "".join(f"{size:>10}" for size in SIZES))
    for name, part in parts.items():
        row = [1000 * statistics.median(part(one) for one in took[size]) for size in SIZES]
        print(f"{name:<30}" + "".join(f"{ms:>10.1f}" for ms in row))
    shares = [statistics.median(map(whole, took[size])) / TRIAL_S for size in SIZES]
    print(f"{'share of a trial of 60 s':<30}" + "".join(f"{share:>10.2%}" for share in shares))
    print(f"from {SIZES[0]} to {SIZES[-1]} trials: {shares[-1] / shares[0]:.2f} times", end="; ")
    print(f"target {TARGET:.0%}: {'reached' if max(shares) <= TARGET else 'MISSED'}")
    row = [1000 * LOOKS * statistics.median(looks[size]) for size in SIZES]
    print(f"{f'{LOOKS} looks of the live view':<30}" + "".join(f"{ms:>10.1f}" for ms in row))
    row = [1000 * bench.opened_s for bench in benches.values()]
    print(f"{'the store opened, once':<30}" + "".join(f"{ms:>10.1f}" for ms in row))


def whole(took: dict[str, float]) -> float:
    """Return all seconds that the study process was at it."""
    return sum(took[n] for n in ("known", "ask", "begin", "report", "end", "num_ended"))


def show_profile(bench: Bench) -> None:
    """Print where the study process is during three trials."""
    bench.trial()
    with cProfile.Profile() as profile:
        for _ in range(3):
            bench.trial()
    pstats.Stats(profile).sort_stats("cumulative").print_stats(70)


def _recipe(draft: SampledConfig, experiment: Experiment) -> Recipe:
    recipe = draft.recipe(
        data="data",
        views=experiment.views,
        weights=RANDOM,
        objective=experiment.objective,
        seed=0,
    )
    return recipe.replaced(num_epochs=EPOCHS)


def _epochs() -> list[Epoch]:
    """Return epochs with all metrics that there are, of a model that gets better."""
    epochs = []
    targets = np.arange(200) % 2
    for number in range(1, EPOCHS + 1):
        scores = 1 / (1 + np.exp(-RNG.normal(number / 20 * (2 * targets - 1), 1)))
        metrics = {str(name): value for name, value in binary_metrics(targets, scores).items()}
        epochs.append(
            Epoch(
                epoch=number,
                train_loss=1 / number,
                lr=1e-3,
                metrics=metrics,
                objective=metrics["auc"],
                seconds=TRIAL_S / EPOCHS,
            )
        )
    return epochs


def _write_files(files: TrialFolder, recipe: Recipe, epochs: list[Epoch]) -> Result:
    """Write what a worker leaves of a trial."""
    targets = (np.arange(SAMPLES) % 2).astype(np.int8)
    scores = RNG.random(SAMPLES)
    names = [f"{number:012d}.mp4" for number in range(SAMPLES)]
    files.write_scores(
        pd.DataFrame({"slice": "val", "name": names, "score": scores, "target": targets})
    )
    plots.write_roc(pd.Series(targets), pd.Series(scores), files.roc)
    plots.write_pr(pd.Series(targets), pd.Series(scores), files.pr)
    save_file({"w": np.zeros(1_000_000, np.float32)}, files.weights)
    write_text(files.log, "a line\n" * 20)
    best = max(epochs, key=lambda epoch: epoch.objective)
    result = Result(
        recipe=recipe.uid,
        state="complete",
        epochs=tuple(epochs),
        best_epoch=best.epoch,
        objective=best.objective,
        metrics=best.metrics,
        seconds=TRIAL_S,
        device="cpu",
    )
    files.write_result(result)
    return result


if __name__ == "__main__":
    main(int(sys.argv[2]) if sys.argv[1:2] == ["--profile"] else None)
