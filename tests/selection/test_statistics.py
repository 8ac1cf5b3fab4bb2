import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.selection.studies import MadeStudy, normal_scores
from workbench.data.metadata import column_of
from workbench.data.prepared_table import write_prepared_table
from workbench.errors import DamagedFileError, StudyError
from workbench.files import write_json
from workbench.searching.noise import noise
from workbench.selection.operating_points import operating_point
from workbench.selection.slice_values import auc_gap, read_labelled_scores
from workbench.selection.statistics import trial_auc, trial_auc_difference
from workbench.selection.summary import summarise
from workbench.study import records, scored
from workbench.study.folder import StudyFolder
from workbench.study.scored import read_scored_trials, read_scores, unrecorded
from workbench.trial.delong import Estimate, auc, auc_difference
from workbench.trial.intervals import rate_interval
from workbench.trial.metrics import binary_metrics
from workbench.trial.result import Result

# Two fakes, then three reals; one fake ties with one real.
TARGETS = [1, 1, 0, 0, 0]
FIRST = [0.9, 0.6, 0.1, 0.6, 0.3]
SECOND = [0.8, 0.2, 0.1, 0.4, 0.5]

Floats = npt.NDArray[np.float64]


def shares_by_pairs(y: npt.NDArray[np.int64], s: Floats) -> tuple[Floats, Floats]:
    """DeLong's structural components as they are defined: over all pairs."""
    fakes, reals = s[y == 1][:, None], s[y == 0][None, :]
    wins = (fakes > reals) + 0.5 * (fakes == reals)
    return wins.mean(axis=1), wins.mean(axis=0)


def variance_by_pairs(of_fakes: Floats, of_reals: Floats) -> float:
    return float(
        np.var(of_fakes, ddof=1) / len(of_fakes) + np.var(of_reals, ddof=1) / len(of_reals)
    )


def tied_sample(seed: int) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    rng = np.random.default_rng(seed)
    y = (rng.random(60) < 0.3).astype(np.int64)
    y[:4] = [0, 0, 1, 1]
    first = rng.integers(0, 8, 60) + 2.0 * y
    second = np.round(first + rng.normal(size=60))
    return y, first / 20, second / 20


def test_an_auc_and_its_error_worked_by_hand() -> None:
    # Each fake beats (3, 2.5) of the 3 reals; each real loses to (2, 1.5, 2) of the 2 fakes.
    # The AUC is 5.5 / 6. The shares (1, 5/6) vary by 1/72 and (1, 3/4, 1) by 1/48, so the variance
    # is 1/72 / 2 + 1/48 / 3 = 1/72.
    found = auc(TARGETS, FIRST)
    assert found.value == pytest.approx(11 / 12)
    assert found.standard_error == pytest.approx(1 / math.sqrt(72))


def test_a_paired_difference_worked_by_hand() -> None:
    # The second model's shares are (1, 1/3) and (1, 1/2, 1/2): the differences (0, 1/2) vary by
    # 1/8 and (0, 1/4, 1/2) by 1/16, so the variance is 1/8 / 2 + 1/16 / 3 = 1/12.
    found = auc_difference(TARGETS, FIRST, SECOND)
    assert found.value == pytest.approx(11 / 12 - 2 / 3)
    assert found.standard_error == pytest.approx(1 / math.sqrt(12))


@pytest.mark.parametrize("seed", range(5))
def test_midranks_agree_with_all_pairs_and_with_ties(seed: int) -> None:
    y, first, second = tied_sample(seed)
    a, b = shares_by_pairs(y, first), shares_by_pairs(y, second)
    found = auc(y, first)
    assert found.value == pytest.approx(float(roc_auc_score(y, first)))
    assert found.standard_error == pytest.approx(math.sqrt(variance_by_pairs(*a)))
    difference = auc_difference(y, first, second)
    assert difference.value == pytest.approx(a[0].mean() - b[0].mean())
    expected = variance_by_pairs(a[0] - b[0], a[1] - b[1])
    assert difference.standard_error == pytest.approx(math.sqrt(expected))


def test_auc_error_and_f1_are_those_of_exact_fractions() -> None:
    for seed in range(40):
        y, scores, _ = tied_sample(seed)
        fakes = [Fraction(score) for score in scores[y == 1]]
        reals = [Fraction(score) for score in scores[y == 0]]
        wins = [[Fraction((a > b) + (a >= b), 2) for b in reals] for a in fakes]
        value = sum(map(sum, wins)) / (len(fakes) * len(reals))
        of_fakes = [sum(row) / len(reals) for row in wins]
        of_reals = [sum(row) / len(fakes) for row in zip(*wins, strict=True)]
        variance = sum(
            sum((share - value) ** 2 for share in shares) / (len(shares) - 1) / len(shares)
            for shares in (of_fakes, of_reals)
        )
        found = auc(y, scores)
        assert found.value == pytest.approx(float(value), rel=0, abs=1e-15)
        error = math.sqrt(variance)
        assert found.standard_error == pytest.approx(error, rel=1e-14, abs=0)
        hits, called = int(((scores >= 0.5) & (y == 1)).sum()), int((scores >= 0.5).sum())
        f1 = float(Fraction(2 * hits, called + len(fakes)))
        assert binary_metrics(y, scores.clip(0, 1))["f1"] == pytest.approx(f1, rel=0, abs=1e-15)


def test_the_errors_agree_with_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([1, 0], [150, 250])
    first = rng.normal(size=400) + 1.2 * y
    second = 0.8 * first + 0.5 * rng.normal(size=400) + 0.3 * y
    draws = []
    for _ in range(1500):
        index = np.concatenate([rng.integers(0, 150, 150), rng.integers(150, 400, 250)])
        draws.append([auc(y[index], s[index]).value for s in (first, second)])
    firsts, seconds = np.array(draws).T
    assert auc(y, first).standard_error == pytest.approx(firsts.std(), rel=0.1)
    paired = auc_difference(y, first, second).standard_error
    assert paired == pytest.approx((firsts - seconds).std(), rel=0.1)
    # Pairing is what makes it small.
    assert paired is not None
    assert paired < 0.8 * math.hypot(firsts.std(), seconds.std())


def test_only_the_order_of_the_scores_counts() -> None:
    y, first, _ = tied_sample(1)
    assert auc(y, first) == auc(y, np.exp(first) - 7)


def test_turning_the_scores_around_keeps_the_error() -> None:
    y, first, _ = tied_sample(2)
    plain, turned = auc(y, first), auc(y, -first)
    assert turned.value == pytest.approx(1 - plain.value)
    assert turned.standard_error == pytest.approx(plain.standard_error)


def test_a_model_is_no_better_than_itself() -> None:
    found = auc_difference(TARGETS, FIRST, FIRST)
    assert (found.value, found.standard_error, found.confidence) == (0.0, 0.0, None)


def test_many_samples_need_no_table_of_pairs() -> None:
    y = np.arange(400_000) % 2  # 4e10 pairs
    s = np.random.default_rng(0).random(400_000)
    error = auc(y, s).standard_error
    # Without any signal the variance is near (1/12) (1/m + 1/n).
    assert error == pytest.approx(math.sqrt(2 / 200_000 / 12), rel=0.02)


def test_one_sample_of_a_class_gives_an_auc_without_an_error() -> None:
    found = auc([1, 0, 0], [0.5, 0.1, 0.9])
    assert (found.value, found.standard_error) == (0.5, None)
    assert found.low is not None
    assert found.low < 0.1


@pytest.mark.parametrize(
    ("value", "confidence"), [(0.0, 0.5), (1.959964, 0.975), (-1.959964, 0.025)]
)
def test_confidence_is_the_normal_share_above_zero(value: float, confidence: float) -> None:
    found = Estimate(value=value * 0.1, standard_error=0.1).confidence
    assert found == pytest.approx(confidence, abs=1e-6)


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes are needed: 2 of 2"):
        auc([1, 1], [0.1, 0.2])


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="two equal rows"):
        auc([1, 0], [0.1, 0.2, 0.3])


def test_stored_scores_are_paired_by_name_on_the_objectives_slice(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    names = [f"{letter}.mp4" for letter in "abcde"]
    study.add(TARGETS, FIRST, names=names)
    # The same samples, stored in another order.
    study.add(TARGETS[::-1], SECOND[::-1], names=names[::-1])
    first, second = study.rows
    assert trial_auc(study.folder, first, study.objective) == auc(TARGETS, FIRST)
    found = trial_auc_difference(study.folder, first, second, study.objective)
    assert found == auc_difference(TARGETS, FIRST, SECOND)


def test_trials_of_different_samples_are_not_compared(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, FIRST)
    study.add(TARGETS, SECOND, names=[f"other{i}.mp4" for i in range(5)])
    first, second = study.rows
    with pytest.raises(StudyError, match="Trials 0 and 1 were scored on different samples"):
        trial_auc_difference(study.folder, first, second, study.objective)


def test_lost_scores_are_named(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    recipe = study.add(TARGETS, FIRST)
    study.folder.trial(recipe.uid).scores.unlink()
    with pytest.raises(DamagedFileError, match=r"scores\.parquet is gone"):
        trial_auc(study.folder, study.rows[0], study.objective)


def test_a_result_that_its_scores_do_not_give_is_not_ranked(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    changed, sound = study.add(TARGETS, FIRST), study.add(TARGETS, SECOND)
    file = study.folder.trial(changed.uid).result
    result = Result.model_validate_json(file.read_text())
    assert result.objective is not None
    study.folder.trial(changed.uid).write_result(
        result.model_copy(update={"objective": result.objective - 0.01})
    )
    first, second = read_scored_trials(study.folder)
    assert (first.recipe, first.state) == (changed.uid, "failed")
    assert "does not give the auc" in first.reason
    assert (second.recipe, second.state) == (sound.uid, "complete")


def test_a_result_whose_value_on_a_slice_its_scores_do_not_give_is_not_ranked(
    tmp_path: Path,
) -> None:
    """The columns of one slice alone come from there."""
    study = MadeStudy(tmp_path)
    files = study.folder.trial(study.add(TARGETS, FIRST).uid)
    result = files.read_result()
    assert result is not None
    known = {"auc": result.metrics["auc"], "f1": result.metrics["f1"]}
    told = {"val": {**known, "later": 0.1}, "other": {"auc": 0.9}}  # of another, no scores are read
    files.write_result(result.model_copy(update={"by_slice": told}))
    assert read_scored_trials(study.folder)[0].state == "complete"
    told = {"val": {**known, "f1": known["f1"] + 0.01}}
    files.write_result(result.model_copy(update={"by_slice": told}))
    [row] = read_scored_trials(study.folder)
    assert (row.state, "does not give the f1 on val" in row.reason) == ("failed", True)


def test_a_trial_whose_scores_lack_the_slice_is_left_out_alone(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for scores in ([0.9, 0.2], [0.8, 0.1]):
        made.add([1, 0], scores)
    file = made.folder.trial(made.rows[0].recipe).scores
    table = pd.read_parquet(file)
    table[table["slice"] != "val"].to_parquet(file)
    lost, whole = read_scored_trials(made.folder)
    assert (lost.state, whole.state) == ("failed", "complete")
    assert "has no scores on the slice 'val'" in lost.reason


def test_trials_that_a_shortened_journal_does_not_know_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(0.5, seed=1))
    short = study.folder.journal.read_bytes()
    study.add(*normal_scores(1.5, seed=2))
    assert unrecorded(study.folder) == ""
    study.folder.journal.write_bytes(short)
    assert [row.number for row in read_scored_trials(study.folder)] == [0]
    said = unrecorded(study.folder)
    assert said.startswith("Left out of made: 1 complete trial in ") and "workbench search" in said
    with study.folder.held():  # its search may be about to record it
        assert unrecorded(study.folder) == ""
    with ExitStack() as search:  # one that ends once the journal was read

        def read(folder: StudyFolder) -> optuna.Study:
            found = records.read_study(folder)
            search.close()
            return found

        monkeypatch.setattr(scored, "read_study", read)
        search.enter_context(study.folder.held())
        assert unrecorded(study.folder) == ""


def test_ten_copies_of_each_sample_make_a_difference_no_surer() -> None:
    targets, first = normal_scores(1.0, seed=1)
    _, second = normal_scores(0.8, seed=2)
    one = auc_difference(targets, first, second)
    many, a, b = (np.repeat(row, 10) for row in (targets, first, second))
    copies = np.repeat(np.arange(len(targets)), 10)
    together, apart = auc_difference(many, a, b, copies), auc_difference(many, a, b)
    # Exact: components, groups and factors are those of the single samples.
    assert together.model_dump() == pytest.approx(one.model_dump())
    assert together.standard_error is not None and apart.standard_error is not None
    assert together.standard_error > 3 * apart.standard_error
    assert auc_difference(targets, first, second, copies[::10]) == one


def test_a_group_of_both_classes_moves_a_difference_by_their_sum() -> None:
    # Each group has a fake and a real sample. Components of first: fakes 1, 1; reals 1, 1. Of
    # second: fakes .5, 1 and reals .5, 1 (0.4 is below 0.5). Their differences are .5, 0 and .5, 0,
    # from their means .25, -.25: groups move it by (.25 + .25) / 2 and its opposite, so the
    # variance is (2 / 16) * 2 / (2 - 1).
    found = auc_difference([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], [0.4, 0.9, 0.5, 0.1], [0, 1, 0, 1])
    assert found.value == 0.25
    assert found.standard_error == pytest.approx(0.5)


def test_a_class_of_one_group_has_no_standard_error() -> None:
    groups = [0, 1, 2, 2]
    assert auc_difference([1, 1, 0, 0], [4, 3, 2, 1], [3, 1, 2, 4], groups).standard_error is None


def test_clips_of_one_speaker_count_together_in_the_difference_of_trials(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(TARGETS, FIRST)
    study.add(TARGETS, SECOND)
    first, second = study.rows
    names = read_scores(study.folder, first, study.objective)["name"].tolist()
    speakers = ["ann", "ann", "bob", "cyd", "cyd"]
    rows = pd.DataFrame(
        {"split": "val", "name": names, "content": [*"abcde"], column_of("speaker"): speakers}
    )
    write_prepared_table(rows, study.folder.manifest)
    write_json(study.folder.path / "prepared.json", {"metadata": {"groups": ["speaker"]}})
    found = trial_auc_difference(study.folder, first, second, study.objective)
    in_order = [speakers[names.index(name)] for name in names]
    assert found == auc_difference(TARGETS, FIRST, SECOND, in_order)
    assert found != auc_difference(TARGETS, FIRST, SECOND)
    scores = read_labelled_scores(study.folder, study.rows)
    assert auc_gap(scores[0], scores[1], study.objective.over[0]) == found


def test_a_study_says_what_it_is_once_however_many_trials_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, begun = MadeStudy(tmp_path), StudyFolder.begun
    read: list[StudyFolder] = []

    def counting(folder: StudyFolder) -> Any:
        read.append(folder)
        return begun(folder)

    monkeypatch.setattr(StudyFolder, "begun", counting)
    counts = []
    for _ in range(3):
        study.add(TARGETS, FIRST)
        read.clear()
        assert {row.state for row in read_scored_trials(study.folder)} == {"complete"}
        counts.append(len(read))
    assert counts[0] == counts[2] > 0


def test_clips_of_one_speaker_count_together_in_the_interval_of_a_trial(tmp_path: Path) -> None:
    targets, scores = normal_scores(1.0, seed=1, num=40)
    study = MadeStudy(tmp_path)
    study.add([*np.repeat(targets, 5).tolist()], [*np.repeat(scores, 5).tolist()])
    names = [f"clip{number:05d}.mp4" for number in range(200)]
    speakers = np.repeat([f"s{number}" for number in range(40)], 5)
    rows = pd.DataFrame(
        {"split": "val", "name": names, "content": names, column_of("speaker"): speakers}
    )
    write_prepared_table(rows, study.folder.manifest)
    plain = trial_auc(study.folder, study.rows[0], study.objective)
    write_json(study.folder.path / "prepared.json", {"metadata": {"groups": ["speaker"]}})
    found = trial_auc(study.folder, study.rows[0], study.objective)
    # Five equal clips of each speaker say what one of each says.
    one = auc(targets, scores)
    assert found.model_dump() == pytest.approx(one.model_dump())
    assert plain.value == found.value
    assert found.standard_error is not None and plain.standard_error is not None
    assert found.standard_error > 2 * plain.standard_error
    shown = summarise(study.folder, study.rows, study.objective)[0].contenders[0]
    assert (shown.low, shown.high) == (found.low, found.high)
    # Wilson's interval is that of 20 speakers' fakes, and the bootstrap draws speakers.
    point = shown.operating_points[0]
    of_clips = operating_point(np.repeat(targets, 5), np.repeat(scores, 5), 1e-2)
    assert point.tpr == of_clips.tpr
    assert point.low <= rate_interval(point.tpr, 20, None)[0] < of_clips.low
    # Whether noise rules is asked of speakers, too.
    about = dict.fromkeys([study.rows[0].recipe], plain.value) | {
        f"{number}": plain.value - 0.01 * number for number in range(1, 9)
    }
    said = noise(study.folder, about, study.objective, num_drawn=9, to_come=1)
    assert f"by {found.standard_error:.4f}" in said
