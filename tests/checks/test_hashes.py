from itertools import combinations

import numpy as np
import pytest

from tests.checks.made import blobs
from workbench.checks.hashes import (
    CROWD,
    coefficients,
    distance,
    hashes,
    mirrored_hashes,
    near_pairs,
)


def test_the_first_coefficient_is_the_slope_from_left_to_right() -> None:
    # Columns follow the cosine that the transform's second function across is made of.
    wave = 100 + 50 * np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    picture = np.rint(np.tile(wave, (32, 1))).astype(np.uint8)
    found = coefficients(np.stack([picture, picture.T]))
    # 50 * sqrt(2 / 32) * sqrt(1 / 32) * 32 rows * 16, the sum of squared cosines.
    height = 50 * np.sqrt(2 / 32) * np.sqrt(1 / 32) * 32 * 16
    assert found[0, 0] == pytest.approx(height, rel=1e-3)
    assert found[1, 1] == pytest.approx(height, rel=1e-3)
    assert np.abs(np.delete(found[0], 0)).max() < 0.01 * height


def test_brightness_is_in_no_bit() -> None:
    rng = np.random.default_rng(0)
    some = np.stack([blobs(rng, 32, 32, cells=8) for _ in range(20)])
    dark = (some // 4).astype(np.uint8) * 2
    assert (hashes(dark) == hashes((dark + 100).astype(np.uint8))).all()


def test_a_bit_says_whether_a_coefficient_is_above_its_mean() -> None:
    rng = np.random.default_rng(0)
    some = np.stack([blobs(rng, 32, 64, cells=8) for _ in range(9)])
    values = coefficients(some)
    bits = np.unpackbits(hashes(some)[:, None].view(np.uint8), axis=1)
    assert (bits == (values > values.mean(axis=0))).all()


def test_the_distance_counts_bits() -> None:
    one = np.array([0, 0b1011, 2**64 - 1], np.uint64)
    other = np.array([0, 0b0001, 0], np.uint64)
    assert distance(one, other).tolist() == [0, 2, 64]


def test_pairs_up_to_five_bits_apart_are_all_found() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 300, dtype=np.uint64)
    flipped = values.copy()
    for index in range(len(values)):
        for bit in rng.choice(64, index % 6, replace=False):
            flipped[index] ^= np.uint64(1) << np.uint64(bit)
    found = near_pairs(np.concatenate([values, flipped]), most=12)
    assert {(i, 300 + i) for i in range(300)} <= {(int(a), int(b)) for a, b in found}


def test_no_pair_is_further_apart_than_asked_and_none_is_said_twice() -> None:
    rng = np.random.default_rng(1)
    # Hashes of few bits, so that many are near each other.
    values = np.uint64(1) << rng.integers(0, 64, (60, 3)).astype(np.uint64)
    values = np.bitwise_or.reduce(values, axis=1)
    found = [(int(a), int(b)) for a, b in near_pairs(values, most=2)]
    near = {
        (i, j) for i, j in combinations(range(60), 2) if distance(values[[i]], values[[j]])[0] <= 2
    }
    assert len(found) == len(set(found))
    assert set(found) <= near


def test_a_crowd_of_equal_hashes_stays_linear_and_hangs_together() -> None:
    size = 20 * CROWD
    found = near_pairs(np.zeros(size, np.uint64), most=5)
    assert len(found) <= 8 * size * 2
    assert set(found.ravel().tolist()) == set(range(size))


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_for_a_pair(size: int) -> None:
    assert near_pairs(np.zeros(size, np.uint64), most=5).shape == (0, 2)


def test_hashes_of_mirror_images_are_those_of_what_is_mirrored() -> None:
    rng = np.random.default_rng(0)
    pictures = np.stack([blobs(rng, 32, 32, cells=8) for _ in range(50)])
    plain, mirrored = mirrored_hashes(pictures)
    again, back = mirrored_hashes(np.ascontiguousarray(pictures[..., ::-1]))
    assert distance(mirrored, again).max() <= 1 and distance(plain, back).max() <= 1
    assert distance(plain, mirrored).min() > 5
