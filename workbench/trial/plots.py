"""The two pictures of a finished trial: ROC and precision-recall curve, for its MLflow run."""

from pathlib import Path

import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from workbench.files import finished


def write_roc(targets: npt.ArrayLike, scores: npt.ArrayLike, path: Path) -> None:
    """Write the ROC curve of `scores` against `targets` (1 is fake) as a PNG."""
    fpr, tpr, _ = roc_curve(targets, scores)
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.plot(fpr, tpr, color="tab:blue")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.set_title(f"ROC, AUC {auc(fpr, tpr):.4f}")
    _write(figure, path)


def write_pr(targets: npt.ArrayLike, scores: npt.ArrayLike, path: Path) -> None:
    """Write the precision-recall curve of `scores` against `targets` (1 is fake) as a PNG."""
    precision, recall, _ = precision_recall_curve(targets, scores)
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.step(recall, precision, where="post", color="tab:blue")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    axes.set_title(f"Precision-recall, AP {average_precision_score(targets, scores):.4f}")
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    axes = figure.axes[0]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    FigureCanvasAgg(figure)
    with finished(path) as part:
        figure.savefig(part, dpi=110)
