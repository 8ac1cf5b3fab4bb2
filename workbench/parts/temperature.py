"""Temperature scaling of probabilities: how sure a model is, and not which file it ranks higher."""

import numpy as np
import numpy.typing as npt

FINE_LOGIT, REST = 25.0, 3.47e-10
"""Past this logit the probability is 1 - REST / logit: float64 has few numbers just below 1, and by
the sigmoid, which is 1 from 37 on, unlike scores would become equal ones. It goes on from the
sigmoid of 25 a few steps higher, so that no rounding turns an order round."""


def tempered(scores: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """Return scores in [0, 1] with their logits divided by a temperature, of the same shape.

    0, 0.5 and 1 stay what they are, and so does every score at the temperature 1, to the bit.
    """
    p = np.asarray(scores, np.float64)
    if temperature == 1:
        return p
    with np.errstate(divide="ignore"):  # the logits of 0 and 1 have no end
        return probability((np.log(p) - np.log1p(-p)) / temperature)


def probability(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probabilities of logits, without ties among the surest; see `FINE_LOGIT`."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(logits > FINE_LOGIT, 1 - REST / logits, 1 / (1 + np.exp(-logits)))
