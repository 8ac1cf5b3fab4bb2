"""How the scores of several trials become one score, fitted to labelled samples.

Source:
    A temperature for each: Guo, Pleiss, Sun and Weinberger 2017, arXiv:1706.04599, section 4.2.
    Non-negative weights of stacked models: Breiman 1996, "Stacked regressions", Machine Learning
    24, 49-64, doi 10.1007/BF00117832; here of a logistic regression.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit

from workbench.parts.joint import SUREST_LOGIT, Joint, LinearOfLogits, MeanOfProbabilities
from workbench.parts.temperature import probability
from workbench.selection.choosing import Float64Array, IntArray

JointName = Literal["mean", "calibrated", "logistic"]
"""How the members of a pack are joined: the mean of their probabilities; the mean of their logits,
each divided by a temperature of its own; or a logistic regression of their logits."""

_LEAST, _MOST = 0.05, 20.0
"""Of a temperature."""

_NEWTON_STEPS = 12

_TRUST = 4.0
"""What a weight's distance from the common one costs, in nats at a distance of 1, with logits of
a standard deviation of 1: as much as so many samples say."""


def joined(joint: Joint, scores: npt.ArrayLike) -> Float64Array:
    """Return the joint scores, (samples,), of (members, samples) in [0, 1], in float64.

    They are those of the joint's layer in the module of the pack, see `parts.joint.JointLayer`.
    """
    p, weights = np.asarray(scores, np.float64), np.array(joint.weights)
    if isinstance(joint, MeanOfProbabilities):
        return np.clip(weights @ p, 0, 1)
    return probability(weights @ bounded_logits(p) + joint.bias)


def bounded_logits(scores: npt.ArrayLike) -> Float64Array:
    """Return the logits of scores in [0, 1], cut to `SUREST_LOGIT` on either side."""
    found: Float64Array = logit(np.asarray(scores, np.float64))
    return np.clip(found, -SUREST_LOGIT, SUREST_LOGIT)


def inverse_temperatures(targets: IntArray, logits: Float64Array) -> Float64Array:
    """Return for each trial by what to multiply its logits so that their log-loss is least.

    By Newton's method, kept between ends that close in. No logit of a trial is multiplied past
    `SUREST_LOGIT`: float64 would round the surest scores to 1, and tie what the model ranks.

    Args:
        targets: (samples,) of 0 and 1.
        logits: (trials, samples).

    Returns:
        (trials,), each from 1/20 to 20.
    """
    sharpest = np.maximum(SUREST_LOGIT / np.maximum(np.abs(logits).max(axis=1), 1e-9), 1.0)
    low = np.full(len(logits), 1 / _MOST)
    high = np.minimum(sharpest, 1 / _LEAST)
    found = np.clip(1.0, low, high)
    squares = logits**2
    for _ in range(_NEWTON_STEPS):
        p = expit(found[:, None] * logits)
        slope = ((p - targets) * logits).sum(axis=1)
        bend = (p * (1 - p) * squares).sum(axis=1)
        high, low = np.where(slope > 0, found, high), np.where(slope > 0, low, found)
        step = found - slope / np.maximum(bend, 1e-12)
        inside = (step >= low) & (step <= high)
        found = np.where(inside, step, np.sqrt(low * high))
    return found


def fit_joint(
    name: JointName, targets: IntArray, scores: Float64Array, shares: Float64Array
) -> Joint:
    """Return the joint of the members of a pack.

    Args:
        name: How they are joined.
        targets: (samples,) of 0 and 1, that the temperatures and the regression are fitted to.
        scores: (members, samples) in [0, 1].
        shares: (members,) How much each counts, summing to 1; a logistic regression ignores it.
    """
    if name == "mean":
        return MeanOfProbabilities(weights=tuple(shares.tolist()))
    logits = bounded_logits(scores)
    sharpness = inverse_temperatures(targets, logits)
    if name == "calibrated":
        return LinearOfLogits(weights=tuple((shares * sharpness).tolist()))
    return _logistic(targets, logits, sharpness)


def _logistic(targets: IntArray, logits: Float64Array, sharpness: Float64Array) -> Joint:
    """Return a non-negative logistic regression, its weights drawn to those of a plain mean.

    They are drawn together, not to 0: few samples then give the mean of the calibrated logits, and
    no member is left out or runs away for a few samples' sake.
    """
    calibrated = sharpness[:, None] * logits
    calibrated = calibrated / max(float(calibrated.std()), 1e-9)
    num_members = len(logits)

    def loss(free: Float64Array) -> tuple[float, Float64Array]:
        weights, bias = free[:-1], free[-1]
        total = weights @ calibrated + bias
        apart = weights - weights.mean()
        wrong = expit(total) - targets
        value = (np.logaddexp(0, total) - targets * total).sum()
        value += _TRUST * num_members / 2 * (apart**2).sum() + weights.mean() ** 2 / 2
        slope = calibrated @ wrong + _TRUST * num_members * apart
        slope = slope + weights.mean() / num_members
        return float(value), np.append(slope, wrong.sum())

    start = np.append(np.full(num_members, 1 / num_members), 0.0)
    bounds = [(0.0, None)] * num_members + [(None, None)]
    free = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    if not free[:-1].any():  # all say the opposite of the truth: no weight is the least harm
        free = start
    scale = sharpness / max(float((sharpness[:, None] * logits).std()), 1e-9)
    weights = tuple((free[:-1] * scale).tolist())
    return LinearOfLogits(weights=weights, bias=float(free[-1]))
