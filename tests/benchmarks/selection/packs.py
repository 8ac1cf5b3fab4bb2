"""Whether the value that a chosen pack is said to have holds, and that of its gain."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import norm

from tests.benchmarks.selection.cells import Cell, Held, distances, draw, seed_of
from workbench.parts.joint import LinearOfLogits
from workbench.selection.choosing import SliceScores
from workbench.selection.joining import JointName, joined
from workbench.selection.pack_choice import ChosenPack
from workbench.selection.pack_correction import correct_pack
from workbench.selection.pack_limits import MemberCost
from workbench.trial.delong import Z95, auc
from workbench.trial.recipe import Objective

AUC = Objective(metric="auc")
DIVISIONS = 5
NEW_SAMPLES = 20_000
"""Of each class, for the true AUC of a mean of probabilities: it is off by 0.003."""

Floats = npt.NDArray[np.float64]


def pack_cells() -> Iterator[Cell]:
    """Yield the cells."""
    for samples, trials, correlation in product((75, 200), (10, 40), (0.3, 0.6, 0.9)):
        yield Cell(False, samples, trials, correlation, "spread", 0.7)


def measure_packs(cell: Cell, repeats: int, joint: JointName) -> dict[str, Held]:
    """Return how each kind of value holds in a cell."""
    rng = np.random.default_rng(seed_of(cell))
    errors: dict[str, list[tuple[float, bool, float]]] = {}
    gains = []
    for _ in range(repeats):
        of_trials = distances(cell, rng)
        one = _probabilities(draw(cell, of_trials, rng), of_trials)
        found = correct_pack(
            [one],
            AUC,
            [MemberCost(1)] * cell.trials,
            joint=joint,
            divisions=DIVISIONS,
            seed=int(rng.integers(2**31)),
        )
        assert found is not None
        of_pack, of_trial = _truths(cell, of_trials, found.pack, found.trial, rng)
        naive = auc(one.targets, found.pack.scores(one))
        reach = Z95 * (naive.standard_error or 0)
        for name, value, low, high, truth in (
            ("naive", naive.value, naive.value - reach, naive.value + reach, of_pack),
            ("ours", found.of_pack.value, found.of_pack.low, found.of_pack.high, of_pack),
            ("gain", found.gain, found.gain_low, found.gain_high, of_pack - of_trial),
        ):
            row = (value - truth, low <= truth <= high, high - low)
            errors.setdefault(name, []).append(row)
        gains.append(of_pack - of_trial)
    held = {name: Held(*np.mean(rows, axis=0).tolist()) for name, rows in errors.items()}
    return held | {"true gain": Held(float(np.mean(gains)), 1.0, 0.0)}


def _probabilities(one: SliceScores, of_trials: Floats) -> SliceScores:
    """Return binormal scores as probabilities; half way between the classes is 0.5."""
    return SliceScores(one.targets, expit(one.scores - of_trials[:, None] / 2), one.groups)


def _truths(
    cell: Cell, of_trials: Floats, pack: ChosenPack, trial: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the true AUCs of a pack and of a trial."""
    of_trial = float(norm.cdf(of_trials[trial] / math.sqrt(2)))
    weights, of_members = np.array(pack.joint.weights), of_trials[list(pack.members)]
    if isinstance(pack.joint, LinearOfLogits):
        # A weighted sum of normal scores is normal.
        shared, own = cell.correlation, 1 - cell.correlation
        variance = shared * weights.sum() ** 2 + own * (weights**2).sum()
        return float(norm.cdf(weights @ of_members / math.sqrt(2 * variance))), of_trial
    new = cell._replace(samples=NEW_SAMPLES, trials=len(of_members))
    one = _probabilities(draw(new, of_members, rng), of_members)
    return auc(one.targets, joined(pack.joint, one.scores)).value, of_trial


def pack_row(cell: Cell, found: dict[str, Held]) -> str:
    """Return a cell as a line of a table."""
    shown = [found[name] for name in ("naive", "ours", "gain")]
    words = (
        f"{cell.samples}+{cell.samples}",
        f"{cell.trials}",
        f"{cell.correlation}",
        f"{found['true gain'].bias:+.4f}",
        *(f"{held.bias:+.4f} | {held.coverage:.3f} | {held.width:.3f}" for held in shown),
        "" if found["ours"].is_good and found["gain"].is_good else "misses",
    )
    return f"| {' | '.join(words)} |"
