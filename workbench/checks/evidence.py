"""How well a number tells two classes apart, and whether chance would do as well."""

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from workbench.values import Frozen

CHANCE = 0.01
"""Probability that a data set without any fault is warned about, over all questions of a kind."""


class Separation(Frozen):
    """The AUC of a score, with the sizes of the two classes behind it."""

    auc: float
    num_positive: int
    num_negative: int

    @property
    def standard_error(self) -> float:
        """How far chance moves the AUC, one standard deviation.

        Source:
            Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating
            Characteristic (ROC) Curve", Radiology 143, 29-36, equations 1 and 2.
        """
        area, fakes, reals = self.auc, self.num_positive, self.num_negative
        both_fake = area / (2 - area)
        both_real = 2 * area**2 / (1 + area)
        spread = (
            area * (1 - area)
            + (fakes - 1) * (both_fake - area**2)
            + (reals - 1) * (both_real - area**2)
        )
        return math.sqrt(max(0.0, spread) / (fakes * reals))

    def is_beyond_chance(self, num_questions: int) -> bool:
        """Say whether chance alone would give such an AUC in fewer than CHANCE of data sets.

        Args:
            num_questions: Scores that were tried: the more, the likelier that chance helps one.

        Source:
            The variance of the Mann-Whitney statistic where both classes are alike, without ties,
            and Bonferroni's bound.
        """
        fakes, reals = self.num_positive, self.num_negative
        spread = math.sqrt((fakes + reals + 1) / (12 * fakes * reals))
        return bool(self.auc - 0.5 > norm.isf(CHANCE / num_questions) * spread)


def separation(targets: npt.ArrayLike, scores: npt.ArrayLike) -> Separation | None:
    """Return how well `scores` separate `targets` (1 and 0), each (samples,); None: one class.

    A pair of a positive and a negative sample with equal scores counts one half.
    """
    is_positive = np.asarray(targets).astype(bool)
    positive = int(is_positive.sum())
    negative = len(is_positive) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(np.asarray(scores, np.float64))
    wins = ranks[is_positive].sum() - positive * (positive + 1) / 2
    return Separation(
        auc=float(wins / (positive * negative)), num_positive=positive, num_negative=negative
    )
