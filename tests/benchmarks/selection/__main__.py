"""Whether the value that a chosen trial is said to have holds: its bias, and its interval.

python -m tests.benchmarks.selection [--quick] [--samples N] [--trials N] [--repeats 500]
    [--processes 2] [--bootstrap] [--packs] [--joint mean] [--few]

A cell draws the scores of several trials on the same samples of two classes, each normal. A sample
is as hard for all trials as `correlation` says, and the rest of its scores is their own. The trial
with the best AUC is chosen. What is known of it is held against its true AUC, over many repeats:

- naive: the AUC that it was chosen by, with DeLong's interval;
- ours: `selection.correction`;
- with --bootstrap, too: choosing on bootstrap samples and scoring out of them, with our interval.

With --packs, a pack is chosen instead (`selection.pack_correction`) of trials whose true AUCs are
spread about 0.7, and the last columns tell how the gain on the best single trial holds.

With --few, there is one model: of few files, of many more of one class, or of 20 epochs that
learned nothing, of which the best is taken.

True AUCs are equal; spread (normal, a standard deviation of 0.12 in the distance of the classes,
which is 0.03 of an AUC of 0.7); or equal but for one, which is ahead by 0.2 of that distance (0.05
of an AUC of 0.7, 0.003 of one of 0.99). With copies, samples come in threes, whose scores are
correlated by 0.9 beyond their class; ours is told so, DeLong's interval cannot be.

A cell holds where the bias is at most 0.01 and the interval covers the truth in 93% to 98% of the
repeats. 500 repeats tell a coverage of 95% to +-1.9% (95%), so that a few cells miss by chance.
"""

import argparse
import itertools
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import get_args

import numpy as np
from scipy.stats import norm

from tests.benchmarks.selection.cells import Cell, Held, cells, distances, draw, seed_of
from tests.benchmarks.selection.few import FEW_TITLES, few_cells, few_row, measure_few
from tests.benchmarks.selection.packs import measure_packs, pack_cells, pack_row
from workbench.selection.choosing import SliceScores, kinds_of_groups
from workbench.selection.correction import correct
from workbench.selection.joining import JointName
from workbench.selection.weighted import weighted_auc
from workbench.trial.delong import Z95, auc
from workbench.trial.recipe import Objective

AUC = Objective(metric="auc")
DIVISIONS = 12
"""Into thirds, of a repeat: chance in 36 choices adds little to what chance does to a sample."""

BAGS = 36


def bootstrap(one: SliceScores, rng: np.random.Generator) -> float:
    """Return the mean AUC out of bootstrap samples of the trials that are the best on them."""
    kinds = kinds_of_groups([one])
    times = np.zeros((len(kinds), BAGS), np.float32)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        times[members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), BAGS
        ).T
    bags = times[one.groups]
    inside = np.stack([weighted_auc(one.targets, row, bags) for row in one.scores])
    chosen, found = inside.argmax(axis=0), np.empty(BAGS)
    for trial in np.unique(chosen):
        places = np.flatnonzero(chosen == trial)
        out = (bags[:, places] == 0).astype(np.float64)
        found[places] = weighted_auc(one.targets, one.scores[trial], out)
    return float(found.mean())


def measure(cell: Cell, repeats: int, with_bootstrap: bool) -> dict[str, Held]:
    """Return how each kind of value holds in a cell."""
    rng = np.random.default_rng(seed_of(cell))
    errors: dict[str, list[tuple[float, bool, float]]] = {"naive": [], "ours": []}
    for _ in range(repeats):
        of_trials = distances(cell, rng)
        one = draw(cell, of_trials, rng)
        ours = correct([one], AUC, divisions=DIVISIONS, seed=int(rng.integers(2**31)))
        assert ours is not None
        truth = float(norm.cdf(of_trials[ours.trial] / math.sqrt(2)))
        naive = auc(one.targets, one.scores[ours.trial])
        reach = Z95 * (naive.standard_error or 0)
        errors["naive"].append((naive.value - truth, abs(naive.value - truth) <= reach, 2 * reach))
        errors["ours"].append(
            (ours.value - truth, ours.low <= truth <= ours.high, ours.high - ours.low)
        )
        if with_bootstrap:
            value = bootstrap(one, rng)
            low, high = ours.low + value - ours.value, ours.high + value - ours.value
            errors.setdefault("bootstrap", []).append(
                (value - truth, low <= truth <= high, high - low)
            )
    return {name: Held(*np.mean(found, axis=0).tolist()) for name, found in errors.items()}


def _row(cell: Cell, found: dict[str, Held]) -> str:
    words = (
        f"{cell.samples}+{cell.samples}{' in threes' if cell.copies else ''}",
        f"{cell.trials}",
        f"{cell.correlation}",
        cell.truths,
        f"{cell.auc}",
        *(f"{held.bias:+.4f} | {held.coverage:.3f} | {held.width:.3f}" for held in found.values()),
        "" if found["ours"].is_good else "misses",
    )
    return f"| {' | '.join(words)} |"


def _print_packs(options: argparse.Namespace) -> None:
    """Print a row for each cell as it ends."""
    titles = " | ".join(f"{name}: bias | covers | width" for name in ("naive", "ours", "gain"))
    print(
        f"| samples | trials | correlation | true gain | {titles} | |\n{'| --- ' * 14}|", flush=True
    )
    wanted = [
        cell
        for cell in pack_cells()
        if options.samples in (None, cell.samples) and options.trials in (None, cell.trials)
    ]
    repeats = itertools.repeat(options.repeats or 100)
    with ProcessPoolExecutor(options.processes) as pool:
        done = pool.map(measure_packs, wanted, repeats, itertools.repeat(options.joint))
        for cell, found in zip(wanted, done, strict=True):
            print(pack_row(cell, found), flush=True)


def _print_few(options: argparse.Namespace) -> None:
    """Print a row for each cell as it ends."""
    print(f"| {' | '.join(FEW_TITLES)} |\n{'| --- ' * len(FEW_TITLES)}|", flush=True)
    for cell in few_cells():
        print(few_row(cell, measure_few(cell, options.repeats or 1000)), flush=True)


def main() -> None:
    """Print a row for each cell as it ends, and then which missed."""
    parser = argparse.ArgumentParser(description="How well the value of a chosen trial holds.")
    parser.add_argument("--quick", action="store_true", help="Fewer cells, and 100 repeats.")
    parser.add_argument("--samples", type=int, help="Only cells of so many of a class.")
    parser.add_argument("--trials", type=int, help="Only cells of so many trials.")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--bootstrap", action="store_true")
    parser.add_argument("--packs", action="store_true")
    parser.add_argument("--few", action="store_true", help="One model: few files, many epochs.")
    parser.add_argument("--joint", choices=get_args(JointName), default="mean")
    options = parser.parse_args()
    if options.packs or options.few:
        (_print_packs if options.packs else _print_few)(options)
        return
    repeats = options.repeats or (100 if options.quick else 500)
    names = ["naive", "ours", *(["bootstrap"] if options.bootstrap else [])]
    titles = " | ".join(f"{name}: bias | covers | width" for name in names)
    print(f"| samples | trials | correlation | true AUCs | AUC | {titles} | |")
    print("| --- " * (6 + 3 * len(names)) + "|", flush=True)
    begun = time.perf_counter()
    all_cells = [
        cell
        for cell in cells(options.quick)
        if options.samples in (None, cell.samples) and options.trials in (None, cell.trials)
    ]
    good = dict.fromkeys(names, 0)
    with ProcessPoolExecutor(options.processes) as pool:
        done = pool.map(
            measure,
            all_cells,
            itertools.repeat(repeats),
            itertools.repeat(options.bootstrap),
        )
        for cell, found in zip(all_cells, done, strict=True):
            print(_row(cell, found), flush=True)
            for name in names:
                good[name] += found[name].is_good
    counts = ", ".join(f"{name} {count}" for name, count in good.items())
    minutes = (time.perf_counter() - begun) / 60
    print(
        f"\nCells that hold, of {len(all_cells)}: {counts}. {repeats} repeats, {minutes:.0f} min."
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
