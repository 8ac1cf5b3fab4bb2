"""What each way of choosing a trial is worth on the test files of studies that were searched.

python -m tests.benchmarks.regret STUDY_FOLDER TEST_LABELS [STUDY_FOLDER TEST_LABELS ...]

STUDY_FOLDER is a searched study whose trials were drawn by chance and trained whole
(`sampler: {kind: random}`, `pruning: {kind: none}`), so that any few of its trials are a study of
their own. TEST_LABELS is a table of the names and targets of its test files; nothing is chosen by
it, it says what a choice was worth.

From each study 300 smaller ones of 20 trials are drawn. A row is a way to choose: the mean test AUC
of what it chose, and the regret, which is how far that is below the best test AUC of the 20. The
standard error of the mean over the small studies says how exactly this table knows the regret of
this one set of trainings; it says nothing of other data.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.labels import read_labels
from workbench.scoring.slices import TEST
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective

NUM_STUDIES, NUM_TRIALS = 300, 20

AGGREGATES = ("mean", "worst", "lowest-quartile")


class Table(NamedTuple):
    """The AUCs of every training of a study."""

    by_slice: pd.DataFrame
    """A row a trial, a column a labelled slice."""

    test: npt.NDArray[np.float64]
    """A trial's, on the test files."""


class Choice(NamedTuple):
    """What a way to choose was worth."""

    name: str
    test_auc: float
    regret: float
    regret_error: float
    """One standard error of the mean."""


def read_table(path: Path, test_labels: Path) -> Table:
    """Return the AUCs of the complete trials of the study in `path`."""
    folder = StudyFolder(path)
    labels = read_labels(test_labels).table.set_index("name")["target"]
    rows, test = [], []
    for row in read_trials(folder):
        if row.state != "complete":
            continue
        scores = folder.trial(row.recipe).read_scores()
        of_test = scores[scores["slice"] == TEST]
        targets = labels.reindex(of_test["name"])
        if targets.isna().any():
            raise SystemExit(f"{test_labels} has no label of {targets.index[targets.isna()][0]}")
        test.append(auc(targets.to_numpy(np.int64), of_test["score"]).value)
        labelled = scores[scores["slice"] != TEST]
        rows.append(
            {
                str(name): auc(part["target"], part["score"]).value
                for name, part in labelled.groupby("slice")
            }
        )
    return Table(pd.DataFrame(rows), np.array(test))


def ways(table: Table) -> dict[str, npt.NDArray[np.float64]]:
    """Return what each way to choose ranks the trials by, by its name; the greatest is chosen."""
    columns = [str(name) for name in table.by_slice.columns]
    families = sorted({name.partition(".")[0] for name in columns})
    found = {"val": table.by_slice["val"].to_numpy()}
    groups: list[tuple[str, ...]] = [(family,) for family in families if family != "val"]
    groups += [("val", family) for family in families if family != "val"]
    groups += [tuple(families)] if len(families) > 2 else []
    for group in groups:
        names = [name for name in columns if name.partition(".")[0] in group]
        for aggregate in AGGREGATES:
            over = Objective.model_validate({"over": names, "aggregate": aggregate})
            found[f"{aggregate} of {', '.join(group)}"] = np.array(
                [
                    over.aggregated({name: {"auc": row[name]} for name in names})["auc"]
                    for row in table.by_slice.to_dict("records")
                ]
            )
    return found


def choices(
    table: Table, ranked_by: Mapping[str, npt.NDArray[np.float64]], *, seed: int = 0
) -> list[Choice]:
    """Return what each way to choose was worth over small studies, the same ones for all."""
    draws = np.random.default_rng(seed)
    size = min(NUM_TRIALS, len(table.test))
    studies = np.array(
        [draws.choice(len(table.test), size, replace=False) for _ in range(NUM_STUDIES)]
    )
    best = table.test[studies].max(axis=1)
    found = []
    for name, values in ranked_by.items():
        chosen = studies[np.arange(NUM_STUDIES), values[studies].argmax(axis=1)]
        regret = best - table.test[chosen]
        error = regret.std(ddof=1) / np.sqrt(NUM_STUDIES)
        found.append(Choice(name, table.test[chosen].mean(), regret.mean(), float(error)))
    return found


def main() -> None:
    """Print a table for each study, and the mean regret over all of them."""
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths or len(paths) % 2:
        raise SystemExit(__doc__)
    regrets = []
    for study, labels in zip(paths[::2], paths[1::2], strict=True):
        table = read_table(study, labels)
        found = choices(table, ways(table))
        best = table.test.max()
        print(f"\n{study.name}: {len(table.test)} trainings, the best has test AUC {best:.4f}")
        print("| chosen by | test AUC | regret | error |\n| --- | --- | --- | --- |")
        for way in found:
            print(
                f"| {way.name} | {way.test_auc:.4f} | {way.regret:.4f} | {way.regret_error:.4f} |"
            )
        regrets.append({way.name: way.regret for way in found})
    if len(regrets) > 1:
        print("\nMean regret over the studies that have the slices:")
        print(pd.DataFrame(regrets).mean().sort_values().to_string(float_format="%.4f"))


if __name__ == "__main__":
    main()
