"""The fit of a head on features: what scikit-learn finds, as the tensors of the head's module."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from workbench.data.fake_parts import completed
from workbench.parts.fitted_heads import LogisticHead
from workbench.parts.methods import (
    AnyFit,
    GradientBoosting,
    LogisticRegression,
    NoisyOrRegression,
)

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Parts = npt.NDArray[np.float64]

MOST_STEPS = 5000
"""Of L-BFGS; from there on a regression counts as fitted."""


def fit_head(
    fit: AnyFit,
    features: Rows,
    targets: Labels,
    *,
    widths: Sequence[int],
    are_sounds: Sequence[bool],
    fake_parts: Parts,
    balanced: bool,
    seed: int,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """Return the state of the head that `fit` finds.

    Args:
        fit: The settings.
        features: (samples, features), of all views end to end.
        targets: (samples,), 1 is fake; both classes are there.
        widths: The number of features of each view.
        are_sounds: Whether each view is one of the sound.
        fake_parts: (samples, 2), whether the sound and the picture are fake, NaN where that is not
            known; what a target says is known without.
        balanced: Whether both classes weigh the same; else every sample does.
        seed: Of what is drawn.
        step: Called after every tree.
    """
    with threadpool_limits(torch.get_num_threads()):
        match fit:
            case LogisticRegression():
                return _fit_line(fit, features, targets, widths=widths, balanced=balanced)
            case GradientBoosting():
                return _fit_trees(fit, features, targets, balanced=balanced, seed=seed, step=step)
            case NoisyOrRegression():
                of_sound = np.repeat(are_sounds, widths)
                parts = completed(fake_parts, targets)
                weights = _weights(targets, balanced)
                return _fit_noisy_or(fit, features, parts, weights, widths, of_sound)
            case _:
                assert_never(fit)


def _fit_line(
    fit: LogisticRegression,
    features: Rows,
    targets: Labels,
    *,
    widths: Sequence[int],
    balanced: bool,
) -> dict[str, Tensor]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression as Line

    rows = features.astype(np.float64)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale < 1e-6] = 1  # a feature that never moves says nothing
    if fit.even_views:
        # As much variance together as without, so that `c` means about the same.
        share = features.shape[1] / len(widths)
        scale /= np.repeat([np.sqrt(share / width) for width in widths], widths)
    line = Line(
        C=fit.c,
        tol=1e-6,
        max_iter=MOST_STEPS,
        class_weight="balanced" if balanced else None,
    )
    rows -= mean
    rows /= scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below
        line.fit(rows, targets)
    if line.n_iter_[0] >= MOST_STEPS:
        print(f"the regression has not converged after {MOST_STEPS} steps: `c` {fit.c:g} is large")
    head = LogisticHead().build(features.shape[1])
    state: dict[str, Any] = {
        "mean": mean,
        "scale": scale,
        "linear.weight": line.coef_,
        "linear.bias": line.intercept_,
    }
    return _state_of(head, state)


def _fit_noisy_or(
    fit: NoisyOrRegression,
    features: Rows,
    parts: Parts,
    weights: npt.NDArray[np.float64],
    widths: Sequence[int],
    of_sound: npt.NDArray[np.bool_],
) -> dict[str, Tensor]:
    from scipy.optimize import minimize
    from scipy.special import expit

    rows = features.astype(np.float64)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale < 1e-6] = 1
    scale *= np.repeat([np.sqrt(width) for width in widths], widths)
    rows = (rows - mean) / scale
    own = np.stack([of_sound, ~of_sound])
    penalty = 1 / np.array([[fit.sound_c], [fit.picture_c]])
    is_known, both = ~np.isnan(parts), np.isnan(parts).all(axis=1)
    fake = np.nan_to_num(parts)

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """Return the penalised log-loss of weights and biases, and how it changes with them."""
        line = flat.reshape(2, -1)
        odds = rows @ line[:, :-1].T + line[:, -1]
        soft = np.logaddexp(0, odds)
        neither = soft.sum(axis=1)
        each = np.where(is_known, soft - fake * odds, 0).sum(axis=1)
        each[both] = -np.log(-np.expm1(-neither[both]))
        change = np.where(is_known, expit(odds) - fake, 0)
        change[both] = -expit(odds[both]) / np.expm1(neither[both])[:, None]
        change *= weights[:, None]
        slope = np.column_stack([change.T @ rows * own + penalty * line[:, :-1], change.sum(0)])
        held = (penalty * line[:, :-1] ** 2).sum() / 2
        return float(weights @ each + held), slope.ravel()

    start = np.zeros(2 * (rows.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS})
    if not found.success:
        print(f"the noisy-or has not converged: {found.message}")
    line = found.x.reshape(2, -1)
    state = {
        "mean": mean,
        "scale": scale,
        "linear.weight": line[:, :-1],
        "linear.bias": line[:, -1],
    }
    return _state_of(fit.head.build(rows.shape[1]), state)


def _weights(targets: Labels, balanced: bool) -> npt.NDArray[np.float64]:
    """Return the weight of each sample; both classes weigh the same together if `balanced`."""
    count = np.bincount(targets, minlength=2)
    return len(targets) / (2 * count[targets]) if balanced else np.ones(len(targets))


def _fit_trees(
    fit: GradientBoosting,
    features: Rows,
    targets: Labels,
    *,
    balanced: bool,
    seed: int,
    step: Callable[[], None],
) -> dict[str, Tensor]:
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.utils.class_weight import compute_sample_weight

    def after_tree(*_: object) -> bool:
        step()
        return False  # go on

    boosting = GradientBoostingClassifier(
        n_estimators=fit.num_trees,
        max_depth=fit.depth,
        learning_rate=fit.learning_rate,
        min_samples_leaf=fit.leaf_samples,
        max_features=fit.feature_share,
        subsample=fit.sample_share,
        random_state=seed,
    )
    weights = compute_sample_weight("balanced", targets) if balanced else None
    boosting.fit(features, targets, sample_weight=weights, monitor=after_tree)
    head = fit.head.build(features.shape[1])
    nodes, leaves = 2**fit.depth - 1, 2**fit.depth
    split = np.zeros((fit.num_trees, nodes), np.int64)
    thresholds = np.full((fit.num_trees, nodes), np.inf)
    values = np.zeros((fit.num_trees, leaves))
    for number, tree in enumerate(boosting.estimators_[:, 0]):
        _lay_out(tree.tree_, split[number], thresholds[number], values[number])
    _, prior = boosting.init_.class_prior_
    state = {
        "features": split,
        "thresholds": _rounded_down(thresholds),
        "leaves": fit.learning_rate * values,
        "constant": np.log(prior / (1 - prior)),
    }
    return _state_of(head, state)


def _lay_out(
    tree: Any, split: npt.NDArray[Any], thresholds: npt.NDArray[Any], values: npt.NDArray[Any]
) -> None:
    """Write scikit-learn's tree as a complete one; see `fitted_heads.BoostedTrees`."""
    num_nodes = len(split)
    waiting = [(0, 0)]
    while waiting:
        theirs, ours = waiting.pop()
        is_leaf = tree.children_left[theirs] < 0
        if ours >= num_nodes:
            values[ours - num_nodes] = tree.value[theirs, 0, 0]
        elif is_leaf:  # below it the same leaf again
            waiting += [(theirs, 2 * ours + 1), (theirs, 2 * ours + 2)]
        else:
            split[ours] = tree.feature[theirs]
            thresholds[ours] = tree.threshold[theirs]
            waiting.append((tree.children_left[theirs], 2 * ours + 1))
            waiting.append((tree.children_right[theirs], 2 * ours + 2))


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> Rows:
    """Return thresholds in float32 that no float32 feature can tell from those in float64."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _state_of(head: torch.nn.Module, values: dict[str, Any]) -> dict[str, Tensor]:
    """Return values as tensors of the types and shapes that a head has them in."""
    return {
        name: torch.as_tensor(np.asarray(values[name])).to(tensor.dtype).reshape(tensor.shape)
        for name, tensor in head.state_dict().items()
    }
