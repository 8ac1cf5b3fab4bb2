import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.parts.temperature import tempered
from workbench.selection.calibration import (
    calibrate,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from workbench.trial.delong import auc


def drawn(temperature: float, num: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn by probabilities, and the scores of a model that is too sure by so much."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, num)
    targets = (rng.random(num) < 1 / (1 + np.exp(-logits))).astype(int)
    return targets, 1 / (1 + np.exp(-logits * temperature))


def test_a_score_is_tempered_by_its_logit() -> None:
    # The logit of 0.8 is log 4, and half of it that of 2/3.
    assert tempered([0.8, 0.2, 0.5], 2.0) == pytest.approx([2 / 3, 1 / 3, 0.5])
    assert tempered([0.0, 1.0], 2.0).tolist() == [0, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_temperature_1_changes_no_bit(scores: list[float]) -> None:
    assert tempered(scores, 1.0).tobytes() == np.asarray(scores, np.float64).tobytes()


@given(
    st.lists(st.floats(1e-9, 1 - 1e-9), min_size=2, max_size=20, unique=True),
    st.floats(0.7, 20),
)
def test_a_temperature_turns_no_order_round(scores: list[float], temperature: float) -> None:
    changed = tempered(sorted(scores), temperature)
    assert (np.diff(changed) >= 0).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_model_that_is_too_sure_is_found(temperature: float) -> None:
    targets, scores = drawn(temperature)
    assert fit_temperature(targets, scores) == pytest.approx(temperature, rel=0.08)


def test_calibration_out_of_fold_mends_the_log_loss_and_leaves_the_auc() -> None:
    targets, scores = drawn(3.0)
    found = calibrate(targets, scores)
    assert found is not None
    assert found.log_loss_after < found.log_loss - 0.1
    assert found.ece_after < 0.03 < found.ece
    after = tempered(scores, found.temperature)
    assert auc(targets, after).value == auc(targets, scores).value


def test_classes_that_are_parted_whole_do_not_tie_the_surest() -> None:
    scores = np.r_[np.linspace(0.01, 0.3, 20), np.linspace(0.7, 0.999, 20)]
    temperature = fit_temperature([0] * 20 + [1] * 20, scores)
    assert temperature < 1
    assert len(set(tempered(scores, temperature))) == len(scores)


def test_files_surer_than_those_of_the_fit_are_not_tied() -> None:
    # Divided by 0.25 these logits are 20, 22, ... 60, and the sigmoid of 38 is 1.
    scores = 1 / (1 + np.exp(-np.linspace(5, 15, 21)))
    changed = tempered(scores, 0.25)
    assert (np.diff(changed) > 0).all()
    assert changed[-1] < 1
    wanted = 1 / (1 + np.exp(-np.linspace(20, 36, 9)))
    assert changed[:9] == pytest.approx(wanted, abs=1.4e-11)  # 1 - sigmoid(25)


def test_the_bins_hold_what_lies_in_them() -> None:
    low, high = reliability([0, 1, 1, 1], [0.10, 0.14, 1.0, 0.96])
    assert (low.share, low.count) == (0.5, 2)
    assert (low.score, high.score) == pytest.approx((0.12, 0.98))
    assert (high.share, high.count) == (1.0, 2)
    # (2 x |0.5 - 0.12| + 2 x |1 - 0.98|) / 4
    assert expected_calibration_error([0, 1, 1, 1], [0.10, 0.14, 1.0, 0.96]) == pytest.approx(0.2)


def test_ten_clips_of_one_speaker_say_as_much_as_one() -> None:
    scores, targets = [0.11] * 20 + [0.91] * 20, [0] * 20 + [1] * 20
    by_speaker = reliability(targets, scores, np.arange(40) // 10)
    assert by_speaker[0].high == pytest.approx(reliability([0, 0], [0.11, 0.11])[0].high)
    assert by_speaker[0].count == 20
    assert by_speaker[0].high > 3 * reliability(targets, scores)[0].high
    calibration = calibrate(targets, scores, np.arange(40) // 10)
    assert calibration is not None
    assert calibration.bins == by_speaker
    assert calibration.bins_after[-1].low == by_speaker[-1].low


@pytest.mark.parametrize("targets", [[1, 1, 1], [0, 1, 1]])
def test_one_file_of_a_class_makes_no_folds(targets: list[int]) -> None:
    assert calibrate(targets, [0.2, 0.8, 0.9]) is None


def test_scores_of_0_and_1_have_a_log_loss() -> None:
    found = calibrate([0, 0, 1, 1], [0.0, 1.0, 1.0, 0.9])
    assert found is not None
    assert math.isfinite(found.log_loss)
    assert math.isfinite(found.log_loss_after)
