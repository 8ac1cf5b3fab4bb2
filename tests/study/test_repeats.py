"""Trials that are trained again with new seeds: each once, and seen by nothing of the search."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.test_search import Clock, pace
from workbench.errors import DamagedFileError
from workbench.searching.options import FinalistsAsked, RunOptions
from workbench.searching.repeats import train_repeats
from workbench.searching.start import SearchOutcome
from workbench.study.disk import note_removed
from workbench.study.records import TrialRow, read_trials
from workbench.study.repeats import read_plan, read_repeats, repeated, row_of_repeat
from workbench.tracking.runs import Kind, Tracking, TrialRun
from workbench.trial.job import Bug, Died
from workbench.trial.recipe import Recipe


def begun(bench: Bench, inline: InlineTrials, num_trials: int = 3) -> SearchOutcome:
    """Search a study whose later trials are the better ones."""
    inline.reset(lambda recipe, number: 0.6 + 0.1 * (len(inline.trained) - 1))
    return bench.search(bench.experiment(), num_trials)


def best_first(outcome: SearchOutcome) -> list[TrialRow]:
    return sorted(read_trials(outcome.folder), key=lambda row: -(row.objective or 0))


def train(
    bench: Bench, inline: InlineTrials, outcome: SearchOutcome, top: int, **options: Any
) -> str:
    inline.trained = []
    return train_repeats(
        outcome.folder,
        best_first(outcome)[:top],
        bench.workspace,
        RunOptions(num_trials=0, jobs=1, device="cpu"),
        make_runner=inline.make_runner,
        **{"num_seeds": 2, **options},
    )


def repeat_runs(bench: Bench, outcome: SearchOutcome) -> list[TrialRun]:
    tracking = Tracking(bench.workspace.tracking)
    info = outcome.folder.info()
    return tracking.trial_runs(tracking.find_study(info.name, info.id), kind="repeat")


def files_of(outcome: SearchOutcome, *besides: str) -> dict[Path, bytes]:
    """What is in the folder of a study, but for what only repeats write."""
    own = ("repeats", "finalists.json", "lock", *besides)
    return {
        file: file.read_bytes()
        for file in outcome.folder.path.rglob("*")
        if file.is_file() and file.relative_to(outcome.folder.path).parts[0] not in own
    }


def test_a_repeat_differs_in_its_seed_alone(bench: Bench, inline: InlineTrials) -> None:
    outcome = begun(bench, inline)
    assert train(bench, inline, outcome, 2) == ""
    best, second, _ = best_first(outcome)
    originals = {
        row.recipe: outcome.folder.trial(row.recipe).read_recipe().replaced(seed=0)
        for row in (best, second)
    }
    # The first repeat of each before the second of any.
    assert [recipe.replaced(seed=0) for recipe in inline.trained] == [
        originals[uid] for uid in (best.recipe, second.recipe, best.recipe, second.recipe)
    ]
    assert len({recipe.seed for recipe in inline.trained} | {0}) == 3
    assert [(r.number, r.of, r.place) for r in read_repeats(outcome.folder)] == [
        (row.number, row.recipe, place)
        for row in sorted((best, second), key=lambda row: row.number)
        for place in (1, 2)
    ]
    plan = read_plan(outcome.folder)
    assert plan and plan.numbers == (best.number, second.number) and plan.num_seeds == 2


def test_a_record_that_names_another_recipe_or_trial_is_told(
    bench: Bench, inline: InlineTrials
) -> None:
    outcome = begun(bench, inline, 2)
    train(bench, inline, outcome, 2, num_seeds=1)
    best, second = best_first(outcome)
    one, other = read_repeats(outcome.folder)
    of_best = one if one.of == best.recipe else other
    assert row_of_repeat(outcome.folder, best, of_best)
    with pytest.raises(DamagedFileError, match=f"is no repeat of trial {second.number}"):
        row_of_repeat(outcome.folder, second, of_best)
    file = outcome.folder.repeat(one.recipe).path / "repeat.json"
    file.write_text(file.read_text().replace(one.recipe, other.recipe))
    with pytest.raises(DamagedFileError, match=f"names another recipe, {other.recipe}"):
        read_repeats(outcome.folder)


@pytest.mark.slow
def test_seeds_lie_far_apart_and_are_seeds(bench: Bench, inline: InlineTrials) -> None:
    outcome = begun(bench, inline, 1)
    recipe = outcome.folder.trial(best_first(outcome)[0].recipe).read_recipe()
    last = recipe.replaced(seed=2**31 - 1)
    for one in (recipe, last):
        seeds = [one.seed, *(repeated(one, place).seed for place in range(1, 200))]
        assert all(0 <= seed < 2**31 for seed in seeds)
        ordered = sorted(seeds)
        assert min(b - a for a, b in itertools.pairwise(ordered)) > 100_000


def test_repeats_are_no_trials_of_the_study(bench: Bench, inline: InlineTrials) -> None:
    outcome = begun(bench, inline)
    before, rows, runs = files_of(outcome), read_trials(outcome.folder), bench.runs(outcome)
    train(bench, inline, outcome, 2)
    assert files_of(outcome) == before
    assert read_trials(outcome.folder) == rows
    assert bench.runs(outcome) == runs
    # The search has its trials, and draws what it would have drawn.
    inline.trained = []
    again = bench.search(Path(outcome.folder.info().experiment), 3)
    assert again.num_new == 0 and inline.trained == []
    bench.search(Path(outcome.folder.info().experiment), 4)
    assert len(read_trials(outcome.folder)) == 4


@pytest.mark.slow
def test_each_has_a_run_below_the_study_that_says_whose_it_is(
    bench: Bench, inline: InlineTrials
) -> None:
    outcome = begun(bench, inline)
    train(bench, inline, outcome, 1)
    runs, best = repeat_runs(bench, outcome), best_first(outcome)[0]
    assert [(run.number, run.state) for run in runs] == [(best.number, "complete")] * 2
    tracking = Tracking(bench.workspace.tracking)
    for run, repeat in zip(runs, read_repeats(outcome.folder), strict=True):
        tags = tracking.store.client.get_run(run.run_id).data.tags
        assert tags["workbench.repeat_of"] == str(best.number)
        assert tags["workbench.kind"] == "repeat"
        assert repeat.run == run.run_id
        assert {"auc", "seconds", "params_true"} <= run.metrics.keys()


@pytest.mark.parametrize(
    "cut_at", [3, *(pytest.param(epoch, marks=pytest.mark.slow) for epoch in (1, 2, 4, 5, 6))]
)
def test_killed_at_an_epoch_it_goes_on_and_trains_nothing_twice(
    bench: Bench, inline: InlineTrials, cut_at: int
) -> None:
    outcome = begun(bench, inline)
    best = best_first(outcome)
    epochs = itertools.count(1)

    class Killed(BaseException):
        """Strikes where a kill would: nothing is tidied up after it by name."""

    def curve(recipe: Recipe, number: int) -> float:
        if next(epochs) == cut_at:
            raise Killed
        return 0.7

    inline.curve = curve
    with pytest.raises(Killed):
        train(bench, inline, outcome, 2)
    ended = {
        repeat.recipe
        for repeat in read_repeats(outcome.folder)
        if outcome.folder.repeat(repeat.recipe).result.exists()
    }
    assert len(ended) == (cut_at - 1) // 2  # two epochs each, one at a time
    assert train(bench, inline, outcome, 2) == ""
    assert not ended & {recipe.uid for recipe in inline.trained}
    assert len(inline.trained) == 4 - len(ended)
    assert train(bench, inline, outcome, 2) == "" and inline.trained == []
    states = [run.state for run in repeat_runs(bench, outcome)]
    assert states.count("complete") == 4
    assert set(states) <= {"complete", "interrupted"}
    assert [row.objective for row in best] == [row.objective for row in best_first(outcome)]


@pytest.mark.slow
def test_a_result_that_mlflow_was_not_told_is_told_the_next_time(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = begun(bench, inline)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workbench.searching.recording.StudyRuns.end", killed)
        with pytest.raises(KeyboardInterrupt):
            train(bench, inline, outcome, 1, num_seeds=1)
    assert train(bench, inline, outcome, 1, num_seeds=1) == "" and inline.trained == []
    complete = [run for run in repeat_runs(bench, outcome) if run.state == "complete"]
    [repeat] = read_repeats(outcome.folder)
    assert [run.run_id for run in complete] == [repeat.run]


def test_runs_of_repeats_that_a_restored_study_does_not_have_are_ended(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = begun(bench, inline, 1)
    train(bench, inline, outcome, 1, num_seeds=1)
    [lost] = read_repeats(outcome.folder)
    shutil.rmtree(outcome.folder.repeat(lost.recipe).path)  # put back from a copy without it
    train(bench, inline, outcome, 1, num_seeds=1)
    assert "MLflow had 1 run of repeats that the study does not have" in capsys.readouterr().err
    [anew] = read_repeats(outcome.folder)
    complete = [run.run_id for run in repeat_runs(bench, outcome) if run.state == "complete"]
    assert complete == [anew.run] != [lost.run]
    train(bench, inline, outcome, 1, num_seeds=1)
    assert "MLflow had" not in capsys.readouterr().err


def test_runs_of_packs_and_refits_that_a_restored_study_does_not_have_are_ended(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.experiment()
    folder = bench.search(file, 1).folder
    info, tracking = folder.info(), Tracking(bench.workspace.tracking)
    parent = tracking.find_study(info.name, info.id)
    kinds: tuple[Kind, ...] = ("pack", "refit")
    for kind in kinds:
        for letter in "abc":  # of c nothing is left: it was put back from a copy without it
            number = 0 if kind == "refit" else None
            run = tracking.start_trial(
                parent, number=number, uid=letter * 12, name="", recipe={}, tags={}, kind=kind
            )
            tracking.end_trial(run, state="complete")
        (folder.path / f"{kind}s" / ("a" * 12)).mkdir(parents=True)
    note_removed(folder, ["b" * 12])  # by `workbench clean`
    bench.search(file, 2)
    said = capsys.readouterr().err
    for kind in kinds:
        assert f"MLflow had 1 run of {kind}s that the study does not have" in said
        states = {run.uid[0]: run.state for run in tracking.trial_runs(parent, kind=kind)}
        assert states == {"a": "complete", "b": "complete", "c": "interrupted"}
    bench.search(file, 3)
    assert "MLflow had" not in capsys.readouterr().err


@pytest.mark.slow
def test_more_seeds_and_more_finalists_train_what_is_missing(
    bench: Bench, inline: InlineTrials
) -> None:
    outcome = begun(bench, inline)
    train(bench, inline, outcome, 1, num_seeds=1)
    train(bench, inline, outcome, 2, num_seeds=2)
    assert len(inline.trained) == 3
    train(bench, inline, outcome, 1, num_seeds=1)
    assert inline.trained == []


@pytest.mark.slow
def test_a_repeat_whose_worker_dies_twice_failed_and_stays_so(
    bench: Bench, inline: InlineTrials
) -> None:
    outcome = begun(bench, inline)
    inline.curve = lambda recipe, number: Died("Its worker died.")
    assert train(bench, inline, outcome, 1, num_seeds=1) == ""
    assert len(inline.trained) == 2
    [repeat] = read_repeats(outcome.folder)
    row = row_of_repeat(outcome.folder, best_first(outcome)[0], repeat)
    assert row and (row.state, row.reason) == ("failed", "Its worker died.")
    assert train(bench, inline, outcome, 1, num_seeds=1) == "" and inline.trained == []


@pytest.mark.slow
def test_a_bug_stops_it(bench: Bench, inline: InlineTrials) -> None:
    outcome = begun(bench, inline)
    inline.curve = lambda recipe, number: Bug("a traceback")
    with pytest.raises(Exception, match=r"trial \d+\.\d+ hit a bug"):
        train(bench, inline, outcome, 1)


def test_time_that_is_up_trains_none(bench: Bench, inline: InlineTrials) -> None:
    outcome = begun(bench, inline)
    said = train(bench, inline, outcome, 1, deadline=0.0)
    assert said.startswith("The time is up.") and "2 are still to run" in said
    assert inline.trained == []


def test_time_is_left_for_the_final_round(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.reset()
    pace(inline, Clock(monkeypatch), lambda recipe: 10.0)
    # Each trial takes 20 s; of 100 s two finalists with one seed each take 40.
    asked = FinalistsAsked(2, 1)
    outcome = bench.search(bench.experiment(), 50, timeout_s=100.0, finalists=asked)
    assert len(read_trials(outcome.folder)) == 3
    assert outcome.stopped.startswith("The time is up.")
