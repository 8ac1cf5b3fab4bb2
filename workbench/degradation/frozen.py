"""Videos whose frames are shown at other times than they were taken."""

import numpy as np
import numpy.typing as npt

_SHARE = (0.2, 2 / 3)


def frozen(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return which frame stands in the place of each of `count`, (count,).

    Over a fifth to two thirds of the video one frame stays; or over up to half of it the frames
    before come again; or so many are left out and the others last longer. Each is as likely.
    """
    length, kind = round(count * rng.uniform(*_SHARE)), int(rng.integers(3))
    length = min(length, count // 2) if kind == 1 else length
    first = length if kind == 1 else min(1, count - length)
    last = max(first, count - length - (kind == 2))  # what is left out has frames on both sides
    start = int(rng.integers(first, last + 1))
    frames = np.arange(count)
    inside = (frames >= start) & (frames < start + length)
    if kind == 0:
        return np.where(inside, start, frames)
    if kind == 1:
        return np.where(inside, frames - length, frames)
    kept = frames[~inside] if not inside.all() else frames
    return np.asarray(kept[frames * len(kept) // count])
