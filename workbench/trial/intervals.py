"""Intervals of an AUC or a rate that are never empty and never leave [0, 1].

An interval of so many standard errors to each side has no width where the AUC is 1, and holds the
true value too rarely where a class has few samples. Here the ends are the values from which the
measured one lies just so many standard errors away, each judged by its own standard error, as
Wilson's interval of a rate is made.

Source:
    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of
    the American Statistical Association 22, 209-212.
    Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25, 559-573: method 5.
"""

import math
from collections.abc import Callable

Z95 = 1.96
"""Standard errors to each side of a value that hold 95% of a normal distribution."""

_PRIOR_WEIGHT = 3.0
"""Samples' worth of trust in the variance that is known beforehand; see `auc_interval`."""

_STEPS = 50
"""Halvings of [0, 1] until an end is found: to the last digit."""


def auc_interval(
    value: float, num_fakes: int, num_reals: int, ratio: float | None = None
) -> tuple[float, float]:
    """Return the ends of the 95% interval of a true AUC.

    Newcombe's method 5, which supposes how scores are spread, its variance corrected by the
    measured one as far as that can be trusted: with few samples of a class, or few of them on the
    wrong side, DeLong's variance is itself a matter of chance.

    Args:
        value: The AUC.
        num_fakes: Fakes, or groups of fakes that belong together.
        num_reals: The same of reals.
        ratio: The variance as measured, by `auc_variance`; none if it could not be measured.
    """

    def variance(auc: float) -> float:
        return auc_variance(auc, num_fakes, num_reals)

    return _ends(value, variance, _trusted(ratio, value, min(num_fakes, num_reals)))


def rate_interval(value: float, num_samples: int, ratio: float | None) -> tuple[float, float]:
    """Return the ends of the 95% interval of a true rate, such as an accuracy or an F1.

    Wilson's, its variance corrected by the measured one as in `auc_interval`.

    Args:
        value: The rate.
        num_samples: Samples, or groups of samples that belong together.
        ratio: The variance as measured, by `rate_variance`; none if it could not be measured.
    """

    def variance(rate: float) -> float:
        return rate_variance(rate, num_samples)

    return _ends(value, variance, _trusted(ratio, value, num_samples))


def auc_variance(auc: float, num_fakes: int, num_reals: int) -> float:
    """Return the variance that Newcombe's method 5 expects of a measured AUC."""
    others = (num_fakes + num_reals) / 2 - 1
    spread = 1 + others * ((1 - auc) / (2 - auc) + auc / (1 + auc))
    return auc * (1 - auc) * spread / (num_fakes * num_reals)


def rate_variance(rate: float, num_samples: int) -> float:
    """Return the variance of a rate of independent samples."""
    return rate * (1 - rate) / num_samples


def _trusted(ratio: float | None, value: float, num_samples: int) -> float:
    """Return the measured ratio drawn towards 1, as far as the samples cannot tell it."""
    known = min(num_samples - 1, 10 * num_samples * min(value, 1 - value))
    if ratio is None or known <= 0:
        return 1.0
    return (known * ratio + _PRIOR_WEIGHT) / (known + _PRIOR_WEIGHT)


def _ends(value: float, variance_at: Callable[[float], float], ratio: float) -> tuple[float, float]:
    def is_far(true: float) -> bool:
        return abs(value - true) > Z95 * math.sqrt(ratio * variance_at(true))

    low, high = [0.0, value], [value, 1.0]
    for _ in range(_STEPS):
        middle = sum(low) / 2
        low[0 if is_far(middle) else 1] = middle
        middle = sum(high) / 2
        high[1 if is_far(middle) else 0] = middle
    return low[1], high[0]
