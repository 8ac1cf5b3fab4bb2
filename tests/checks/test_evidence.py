import numpy as np
import pytest

from workbench.checks.evidence import Separation, separation


def test_an_auc_counts_pairs_and_ties_half() -> None:
    # Fakes 0.9 and 0.5, reals 0.5 and 0.1: three pairs won, one tied.
    found = separation([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1])
    assert found is not None
    assert found.auc == 3.5 / 4
    assert (found.num_positive, found.num_negative) == (2, 2)


def test_one_class_has_no_auc() -> None:
    assert separation([1, 1], [0.1, 0.2]) is None
    assert separation([], []) is None


def test_the_standard_error_is_that_of_hanley_and_mcneil() -> None:
    # A = 3/4: Q1 = 0.75 / 1.25 = 0.6, Q2 = 2 * 0.5625 / 1.75 = 9/14. With 10 and 20 files:
    # (3/16 + 9 * (0.6 - 9/16) + 19 * (9/14 - 9/16)) / 200.
    found = Separation(auc=0.75, num_positive=10, num_negative=20)
    variance = (3 / 16 + 9 * (0.6 - 9 / 16) + 19 * (9 / 14 - 9 / 16)) / 200
    assert found.standard_error == pytest.approx(variance**0.5)
    assert Separation(auc=1.0, num_positive=5, num_negative=5).standard_error == 0


def test_what_chance_may_do_depends_on_files_and_questions() -> None:
    # Without a difference the AUC of 50 and 50 files spreads by sqrt(101 / 30000) = 0.058; one
    # in a hundred is beyond 2.33 of it, one in a thousand beyond 3.09.
    few = Separation(auc=0.65, num_positive=50, num_negative=50)
    assert few.is_beyond_chance(1)
    assert not few.is_beyond_chance(10)
    assert not Separation(auc=0.9, num_positive=3, num_negative=3).is_beyond_chance(1)
    assert Separation(auc=0.61, num_positive=500, num_negative=500).is_beyond_chance(20)


def test_random_scores_are_within_chance() -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(500):
        found = separation(rng.permutation(np.arange(60) % 2), rng.normal(size=60))
        assert found is not None
        beyond += found.is_beyond_chance(1)
    assert beyond <= 15  # 5 expected
