"""Temperature scaling of probabilities: how sure a model is, and not which file it ranks higher."""

import numpy as np
import numpy.typing as npt


def tempered(scores: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """Return scores in [0, 1] with their logits divided by a temperature, of the same shape.

    0, 0.5 and 1 stay what they are, and so does every score at the temperature 1, to the bit.
    """
    p = np.asarray(scores, np.float64)
    if temperature == 1:
        return p
    with np.errstate(divide="ignore", over="ignore"):  # the logits of 0 and 1 have no end
        logits = np.log(p) - np.log1p(-p)
        found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits / temperature))
    return found
