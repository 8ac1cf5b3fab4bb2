"""Cells of a single model: classes of few or uneven files, and the best of several epochs."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from workbench.selection.choosing import SliceScores
from workbench.selection.correction import correct
from workbench.trial.delong import Z95, auc
from workbench.trial.recipe import Objective

FEW_TITLES = (
    *("files", "AUC", "epochs", "DeLong covers", "model covers", "trial covers"),
    *("trial excludes 0.5", "highest end"),
)
"""Of the columns of `few_row`."""


class FewCell(NamedTuple):
    """A model, and the files that it is measured on."""

    fakes: int
    reals: int
    auc: float
    epochs: int = 1
    """The best of so many is taken."""

    correlation: float = 1.0
    """Of what epochs say of a file beyond its class."""


class Told(NamedTuple):
    """How intervals held, over the repeats of a cell; shares of them."""

    naive: float
    """Held the true AUC: so many of DeLong's standard errors to each side."""

    of_model: float
    """The same of `delong.auc`, which `train`, `score` and `audit` print."""

    of_trial: float
    """The same of `correction.correct`, of a study of this one trial."""

    excludes_half: float
    """Intervals of the trial that leave 0.5 out."""

    highest: float
    """End of any interval of the model or the trial."""


def few_cells() -> list[FewCell]:
    """Return the cells: those with few files first, then those of epochs that learned nothing."""
    few = [(3, 3, 0.8), (3, 100, 0.8), (6, 6, 0.95), (10, 1000, 0.98), (75, 75, 0.78)]
    epochs = [(0.0, 20), (0.3, 20), (0.6, 20), (0.9, 20), (0.6, 4), (0.9, 4)]
    return [
        *(FewCell(*cell) for cell in few),
        *(FewCell(75, 75, 0.5, num, correlation) for correlation, num in epochs),
    ]


def measure_few(cell: FewCell, repeats: int) -> Told:
    """Return how the intervals of a cell's model hold."""
    rng = np.random.default_rng([cell.fakes, cell.reals, cell.epochs, int(100 * cell.correlation)])
    targets = np.repeat([1, 0], [cell.fakes, cell.reals])
    apart = math.sqrt(2) * float(norm.ppf(cell.auc))
    shared, own = math.sqrt(cell.correlation), math.sqrt(1 - cell.correlation)
    held = []
    for _ in range(repeats):
        noise = shared * rng.standard_normal(len(targets))
        each = noise + own * rng.standard_normal((cell.epochs, len(targets))) + apart * targets
        best = max(each, key=lambda scores: auc(targets, scores).value)
        model = auc(targets, best)
        assert model.low is not None and model.high is not None
        one = SliceScores(targets=targets, scores=best[None], groups=np.arange(len(targets)))
        trial = correct([one], Objective(metric="auc"), divisions=1)
        assert trial is not None
        reach = Z95 * (model.standard_error or 0)
        held.append(
            (
                abs(model.value - cell.auc) <= reach,
                model.low <= cell.auc <= model.high,
                trial.low <= cell.auc <= trial.high,
                not trial.low <= 0.5 <= trial.high,
                max(model.high, trial.high),
            )
        )
    ends = np.array(held, np.float64)
    naive, of_model, of_trial, excludes_half = ends[:, :4].mean(axis=0).tolist()
    return Told(naive, of_model, of_trial, excludes_half, float(ends[:, 4].max()))


def few_row(cell: FewCell, told: Told) -> str:
    """Return a row of the table of `python -m tests.benchmarks.selection --few`."""
    epochs = f"{cell.epochs} at {cell.correlation}" if cell.epochs > 1 else "1"
    values = (told.naive, told.of_model, told.of_trial, told.excludes_half)
    shares = [f"{value:.3f}" for value in values]
    words = [f"{cell.fakes}+{cell.reals}", f"{cell.auc}", epochs, *shares, f"{told.highest:.6f}"]
    return f"| {' | '.join(words)} |"
