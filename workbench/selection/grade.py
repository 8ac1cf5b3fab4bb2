"""Predictions held against labels that no search has seen."""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.console import say
from workbench.data.delimited import shown_cell
from workbench.data.labels import read_labels, read_template, without_repeats
from workbench.data.names import match, spelled
from workbench.data.targets import turned_by_names
from workbench.errors import DataError
from workbench.tables import counted
from workbench.trial.delong import Estimate, auc
from workbench.trial.metrics import binary_metrics
from workbench.values import Frozen


class Grade(Frozen):
    """What predictions are worth on labelled files."""

    num_files: int
    metrics: dict[str, float]
    auc_standard_error: float | None
    """DeLong."""

    auc_low: float | None
    auc_high: float | None
    """The ends of the 95% interval of the AUC, each file taken for itself."""

    num_reals: int


def grade(predictions: Path, labels: Path) -> Grade:
    """Return the metrics of a filled prediction template against a label file.

    How the two were read, where they are not as the competitions write them, is said on stderr.

    Args:
        predictions: A CSV file with a name column and a score column, `y_pred` or `score`.
        labels: A label file; other columns than name and target are ignored.

    Raises:
        DataError: a labelled file has no prediction or several that differ, or a score is not a
            number in [0, 1].
    """
    filled = read_template(predictions)
    scores = pd.DataFrame(
        {
            "name": filled.names,
            "file": filled.names.map(spelled),  # `a.mp4` and `./a.mp4` are one
            "score": pd.to_numeric(filled.table[filled.score_column], errors="coerce"),
        }
    ).drop_duplicates(["file", "score"])
    wrong = scores[~scores["score"].between(0, 1)]
    if len(wrong):
        raise DataError(
            f"{predictions}: the score of {shown_cell(wrong['name'].iloc[0])} is not a number in "
            f"[0, 1] ({len(wrong)} such rows). Fill every row."
        )
    read = read_labels(labels)
    found = match(read.table["cell"], set(scores["name"]), where=str(labels))
    for line in (read.understood, filled.understood, *found.said):
        if line:
            say(line)
    cells = zip(read.table["cell"], read.table["name"], strict=True)
    named = read.table.assign(file=[spelled(found.files.get(cell, name)) for cell, name in cells])
    both = without_repeats(named, "file", labels)[0].merge(
        scores[["file", "score"]], on="file", how="left"
    )
    if both["score"].isna().any():
        lost = both.loc[both["score"].isna(), "file"]
        raise DataError(
            f"{predictions} has no score for {shown_cell(lost.iloc[0])} ({len(lost)} labelled "
            "files lack one). Labels and predictions must be of the same files."
        )
    if both["file"].duplicated().any():
        twice = both.loc[both["file"].duplicated(), "file"].iloc[0]
        raise DataError(f"{predictions} gives {shown_cell(twice)} two scores. Keep one.")
    labelled = set(both["file"])
    bare = [name for name in dict.fromkeys(scores["file"]) if name not in labelled]
    if bare:
        say(f"{counted(len(bare), 'score')} without a label left out, e.g. {shown_cell(bare[0])}")
    targets, values = both["target"].to_numpy(), both["score"].to_numpy(np.float64)
    if len(set(targets)) < 2:
        raise DataError(f"{labels} holds one class only ({targets[0]}): nothing can be ranked.")
    if turned := turned_by_names(both["file"].tolist(), targets.tolist()):
        say(f"warning: {turned}. A label is 1 for a fake, 0 for a real file.")
    estimate: Estimate = auc(targets, values)
    metrics = {str(name): value for name, value in binary_metrics(targets, values).items()}
    return Grade(
        num_files=len(both),
        metrics=metrics,
        auc_standard_error=estimate.standard_error,
        auc_low=estimate.low,
        auc_high=estimate.high,
        num_reals=int((targets == 0).sum()),
    )


def describe_grade(graded: Grade) -> str:
    """Return the grade in a few lines for a terminal."""
    m, within, limit = graded.metrics, "", "at FPR 0.01"
    if graded.auc_low is not None and graded.auc_high is not None:
        within = f" ({graded.auc_low:.3f} to {graded.auc_high:.3f}, 95%)"
    if graded.num_reals < 100:
        limit = "without a false positive (under 100 real files can show no FPR of 0.01)"
    return (
        f"AUC {m['auc']:.4f}{within} on {graded.num_files} files\n"
        f"log-loss {m['log_loss']:.4f}, F1 {m['f1']:.4f}, TPR {m['tpr']:.4f}, "
        f"FPR {m['fpr']:.4f} at 0.5; TPR {m['tpr_at_fpr_1e-2']:.4f} {limit}"
    )
