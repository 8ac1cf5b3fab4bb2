"""What a pack is worth beyond the samples that it was chosen by, and whether it is promoted."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from workbench.parts.joint import MeanOfProbabilities
from workbench.selection.choosing import SliceScores
from workbench.selection.in_parts import keeping
from workbench.selection.left_in_parts import left_in_parts
from workbench.selection.pack_choice import ChosenPack
from workbench.selection.pack_correction import (
    ExpectedValue,
    PackCorrection,
    _choices_of_chance,
    _Rows,
    correct_pack,
)
from workbench.selection.pack_limits import MemberCost, PackLimits
from workbench.trial.constraints import Bound, Constraints
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective

AUC = Objective(metric="auc")


def made(num_trials: int, num: int, *, shift: float, seed: int = 0) -> SliceScores:
    rng = np.random.default_rng(seed)
    y = np.arange(num) % 2
    logits = rng.normal(size=(num_trials, num)) + shift * (y - 0.5)
    return SliceScores(targets=y, scores=expit(logits), groups=np.arange(num))


def corrected(one: SliceScores, *, costs: list[MemberCost] | None = None) -> PackCorrection:
    found = correct_pack([one], AUC, costs or [MemberCost(1)] * len(one.scores), divisions=4)
    assert found is not None
    return found


def test_packs_of_pure_noise_are_worth_nothing() -> None:
    found = [corrected(made(12, 100, shift=0, seed=seed)) for seed in range(6)]
    naive = np.mean([one.of_pack.naive for one in found])
    value = np.mean([one.of_pack.value for one in found])
    assert naive > 0.55
    assert value == pytest.approx(0.5, abs=0.05)
    assert np.mean([one.gain for one in found]) == pytest.approx(0, abs=0.05)
    # All six of 95% would be asking too much of chance.
    assert sum(one.of_pack.low < 0.5 < one.of_pack.high for one in found) >= 5


def test_a_choice_among_those_whose_weights_are_left_is_one_among_all() -> None:
    rng = np.random.default_rng(1)
    targets = np.arange(100) % 2
    scores = rng.random((30, 100))
    kept = np.argsort([-auc(targets, one).value for one in scores])[:5].tolist()
    costs = [MemberCost(params=1, has_weights=place in kept) for place in range(30)]
    noise = [SliceScores(targets, scores, np.arange(100))]
    found = correct_pack(noise, AUC, costs, PackLimits(members=5), divisions=8)
    assert found is not None
    assert set(found.pack.members) <= set(kept)
    assert found.of_pack.naive > 0.65
    # Of the five alone, chosen by these same files, it would be told to be worth as much.
    assert found.of_pack.value < 0.58


@pytest.mark.parametrize("places", [(0, 1), (0, 10)], ids=["best", "last-ended"])
def test_packs_of_the_parts_have_as_many_to_choose_from(places: tuple[int, ...]) -> None:
    # Twelve equal trials that err apart: a pack of eight has 0.97, one of the two left 0.85.
    y, errors = np.arange(120) % 2, []
    for seed in range(3):
        one = made(12, 120, shift=1.0, seed=seed)
        order = np.argsort([-auc(y, row).value for row in one.scores])
        kept = {int(order[place]) for place in places}
        found = corrected(one, costs=[MemberCost(1, has_weights=n in kept) for n in range(12)])
        assert set(found.pack.members) <= kept
        new = made(12, 6_000, shift=1.0, seed=seed + 100)
        truth = auc(np.arange(6_000) % 2, found.pack.scores(new)).value
        errors.append(found.of_pack.value - truth)
    assert abs(np.mean(errors)) < 0.04


def test_a_part_has_the_trials_at_the_places_of_those_with_weights() -> None:
    y, groups = np.array([0, 1] * 4), np.arange(8)
    # Right on so many of the first four and of the last four samples.
    right = [(4, 4), (4, 2), (2, 4), (2, 1), (1, 0)]
    truths = np.array([[n < a for n in range(4)] + [n < b for n in range(4)] for a, b in right])
    one = SliceScores(y, np.where(truths, y, 1 - y) * 0.8 + 0.1, groups)
    halves = np.array([[True, False]] * 4 + [[False, True]] * 4)
    accuracy = Objective(metric="accuracy")
    costs = [MemberCost(1, has_weights=n in (0, 3)) for n in range(5)]  # the best and the fourth
    keeps = np.ones((5, 2), bool)
    found = left_in_parts([one], accuracy, costs, keeps, halves)
    # Of equal ones the first: 0, 1, 2, 3, 4 by the first half, 0, 2, 1, 3, 4 by the other.
    assert [np.flatnonzero(part).tolist() for part in found.T] == [[0, 3], [0, 3]]
    costs = [MemberCost(1, has_weights=n in (0, 1)) for n in range(5)]
    found = left_in_parts([one], accuracy, costs, keeps, halves)
    assert [np.flatnonzero(part).tolist() for part in found.T] == [[0, 1], [0, 2]]
    every = [replace(cost, has_weights=True) for cost in costs]
    assert left_in_parts([one], accuracy, every, keeps, halves).all()
    soups = [*costs[:4], replace(costs[4], is_trial=False)]  # a soup is made again of its trials
    found = left_in_parts([one], accuracy, soups, keeps, halves)
    assert found[4].all() and found[:4].sum() == 4


def test_who_keeps_a_constraint_on_a_metric_is_chosen_anew_by_each_part() -> None:
    # Guesses that call few real files fake on these very files. Chosen among them alone, a pack is
    # told to have more than the accuracy of 0.5 that every guess has.
    rng = np.random.default_rng(4)
    targets = np.arange(100) % 2
    scores = rng.random((40, 100))
    noise = [SliceScores(targets, scores, np.arange(100))]
    accuracy = Objective(metric="accuracy")
    keeps = (scores[:, targets == 0] >= 0.5).mean(axis=1) <= 0.44
    constraints: Constraints = {"fpr": Bound(at_most=0.44)}
    whole = keeping(noise, accuracy, constraints, np.ones((100, 1), bool))
    assert whole[:, 0].tolist() == keeps.tolist()
    costs = [MemberCost(1, keeps_constraints=kept) for kept in keeps]
    found = correct_pack(noise, accuracy, costs, PackLimits(members=4), constraints=constraints)
    alone = correct_pack(
        [replace(noise[0], scores=scores[keeps])],
        accuracy,
        [MemberCost(1)] * keeps.sum(),
        PackLimits(members=4),
    )
    assert found is not None and alone is not None
    assert keeps[[*found.pack.members, found.trial]].all()
    assert found.of_pack.naive == alone.of_pack.naive
    assert found.of_pack.value < alone.of_pack.value - 0.01
    impossible: Constraints = {"fpr": Bound(at_most=-1.0)}
    assert correct_pack(noise, accuracy, costs, constraints=impossible) is None


def test_trials_that_err_apart_are_better_together() -> None:
    # Eight of a true AUC of 0.76 each, independent: the mean of all has one of 0.98.
    found = corrected(made(8, 200, shift=1.0))
    assert found.is_pack_promoted
    assert found.of_trial.value == pytest.approx(0.76, abs=0.08)
    assert found.of_pack.value == pytest.approx(0.98, abs=0.03)
    assert found.of_pack.low < found.of_pack.value < found.of_pack.high
    assert 0 < found.gain_low < found.gain < found.gain_high
    assert found.gain == pytest.approx(found.of_pack.value - found.of_trial.value)
    assert found.sentence.startswith("The pack of 8 models is expected to be better than the best")
    assert corrected(made(8, 200, shift=1.0)) == found


def test_copies_of_one_trial_are_that_trial() -> None:
    one = made(1, 80, shift=1.0)
    copies = replace(one, scores=np.repeat(one.scores, 4, axis=0))
    found = corrected(copies, costs=[MemberCost(size) for size in (9, 7, 8, 9)])
    assert (found.pack.members, found.trial) == ((1,), 1)
    assert (found.pack_params, found.trial_params) == (7, 7)
    assert (found.gain, found.gain_low, found.gain_high) == (0, 0, 0)
    assert found.of_pack == found.of_trial
    assert not found.is_pack_promoted
    assert "best single trial is expected to be as good" in found.sentence


def test_the_interval_of_a_gain_knows_that_other_samples_would_choose_otherwise() -> None:
    one = made(2, 120, shift=1.0)
    # Of two that are about as good, halves choose now one and now the other.
    chosen = _choices_of_chance([one], AUC, 0)
    assert len(chosen) == 50
    assert 0.1 < chosen.mean() < 0.9
    # A perfect one is always chosen, so that only chance in its own value is left.
    perfect = replace(one, scores=np.stack([0.1 + 0.8 * one.targets, one.scores[1]]))
    assert not _choices_of_chance([perfect], AUC, 0).any()
    found, surely = corrected(one), corrected(perfect)
    assert found.gain_high - found.gain_low > surely.gain_high - surely.gain_low


def test_a_gain_in_calls_that_are_alike_on_these_files_has_a_width_too() -> None:
    # One and the same real file is called fake by the pack and by the best single trial; in every
    # part the pack is that of the two trials, which is worse by a file.
    targets = np.arange(60) % 2
    scores = np.where(targets == 1, 0.9, 0.1) * np.linspace(0.9, 1, 60)
    first, second = scores.copy(), scores.copy()
    first[12], second[[12, 46]] = 0.6, 0.6
    one = SliceScores(targets, np.stack([first, second]), np.arange(60))
    rows = _Rows(
        [one],
        Objective(metric="fpr"),
        np.arange(2),
        packs=[ChosenPack((at,), MeanOfProbabilities(weights=(1.0,))) for at in (0, 1)],
    )
    place, parts = 2, np.full(9, 3)
    variance = rows.variance_of_difference((place, parts), (0, np.zeros(9, np.int64)), 0)
    # Of one file in thirty that only one of two calls fake.
    assert variance == pytest.approx(1 / 30 * 29 / 30 / 30, rel=0.3)


def test_a_lower_log_loss_is_a_gain() -> None:
    one = made(6, 120, shift=1.0)
    objective = Objective(metric="log_loss")
    found = correct_pack([one], objective, [MemberCost(1)] * 6, divisions=2)
    assert found is not None
    assert found.of_pack.value < found.of_trial.value
    assert found.gain == pytest.approx(found.of_trial.value - found.of_pack.value)
    assert found.of_pack.low < found.of_pack.value < found.of_pack.high


def test_what_cannot_be_divided_or_is_over_the_limit_has_no_value() -> None:
    one = made(3, 40, shift=1.0)
    alone = replace(one, groups=one.targets)
    assert correct_pack([alone], AUC, [MemberCost(1)] * 3) is None
    assert correct_pack([one], AUC, [MemberCost(2)] * 3, PackLimits(params=1)) is None


@pytest.mark.parametrize(
    ("gain", "pack_params", "is_promoted"),
    [
        (0.01, 50, True),
        (-0.01, 5, False),
        (0.002, 50, False),  # equal but for rounding: the trial is smaller
        (0.002, 5, True),
        (-0.002, 5, True),
        (0.002, 10, False),  # and as large: the single one
    ],
)
def test_ties_go_to_the_smaller(gain: float, pack_params: int, is_promoted: bool) -> None:
    found = PackCorrection(
        metric="auc",
        pack=ChosenPack((0, 1), MeanOfProbabilities(weights=(0.5, 0.5))),
        of_pack=ExpectedValue(0.75, 0.7 + gain, 0.6, 0.8),
        pack_params=pack_params,
        trial=0,
        of_trial=ExpectedValue(0.72, 0.7, 0.6, 0.8),
        trial_params=10,
        gain=gain,
        gain_low=gain - 0.02,
        gain_high=gain + 0.02,
        rounding=0.003,
    )
    assert found.is_pack_promoted == is_promoted
    assert found.sentence.startswith("The pack" if is_promoted else "The best single trial")


def test_a_soup_may_be_a_member_and_is_not_the_best_single_trial() -> None:
    targets = np.arange(60) % 2
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(3, 60)) + np.array([[0.5], [0.8], [3.0]]) * (targets - 0.5)
    one = SliceScores(targets, expit(logits), np.arange(60))
    assert corrected(one).trial == 2
    costs = [MemberCost(1), MemberCost(1), MemberCost(1, is_trial=False)]
    found = corrected(one, costs=costs)
    values = [auc(targets, row).value for row in one.scores]
    assert found.trial == int(np.argmax(values[:2]))
    assert found.of_trial.naive == pytest.approx(max(values[:2]))
    assert 2 in found.pack.members
    # Where soups alone keep the constraints there is no single trial to hold a pack against.
    broken = MemberCost(1, keeps_constraints=False)
    soups = [broken, MemberCost(1, is_trial=False), MemberCost(1, is_trial=False)]
    assert correct_pack([one], AUC, soups) is None
