"""Perceptual hashes of small pictures, and the pairs that are alike without comparing all.

Source:
    Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section
    3.2.1, for the hash of low frequencies of the cosine transform; here a bit says whether a
    coefficient is above its mean over the data set, so that what all pictures share (a face in the
    middle, a spectrum that falls with frequency) is in no bit. Norouzi, Punjani and Fleet 2012,
    "Fast Search in Hamming Space with Multi-Index Hashing", arXiv:1307.2982, for the search.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import scipy.fft

BITS = 64
CROWD = 32
"""Pictures with one key that are compared each with each; of more, only neighbours are."""

_REACH = 8
# Two of seven interleaved blocks of bits make a key: hashes that differ in five bits at most, in
# five blocks at worst, share one.
_BLOCKS, _WHOLE = 7, 2
_CHUNK = 4096

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]
"""(pairs, 2) indices, the smaller first, each pair once, in order."""


def hashes(pictures: npt.NDArray[np.uint8]) -> Hashes:
    """Return the 64-bit hash of each of (pictures, height, width), which form one set."""
    values = coefficients(pictures)
    bits = values > values.mean(axis=0, dtype=np.float64)
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(np.uint64)[:, 0]


def mirrored_hashes(pictures: npt.NDArray[np.uint8]) -> tuple[Hashes, Hashes]:
    """Return the hash of each picture and that of its mirror image, which form one set.

    Args:
        pictures: (pictures, height, width).
    """
    values = coefficients(pictures)
    # In a mirror, a cosine that is odd across changes its sign; over both, its mean is zero.
    odd = _places()[1] % 2 == 1
    mean = np.where(odd, 0, values.mean(axis=0, dtype=np.float64))
    both = (values > mean, np.where(odd, -values, values) > mean)
    plain, mirrored = (np.ascontiguousarray(np.packbits(b, axis=1)).view(np.uint64) for b in both)
    return plain[:, 0], mirrored[:, 0]


def _places() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of the lowest frequencies but the mean: (64,) down, (64,) across."""
    places = [(down, across) for down in range(16) for across in range(16)]
    places.sort(key=lambda place: (sum(place), place))
    down, across = np.array(places[1 : BITS + 1]).T
    return down, across


def coefficients(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return (pictures, 64): the lowest frequencies but the mean, of (pictures, height, width)."""
    down, across = _places()
    found = np.empty((len(pictures), BITS), np.float32)
    for start in range(0, len(pictures), _CHUNK):
        some = pictures[start : start + _CHUNK].astype(np.float32)
        spectrum = scipy.fft.dctn(some, axes=(1, 2), norm="ortho")
        found[start : start + _CHUNK] = spectrum[:, down, across]
    return found


def distance(one: Hashes, other: Hashes) -> npt.NDArray[np.uint8]:
    """Return in how many of 64 bits two arrays of hashes differ."""
    return np.bitwise_count(one ^ other)


def near_pairs(values: Hashes, *, most: int) -> Pairs:
    """Return the pairs of `values` that differ in at most `most` bits and share a key.

    Every pair that differs in at most five bits is found, and most of those a few bits further
    apart, unless more than CROWD hashes share the key. Time grows as n log n.
    """
    found = [np.empty(0, np.int64)]
    for turn, mask in enumerate(_masks()):
        keys = values & mask
        # In a crowd only neighbours are compared: each key has them stand in another order.
        order = np.lexsort((np.bitwise_or(values << (3 * turn), values >> (64 - 3 * turn)), keys))
        found.append(_neighbours(values, keys[order], order, most))
    codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(1, len(values))), axis=1)


def _masks() -> list[np.uint64]:
    """Return the bits of each key."""
    blocks = [sum(1 << bit for bit in range(block, BITS, _BLOCKS)) for block in range(_BLOCKS)]
    return [np.uint64(sum(chosen)) for chosen in combinations(blocks, _WHOLE)]


def _neighbours(values: Hashes, keys: Hashes, order: npt.NDArray[np.int64], most: int) -> Pairs:
    """Return pairs with equal (sorted) keys that are near, each as first * len(values) + second."""
    begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else order
    sizes = np.diff(np.r_[begins, len(keys)])
    is_crowded = np.repeat(sizes > CROWD, sizes)
    found = [np.empty(0, np.int64)]
    for step in range(1, CROWD):
        same = keys[step:] == keys[:-step]
        if step > _REACH:
            same &= ~is_crowded[step:]
        places = np.flatnonzero(same)
        if not len(places):
            break
        one, other = order[places], order[places + step]
        near = distance(values[one], values[other]) <= most
        low, high = np.minimum(one, other)[near], np.maximum(one, other)[near]
        found.append(low * len(values) + high)
    return np.unique(np.concatenate(found))
