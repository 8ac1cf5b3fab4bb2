"""The search and its store: what is tried, what is not, and what a kill leaves behind."""

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from tests.study.conftest import Bench
from tests.study.inline import InlineRunner, InlineTrials, make_result
from tests.study.tiny import SPACE, THREE
from tests.study.workers import epoch
from workbench.errors import DiskFullError, RuleError, StudyError
from workbench.parts.weights import RANDOM
from workbench.searching.devices import Seats
from workbench.searching.local_runner import LocalRunner
from workbench.searching.loop import TrialBug
from workbench.searching.options import RunOptions
from workbench.searching.runner import Event
from workbench.searching.start import SearchOutcome
from workbench.space.experiment import read_experiment
from workbench.study.folder import StudyFolder
from workbench.study.provenance import code_tags
from workbench.study.records import (
    HIDDEN,
    RUN,
    UID,
    TrialRow,
    count_running,
    read_trials,
)
from workbench.study.storage import open_storage
from workbench.tracking.runs import Tracking
from workbench.trial.job import Blocked, Bug, Died, Full, Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Result
from workbench.workspace import Workspace

RULES = {"max_params": "250K", "pretraining": []}
"""Allows test_efficientnet (0.1M), refuses test_resnet (0.4M)."""


def states(outcome: SearchOutcome) -> list[str]:
    return [row.state for row in read_trials(outcome.folder)]


def journal(folder: StudyFolder) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=open_storage(folder))


# Real workers.


def test_a_small_study_end_to_end_then_again_then_with_more_trials(
    bench: Bench,
) -> None:
    experiment = bench.experiment()
    first = bench.search(experiment, 3)
    assert first.stopped == ""
    assert first.num_new == 3
    rows = read_trials(first.folder)
    assert [row.state for row in rows] == ["complete"] * 3
    for row in rows:
        files = first.folder.trial(row.recipe)
        assert len(row.epochs) == 2
        assert row.objective == max(epoch.objective for epoch in row.epochs)
        assert row.params_true is not None and row.params_true > 50_000
        assert row.params_thop is not None and row.params_thop > 50_000
        assert row.drawn.keys() == {"backbone", "optimizer.lr"}
        assert files.weights.exists() and files.log.exists() and files.roc.exists()
        assert files.read_recipe().uid == row.recipe
        assert files.read_scores().groupby("slice").size().to_dict() == {"val": 16, "test": 8}

    inline = InlineTrials().make_runner  # as good from here on
    again = bench.search(experiment, 3, make_runner=inline)
    assert (again.num_new, again.stopped) == (0, "")
    assert read_trials(again.folder) == rows

    more = bench.search(experiment, 5, make_runner=inline)
    assert more.num_new == 2
    all_rows = read_trials(more.folder)
    assert all_rows[:3] == rows
    assert len({row.recipe for row in all_rows}) == 5

    runs = bench.runs(more)
    assert [(run.uid, run.status, run.state) for run in runs] == [
        (row.recipe, "FINISHED", "complete") for row in sorted(all_rows, key=started(runs))
    ]
    metrics = {run.uid: run.metrics for run in runs}
    for row in rows:  # those that were really trained
        assert metrics[row.recipe]["slice.val.auc"] == row.by_slice["val"]["auc"] == row.objective
        assert metrics[row.recipe]["ms_per_file"] == row.ms_per_file
    tracking = Tracking(bench.workspace.tracking)
    info = more.folder.info()
    client = MlflowClient(tracking.store.uri)
    parent = client.get_run(tracking.find_study(info.name, info.id))
    assert parent.info.status == "FINISHED"
    code = code_tags()  # in a checkout also its commit
    for run in runs:
        tags = client.get_run(run.run_id).data.tags
        assert {key: tags.get(key) for key in code} == code


@pytest.mark.slow
def test_trials_keep_to_the_memory_they_are_given_and_say_what_they_did(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    # A batch of 512 would take all 24 files at once.
    space = {**THREE, "batch_size": 512, "backbone": "test_vit", "image_px": 160, "num_epochs": 1}
    outcome = bench.search(bench.experiment(space), 1, memory_bytes=50 * 2**20)
    (row,) = read_trials(outcome.folder)
    result = outcome.folder.trial(row.recipe).read_result()
    assert result is not None and result.state == "complete"
    assert result.micro_batch is not None and 1 <= result.micro_batch < 24
    assert result.estimated_memory_bytes is not None
    assert result.estimated_memory_bytes <= 50 * 2**20
    assert f"in parts of {result.micro_batch}" in capsys.readouterr().err
    log = outcome.folder.trial(row.recipe).log.read_text(encoding="utf-8")
    assert f"batches of 512 go in parts of at most {result.micro_batch}" in log
    tracking = Tracking(bench.workspace.tracking)
    metrics = MlflowClient(tracking.store.uri).get_run(str(row.run_id)).data.metrics
    assert metrics["micro_batch"] == result.micro_batch


def started(runs: list[Any]) -> Callable[[TrialRow], int]:
    order = [run.run_id for run in runs]
    return lambda row: order.index(str(row.run_id))


@pytest.mark.slow
def test_a_bug_in_a_worker_stops_the_study_and_its_trial_is_asked_again(bench: Bench) -> None:
    class WrongView(LocalRunner):
        def submit(self, job: Job) -> None:
            recipe = Recipe.model_validate_json(job.recipe)
            unknown = recipe.replaced(views={"nothing": recipe.model.views["image"]})
            super().submit(replace(job, recipe=unknown.model_dump_json()))

    experiment = bench.experiment()
    with pytest.raises(TrialBug, match=r"(?s)trial 0 hit a bug:\nTraceback.*row\.nothing"):
        bench.search(experiment, 1, make_runner=WrongView)
    (log,) = bench.workspace.studies.glob(f"{experiment.stem}/trials/*/log.txt")
    assert "Traceback" in log.read_text(encoding="utf-8")
    # The same draw is asked again, and there is no bug in its way.
    outcome = bench.search(experiment, 1)
    [row] = read_trials(outcome.folder)
    assert row.state == "complete"
    bugged, mended = journal(outcome.folder).trials
    assert bugged.user_attrs[HIDDEN] == "cut off and asked again"
    assert mended.params == bugged.params
    assert [run.state for run in bench.runs(outcome)] == ["interrupted", "complete"]


# A runner that trains nothing.


def test_no_recipe_is_trained_twice_and_a_used_up_space_ends_the_study(
    bench: Bench, inline: InlineTrials
) -> None:
    outcome = bench.search(bench.experiment(THREE), 10, jobs=2)
    assert states(outcome) == ["complete"] * 3
    assert len({recipe.uid for recipe in inline.trained}) == len(inline.trained) == 3
    assert "The search space is used up: 3 different recipes" in outcome.stopped
    assert len(bench.runs(outcome)) == 3


def test_a_refused_backbone_is_a_pruned_trial_that_was_never_trained(
    bench: Bench, inline: InlineTrials
) -> None:
    outcome = bench.search(bench.experiment(rulebook=RULES), 8)
    rows = read_trials(outcome.folder)
    refused = [row for row in rows if row.backbone == "test_resnet"]
    legal = [row for row in rows if row.backbone == "test_efficientnet"]
    assert len(rows) == 8
    assert refused and legal
    assert {row.state for row in refused} == {"pruned"}
    assert {row.state for row in legal} == {"complete"}
    assert {recipe.model.backbone for recipe in inline.trained} == {"test_efficientnet"}
    for row in refused:
        assert (row.epochs, row.objective) == ((), None)
        assert "test_resnet is refused: it has 0.4M" in row.reason
        assert row.params_true == row.params_thop or row.params_thop is not None
        assert row.params_true is not None and 250_000 < row.params_true < 400_000
        asked = journal(outcome.folder).trials[row.number]
        assert asked.state == TrialState.PRUNED
        assert asked.constraints["params_over_limit"] == row.params_true - 250_000
        assert asked.constraints["refused"] == 1
    for row in legal:
        assert all(c <= 0 for c in journal(outcome.folder).trials[row.number].constraints.values())
    runs = {run.uid: run for run in bench.runs(outcome)}
    assert {runs[row.recipe].status for row in refused} == {"FINISHED"}
    assert {runs[row.recipe].state for row in refused} == {"pruned"}


def test_a_space_that_the_rulebook_refuses_whole_stops_before_the_data_is_read(
    bench: Bench, tmp_path: Path
) -> None:
    experiment = bench.experiment(rulebook={"max_params": "10K"})
    with pytest.raises(RuleError, match=r"refuses every backbone.*test_resnet, test_efficientnet"):
        bench.search(experiment, 3, data=tmp_path)  # which holds no data
    assert not (bench.workspace.studies / experiment.stem).exists()


def test_a_backbone_that_cannot_take_the_drawn_pictures_is_a_pruned_trial(
    bench: Bench, inline: InlineTrials
) -> None:
    # A patch of test_vit is 16 px: 40 px do not divide into them.
    space = {**SPACE, "backbone": "test_vit", "image_px": {"choice": [32, 40]}}
    outcome = bench.search(bench.experiment(space), 6)
    rows = read_trials(outcome.folder)
    assert len(rows) == 6
    wrong = [row for row in rows if row.drawn["image_px"] == 40]
    assert wrong and len(wrong) < 6
    for row in wrong:
        assert row.state == "pruned"
        assert "cannot take 40 px images" in row.reason
    assert {recipe.model.image_px for recipe in inline.trained} == {32}


def test_a_trial_below_the_median_is_stopped_after_the_warm_up(
    bench: Bench, inline: InlineTrials
) -> None:
    def curve(recipe: Recipe, number: int) -> float:
        return 0.9 if len(inline.trained) <= 2 else 0.1

    inline.reset(curve)
    pruning = {"kind": "median", "startup_trials": 2, "warmup_epochs": 1}
    outcome = bench.search(bench.experiment({**SPACE, "num_epochs": 4}, pruning=pruning), 4)
    rows = read_trials(outcome.folder)
    assert [row.state for row in rows] == ["complete", "complete", "pruned", "pruned"]
    assert [len(row.epochs) for row in rows] == [4, 4, 2, 2]
    assert rows[2].reason == "pruned after epoch 2"
    assert [run.status for run in bench.runs(outcome)] == ["FINISHED"] * 4


def test_without_pruning_every_trial_runs_in_full(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(lambda recipe, number: 0.9 if len(inline.trained) <= 2 else 0.1)
    outcome = bench.search(bench.experiment({**SPACE, "num_epochs": 4}), 8)
    assert [len(row.epochs) for row in read_trials(outcome.folder)] == [4] * 8


HALVING = {"kind": "halving", "warmup_epochs": 1, "factor": 3}


def by_order(*objectives: float) -> Callable[[Recipe, int], float]:
    """Return the curve of a study whose first recipe is worth the first of these, and so on."""
    order: list[str] = []

    def curve(recipe: Recipe, number: int) -> float:
        if recipe.uid not in order:
            order.append(recipe.uid)
        return objectives[order.index(recipe.uid)]

    return curve


def test_the_best_third_of_each_rung_goes_on_where_it_was(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(by_order(0.5, 0.9, 0.6, 0.3, 0.8, 0.4))
    outcome = bench.search(bench.experiment({**SPACE, "num_epochs": 3}, pruning=HALVING), 6, jobs=1)
    rows = read_trials(outcome.folder)
    assert [len(row.epochs) for row in rows] == [1, 3, 1, 1, 3, 1]
    assert [row.state for row in rows] == [
        "pruned", "complete", "pruned", "pruned", "complete", "pruned"
    ]  # fmt: skip
    assert rows[2].reason == "pruned after epoch 1"
    # Of trials 0 to 2 the second goes on as soon as the third is there; trial 4 waits for trial 5.
    order = [recipe.uid for recipe in inline.trained]
    uids = [row.recipe for row in rows]
    assert order == [*uids[:3], uids[1], *uids[3:], uids[4]]
    assert [
        run.state for run in sorted(bench.runs(outcome), key=lambda run: uids.index(run.uid))
    ] == [row.state for row in rows]
    said = capsys.readouterr().err
    assert "trial 0   paused    auc 0.5000" in said
    assert "trial 1   goes on after epoch 1" in said
    assert said.count(" complete ") == 2
    assert count_running(outcome.folder) == 0


def test_a_trial_that_breaks_a_constraint_keeps_none_from_going_on(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(by_order(0.5, 0.9, 0.6, 0.3, 0.8, 0.4))
    limits = {"auc": {"at_most": 0.85}}
    experiment = bench.experiment({**SPACE, "num_epochs": 3}, pruning=HALVING, constraints=limits)
    rows = read_trials(bench.search(experiment, 6, jobs=1).folder)
    assert [bool(row.breaks) for row in rows] == [False, True, False, False, False, False]
    # Once trial 1 has ended, trial 2 is the best of the three that are left.
    assert [row.number for row in rows if row.state == "complete"] == [1, 2, 4]


def test_of_too_few_for_a_place_the_best_is_trained_whole(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(by_order(0.5, 0.9))
    outcome = bench.search(bench.experiment({**SPACE, "num_epochs": 9}, pruning=HALVING), 2)
    assert [len(row.epochs) for row in read_trials(outcome.folder)] == [1, 9]


def test_a_used_up_space_still_trains_its_best_whole(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(by_order(0.5, 0.9, 0.7))
    outcome = bench.search(bench.experiment({**THREE, "num_epochs": 3}, pruning=HALVING), 9)
    assert "used up" in outcome.stopped
    assert [len(row.epochs) for row in read_trials(outcome.folder)] == [1, 3, 1]


def test_paused_trials_wait_through_a_kill(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = by_order(0.5, 0.9, 0.6, 0.3, 0.8, 0.4)

    def killed(recipe: Recipe, number: int) -> float:
        if len(inline.trained) == 4:  # after three drawn trials, the second goes on
            raise KeyboardInterrupt
        return curve(recipe, number)

    inline.reset(killed)
    # A killed process puts nothing back.
    monkeypatch.setattr(
        "workbench.searching.study_store.StudyStore.requeue", lambda self, running: None
    )
    experiment = bench.experiment({**SPACE, "num_epochs": 3}, pruning=HALVING)
    with pytest.raises(KeyboardInterrupt):
        bench.search(experiment, 6, jobs=1)
    folder = StudyFolder(bench.workspace.studies / experiment.stem)
    assert count_running(folder) == 2  # the first is over: three to come leave two places
    monkeypatch.undo()
    inline.curve = curve
    outcome = bench.search(experiment, 6, jobs=1)
    rows = read_trials(outcome.folder)
    # The one that was in flight is asked again under another number.
    assert sorted(len(row.epochs) for row in rows) == [1, 1, 1, 1, 3, 3]
    assert sorted(row.objective or 0 for row in rows if row.state == "complete") == [0.8, 0.9]
    runs = bench.runs(outcome)
    assert sorted(run.state for run in runs) == [
        "complete", "complete", "interrupted", "pruned", "pruned", "pruned", "pruned"
    ]  # fmt: skip


def test_a_nearly_full_disk_takes_the_paused_trials_first(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.reset(by_order(0.5, 0.9, 0.6))
    # The second look finds no space, the third some again.
    free = iter([10**10, 10**10, 0])
    monkeypatch.setattr(
        "workbench.searching.stopping.shutil.disk_usage",
        lambda path: SimpleNamespace(free=next(free, 10**10)),
    )
    outcome = bench.search(bench.experiment({**SPACE, "num_epochs": 3}, pruning=HALVING), 3, jobs=1)
    assert outcome.stopped == ""
    assert [len(row.epochs) for row in read_trials(outcome.folder)] == [1, 3, 1]


@pytest.mark.parametrize("kind", ["tpe", "gp", "random"])
def test_a_sampler_draws_what_the_branch_has_that_is_taken(
    bench: Bench, inline: InlineTrials, kind: str
) -> None:
    # The second trial fails: no sampler may stumble over it, and the third waits.
    inline.reset(
        lambda recipe, number: (
            Died(DEATH) if len(inline.trained) in (2, 3) else recipe.training.optimizer.lr
        )
    )
    rates = {
        "choice": [
            {"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}},
            {"kind": "sgd", "lr": {"float": [1e-3, 1e-1], "log": True}},
        ]
    }
    sampler = {"kind": kind, "startup_trials": 3}
    experiment = bench.experiment({**SPACE, "optimizer": rates}, sampler=sampler, pruning=HALVING)
    outcome = bench.search(experiment, 8)
    assert states(outcome).count("failed") == 1
    recipes = {recipe.uid: recipe for recipe in inline.trained}
    for trial in journal(outcome.folder).trials:
        taken = trial.params["optimizer"]
        assert sorted(trial.params) == ["backbone", "optimizer", f"optimizer.{taken}.lr"]
        # What the recipe got is what was drawn for the branch that was taken.
        recipe = recipes[trial.user_attrs[UID]]
        assert recipe.training.optimizer.kind == taken
        assert recipe.training.optimizer.lr == trial.params[f"optimizer.{taken}.lr"]


def test_a_lower_objective_can_be_better(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(lambda recipe, number: 0.1 if len(inline.trained) <= 2 else 0.9)
    outcome = bench.search(
        bench.experiment(
            {**SPACE, "num_epochs": 3},
            objective={"metric": "log_loss"},
            pruning={"kind": "median", "startup_trials": 2, "warmup_epochs": 0},
        ),
        3,
    )
    assert journal(outcome.folder).direction == optuna.study.StudyDirection.MINIMIZE
    assert states(outcome) == ["complete", "complete", "pruned"]


DEATH = "the worker process died (signal SIGKILL)."


def test_a_trial_whose_worker_died_goes_on_once_and_its_epochs_are_told_once(
    bench: Bench, inline: InlineTrials
) -> None:
    def curve(recipe: Recipe, number: int) -> float | Died:
        return Died(DEATH) if len(inline.trained) == 2 and number == 2 else 0.5 + number / 10

    inline.reset(curve)
    outcome = bench.search(bench.experiment(), 3)
    rows = read_trials(outcome.folder)
    assert [row.state for row in rows] == ["complete"] * 3
    assert [r.uid for r in inline.trained] == [rows[i].recipe for i in (0, 1, 1, 2)]
    assert journal(outcome.folder).trials[1].intermediate_values == {1: 0.6, 2: 0.7}
    tracking = Tracking(bench.workspace.tracking)
    client = MlflowClient(tracking.store.uri)
    history = client.get_metric_history(str(rows[1].run_id), "auc")
    # An entry an epoch, and the final value.
    assert [point.value for point in history] == [0.6, 0.7, 0.7]
    assert client.get_run(str(rows[1].run_id)).data.metrics["restarts"] == 1
    assert "restarts" not in client.get_run(str(rows[0].run_id)).data.metrics


def test_a_trial_whose_worker_dies_again_has_failed_and_the_study_goes_on(
    bench: Bench, inline: InlineTrials
) -> None:
    def curve(recipe: Recipe, number: int) -> float | Died:
        return Died(DEATH) if len(inline.trained) in (2, 3) and number == 2 else 0.7

    inline.reset(curve)
    outcome = bench.search(bench.experiment(), 3)
    rows = read_trials(outcome.folder)
    assert [row.state for row in rows] == ["complete", "failed", "complete"]
    assert rows[1].reason == DEATH
    assert [e.epoch for e in rows[1].epochs] == [1]
    assert [run.status for run in bench.runs(outcome)] == ["FINISHED", "FAILED", "FINISHED"]


def test_after_ctrl_c_each_trial_ends_its_epoch_and_goes_on_the_next_time(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    def curve(recipe: Recipe, number: int) -> float:
        if len(inline.trained) == 2 and number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5

    inline.reset(curve)
    experiment = bench.experiment({**SPACE, "num_epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        bench.search(experiment, 4)
    assert "Ctrl-C: the trials in flight end their epochs" in capsys.readouterr().err
    folder = StudyFolder(bench.workspace.studies / experiment.stem)
    cut = journal(folder).trials[1]
    # The epoch in which it came, and the one that was asked for before it was looked at.
    assert list(cut.intermediate_values) == [1, 2]
    assert HIDDEN in cut.user_attrs
    assert len(inline.trained) == 2
    inline.reset()
    outcome = bench.search(experiment, 4)
    assert inline.trained[0].uid == cut.user_attrs[UID]
    assert states(outcome) == ["complete"] * 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_disk_that_fills_up_stops_the_search_and_it_goes_on_when_there_is_space(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = bench.experiment()
    free = [2**40]
    monkeypatch.setattr(
        "workbench.searching.stopping.shutil.disk_usage", lambda _: SimpleNamespace(free=free[0])
    )

    def curve(recipe: Recipe, number: int) -> float:
        if len(inline.trained) == 2:
            free[0] = 50 * 2**20
        return 0.5

    inline.reset(curve)
    outcome = bench.search(experiment, 4)
    assert "has 50 MiB left. Make space; the same command then goes on." in outcome.stopped
    assert states(outcome) == ["complete"]
    assert bench.search(experiment, 4).num_new == 0
    inline.reset()
    free[0] = 2**40
    assert states(bench.search(experiment, 4)) == ["complete"] * 4


def test_a_record_that_finds_the_disk_full_ends_the_search_with_a_sentence(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    experiment = bench.experiment()
    with monkeypatch.context() as patch:
        patch.setattr("workbench.searching.recording.StudyRuns.log", full)
        patch.setattr("workbench.access.no_space", lambda folder: True)
        with pytest.raises(DiskFullError, match="Make space; the same command then goes on"):
            bench.search(experiment, 2)
    assert states(bench.search(experiment, 2)) == ["complete"] * 2


def test_a_trial_that_finds_the_disk_full_is_asked_again(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(lambda recipe, number: Full("The disk is full: x could not be written."))
    experiment = bench.experiment()
    outcome = bench.search(experiment, 2)
    assert outcome.stopped.startswith("The disk is full: x could not be written. Make space")
    assert read_trials(outcome.folder) == []
    uid = inline.trained[0].uid
    inline.reset()
    assert states(bench.search(experiment, 2)) == ["complete"] * 2
    assert inline.trained[0].uid == uid


def test_a_trial_whose_data_were_changed_is_asked_again(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(lambda recipe, number: Blocked("The cached image arrays x are gone."))
    experiment = bench.experiment()
    outcome = bench.search(experiment, 2)
    assert outcome.stopped == "The cached image arrays x are gone."
    assert read_trials(outcome.folder) == []
    uid = inline.trained[0].uid
    inline.reset()
    assert states(bench.search(experiment, 2)) == ["complete"] * 2
    assert inline.trained[0].uid == uid


def test_what_mlflow_lacks_is_written_anew(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(lambda recipe, number: 0.5 + number / 10)
    experiment = bench.experiment()
    outcome = bench.search(experiment, 3)
    rows = read_trials(outcome.folder)
    client = MlflowClient(Tracking(bench.workspace.tracking).store.uri)
    client.delete_run(str(rows[1].run_id))
    client.set_tag(str(rows[2].run_id), "workbench.state", "interrupted")
    bench.search(experiment, 3)
    assert "MLflow lacked 2 ended trials" in capsys.readouterr().err
    runs = [run for run in bench.runs(outcome) if run.state == "complete"]
    assert sorted(run.uid for run in runs) == sorted(row.recipe for row in rows)
    anew = next(run for run in runs if run.uid == rows[1].recipe)
    history = client.get_metric_history(anew.run_id, "auc")
    assert [point.value for point in history] == [0.6, 0.7, 0.7]
    bench.search(experiment, 3)
    assert "lacked" not in capsys.readouterr().err


FOUR_FILES = pd.DataFrame(
    {
        "slice": "val",
        "name": list("abcd"),
        "score": [0.1, 0.4, 0.3, 0.8],
        "target": [0, 0, 1, 1],
    }
)


@pytest.mark.parametrize("stop", [False, True])
def test_noise_that_rules_is_said_and_stops_if_asked(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str], *, stop: bool
) -> None:
    inline.reset(by_order(*(0.70 + 0.001 * number for number in range(12))))
    # An AUC of 0.75 on four files: its standard error is 0.25 and more.
    inline.scores = FOUR_FILES
    outcome = bench.search(bench.experiment(), 12, jobs=1, stop_at_noise=stop)
    said = capsys.readouterr().err
    # The best third of nine lies 0.003, 0.002 and 0.001 above the next: 0.002 (1/10 + 1/11 + 1/12).
    expected = (
        "3 more trials can be expected to raise auc by 0.0005, and another val set of 4 files"
    )
    assert len(read_trials(outcome.folder)) == (9 if stop else 12)
    if stop:
        assert outcome.stopped.startswith(f"Noise rules: {expected}")
    else:
        assert outcome.stopped == ""
        assert said.count(f"Noise rules from here on: {expected}") == 1


def test_trials_that_break_a_constraint_are_not_what_a_search_stops_for(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(by_order(*(0.70 + 0.001 * number for number in range(12))))
    inline.scores = FOUR_FILES
    # Of nine trials five keep it, too few to expect anything of.
    experiment = bench.experiment(constraints={"auc": {"at_most": 0.7045}})
    outcome = bench.search(experiment, 12, jobs=1, stop_at_noise=True)
    assert outcome.stopped == ""
    assert sum(bool(row.breaks) for row in read_trials(outcome.folder)) == 7


def test_time_that_is_up_starts_no_trial(bench: Bench, inline: InlineTrials) -> None:
    outcome = bench.search(bench.experiment(), 5, timeout_s=0.001)
    assert outcome.stopped == (
        "The time is up. Of the trials, 5 are still to run. The same command continues."
    )
    assert read_trials(outcome.folder) == []
    assert inline.trained == []


class Clock:
    """A clock that stands still but for what trials are said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        modules = ("stopping", "live", "start", "study_store", "open_trials")
        for module in (f"searching.{name}" for name in modules):
            monkeypatch.setattr(f"workbench.{module}.time", SimpleNamespace(monotonic=self.read))

    def read(self) -> float:
        return self.now


def pace(inline: InlineTrials, clock: Clock, seconds_of: Callable[[Recipe], float]) -> None:
    """Let epochs take so long by `clock`, one after the other."""

    def wait(seconds: float) -> None:
        clock.now += seconds

    inline.seconds_of, inline.wait = seconds_of, wait


UNPRUNED = {"pruning": {"kind": "none"}}


def test_at_the_deadline_trials_end_their_epoch_and_are_kept(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two epochs of 100 s each, for 550 s: two whole trials, and the third in its second epoch,
    # which ends and makes it whole. No other is started.
    clock = Clock(monkeypatch)
    pace(inline, clock, lambda recipe: 100.0)
    experiment = bench.experiment(**UNPRUNED)
    outcome = bench.search(experiment, 5, jobs=1, timeout_s=550.0)
    assert states(outcome) == ["complete"] * 3
    assert outcome.stopped == (
        "The time is up. Of the trials, 2 are still to run, 1 ends its epoch and is kept. "
        "The same command continues."
    )
    # 250 s more: the next one runs whole, the one after it is cut after its first epoch.
    outcome = bench.search(experiment, 5, jobs=1, timeout_s=250.0)
    assert states(outcome) == ["complete"] * 4
    assert "Of the trials, 1 ends its epoch and is kept." in outcome.stopped
    begun = inline.trained[-1].uid
    outcome = bench.search(experiment, 5, jobs=1)
    assert states(outcome) == ["complete"] * 5
    assert inline.trained[-1].uid == begun  # the same one goes on


def test_a_forecast_of_one_trial_ends_no_search(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first trial was held up, 400 of 1000 s, and says nothing about those of 10 s after it.
    clock = Clock(monkeypatch)
    slow = iter([200.0, 200.0, 200.0])
    pace(inline, clock, lambda recipe: next(slow, 10.0))
    outcome = bench.search(bench.experiment(**UNPRUNED), 12, jobs=1, timeout_s=1000.0)
    assert outcome.stopped == ""
    assert states(outcome) == ["complete"] * 12


def test_where_time_is_short_the_cheapest_of_a_few_is_started(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten epochs cost ten times one. Once that is known, what does not fit is left for later.
    clock = Clock(monkeypatch)
    pace(inline, clock, lambda recipe: 100.0)
    space = {**SPACE, "num_epochs": {"choice": [1, 10]}}
    experiment = bench.experiment(space, **UNPRUNED)
    outcome = bench.search(experiment, 12, jobs=1)
    before = len(inline.trained)
    outcome = bench.search(experiment, 40, jobs=1, timeout_s=900.0)
    begun = inline.trained[before:]
    short = [recipe.training.num_epochs for recipe in begun]
    assert set(short[:-1]) == {1}  # a long one only with nothing cheaper among the candidates
    assert len(short) >= 9 or short[-1] == 10
    assert "The time is up" in outcome.stopped
    assert count_running(outcome.folder) == 0


def test_a_clock_that_is_set_back_in_mid_study_changes_nothing(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_s = 0.0
    seconds, nanoseconds = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: seconds() - back_s)
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() - int(1e9 * back_s))

    def curve(recipe: Recipe, number: int) -> float:
        nonlocal back_s
        if len(inline.trained) == 2:
            back_s = 86_400.0  # a day, within the second trial
        return 0.5 + 0.01 * len(inline.trained)

    inline.reset(curve)
    experiment = bench.experiment()
    first = bench.search(experiment, 3)
    back_s *= 2
    outcome = bench.search(experiment, 4, timeout_s=600.0)
    assert (first.num_new, outcome.num_new, outcome.stopped) == (3, 1, "")
    rows = read_trials(outcome.folder)
    assert [row.state for row in rows] == ["complete"] * 4
    assert [row.objective for row in rows] == pytest.approx([0.51, 0.52, 0.53, 0.54])
    assert {run.status for run in bench.runs(outcome)} == {"FINISHED"}
    assert all(row.seconds > 0 for row in rows)


def test_an_interrupt_leaves_no_open_book_and_the_same_draws_are_asked_again(
    bench: Bench, inline: InlineTrials
) -> None:
    def interrupted(recipe: Recipe, number: int) -> float:
        if len(inline.trained) >= 3 and number == 2:
            raise KeyboardInterrupt
        return 0.5

    inline.reset(interrupted)
    experiment = bench.experiment()
    with pytest.raises(KeyboardInterrupt):
        bench.search(experiment, 4, jobs=2)
    folder = StudyFolder(bench.workspace.studies / experiment.stem)
    cut = [t for t in journal(folder).trials if HIDDEN in t.user_attrs]
    assert len(cut) == 1 or len(cut) == 2
    assert count_running(folder) == 0
    inline.reset()
    outcome = bench.search(experiment, 4, jobs=2)
    assert states(outcome) == ["complete"] * 4
    asked = [recipe.training.optimizer.lr for recipe in inline.trained]
    assert {t.params["optimizer.lr"] for t in cut} <= set(asked)
    assert len({row.recipe for row in read_trials(folder)}) == 4
    ended = [run.state for run in bench.runs(outcome)]
    assert sorted(ended) == ["complete"] * 4 + ["interrupted"] * len(cut)


def test_a_bug_message_names_the_trial(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(lambda recipe, number: Bug("Traceback: ZeroDivisionError"))
    with pytest.raises(TrialBug, match="trial 0 hit a bug:\nTraceback: ZeroDivisionError"):
        bench.search(bench.experiment(), 2)


def rates(inline: InlineTrials) -> list[float]:
    """The learning rates that were trained, each once, in their order."""
    return list(dict.fromkeys(recipe.training.optimizer.lr for recipe in inline.trained))


def rate(recipe: Recipe) -> float:
    return recipe.training.optimizer.lr


ODD = Bug("Traceback:\n  File x\n    ...\nRuntimeError: Kernel size can't be greater\n  \udcff")


def test_a_bug_of_one_recipe_ends_no_search(bench: Bench, inline: InlineTrials) -> None:
    def curve(recipe: Recipe, number: int) -> Event | float:
        return ODD if rates(inline).index(recipe.training.optimizer.lr) in (1, 2) else 0.5

    inline.reset(curve)
    folder = bench.search(bench.experiment(), 5, jobs=1).folder
    rows = read_trials(folder)
    assert [row.state for row in rows] == ["complete", "failed", "failed", "complete", "complete"]
    said = "a bug: RuntimeError: Kernel size can't be greater. Please report it with the traceback"
    assert all(said in row.reason for row in rows if row.state == "failed")
    assert len(inline.trained) == 7  # each of the two was tried in another worker once


def test_a_trial_whose_bug_does_not_come_again_goes_on(bench: Bench, inline: InlineTrials) -> None:
    inline.reset(lambda recipe, number: ODD if len(inline.trained) == 2 else 0.5)
    folder = bench.search(bench.experiment(), 3, jobs=1).folder
    assert [row.state for row in read_trials(folder)] == ["complete"] * 3


def test_bug_after_bug_ends_the_search_and_the_last_is_asked_again(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(lambda recipe, number: Bug("Traceback: X") if len(inline.trained) > 1 else 0.5)
    experiment = bench.experiment()
    with pytest.raises(TrialBug, match="trial 3 hit a bug:\nTraceback: X"):
        bench.search(experiment, 6, jobs=1)
    inline.reset()
    folder = bench.search(experiment, 6, jobs=1).folder  # the bug is mended
    assert sorted(row.state for row in read_trials(folder)) == ["complete"] * 4 + ["failed"] * 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bug_that_all_trials_hit_after_an_epoch_costs_none_of_them(
    bench: Bench, inline: InlineTrials, jobs: int
) -> None:
    inline.reset(lambda recipe, number: Bug("Traceback: X") if number == 2 else 0.5)
    experiment = bench.experiment()
    with pytest.raises(TrialBug, match="trial 0 hit a bug"):
        bench.search(experiment, 6, jobs=jobs)
    inline.reset()  # the bug is mended
    folder = bench.search(experiment, 6, jobs=jobs).folder
    assert [row.state for row in read_trials(folder)] == ["complete"] * 6


def test_a_bug_in_an_epoch_that_few_trials_reach_ends_the_search_after_three(
    bench: Bench, inline: InlineTrials
) -> None:
    # Between two of them others do their first epochs: that says nothing of the second one.
    inline.reset(lambda recipe, number: ODD if number == 2 and len(rates(inline)) > 1 else 0.5)
    experiment = bench.experiment()
    with pytest.raises(TrialBug, match="trial 3 hit a bug"):
        bench.search(experiment, 6, jobs=1)


def test_a_trial_that_ended_a_search_by_its_bug_ends_no_other(
    bench: Bench, inline: InlineTrials
) -> None:
    def curve(recipe: Recipe, number: int) -> Event | float:
        return ODD if recipe.training.optimizer.lr == rates(inline)[0] else 0.5

    inline.reset(curve)
    experiment = bench.experiment()
    with pytest.raises(TrialBug, match="trial 0 hit a bug"):
        bench.search(experiment, 3, jobs=1)
    folder = bench.search(experiment, 3, jobs=1).folder
    assert sorted(row.state for row in read_trials(folder)) == ["complete", "complete", "failed"]


class Scoring(InlineRunner):
    """Every trial hits a bug once it has done its last epoch."""

    def say(self, trial: Any) -> Event:
        if len(trial.epochs) == trial.recipe.training.num_epochs:
            del self._running[trial.job.trial]
            return Bug("Traceback: X")
        return super().say(trial)


def test_a_bug_in_all_scoring_costs_no_trial_whatever_is_on_its_way(
    bench: Bench, inline: InlineTrials
) -> None:
    space = {**SPACE, "num_epochs": {"choice": [1, 30]}}
    experiment = bench.experiment(space)
    with pytest.raises(TrialBug, match="Traceback: X"):
        bench.search(experiment, 6, jobs=3, make_runner=lambda *asked: Scoring(inline, asked[0], 3))
    folder = bench.search(experiment, 6, jobs=3).folder
    assert [row.state for row in read_trials(folder)] == ["complete"] * 6


def test_a_bug_in_the_scoring_of_one_recipe_ends_no_search(
    bench: Bench, inline: InlineTrials
) -> None:
    class OfOne(Scoring):
        def say(self, trial: Any) -> Event:
            is_odd = rates(inline).index(trial.recipe.training.optimizer.lr) == 1
            return super().say(trial) if is_odd else InlineRunner.say(self, trial)

    experiment = bench.experiment()
    folder = bench.search(
        experiment, 3, jobs=1, make_runner=lambda *asked: OfOne(inline, asked[0], 1)
    ).folder
    assert [row.state for row in read_trials(folder)] == ["complete", "failed", "complete"]


def test_the_only_trial_is_asked_again_as_often_as_its_bug_is_there(
    bench: Bench, inline: InlineTrials
) -> None:
    inline.reset(lambda recipe, number: Bug("Traceback: X"))
    experiment = bench.experiment()
    for _ in range(3):
        with pytest.raises(TrialBug, match="hit a bug"):
            bench.search(experiment, 1)
    inline.reset()
    assert states(bench.search(experiment, 1)) == ["complete"]


@pytest.mark.parametrize("jobs", [2, 3])
def test_a_trial_that_ended_a_search_ends_no_other_though_all_are_on_their_way(
    bench: Bench, inline: InlineTrials, jobs: int
) -> None:
    inline.reset(lambda recipe, number: ODD if rates(inline).index(rate(recipe)) == 0 else 0.5)
    experiment = bench.experiment()
    with pytest.raises(TrialBug, match="trial 0 hit a bug"):
        bench.search(experiment, jobs, jobs=jobs)
    outcome = bench.search(experiment, jobs, jobs=jobs)
    assert sorted(states(outcome)) == ["complete"] * (jobs - 1) + ["failed"]


def test_another_bug_of_a_trial_that_ended_a_search_ends_one_too(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    for odd in (1, 2):
        inline.reset(lambda recipe, number, odd=odd: ODD if number == odd else 0.5)  # type: ignore[misc]
        with pytest.raises(TrialBug, match="hit a bug"):
            bench.search(experiment, 3, jobs=1)
    inline.reset()
    assert states(bench.search(experiment, 3, jobs=1)) == ["complete"] * 3


def test_a_worker_that_died_leaves_a_bug_its_second_try(bench: Bench, inline: InlineTrials) -> None:
    def curve(recipe: Recipe, number: int) -> Event | float:
        events: dict[int, Event] = {2: Died("killed"), 3: ODD}
        return events.get(len(inline.trained), 0.5)

    inline.reset(curve)
    folder = bench.search(bench.experiment(), 3, jobs=1).folder
    assert [row.state for row in read_trials(folder)] == ["complete"] * 3


def test_what_a_trial_was_told_holds_for_the_worker_that_takes_over(
    bench: Bench, inline: InlineTrials
) -> None:
    class DiesPruned(InlineRunner):
        """Its workers die while they write what a pruned trial leaves."""

        def say(self, trial: Any) -> Event:
            if trial.decision == "prune" and trial.recipe.uid not in died:
                died.add(trial.recipe.uid)
                inline.kept[trial.recipe.uid] = trial.epochs
                del self._running[trial.job.trial]
                return Died("killed")
            return super().say(trial)

    died = set[str]()
    inline.reset(lambda recipe, number: 0.9 if len(rates(inline)) < 3 else 0.1)
    pruning = {"kind": "median", "startup_trials": 2, "warmup_epochs": 0}
    experiment = bench.experiment(pruning=pruning)
    folder = bench.search(
        experiment, 4, jobs=1, make_runner=lambda *asked: DiesPruned(inline, asked[0], 1)
    ).folder
    rows = read_trials(folder)
    assert [row.state for row in rows] == ["complete", "complete", "pruned", "pruned"]
    assert [len(row.epochs) for row in rows] == [2, 2, 1, 1]


# What a kill leaves.


def leave_running(bench: Bench, outcome: SearchOutcome, lr: float, *, ended: bool) -> Recipe:
    """Write what a search leaves that was killed while it trained a recipe of rate `lr`."""
    _, space = read_experiment(bench.workspace.studies / f"{outcome.folder.name}.yaml")
    study = journal(outcome.folder)
    study.enqueue_trial({"backbone": "test_resnet", "optimizer.lr": lr})
    trial = study.ask()
    recipe = space.draw(trial).recipe(
        data=outcome.folder.info().fingerprint,
        views=outcome.experiment.views,
        weights=RANDOM,
        objective=outcome.experiment.objective,
        seed=0,
    )
    files = outcome.folder.trial(recipe.uid)
    files.write_recipe(recipe)
    tracking = Tracking(bench.workspace.tracking)
    info = outcome.folder.info()
    parent = tracking.open_study(info.name, study_id=info.id, tags={})
    run = tracking.start_trial(
        parent, number=trial.number, uid=recipe.uid, name="x", recipe={}, tags={}
    )
    trial.set_user_attr(UID, recipe.uid)
    trial.set_user_attr(RUN, run)
    trial.report(0.6, 1)
    if ended:
        files.write_result(make_result(recipe, [epoch(1, 0.6), epoch(2, 0.8)]))
    return recipe


def test_a_trial_that_ended_unnoticed_is_told_and_not_trained_again(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    begun = bench.search(experiment, 1)
    recipe = leave_running(bench, begun, 2e-3, ended=True)
    assert count_running(begun.folder) == 1
    inline.reset()
    outcome = bench.search(experiment, 2)
    assert inline.trained == []
    row = read_trials(outcome.folder)[-1]
    assert (row.recipe, row.state, row.objective) == (recipe.uid, "complete", 0.8)
    told = journal(outcome.folder).trials[row.number]
    assert told.intermediate_values == {1: 0.6, 2: 0.8}
    # Nothing was written there of its epochs before the kill.
    tracking = Tracking(bench.workspace.tracking)
    assert tracking.logged_epochs(str(row.run_id)) == {1, 2}
    assert [run.status for run in bench.runs(outcome)] == ["FINISHED", "FINISHED"]


def test_mlflow_shows_what_a_trial_reached_though_another_clock_wrote_its_last_epoch(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = bench.experiment()
    begun = bench.search(experiment, 1)
    recipe = leave_running(bench, begun, 2e-3, ended=False)
    run = str(journal(begun.folder).trials[-1].user_attrs[RUN])
    now_ns = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now_ns() + 5 * 3600 * 10**9)
        tracking = Tracking(bench.workspace.tracking)
        for each in (epochs := [epoch(1, 0.8), epoch(2, 0.6)]):
            tracking.log_epoch(run, {**each.metrics, "train_loss": 1.0}, each.epoch)
        tracking.set_state(run, "running")  # writes what waits
    begun.folder.trial(recipe.uid).write_result(make_result(recipe, epochs))
    bench.search(experiment, 2)
    [ended] = [one for one in bench.runs(begun) if one.run_id == run]
    assert (ended.state, ended.metrics["auc"]) == ("complete", 0.8)


def test_a_trial_that_was_cut_off_is_hidden_and_asked_again_as_it_was(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    begun = bench.search(experiment, 1)
    recipe = leave_running(bench, begun, 2e-3, ended=False)
    inline.reset()
    outcome = bench.search(experiment, 3)
    assert inline.trained[0] == recipe
    assert len(inline.trained) == 2
    assert states(outcome) == ["complete"] * 3
    cut = journal(outcome.folder).trials[1]
    assert (cut.state, cut.user_attrs[UID]) == (TrialState.FAIL, recipe.uid)
    assert HIDDEN in cut.user_attrs
    assert [run.state for run in bench.runs(outcome)] == [
        "complete",
        "interrupted",
        "complete",
        "complete",
    ]


def test_a_trial_killed_again_before_it_was_drawn_keeps_its_draws(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    begun = bench.search(experiment, 1)
    study = journal(begun.folder)
    study.enqueue_trial({"backbone": "test_resnet", "optimizer.lr": 2e-3})
    study.ask()  # and the kill comes before the first draw is written
    inline.reset()
    bench.search(experiment, 2)
    assert [(r.model.backbone, r.training.optimizer.lr) for r in inline.trained] == [
        ("test_resnet", 2e-3)
    ]


def test_a_journal_whose_last_line_was_cut_short_is_mended(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    begun = bench.search(experiment, 2)
    whole = begun.folder.journal.read_bytes()
    begun.folder.journal.write_bytes(whole + whole.splitlines()[-1][:15])
    outcome = bench.search(experiment, 4)
    assert states(outcome) == ["complete"] * 4
    assert begun.folder.journal.read_bytes().startswith(whole)


@pytest.mark.parametrize("text", ["", '{"op_code": 0, "wor'])
def test_a_journal_that_holds_no_study_yet_is_begun(
    bench: Bench, inline: InlineTrials, text: str
) -> None:
    experiment = bench.experiment()
    folder = bench.workspace.studies / experiment.stem
    folder.mkdir()
    (folder / "journal.log").write_text(text)
    assert states(bench.search(experiment, 1)) == ["complete"]


def test_a_study_without_a_journal_has_no_trials_to_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no trials yet"):
        read_trials(StudyFolder(tmp_path))


def test_a_trial_whose_worker_dies_after_its_result_is_not_trained_again(
    bench: Bench, inline: InlineTrials
) -> None:
    class Unheard(InlineRunner):
        def events(self, timeout_s: float) -> list[tuple[int, Event]]:
            heard = super().events(timeout_s)
            return [(n, Died("gone.") if isinstance(e, Result) else e) for n, e in heard]

    def make_runner(workspace: Workspace, seats: Seats, options: RunOptions) -> Unheard:
        return Unheard(inline, workspace, len(seats.devices))

    outcome = bench.search(bench.experiment(), 2, make_runner=make_runner)
    assert states(outcome) == ["complete"] * 2
    assert len(inline.trained) == 2


def test_a_trial_that_ended_when_the_cluster_was_lost_is_not_trained_again(
    bench: Bench, inline: InlineTrials
) -> None:
    class Lost(InlineRunner):
        def events(self, timeout_s: float) -> list[tuple[int, Event]]:
            heard = super().events(timeout_s)
            if any(isinstance(event, Result) for _, event in heard):
                raise StudyError("The head is lost.")
            return heard

    def make_runner(workspace: Workspace, seats: Seats, options: RunOptions) -> Lost:
        return Lost(inline, workspace, len(seats.devices))

    experiment = bench.experiment()
    with pytest.raises(StudyError, match="head is lost"):
        bench.search(experiment, 2, make_runner=make_runner)
    assert len(inline.trained) == 1
    assert states(bench.search(experiment, 2)) == ["complete"] * 2
    assert len(inline.trained) == 2
