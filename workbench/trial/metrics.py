"""The metrics of binary scores: 1 is fake, a score is the probability of it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score, roc_curve

from workbench.errors import WorkbenchError
from workbench.trial.recipe import MetricName, Objective


class DivergedError(WorkbenchError):
    """The loss or a score is no number any more."""


def require_numbers(scores: npt.NDArray[np.float64]) -> None:
    """Raise DivergedError unless every score is a number."""
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise DivergedError(
            f"{bad} of {len(scores)} scores are NaN or infinite: the weights have "
            "diverged, so the learning rate is too high for this model"
        )


def binary_metrics(targets: npt.ArrayLike, scores: npt.ArrayLike) -> dict[MetricName, float]:
    """Return every metric of `scores` in [0, 1] against `targets` of 0 and 1, each (samples,).

    Recall and TPR are one number under its two names. Precision without a positive call is 0.

    Raises:
        ValueError: the two differ in length, a score is not in [0, 1], or one class is absent.
    """
    y, p = np.asarray(targets, np.int64), np.asarray(scores, np.float64)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError(f"targets {y.shape} and scores {p.shape} must be two equal rows")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"scores must be in [0, 1]: they reach from {p.min()} to {p.max()}")
    if not 0 < y.sum() < len(y):
        raise ValueError(f"both classes are needed: {y.sum()} of {len(y)} targets are 1")
    at_half = _at(y, p >= 0.5)
    thresholds = np.unique(p)
    calls = len(p) - np.searchsorted(np.sort(p), thresholds)
    hits = y.sum() - np.searchsorted(np.sort(p[y == 1]), thresholds)
    # A quotient of counts: equal ones are the same bits, and the lowest threshold of those is it.
    threshold = float(thresholds[(2 * hits / (calls + y.sum())).argmax()])
    at_best = _at(y, p >= threshold)
    # Every point: of points in line, roc_curve drops those between, which a limit may fall on.
    fprs, tprs, _ = roc_curve(y, p, drop_intermediate=False)
    return {
        "auc": float(roc_auc_score(y, p)),
        "log_loss": float(log_loss(y, np.clip(p, 1e-15, 1 - 1e-15))),
        **at_half,
        "best_f1": at_best["f1"],
        "best_f1_threshold": threshold,
        "best_f1_accuracy": at_best["accuracy"],
        "best_f1_precision": at_best["precision"],
        "best_f1_recall": at_best["recall"],
        "best_f1_fpr": at_best["fpr"],
        "tpr_at_fpr_1e-2": float(tprs[fprs <= 1e-2].max()),
        "tpr_at_fpr_1e-3": float(tprs[fprs <= 1e-3].max()),
    }


def objective_metrics(
    objective: Objective, scored: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]
) -> dict[MetricName, float]:
    """Return every metric over the slices of an objective; its own is the objective's value.

    Args:
        objective: What is measured.
        scored: Targets and scores of each slice, by its name; of others, too.

    Raises:
        ValueError: as `binary_metrics`.
    """
    names = objective.slices_among(scored)
    return objective.aggregated({name: binary_metrics(*scored[name]) for name in names})


def metrics_by_slice(scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return every metric on each slice that has labels, by its name.

    Args:
        scores: Rows of a scores file; see `result.TrialFolder.write_scores`.
    """
    labelled = scores[scores["target"] >= 0]
    return {
        str(name): {str(m): v for m, v in binary_metrics(rows["target"], rows["score"]).items()}
        for name, rows in labelled.groupby("slice", sort=False)
    }


def _at(y: npt.NDArray[np.int64], called: npt.NDArray[np.bool_]) -> dict[MetricName, float]:
    """Return the metrics of hard calls."""
    tp = int((called & (y == 1)).sum())
    fp = int((called & (y == 0)).sum())
    fn, tn = int((y == 1).sum()) - tp, int((y == 0).sum()) - fp
    tpr = tp / (tp + fn)
    return {
        "f1": 2 * tp / (2 * tp + fp + fn),
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tpr,
        "tpr": tpr,
        "fpr": fp / (fp + tn),
        "accuracy": (tp + tn) / len(y),
    }
