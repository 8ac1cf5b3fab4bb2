"""A trial that reads one generator's trace alone: best of `val`, and nobody's choice by slices."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.selection.studies import MEL, MadeStudy
from workbench.data.metadata import Metadata, column_of
from workbench.data.prepare import Prepared
from workbench.scoring.slices import Slice, labelled_slices
from workbench.selection.leaderboard import objective_of
from workbench.selection.promotion import choose_trial
from workbench.study.scored import read_scored_trials
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective

MADE_BY = [""] * 60 + ["gan"] * 80 + ["tts"] * 15
"""Of 60 real files and 95 fakes; most are of one generator."""

TARGETS = [0] * 60 + [1] * 95
NAMES = [f"clip{number:05d}.mp4" for number in range(155)]


def slices_by_generator() -> dict[str, list[int]]:
    """Return which files the slices of the two generators have, as a search would make them."""
    columns: dict[str, Any] = {"split": "val", "name": NAMES, "target": TARGETS, "row.mel": 1}
    table = pd.DataFrame({**columns, column_of("generator"): MADE_BY})
    data = Prepared(table, {"mel": MEL}, {}, "made", metadata=Metadata())
    parts: list[Slice] = labelled_slices(data, ["generators"])
    return {part.name: [NAMES.index(name) for name in part.rows["name"]] for part in parts}


def honest() -> list[float]:
    """Return scores that part all fakes from the reals alike, and not wholly."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=155) + 1.5 * np.array(TARGETS)
    return [float(score) for score in 1 / (1 + np.exp(-logits))]


def cheat() -> list[float]:
    """Return scores that know one generator's trace, and guess of every other file."""
    guess = np.random.default_rng(1).uniform(0.1, 0.5, 155)
    return [
        0.99 if made_by == "gan" else float(g) for made_by, g in zip(MADE_BY, guess, strict=True)
    ]


@pytest.mark.parametrize(
    ("objective", "chosen"),
    [
        (Objective(), "cheat"),
        (Objective(over=("val", "generators"), aggregate="worst"), "honest"),
        (Objective(over=("val", "generators"), aggregate="lowest-quartile"), "honest"),
    ],
)
def test_a_trial_that_reads_one_generator_is_the_best_of_val_and_not_of_the_worst_slice(
    tmp_path: Path, objective: Objective, chosen: str
) -> None:
    slices = slices_by_generator()
    assert set(slices) == {"generators.gan", "generators.tts"}
    study = MadeStudy(tmp_path, objective=objective)
    recipes = {
        name: study.add(TARGETS, scores, slices=slices).uid
        for name, scores in (("honest", honest()), ("cheat", cheat()))
    }
    best = choose_trial(read_scored_trials(study.folder), objective)
    assert best.recipe == recipes[chosen]
    if chosen == "honest":
        of_cheat = np.array(cheat())[slices["generators.tts"]]
        targets = np.array(TARGETS)[slices["generators.tts"]]
        assert objective_of(best) > binary_metrics(targets, of_cheat)["auc"] + 0.2
