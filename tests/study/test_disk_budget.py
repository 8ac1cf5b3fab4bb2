"""A search on a disk that is too small for all of its weights."""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands import COMMAND, ENVIRONMENT, WAIT_S
from tests.selection.studies import MadeStudy, normal_scores, write_weights
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.access import is_locked
from workbench.searching import disk_budget
from workbench.searching.disk_budget import DiskBudget
from workbench.searching.start import SearchOutcome
from workbench.searching.stopping import LEAST_FREE_BYTES
from workbench.study.disk import bytes_below, delete_weights, kept_weights, size_of, without_weights
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.study.repeats import FinalistsPlan, write_plan
from workbench.trial.recipe import Recipe
from workbench.trial.result import TrialFolder

MB = 10**6


def by_rate(recipe: Recipe, number: int) -> float:
    return 0.9 - recipe.training.optimizer.lr


def with_weights(outcome: SearchOutcome) -> set[int]:
    """Return the trials that have weights."""
    folder = outcome.folder
    return {row.number for row in read_trials(folder) if folder.trial(row.recipe).weights.exists()}


def best(outcome: SearchOutcome, number: int) -> set[int]:
    rows = sorted(read_trials(outcome.folder), key=lambda row: -(row.objective or 0))
    return {row.number for row in rows[:number]}


def test_the_worst_trials_weights_go_while_a_study_is_over_its_budget(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(by_rate)
    inline.weights_bytes = MB
    outcome = bench.search(bench.experiment(disk_budget="3.9MB"), 8)
    assert size_of(outcome.folder).total <= 3.9 * MB
    assert size_of(outcome.folder).weights == 3 * MB
    assert with_weights(outcome) == best(outcome, 3)
    said = capsys.readouterr().err
    assert said.count("weights deleted (1.0 MB): the study takes 3.") == 5
    assert said.count("of its 3.9 MB") == 5
    gone = next(row for row in read_trials(outcome.folder) if row.number not in best(outcome, 3))
    assert gone.state == "complete"
    assert gone.objective is not None
    sentence = without_weights(outcome.folder.trial(gone.recipe), "trial 9")
    assert "The weights of trial 9 are gone: the experiment's `disk_budget`" in sentence
    rows = sorted(read_trials(outcome.folder), key=lambda row: -(row.objective or 0))
    first, second, third = (row.number for row in rows[:3])
    assert kept_weights(outcome.folder, rows) == (
        "\nThe weights of 5 complete trials were deleted; "
        f"only trials {first}, {second}, {third} can be promoted.\n"
    )


def test_nothing_is_deleted_while_a_model_is_being_promoted(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.reset(by_rate)
    inline.weights_bytes = MB
    held: list[bool] = []

    def delete(files: TrialFolder, *, by: str) -> int:
        held.append(is_locked(files.path.parents[1] / ".promoting"))
        return delete_weights(files, by=by)

    monkeypatch.setattr(disk_budget, "delete_weights", delete)
    bench.search(bench.experiment(disk_budget="1.9MB"), 2)
    assert held == [True]  # else a champion that is registered just now could lose its weights


@pytest.mark.slow
def test_what_a_study_cannot_do_without_is_kept_and_told_once(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(by_rate)
    inline.weights_bytes = MB
    experiment = bench.experiment()
    outcome = bench.search(experiment, 4)
    assert with_weights(outcome) == {0, 1, 2, 3}
    # The worst two are finalists, as far as a plan can say.
    worst = {0, 1, 2, 3} - best(outcome, 2)
    write_plan(outcome.folder, FinalistsPlan(numbers=tuple(worst), num_seeds=1))
    text = experiment.read_text() + "disk_budget: 1MB\n"
    experiment.write_text(text)
    again = bench.search(experiment, 6)
    assert with_weights(again) == worst | best(again, 1)
    assert capsys.readouterr().err.count("raise the budget") == 1
    # It is no other study for that, and it remembers.
    assert outcome.folder.experiment().disk_budget == MB


@pytest.mark.slow
def test_without_a_budget_nothing_is_deleted(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(by_rate)
    inline.weights_bytes = MB
    outcome = bench.search(bench.experiment(), 4)
    assert with_weights(outcome) == {0, 1, 2, 3}
    assert kept_weights(outcome.folder, read_trials(outcome.folder)) == ""


@pytest.mark.parametrize("raised", [False, True])
def test_weights_of_a_trial_that_its_scores_refute_stay_and_protect_no_worse_one(
    tmp_path: Path, raised: bool
) -> None:
    """A changed result could make the best trial the worst one, or the worst the best."""
    made = MadeStudy(tmp_path)
    for shift in (1.5, 1.0, 0.5):
        made.add(*normal_scores(shift, seed=1))
    # Of the first and the third the scores are others' by now.
    refuted = made.folder.trial(made.rows[0 if raised else 2].recipe)
    refuted.write_scores(made.folder.trial(made.rows[1].recipe).read_scores())
    assert weights_of(made) == ([0, 1] if raised else [0, 2])


def test_the_best_that_can_be_promoted_keeps_its_weights(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for shift in (2.0, 1.5, 1.0, 0.5):
        made.add(*normal_scores(shift, seed=1))
    first, second, *_ = (made.folder.trial(row.recipe) for row in made.rows)
    first.scores.unlink()  # so it cannot be ranked; they may be put back
    assert weights_of(made) == [0, 1]
    for row in made.rows:
        made.folder.trial(row.recipe).weights.write_bytes(b"weights")
    second.weights.unlink()
    DiskBudget(made.folder, made.objective, 1).keep()
    assert [r.number for r in made.rows if made.folder.trial(r.recipe).weights.exists()] == [0, 2]


def test_weights_that_were_cut_short_are_not_the_best_that_stay(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for shift in (2.0, 1.5, 1.0):
        made.add(*normal_scores(shift, seed=1))
    files = [made.folder.trial(row.recipe) for row in made.rows]
    for one in files:
        write_weights(one)
    files[0].weights.write_bytes(b"")  # as by a copy of the folder that broke off
    DiskBudget(made.folder, made.objective, 1).keep()
    assert [one.weights.exists() for one in files] == [True, True, False]


class _Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("budget", [{}, {"disk_budget": "4MB"}], ids=["without", "with"])
def test_a_disk_too_small_for_all_weights_is_enough_with_a_budget(
    bench: Bench,
    inline: InlineTrials,
    monkeypatch: pytest.MonkeyPatch,
    budget: dict[str, Any],
) -> None:
    """The disk holds the weights of five trials of ten, beside what must stay free."""

    def usage(folder: Path) -> _Disk:
        used = bytes_below(folder)
        return _Disk(0, used, LEAST_FREE_BYTES + 5 * MB + MB // 2 - used)

    monkeypatch.setattr("workbench.searching.stopping.shutil.disk_usage", usage)
    inline.reset(by_rate)
    inline.weights_bytes = MB
    outcome = bench.search(bench.experiment(**budget), 10)
    if budget:
        assert outcome.stopped == ""
        assert len(read_trials(outcome.folder)) == 10
        assert with_weights(outcome) >= best(outcome, 1)
    else:
        assert "Make space; the same command then goes on." in outcome.stopped
        assert len(read_trials(outcome.folder)) == 6


def test_deleted_weights_are_told_with_a_remedy_that_fits(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(by_rate)
    inline.weights_bytes = MB
    folder = bench.search(bench.experiment(), 1).folder
    row: TrialRow = read_trials(folder)[0]
    files = folder.trial(row.recipe)
    files.weights.unlink()
    lost = without_weights(files, "trial 0")
    assert lost.endswith("Put the file back, or promote another trial.")
    assert kept_weights(folder, [row]) == ""
    files.weights.write_bytes(bytes(5))
    assert delete_weights(files, by="a test") == 5
    deleted = without_weights(files, "trial 0")
    assert deleted.startswith("The weights of trial 0 are gone: a test deleted them on ")
    assert "`workbench compare` names them" in deleted
    assert "only no trial can" in kept_weights(folder, [row])


_SMALL_MB = 226
"""Of which 210 have to stay free."""


@pytest.mark.slow
def test_the_real_command_ends_well_on_a_disk_too_small_for_all_weights(tmp_path: Path) -> None:
    """On a real small disk, where this user may mount one in a namespace of its own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    mounted = f"mount -t tmpfs -o size={_SMALL_MB}m tmpfs {mount}"
    words = ["unshare", "-Urm", "sh", "-c"]
    try:
        tried = subprocess.run([*words, mounted], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if tried.returncode:
        pytest.skip("no disk can be mounted here")
    write_data(tmp_path / "data")
    space = {**SPACE, "backbone": "test_efficientnet", "num_epochs": 1}
    write_experiment(tmp_path, space, name="small", disk_budget="5MB")
    search = (
        f"{COMMAND} search experiments/small.yaml --data {tmp_path / 'data'} --trials 14 "
        "--jobs 1 --device cpu"
    )
    script = (
        f"{mounted} && cp -r {tmp_path}/experiments {tmp_path}/search_spaces {mount} && "
        f"cd {mount} && {search} && {COMMAND} export small --out bundle && "
        f"ls bundle/model.safetensors && cp -r {mount}/experiments/small {tmp_path}/kept"
    )
    done = subprocess.run(
        [*words, script],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "weights deleted" in done.stderr
    assert "Champion: trial" in done.stdout
    (tmp_path / "kept").rename(tmp_path / "small")
    folder = StudyFolder(tmp_path / "small")
    rows = read_trials(folder)
    assert len(rows) == 14
    assert size_of(folder).total <= 5 * MB


def weights_of(made: MadeStudy) -> list[int]:
    """Return the trials that have weights once a study of several may take nothing at all."""
    for row in made.rows:
        made.folder.trial(row.recipe).weights.write_bytes(b"weights")
    DiskBudget(made.folder, made.objective, 1).keep()
    return [r.number for r in made.rows if made.folder.trial(r.recipe).weights.exists()]


def test_what_was_scored_on_other_files_is_not_the_best_whose_weights_stay(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    targets, scores = normal_scores(1.5, seed=1)
    made.add(targets, scores, names=[f"other{number}.mp4" for number in range(len(targets))])
    for shift in (0.7, 0.5, 0.4):
        made.add(*normal_scores(shift, seed=1))
    assert weights_of(made) == [1]
    made.folder.trial(made.rows[-1].recipe).scores.unlink()  # the last that is ranked is another
    assert weights_of(made) == [1, 3]


def test_a_changed_record_puts_no_trial_first_by_a_constraint_that_it_breaks(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path, constraints={"tpr_at_fpr_1e-2": {"at_most": 0.3}})
    for shift in (1.5, 0.5):
        made.add(*normal_scores(shift, seed=1))
    assert [bool(row.breaks) for row in made.rows] == [True, False]
    files = made.folder.trial(made.rows[0].recipe)
    result = files.read_result()
    assert result is not None
    lowered = result.metrics | {"tpr_at_fpr_1e-2": 0.1}
    files.write_result(result.model_copy(update={"metrics": lowered}))
    assert weights_of(made) == [0, 1]  # which of the two is the best, nothing tells
