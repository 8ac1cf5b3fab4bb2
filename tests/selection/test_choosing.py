"""Choosing again on a part of the samples, with values worked out by hand."""

import numpy as np
import pytest

from workbench.selection.choosing import (
    SliceScores,
    choose_again,
    in_halves,
    in_thirds,
    kinds_of_groups,
    metric_in_parts,
    possible,
    shift_of_parts,
    slice_weights,
)
from workbench.selection.correction import correct, interval_of_auc
from workbench.selection.in_parts import keeping
from workbench.selection.pack_correction import correct_pack
from workbench.selection.pack_limits import MemberCost
from workbench.selection.weighted import FAST, metric_elsewhere, weighted_metric
from workbench.trial.constraints import Bound, Constraints
from workbench.trial.delong import auc, auc_influences
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import MetricName, Objective

AUC = Objective(metric="auc")


def drawn(num_trials: int, num: int, *, seed: int, shift: float = 0.7) -> SliceScores:
    """Return trials of one true AUC, whose scores are half alike."""
    rng = np.random.default_rng(seed)
    y = np.arange(num) % 2
    logits = rng.normal(size=(1, num)) + rng.normal(size=(num_trials, num)) + shift * 1.4 * y
    return SliceScores(targets=y, scores=1 / (1 + np.exp(-logits)), groups=np.arange(num))


@pytest.mark.parametrize("metric", sorted(FAST))
@pytest.mark.parametrize("levels", [5, 10_000])
def test_weighted_samples_count_as_repeated_ones_do(metric: MetricName, levels: int) -> None:
    rng = np.random.default_rng(levels)
    y = np.arange(70) % 2
    scores = np.clip(rng.integers(0, levels, 70) / levels + 0.1 * y, 0.01, 0.99)
    times = rng.integers(0, 4, (70, 6))
    found = weighted_metric(metric, y, scores, times.astype(np.float64))
    for value, count in zip(found, times.T, strict=True):
        repeated = binary_metrics(np.repeat(y, count), np.repeat(scores, count))
        assert value == pytest.approx(repeated[metric])


def test_of_equal_trials_either_is_corrected_as_the_best() -> None:
    # Each is wrong about one fake of its own; a third trial is worse.
    y = np.repeat([1, 0], 6)
    scores = np.where(y == 1, 0.8, 0.2) * np.ones((3, 1))
    scores[0, 0] = scores[1, 1] = scores[2, 2] = scores[2, 3] = 0.1
    one = SliceScores(targets=y, scores=scores, groups=np.arange(12))
    found = [correct([one], AUC, trial=trial, divisions=20) for trial in (0, 1, 2)]
    first, second, third = (each for each in found if each)
    assert first.naive == second.naive > third.naive
    assert first.value == second.value != third.value


def test_what_part_chooses_says_nothing_of_itself() -> None:
    # Fakes 0 and 1, reals 2 and 3. The first trial orders the pair (0, 2) alone, the second (1, 3).
    y = np.array([1, 1, 0, 0])
    scores = np.array([[0.9, 0.1, 0.2, 0.3], [0.1, 0.9, 0.2, 0.3]])
    one = SliceScores(targets=y, scores=scores, groups=np.arange(4))
    in_part = np.array([[True, False], [False, True], [True, False], [False, True]])
    inside = metric_in_parts([one], AUC, in_part)
    assert inside.tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
    found = choose_again([one], AUC, in_part, inside)
    # Each pair chooses the trial that orders it, which is wrong on the other pair.
    assert found.chosen.tolist() == [0, 1]
    assert found.values.tolist() == [0.0, 0.0]
    second = choose_again([one], AUC, in_part, inside, place=1)
    assert (second.chosen.tolist(), second.values.tolist()) == ([1, 0], [1.0, 1.0])


def test_the_choosing_part_says_which_slice_is_the_worst() -> None:
    values = np.array([[0.9, 0.5], [0.6, 0.7], [0.7, 0.8], [0.8, 0.9], [0.95, 0.6]])
    worst = slice_weights(values, Objective(over=("val", "a"), aggregate="worst"))
    assert worst.T.tolist() == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    quarter = slice_weights(values, Objective(over=("val", "a"), aggregate="lowest-quartile"))
    assert quarter.T.tolist() == [[0, 0.5, 0.5, 0, 0], [0.5, 0, 0, 0, 0.5]]
    assert (slice_weights(values, AUC) == 0.2).all()
    loss = Objective(metric="log_loss", over=("val", "a"), aggregate="worst")
    assert slice_weights(values, loss)[:, 0].tolist() == [0, 0, 0, 0, 1]


def test_each_group_is_left_out_once_in_a_division_and_never_divided() -> None:
    # Seven groups of two fakes, four of one real.
    groups = np.array([*np.repeat(np.arange(7), 2), 7, 8, 9, 10])
    one = SliceScores(
        targets=np.repeat([1, 0], [14, 4]), scores=np.full((1, 18), 0.5), groups=groups
    )
    divisions = 20
    in_part = in_thirds([one], divisions, np.random.default_rng(0))
    assert in_part.shape == (11, 3 * divisions)
    left_out = ~in_part.reshape(11, 3, divisions)
    assert (left_out.sum(axis=1) == 1).all()
    assert set(left_out[:7].sum(axis=0).ravel()) == {2, 3}
    assert set(left_out[7:].sum(axis=0).ravel()) == {1, 2}


def test_each_half_chooses_in_turn() -> None:
    one = drawn(1, 22, seed=0)
    in_part = in_halves([one], 4, np.random.default_rng(0))
    assert in_part.shape == (22, 8)
    assert (in_part[:, :4] != in_part[:, 4:]).all()
    for target in (0, 1):
        assert set(in_part[one.targets == target].sum(axis=0)) <= {5, 6}


def test_groups_are_told_apart_by_class_and_slice() -> None:
    fakes = SliceScores(
        targets=np.array([1, 0, 1, 0]), scores=np.zeros((1, 4)), groups=np.array([0, 1, 2, 2])
    )
    other = SliceScores(targets=np.array([1, 0]), scores=np.zeros((1, 2)), groups=np.array([3, 1]))
    kinds = kinds_of_groups([fakes, other])
    assert len(set(kinds.tolist())) == 4
    assert kinds_of_groups([fakes]).tolist()[0] != kinds_of_groups([fakes]).tolist()[1]


def test_a_class_of_one_group_cannot_be_divided() -> None:
    one = SliceScores(
        targets=np.array([1, 1, 0, 0]), scores=np.zeros((2, 4)), groups=np.array([0, 0, 1, 2])
    )
    assert in_thirds([one], 5, np.random.default_rng(0)).shape == (3, 0)
    assert correct([one], AUC) is None


def test_the_threshold_of_the_best_f1_is_chosen_elsewhere() -> None:
    y = np.array([1, 0, 1, 1, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.75, 0.1])
    part = np.array([True, True, False, False, False, False])
    # The part's best threshold is 0.9, which nothing beyond it reaches.
    assert metric_elsewhere("best_f1", y, scores, part) == 0.0
    assert binary_metrics(y[~part], scores[~part])["best_f1"] == pytest.approx(0.8)


def test_influences_give_delongs_standard_error() -> None:
    one = drawn(3, 90, seed=0)
    moves = auc_influences(one.targets, np.round(one.scores, 1))
    for row, move in zip(np.round(one.scores, 1), moves, strict=True):
        variance = sum(float((move[one.targets == k] ** 2).sum()) * 45 / 44 for k in (0, 1))
        assert variance**0.5 == pytest.approx(auc(one.targets, row).standard_error)


def test_one_trial_has_the_interval_of_its_own_auc() -> None:
    one = drawn(1, 90, seed=1)
    found, own = correct([one], AUC), auc(one.targets, one.scores[0])
    assert found is not None
    assert found.value == found.naive == pytest.approx(own.value)
    assert found.low == pytest.approx(own.low)
    assert found.high == pytest.approx(own.high)


def test_the_best_of_equal_trials_is_drawn_down_to_their_true_auc() -> None:
    # The classes are 0.7 x 1.4 apart and a score's deviation is the root of 2: an AUC of 0.688.
    errors, flattery = [], []
    for seed in range(30):
        found = correct([drawn(15, 120, seed=seed)], AUC, divisions=5)
        assert found is not None
        errors.append(found.value - 0.688)
        flattery.append(found.naive - 0.688)
    assert np.mean(flattery) > 0.04
    assert abs(float(np.mean(errors))) < 0.02


def test_the_best_that_keeps_a_bound_by_chance_is_drawn_down_to_its_true_auc() -> None:
    # True AUC 0.688 and true FPR 0.5 of all. Those of a low FPR rank these reals low: their AUC is
    # too high even without a choice among them.
    bound: Constraints = {"fpr": Bound(at_most=0.4)}
    errors, flattery = [], []
    for seed in range(40):
        one = drawn(12, 60, seed=seed)
        keeps = keeping([one], AUC, bound, np.ones((60, 1), bool))[:, 0]
        if not keeps.any():
            continue
        found = correct([one], AUC, constraints=bound, divisions=7)
        assert found is not None and keeps[found.trial]
        errors.append(found.value - 0.688)
        kept = correct([SliceScores(one.targets, one.scores[keeps], one.groups)], AUC, divisions=7)
        assert kept is not None and kept.naive == found.naive
        flattery.append(kept.value - 0.688)
    assert len(errors) > 15
    assert np.mean(flattery) > np.mean(errors) + 0.02
    assert abs(float(np.mean(errors))) < 0.02


def test_of_constraints_that_no_part_keeps_the_choice_on_all_samples_stands() -> None:
    one = drawn(3, 40, seed=0)
    impossible: Constraints = {"fpr": Bound(at_most=-1.0)}
    found = correct([one], AUC, trial=1, constraints=impossible, divisions=5)
    assert found is not None and (found.trial, found.share) == (1, 1.0)


def test_the_interval_reaches_towards_the_measured_value_as_the_trial_is_chosen_again() -> None:
    one = drawn(2, 90, seed=1)
    found = correct([one], AUC)
    assert found is not None and found.naive > found.value and 0.5 < found.share < 1
    aucs = np.array([auc(one.targets, row).value for row in one.scores])
    shares = np.array([found.share, 1 - found.share])[:: 1 if found.trial == 0 else -1]
    low, high = interval_of_auc([one], found.value, shares, np.ones((1, 2)), aucs)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high + found.share * (found.naive - found.value))


def test_a_trial_far_ahead_keeps_its_value() -> None:
    one = drawn(10, 400, seed=3)
    best = np.clip(one.scores[0] + 0.5 * one.targets, 0, 1)
    scores = np.concatenate([one.scores[1:], best[None]])
    found = correct([SliceScores(one.targets, scores, one.groups)], AUC, divisions=20)
    assert found is not None
    assert (found.trial, found.share) == (9, 1.0)
    assert found.value == pytest.approx(found.naive, abs=0.003)


def test_equal_trials_are_worth_what_they_have_though_a_third_has_more_pairs_of_one_group() -> None:
    """Ten speakers of levels of their own: in a third, 3 of 9 pairs are of one, else 1 of 10."""
    rng = np.random.default_rng(0)
    groups, y = np.repeat(np.arange(10), 10), np.tile([0, 1], 50)
    logits = y + rng.normal(0, 2, 10)[groups] + rng.normal(0, 0.7, 100)
    scores = 1 / (1 + np.exp(-logits))
    one = SliceScores(targets=y, scores=np.stack([scores] * 5), groups=groups)
    found = correct([one], AUC)
    assert found is not None
    assert found.value == pytest.approx(found.naive, abs=1e-6)
    members = [MemberCost(params=10 + n, ms_per_file=None) for n in range(5)]
    of_pack = correct_pack([one], AUC, members)
    assert of_pack is not None
    for each in (of_pack.of_pack, of_pack.of_trial):
        assert each.value == pytest.approx(each.naive, abs=1e-6)
    in_part = in_thirds([one], 50, np.random.default_rng(0))
    assert shift_of_parts(one, "auc", scores, in_part) > 0.02
    assert shift_of_parts(one, "best_f1", scores, in_part) == 0


def test_groups_that_are_each_of_a_kind_of_their_own_are_drawn_all_the_same() -> None:
    """Each of 16 speakers has fakes of other ones of four generators, all have real files."""
    rng = np.random.default_rng(0)
    groups, y = np.repeat(np.arange(16), 8), np.tile([0, 1], 64)
    logits = 2 * y - 1 + rng.normal(0, 1.5, 16)[groups] + rng.normal(0, 0.5, 128)
    scores = 1 / (1 + np.exp(-logits))
    of_slices = [(y == 0) | (groups >> n & 1 == 1) for n in range(4)]
    measured = [SliceScores(y[some], scores[None, some], groups[some]) for some in of_slices]
    objective = Objective(metric="log_loss", over=("generators",), aggregate="mean")
    found = correct(measured, objective)
    assert found is not None
    losses = -np.log(np.where(y == 1, scores, 1 - scores))
    without = [
        np.mean([losses[some & (groups != speaker)].mean() for some in of_slices])
        for speaker in range(16)
    ]
    by_jackknife = np.sqrt(15 * np.var(without))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * by_jackknife, rel=0.2)


@pytest.mark.parametrize("metric", ["auc", "log_loss", "f1"])
def test_slices_of_one_speaker_each_tell_nothing_of_how_a_trial_alone_varies(
    metric: MetricName,
) -> None:
    one = drawn(1, 80, seed=0)
    of_each = [
        SliceScores(one.targets[some], one.scores[:, some], np.full(20, speaker))
        for speaker, some in enumerate(np.arange(80).reshape(4, 20))
    ]
    assert correct(of_each, Objective(metric=metric, over=("speaker",), aggregate="mean")) is None


def test_no_corrected_value_is_one_that_its_metric_cannot_have() -> None:
    # Three nearly perfect trials on groups of three files: what parts differ from all files by is
    # taken off, and the AUC that was left was above 1, of which there is no interval.
    ranks = [
        [20, 19, 18, 12, 10, 13, 23, 21, 22, 17, 7, 16, 11, 6, 8, 14, 15, 9, 5, 4, 3, 1, 0, 2],
        [20, 19, 18, 12, 13, 15, 23, 21, 22, 17, 14, 16, 9, 6, 8, 10, 11, 7, 3, 5, 4, 1, 0, 2],
        [19, 20, 18, 10, 11, 15, 23, 21, 22, 17, 14, 16, 8, 6, 7, 13, 12, 9, 3, 4, 5, 1, 0, 2],
    ]
    targets, groups = np.repeat([1, 0], 12), np.arange(24) // 3
    found = correct([SliceScores(targets, np.array(ranks) / 24, groups)], AUC, divisions=4)
    assert found is not None
    assert found.value == 1.0
    assert 0.5 < found.low < 1.0 == found.high


@pytest.mark.parametrize(
    ("metric", "value", "nearest"),
    [("auc", 1.01, 1.0), ("f1", -0.01, 0.0), ("log_loss", -0.01, 0.0), ("log_loss", 1.5, 1.5)],
)
def test_the_nearest_possible_value_is_taken(
    metric: MetricName, value: float, nearest: float
) -> None:
    assert possible(value, metric) == nearest
