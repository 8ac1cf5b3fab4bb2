import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from sklearn import metrics as reference

from workbench.selection.row_metrics import metric_of_rows
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import MetricName


def test_every_metric_worked_by_hand() -> None:
    #    score: 0.1  0.2  0.3  0.4  0.6  0.6  0.8  0.9
    #   target:  0    0    1    0    0    1    1    1
    targets, scores = [0, 0, 1, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.6, 0.8, 0.9]
    found = binary_metrics(targets, scores)
    # Of 16 pairs, the fake at 0.3 wins 2, that at 0.6 wins 3 and ties 1, the others win 4.
    assert found["auc"] == pytest.approx((2 + 3.5 + 4 + 4) / 16)
    right = [0.9, 0.8, 0.3, 0.6, 0.4, 0.6, 0.8, 0.9]
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, right)) / 8)
    # At 0.5: three of four fakes are called, and one of four reals.
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found["precision"] == pytest.approx(3 / 4)
    assert found["recall"] == found["tpr"] == pytest.approx(3 / 4)
    assert found["fpr"] == pytest.approx(1 / 4)
    assert found["accuracy"] == pytest.approx(6 / 8)
    # F1 is 0.8 from 0.3 on (4 hits, 2 false), 0.75 from 0.6 on, 2/3 from 0.8 on.
    assert found["best_f1_threshold"] == 0.3
    assert found["best_f1"] == pytest.approx(0.8)
    assert found["best_f1_accuracy"] == pytest.approx(6 / 8)
    assert found["best_f1_precision"] == pytest.approx(4 / 6)
    assert found["best_f1_recall"] == 1
    assert found["best_f1_fpr"] == pytest.approx(2 / 4)
    # Without a false alarm, two of four.
    assert found["tpr_at_fpr_1e-2"] == found["tpr_at_fpr_1e-3"] == pytest.approx(2 / 4)


def test_the_names_are_those_of_the_recipe() -> None:
    assert set(binary_metrics([0, 1], [0.2, 0.7])) == set(get_args(MetricName))


def test_a_score_of_one_half_is_called_fake() -> None:
    found = binary_metrics([0, 1], [0.49, 0.5])
    assert (found["tpr"], found["fpr"]) == (1, 0)


def test_a_model_that_calls_nothing_has_no_precision() -> None:
    found = binary_metrics([0, 1, 1], [0.1, 0.1, 0.4])
    assert (found["precision"], found["f1"], found["recall"]) == (0, 0, 0)
    assert found["best_f1"] == pytest.approx(0.8)  # everything called fake


def test_sure_and_wrong_costs_a_finite_log_loss() -> None:
    found = binary_metrics([0, 1], [1.0, 0.0])
    assert found["log_loss"] == pytest.approx(15 * math.log(10), rel=1e-3)
    assert found["auc"] == 0
    assert binary_metrics([0, 1], [0.0, 1.0])["log_loss"] == pytest.approx(0, abs=1e-12)


def test_constant_scores_are_chance() -> None:
    assert binary_metrics([0, 1, 1, 0], [0.3] * 4)["auc"] == 0.5


def test_a_false_alarm_in_a_hundred_is_allowed_and_in_fifty_not() -> None:
    def tpr(num_real: int) -> float:
        # The surest sample is real, then come half of the fakes, then the other reals.
        scores = [0.9, *[0.1] * (num_real - 1), 0.8, 0.05]
        return binary_metrics([0] * num_real + [1, 1], scores)["tpr_at_fpr_1e-2"]

    assert tpr(100) == 0.5
    assert tpr(50) == 0


def test_every_threshold_counts_where_the_curve_is_straight() -> None:
    # A real and a fake at each of 200 scores: the curve is the diagonal.
    scores = np.repeat(np.linspace(0.1, 0.9, 200), 2)
    found = binary_metrics([0, 1] * 200, scores)
    assert found["tpr_at_fpr_1e-2"] == pytest.approx(2 / 200)
    assert found["tpr_at_fpr_1e-3"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_random_scores_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 300)
    p = rng.normal(0.4 + 0.2 * y, 0.2).clip(0.01, 0.99).round(2)  # rounded: with ties
    found, called = binary_metrics(y, p), p >= 0.5
    assert found["auc"] == pytest.approx(reference.roc_auc_score(y, p))
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, p))
    assert found["f1"] == pytest.approx(reference.f1_score(y, called))
    assert found["precision"] == pytest.approx(reference.precision_score(y, called))
    assert found["recall"] == pytest.approx(reference.recall_score(y, called))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, called))
    assert found["fpr"] == pytest.approx(1 - reference.recall_score(1 - y, ~called))
    every = [reference.f1_score(y, p >= threshold) for threshold in np.unique(p)]
    assert found["best_f1"] == pytest.approx(max(every))
    best = p >= found["best_f1_threshold"]
    assert found["best_f1"] == pytest.approx(reference.f1_score(y, best))
    for limit in (1e-2, 1e-3):
        allowed = [
            (p[y == 1] >= threshold).mean()
            for threshold in [*np.unique(p), 2]
            if (p[y == 0] >= threshold).mean() <= limit
        ]
        name: MetricName = "tpr_at_fpr_1e-2" if limit == 1e-2 else "tpr_at_fpr_1e-3"
        assert found[name] == pytest.approx(max(allowed))


@pytest.mark.parametrize(
    ("targets", "scores", "says"),
    [
        ([1, 1], [0.1, 0.2], "both classes are needed: 2 of 2"),
        ([0, 0], [0.1, 0.2], "both classes are needed: 0 of 2"),
        ([], [], "both classes"),
        ([0, 1], [0.1, 1.1], r"must be in \[0, 1\].*1\.1"),
        ([0, 1], [-0.1, 1], r"must be in \[0, 1\].*-0\.1"),
        ([0, 1], [0.1, float("nan")], r"must be in \[0, 1\]"),
        ([0, 1], [0.1], r"two equal rows"),
        ([[0, 1]], [[0.1, 0.2]], r"two equal rows"),
    ],
)
def test_what_has_no_metrics_is_refused(targets: list[int], scores: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        binary_metrics(targets, scores)


def test_of_thresholds_with_the_same_best_f1_the_lowest_counts() -> None:
    rng = np.random.default_rng(5)
    num_ties = 0
    for num in range(60):
        y = rng.permutation(np.arange(30) % 2)
        p = rng.integers(0, 40, 30) / 40
        counts = {t: ((p >= t) & (y == 1)).sum() for t in sorted(set(p.tolist()))}
        f1s = {t: Fraction(2 * int(n), int((p >= t).sum() + y.sum())) for t, n in counts.items()}
        best = [t for t, f1 in f1s.items() if f1 == max(f1s.values())]
        num_ties += len(best) > 1
        assert binary_metrics(y, p)["best_f1_threshold"] == best[0], num
        assert metric_of_rows("best_f1_threshold", y, p[None])[0] == best[0], num
    assert num_ties > 2
