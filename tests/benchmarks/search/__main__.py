"""Compute that the search needs to reach what a plain Optuna study ends with.

python -m tests.benchmarks.search [--seeds 10] [--trials 50] [--our-trials 50] [--task WORD]
    [--variant EXPRESSION]

Plain is `optuna.create_study()` with its default sampler and no pruning, 50 trials in full; a
recipe that it draws twice it pays twice. Ours is the project's own study (`adapter`) for as many
trials. An epoch of a recipe costs what its task says, the screening a third of an epoch for each
backbone and view. A study's objective is the best epoch of its best complete trial, noise and all,
as a study sees it; its worth is that epoch without noise, or on the test files.

For each seed: the share of plain's compute after which ours is as good as plain in the end, by
objective and by worth, the share it spends in all, and by how much it ends better. A seed that
never gets there has an infinite share. The objective flatters whoever looked at more noisy epochs
of whole trials, which is plain; the worth is what a choice brings.
"""

import argparse
import re
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import optuna

from tests.benchmarks.search.adapter import Spent, Step, Variant, search
from tests.benchmarks.search.surrogates import Surrogate
from tests.benchmarks.search.tasks import Task, table_task
from workbench.space.space import Space

FULL = {"kind": "none"}
VARIANTS = (
    Variant("ours"),
    Variant("without screening", screening=False),
    Variant("without halving", pruning=FULL),
    Variant("halving after one epoch", pruning={"kind": "halving", "warmup_epochs": 1}),
    Variant("one in three goes on", pruning={"kind": "halving", "factor": 3}),
    Variant("without warm start", warm_start=False),
    Variant("none of the three", screening=False, pruning=FULL, warm_start=False),
    Variant("sampler: GP", sampler="gp"),
    Variant("sampler: random", sampler="random"),
)


@dataclass(frozen=True)
class Race:
    """One seed of a variant against plain."""

    share: float
    """Of plain's compute until ours is as good; infinite if never."""

    share_of_worth: float
    """Of plain's compute until ours would choose what is worth as much; infinite if never."""

    total: float
    """Of plain's compute that ours spends in all."""

    gain: float
    """Ours less plain in the end, as the study sees it."""

    gain_of_worth: float


class Best(NamedTuple):
    """A study's champion."""

    objective: float
    worth: float


def plain(task: Task, seed: int, *, num_trials: int) -> Spent:
    """Search `task` as a script with Optuna's defaults does."""
    space = Space(file=task.name, tree=task.tree)
    spent, steps = 0.0, list[Step]()

    def objective(trial: optuna.Trial) -> float:
        nonlocal spent
        draft = space.draw(trial)
        seen = task.seen(draft)
        spent += task.cost(draft) * len(seen.observed)
        value = max(seen.observed)
        steps.append(Step(spent, value, seen.worth[seen.observed.index(value)]))
        return value

    sampler = optuna.samplers.TPESampler(seed=seed)
    optuna.create_study(direction="maximize", sampler=sampler).optimize(
        objective, n_trials=num_trials
    )
    return Spent(tuple(steps), spent)


def champion(found: Spent) -> Best:
    """Return the best complete trial, the first of equals."""
    step = max(found.steps, key=lambda step: step.objective)
    return Best(step.objective, step.worth)


def race(ours: Spent, theirs: Spent) -> Race:
    """Hold one study of ours against plain."""
    goal, end = champion(theirs), champion(ours)
    reached = [step.spent for step in ours.steps if step.objective >= goal.objective]
    worthy = [
        step.spent
        for place, step in enumerate(ours.steps)
        if champion(Spent(ours.steps[: place + 1], step.spent)).worth >= goal.worth
    ]
    return Race(
        share=min(reached, default=float("inf")) / theirs.total,
        share_of_worth=min(worthy, default=float("inf")) / theirs.total,
        total=ours.total / theirs.total,
        gain=end.objective - goal.objective,
        gain_of_worth=end.worth - goal.worth,
    )


def row(name: str, races: list[Race]) -> str:
    """Return a line of the table."""
    gains, worths = ([getattr(r, key) for r in races] for key in ("gain", "gain_of_worth"))
    return " | ".join(
        (
            f"| {name}",
            _spread([race.share for race in races]),
            _spread([race.share_of_worth for race in races]),
            f"{statistics.median(race.total for race in races):.2f}",
            f"{statistics.mean(gains):+.4f} ± {_error(gains):.4f}",
            f"{statistics.mean(worths):+.4f} ± {_error(worths):.4f} |",
        )
    )


def _spread(shares: list[float]) -> str:
    """Return the median, the quartiles, and how many are finite."""
    low, middle, high = np.quantile(shares, (0.25, 0.5, 0.75), method="inverted_cdf")
    reached = f"{sum(np.isfinite(shares))} of {len(shares)}"
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f}, {reached})"


def _error(values: list[float]) -> float:
    """Return the standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def tasks() -> Iterator[Callable[[int], Task]]:
    """Yield what makes the task of a seed; each landscape of a surrogate has one seed."""
    yield lambda seed: Surrogate("fine", seed)
    yield lambda seed: Surrogate("crossing", seed)
    for name in ("demo", "real"):
        if (table := table_task(name)) is not None:
            yield partial(_same, table)


def _same(task: Task, seed: int) -> Task:
    return task


HEADER = (
    "| {} | share to reach plain's objective | its worth | share in all | objective in the end "
    "| worth in the end |\n|---|---|---|---|---|---|"
)


def main() -> None:
    """Print a table for each task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--our-trials", type=int, help="as many as plain's by default")
    parser.add_argument("--task", default="", help="a word of its name")
    parser.add_argument("--variant", default="", help="an expression for its name")
    asked = parser.parse_args()
    ours = asked.our_trials or asked.trials
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    for make in tasks():
        if asked.task not in (name := make(0).name):
            continue
        print(HEADER.format(name), flush=True)
        theirs = [plain(make(seed), seed, num_trials=asked.trials) for seed in range(asked.seeds)]
        for variant in VARIANTS:
            if not re.search(asked.variant, variant.name):
                continue
            began = time.monotonic()
            races = [
                race(search(make(seed), seed, variant, num_trials=ours), found)
                for seed, found in enumerate(theirs)
            ]
            took = (time.monotonic() - began) / asked.seeds
            print(row(variant.name, races), f" ({took:.1f} s a study)", flush=True)
        print()


if __name__ == "__main__":
    main()
