"""Packs chosen from scores, with values worked out by hand, and how their members are joined."""

from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit, logit

from workbench.parts.joint import SUREST_LOGIT, JointLayer, LinearOfLogits, MeanOfProbabilities
from workbench.selection.calibration import fit_temperature
from workbench.selection.choosing import SliceScores
from workbench.selection.joining import (
    JointName,
    fit_joint,
    inverse_temperatures,
    joined,
)
from workbench.selection.pack_choice import (
    ChosenPack,
    ForwardSearch,
    choose_pack,
    objective_of_rows,
)
from workbench.selection.pack_limits import MemberCost, PackLimits
from workbench.selection.row_metrics import metric_of_rows
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import MetricName, Objective

AUC = Objective(metric="auc")
PLAIN = ForwardSearch(bags=1, begin=1)

# Two fakes, two reals. Each of the first two orders all pairs but one, the third half of them.
Y = np.array([1, 1, 0, 0])
FIRST, SECOND, THIRD = [0.9, 0.3, 0.4, 0.1], [0.2, 0.8, 0.3, 0.1], [0.5, 0.4, 0.6, 0.3]


def of(*rows: list[float]) -> SliceScores:
    return SliceScores(targets=Y, scores=np.array(rows), groups=np.arange(4))


def made(num_trials: int, num: int, *, seed: int) -> SliceScores:
    """Return trials of about one true AUC, whose scores are half alike."""
    rng = np.random.default_rng(seed)
    y = np.arange(num) % 2
    logits = rng.normal(size=num) + rng.normal(size=(num_trials, num)) + y - 0.5
    return SliceScores(targets=y, scores=expit(logits), groups=np.arange(num))


def chosen(
    one: SliceScores,
    costs: list[MemberCost] | None = None,
    limits: PackLimits | None = None,
    *,
    search: ForwardSearch | None = None,
    joint: JointName = "mean",
) -> ChosenPack:
    pack = choose_pack(
        [one],
        AUC,
        costs or [MemberCost(1)] * len(one.scores),
        limits,
        search=search,
        joint=joint,
    )
    assert pack is not None
    return pack


@pytest.mark.parametrize("metric", sorted(get_args(MetricName)))
@pytest.mark.parametrize("levels", [5, 10_000])
def test_a_metric_of_many_rows_is_that_of_each(metric: MetricName, levels: int) -> None:
    rng = np.random.default_rng(levels)
    y = np.arange(70) % 2
    rows = np.clip(rng.integers(0, levels, (6, 70)) / levels + 0.1 * y, 0.01, 0.99)
    expected = [binary_metrics(y, row)[metric] for row in rows]
    assert metric_of_rows(metric, y, rows).tolist() == pytest.approx(expected)


def test_of_two_thresholds_with_the_best_f1_both_ways_take_the_same() -> None:
    # Two thirds are 2 of 3 calls or 4 of 8: the last bits depend on how an F1 is computed.
    rng = np.random.default_rng(0)
    for num in range(4, 64):
        y = rng.permutation(np.arange(num) % 2)
        row = rng.random(num)
        found = metric_of_rows("best_f1_threshold", y, row[None])[0]
        assert found == binary_metrics(y, row)["best_f1_threshold"], num


def test_an_auc_of_logits_is_that_of_their_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 40))
    y = np.arange(40) % 2
    of_logits, of_scores = (metric_of_rows("auc", y, rows) for rows in (logits, expit(logits)))
    assert of_logits.tolist() == pytest.approx(of_scores.tolist())


def test_two_trials_that_err_on_different_pairs_make_a_pack() -> None:
    # 0.9 + 0.2, 0.3 + 0.8 against 0.4 + 0.3, 0.1 + 0.1: all pairs in order.
    pack = chosen(of(THIRD, FIRST, SECOND), search=PLAIN)
    assert sorted(pack.members) == [1, 2]
    assert pack.joint == MeanOfProbabilities(weights=(0.5, 0.5))
    assert pack.scores(of(THIRD, FIRST, SECOND)).tolist() == pytest.approx([0.55, 0.55, 0.35, 0.1])


def test_a_trial_that_is_picked_twice_counts_twice() -> None:
    # Added once, the second spoils as many pairs as it mends: 0.9, 1.2 against 1.05, 0.5. Beside
    # twice the first it mends one alone: 1.8, 1.7 against 1.6, 0.6.
    one = of([0.9, 0.5, 0.55, 0.1], [0.0, 0.7, 0.5, 0.4])
    pack = chosen(one, search=PLAIN)
    assert pack.members == (0, 1)
    assert pack.joint.weights == pytest.approx((2 / 3, 1 / 3))


@pytest.mark.parametrize(
    ("limits", "members"),
    [
        (PackLimits(params=100), [0, 1]),
        (PackLimits(params=99), [1]),
        (PackLimits(ms_per_file=5.0), [0, 1]),
        (PackLimits(ms_per_file=4.9), [1]),
        (PackLimits(members=2), [0, 1]),
        (PackLimits(members=1), [1]),
    ],
)
@pytest.mark.parametrize("search", [PLAIN, ForwardSearch()])
def test_a_limit_is_kept_that_is_met_exactly(
    limits: PackLimits, members: list[int], search: ForwardSearch
) -> None:
    # The first two are equally good, and the second is smaller; the third is over any limit.
    costs = [MemberCost(60, 3.0), MemberCost(40, 2.0), MemberCost(1000, 50.0)]
    pack = chosen(of(FIRST, SECOND, THIRD), costs, limits, search=search)
    assert sorted(pack.members) == members
    assert sum(pack.joint.weights) == pytest.approx(1)


def test_where_no_trial_keeps_the_limits_there_is_no_pack() -> None:
    costs = [MemberCost(60), MemberCost(40)]
    one = of(FIRST, SECOND)
    assert choose_pack([one], AUC, costs, PackLimits(params=39)) is None
    # What has no measured time may take any.
    assert choose_pack([one], AUC, costs, PackLimits(ms_per_file=1e9)) is None


def test_a_copy_adds_nothing_and_the_smaller_one_is_taken() -> None:
    one = made(6, 60, seed=1)
    plain = chosen(one, [MemberCost(5)] * 6)
    twice = SliceScores(one.targets, np.concatenate([one.scores, one.scores]), one.groups)
    doubled = chosen(twice, [MemberCost(5)] * 6 + [MemberCost(4)] * 6)
    assert doubled.joint == plain.joint
    assert doubled.members == tuple(member + 6 for member in plain.members)


@pytest.mark.parametrize("joint", ["mean", "calibrated", "logistic"])
def test_the_order_of_the_trials_does_not_matter(joint: JointName) -> None:
    one = made(9, 80, seed=2)
    order = np.random.default_rng(0).permutation(9)
    pack = chosen(one, joint=joint)
    other = chosen(SliceScores(one.targets, one.scores[order], one.groups), joint=joint)
    assert [order[member] for member in other.members] == list(pack.members)
    assert other.joint.weights == pytest.approx(pack.joint.weights)
    assert chosen(one, joint=joint) == pack


def test_the_best_that_fit_count_alike_where_no_search_is_named() -> None:
    one = made(8, 60, seed=6)
    values = metric_of_rows("auc", one.targets, one.scores)
    best = np.argsort(-values, kind="stable")
    assert len(set(values)) == 8
    pack = chosen(one, limits=PackLimits(members=3))
    assert (pack.members, set(pack.joint.weights)) == (tuple(best[:3]), {1 / 3})
    # The second best is over the limit of parameters beside the best: the third takes its place.
    costs = [MemberCost(1)] * 8
    costs[best[1]] = MemberCost(10)
    pack = chosen(one, costs, PackLimits(members=3, params=10))
    assert pack.members == (best[0], best[2], best[3])


def test_more_picks_are_never_worse_where_they_were_chosen() -> None:
    for seed in range(2):
        one = made(8, 50, seed=seed)
        values = []
        for picks in range(1, 8):
            pack = chosen(one, search=ForwardSearch(bags=1, begin=1, picks=picks))
            assert len(pack.members) <= picks
            values.append(binary_metrics(one.targets, pack.scores(one))["auc"])
        assert values == sorted(values)
        singles = metric_of_rows("auc", one.targets, one.scores)
        assert values[0] == pytest.approx(singles.max())
        assert values[-1] > values[0]


def test_the_worst_slice_has_its_say() -> None:
    # The first trial is right on one slice, the second on the other, the third nearly on both.
    right, wrong, fair = [0.9, 0.8, 0.2, 0.1], [0.3, 0.2, 0.6, 0.7], [0.7, 0.4, 0.5, 0.1]
    measured = [of(right, wrong, fair), of(wrong, right, fair)]
    worst = Objective(metric="auc", over=("val", "phone"), aggregate="worst")
    pack = choose_pack(measured, worst, [MemberCost(1)] * 3, search=ForwardSearch(bags=1, begin=3))
    assert pack is not None
    # The third alone has 3/4 on the worst; with the first 1/4, of 1.0, 0.6 against 1.1, 0.8; with
    # both 1.9, 1.4 against 1.3, 0.9 on either slice.
    assert sorted(pack.members) == [0, 1, 2]
    rows = [pack.scores(one)[None] for one in measured]
    assert objective_of_rows(measured, worst, rows).tolist() == [1.0]


def test_joints_are_applied_as_their_formulas_say() -> None:
    scores = np.array([[0.9, 0.2], [0.6, 0.4]])
    mean = MeanOfProbabilities(weights=(0.75, 0.25))
    assert joined(mean, scores).tolist() == pytest.approx([0.825, 0.25])
    linear = LinearOfLogits(weights=(1.0, 0.5), bias=-0.1)
    expected = expit(logit(scores[0]) + 0.5 * logit(scores[1]) - 0.1)
    assert joined(linear, scores).tolist() == pytest.approx(expected.tolist())
    sure = joined(LinearOfLogits(weights=(1.0,)), np.array([[0.0, 1.0]]))
    assert sure.tolist() == pytest.approx([expit(-SUREST_LOGIT), expit(SUREST_LOGIT)])


def test_a_joint_of_logits_ties_no_files_surer_than_those_of_the_fit() -> None:
    # Four times these logits is 20, 24, ... 100, and the sigmoid of 40 is 1.
    scores, joint = expit(np.linspace(5, 25, 21)), LinearOfLogits(weights=(4.0,))
    told = joined(joint, scores[None])
    assert (np.diff(told) > 0).all()
    assert told[-1] < 1
    of_layer = JointLayer(joint)(torch.from_numpy(scores[:, None])).numpy()
    assert np.abs(of_layer - told).max() < 1e-15


def test_temperatures_are_those_of_each_trial_by_itself() -> None:
    one = made(4, 200, seed=3)
    logits = logit(one.scores) * np.array([[0.3], [1.0], [4.0], [-1.0]])
    found = inverse_temperatures(one.targets, logits)
    single = [fit_temperature(one.targets, expit(row)) for row in logits]
    assert (1 / found)[:3] == pytest.approx(single[:3], rel=1e-3)
    # One that says the opposite is made as unsure as may be.
    assert 1 / found[3] == pytest.approx(20, rel=1e-2)


def logistic(num: int, rows: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> LinearOfLogits:
    shares = np.full(len(rows), 1 / len(rows))
    found = fit_joint("logistic", y[:num], expit(rows[:, :num]), shares)
    assert isinstance(found, LinearOfLogits)
    return found


def test_a_logistic_regression_weighs_by_what_each_says_and_few_samples_say_little() -> None:
    rng = np.random.default_rng(4)
    y = np.arange(4000) % 2
    good, poor = 2.0 * y - 1 + rng.normal(size=4000), 0.2 * y - 0.1 + rng.normal(size=4000)
    rows = np.stack([good, poor])
    many = logistic(4000, rows, y)
    # The log of the likelihood ratio of two normals d apart is d x: 2 and 0.2.
    assert many.weights == pytest.approx((2.0, 0.2), abs=0.15)
    assert many.bias == pytest.approx(0, abs=0.15)
    # Two samples that both order: the weights stay finite, and near those of the calibrated mean.
    few = logistic(2, np.array([[-1.0, 1.0], [-1.0, 1.0]]), y)
    assert few.weights[0] == pytest.approx(few.weights[1])
    assert 0 < few.weights[0] < 30


def test_a_member_that_says_the_opposite_has_hardly_a_say() -> None:
    one = made(3, 400, seed=5)
    scores = np.vstack([one.scores, 1 - one.scores[:1]])
    joint = fit_joint("logistic", one.targets, scores, np.full(4, 0.25))
    assert 0 <= joint.weights[3] < 0.5 * min(joint.weights[:3])
