"""When a search can no longer tell a better trial from a luckier one."""

from collections.abc import Sequence

from workbench.trial.delong import Estimate

LEAST_COMPLETE = 9
"""Complete trials before anything is expected: the tail is measured by a third of them."""


def expected_gain(
    objectives: Sequence[float], *, num_drawn: int, to_come: int, maximize: bool
) -> float | None:
    """Return by how much `to_come` more trials are expected to improve the best objective.

    The best of the trials are taken for the upper tail of an exponential distribution. Its scale
    is the mean excess of the best third over the next one, and the best of n draws lies the n-th
    harmonic number of scales above the origin (Renyi 1953, "On the theory of order statistics").
    A sampler that still learns does better than this; one that is done learning, as well.

    Args:
        objectives: Of the complete trials.
        num_drawn: Trials that had their chance, those stopped early included.
        to_come: Trials still to be drawn.
        maximize: Whether more is better.

    Returns:
        The gain, 0 or more; nothing with fewer than `LEAST_COMPLETE` trials.
    """
    if len(objectives) < LEAST_COMPLETE:
        return None
    ranked = sorted(objectives, reverse=maximize)
    best = len(ranked) // 3
    scale = sum(abs(value - ranked[best]) for value in ranked[:best]) / best
    return scale * sum(1 / n for n in range(num_drawn + 1, num_drawn + to_come + 1))


def noise_rules(gain: float, best: Estimate) -> bool:
    """Say whether chance moves the best trial's AUC by more than is still to be gained.

    By one standard error: what another validation set of this size would change.
    """
    return best.standard_error is not None and gain < best.standard_error
