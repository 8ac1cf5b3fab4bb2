"""What a second look at a holdout may tell."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.selection.studies import normal_scores
from workbench.cli import selection
from workbench.cli.main import app
from workbench.selection import audit, ladder
from workbench.selection.audit import Audited, describe_audit
from workbench.selection.ladder import estimate, interval, is_gain
from workbench.study.looks import Look
from workbench.trial.delong import auc_difference
from workbench.trial.recipe import MetricName

TARGETS = [1, 1, 0, 0]


def scores_of(shift: float, seed: int) -> tuple[list[int], np.ndarray]:
    targets, scores = normal_scores(shift, seed=seed)
    return targets, np.array(scores)


@pytest.mark.parametrize("metric", ["auc", pytest.param("log_loss", marks=pytest.mark.slow)])
def test_the_same_scores_are_no_gain_and_much_better_ones_are(metric: MetricName) -> None:
    targets, good = scores_of(1.5, 1)
    bad = 1 - good
    assert not is_gain(metric, targets, good, good)
    assert is_gain(metric, targets, good, bad)
    assert not is_gain(metric, targets, bad, good)


def test_a_gain_is_more_than_one_standard_error_of_the_paired_difference() -> None:
    targets, stood = scores_of(0.8, 1)
    found = set()
    for seed in range(2, 40):
        _, new = scores_of(0.8 + 0.01 * (seed % 20), seed)
        gap = auc_difference(targets, new, stood)
        assert gap.standard_error
        wanted = gap.value > gap.standard_error
        assert is_gain("auc", targets, new, stood) == wanted
        found.add((wanted, gap.value > 0))
    # Of the better ones some are told and some are not.
    assert {(True, True), (False, True), (False, False)} <= found


def test_a_gain_that_too_few_samples_cannot_show_is_none() -> None:
    assert not is_gain("auc", [1, 0], np.array([0.9, 0.1]), np.array([0.1, 0.9]))


def test_the_interval_of_an_auc_of_one_is_not_zero_wide() -> None:
    scores = np.array([0.9, 0.8, 0.2, 0.1])
    found = estimate("auc", TARGETS, scores)
    low, high = interval("auc", TARGETS, scores, found)
    assert found.value == 1.0 and high == 1.0 and low is not None and low < 0.9


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        # Wilson's of all right: n / (n + 1.96 ** 2), with 12 files or the 6 of a class.
        ("accuracy", 12 / (12 + 1.96**2), 1.0),
        ("tpr", 6 / (6 + 1.96**2), 1.0),
        ("fpr", 0.0, 1 - 6 / (6 + 1.96**2)),
        ("f1", 6 / (6 + 1.96**2), 1.0),
    ],
)
def test_the_interval_of_a_rate_without_an_error_is_not_zero_wide(
    metric: MetricName, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "_RESAMPLES", 10)
    targets = np.array([0, 1] * 6)
    scores = np.where(targets == 1, 0.9, 0.1)
    found = interval(metric, targets, scores, estimate(metric, targets, scores))
    assert found == pytest.approx((low, high))


def test_files_of_one_speaker_count_once_in_an_interval() -> None:
    targets, scores = scores_of(1.0, 1)
    found, speakers = estimate("auc", targets, scores), np.arange(len(targets))
    # Each file three times says no more than once.
    often = [np.repeat(values, 3) for values in (targets, scores, speakers)]
    wide = interval("auc", often[0], often[1], estimate("auc", *often[:2]), often[2])
    assert wide == pytest.approx((found.low, found.high))
    # Wilson's of four right ones.
    right, of_four = np.array([0, 1] * 6), np.array([0, 1, 2, 3] * 3)
    of_right = estimate("accuracy", right, right * 0.8)
    ends = interval("accuracy", right, right * 0.8, of_right, of_four)
    assert ends == pytest.approx((4 / (4 + 1.96**2), 1.0))


@pytest.mark.slow
def test_the_interval_of_another_metric_holds_its_value() -> None:
    targets, scores = scores_of(1.0, 1)
    found = estimate("f1", targets, scores)
    low, high = interval("f1", targets, scores, found)
    assert low is not None and high is not None and low < found.value < high
    assert found.standard_error == pytest.approx((high - low) / 3.92, rel=0.25)


def look(trial: int, of_trial: int, *, is_told: bool) -> Look:
    return Look(
        when="2026-11-26T22:00:00+00:00",
        who="ann",
        trial=trial,
        recipe=str(trial),
        holdout="0123456789ab",
        num_files=40,
        metric="auc",
        is_told=is_told,
        of_trial=of_trial,
        of_recipe=str(of_trial),
        value=0.7,
        low=0.6,
        high=0.8,
    )


def test_what_is_told_of_each_kind_of_look() -> None:
    first = look(3, 3, is_told=True)
    told = describe_audit(Audited(first, None, 1, 0.8, 2))
    assert "auc 0.7000 (0.6000 to 0.8000, 95%) of trial 3." in told
    shared = Audited(first, None, 1, 0.8, 0, shared=("9 of its 40 files are of a speaker.",))
    assert "\n9 of its 40 files are of a speaker.\n" in describe_audit(shared)
    assert "2 copies of files" in told and "it had auc 0.8000" in told
    assert "better than what stood" in describe_audit(
        Audited(look(5, 5, is_told=True), first, 2, 0.8, 0)
    )
    assert "trial 5 is no gain" in describe_audit(
        Audited(look(5, 3, is_told=False), first, 2, 0.8, 0)
    )
    again = describe_audit(Audited(look(3, 3, is_told=False), first, 2, 0.8, 0))
    assert "trial 3 was asked about again" in again


def test_json_of_an_audit_says_what_is_told_beside_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = look(3, 3, is_told=True)
    shared = ("9 of its 40 files are of a speaker.",)
    made = Audited(told, None, 2, 0.8, 1, 4, shared, "other once", 3)
    monkeypatch.setattr(audit, "audit", lambda *words, **named: made)
    monkeypatch.setattr(selection, "named_study", lambda study: tmp_path)
    done = CliRunner().invoke(app, ["audit", "mine", "--json"])
    found = json.loads(done.stdout)
    assert told.model_dump(mode="json").items() <= found.items()
    assert found.keys() - told.model_dump().keys() == {
        *("num_looks", "picked", "num_copies", "num_unseen", "shared", "elsewhere", "num_same"),
        "num_before",
    }
    assert (found["num_same"], found["shared"], found["num_looks"]) == (3, [*shared], 2)


@pytest.mark.parametrize("metric", ["auc", "accuracy"])
def test_ten_clips_of_each_speaker_are_no_more_gain_than_one(metric: MetricName) -> None:
    targets, stood = scores_of(0.8, 1)
    for seed in range(2, 40):
        _, new = scores_of(0.8 + 0.01 * (seed % 20), seed)
        many, a, b = (np.repeat(row, 10) for row in (np.array(targets), new, stood))
        speakers = np.repeat(np.arange(len(targets)), 10)
        told = is_gain(metric, targets, new, stood)
        assert is_gain(metric, many, a, b, speakers) == told
        if not told and is_gain(metric, many, a, b):
            return
    pytest.fail("none was told in copies alone")
