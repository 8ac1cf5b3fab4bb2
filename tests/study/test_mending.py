"""The records of a study agree again after one was lost: MLflow's runs, or the journal's trials."""

import json
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import THREE
from workbench.errors import DamagedFileError, StudyError
from workbench.media.image import Image
from workbench.parts.weights import RANDOM
from workbench.searching.journal import _restore, mend_journal, restore_trials
from workbench.searching.mending import mend_runs
from workbench.searching.recording import StudyRuns
from workbench.searching.start import SearchOutcome
from workbench.space.space import Space
from workbench.study.folder import StudyFolder
from workbench.study.records import MADE_BY, RUN, THOP, read_study, read_trials
from workbench.tracking.runs import Tracking, TrialRun
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import TrialFolder
from workbench.workspace import Workspace

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

HALVING = {"kind": "halving", "warmup_epochs": 1}


@pytest.fixture
def own(bench: Bench, inline: InlineTrials, tmp_path: Path) -> Bench:
    """A workspace of this test alone, since it removes the store."""
    return Bench(Workspace(tmp_path), bench.data, inline.make_runner)


def made_recipe() -> Recipe:
    return (
        Space(file="s.yaml", tree=THREE)
        .at({})
        .recipe(
            data="",
            views={"image": Image(image_px=32)},
            weights=RANDOM,
            objective=Objective(),
            seed=0,
        )
    )


def rising(recipe: Recipe, number: int) -> float:
    return 0.5 + number / 10


def assert_agree(own: Bench, outcome: SearchOutcome) -> None:
    """Check that each trial has exactly one ended run, and that the study knows it."""
    rows = read_trials(outcome.folder)
    ended = [run for run in own.runs(outcome) if run.state != "interrupted"]
    assert sorted((run.uid, run.state) for run in ended) == sorted(
        (row.recipe, row.state) for row in rows
    )
    assert {row.run_id for row in rows} == {run.run_id for run in ended}
    assert {run.number: run.uid for run in ended} == {row.number: row.recipe for row in rows}
    assert "RUNNING" not in {run.status for run in own.runs(outcome)}


@pytest.mark.slow
def test_a_removed_store_is_written_anew_and_its_new_runs_are_known(
    own: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(rising)
    experiment = own.experiment()
    before = read_trials(own.search(experiment, 2).folder)
    shutil.rmtree(own.workspace.tracking)
    outcome = own.search(experiment, 3)
    assert "MLflow lacked 2 ended trials" in capsys.readouterr().err
    assert_agree(own, outcome)
    rows = read_trials(outcome.folder)
    assert {row.run_id for row in rows}.isdisjoint({row.run_id for row in before})
    history = Tracking(own.workspace.tracking).logged_epochs(str(rows[0].run_id))
    assert history == {1, 2}
    own.search(experiment, 3)
    assert "lacked" not in capsys.readouterr().err
    mend_runs(outcome.folder, own.workspace.tracking)  # as `promote` does
    assert "lacked" not in capsys.readouterr().err

    # An empty file in its place, as a full disk leaves it, and `promote` comes first.
    (own.workspace.tracking / "mlflow.db").write_bytes(b"")
    mend_runs(outcome.folder, own.workspace.tracking)
    assert "MLflow lacked 3 ended trials" in capsys.readouterr().err
    assert_agree(own, outcome)


@pytest.mark.slow
def test_deleted_runs_are_restored_or_written_anew(
    own: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(rising)
    outcome = own.search(own.experiment(), 3)
    rows = read_trials(outcome.folder)
    tracking = Tracking(own.workspace.tracking)
    client = MlflowClient(tracking.store.uri)
    client.delete_run(str(rows[0].run_id))
    client.delete_run(str(rows[1].run_id))
    client._tracking_client.store._hard_delete_run(str(rows[1].run_id))  # as `mlflow gc` does
    mend_runs(outcome.folder, own.workspace.tracking)
    assert "MLflow lacked 2 ended trials" in capsys.readouterr().err
    assert_agree(own, outcome)
    after = read_trials(outcome.folder)
    same = [row.run_id == was.run_id for row, was in zip(after, rows, strict=True)]
    assert same == [True, False, True]

    client.delete_experiment(tracking.store.experiment_of(str(rows[0].run_id)))
    mend_runs(outcome.folder, own.workspace.tracking)
    assert_agree(own, outcome)


@pytest.mark.slow
def test_runs_of_trials_that_a_restored_study_does_not_have_are_ended(
    own: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    inline.reset(rising)
    experiment = own.experiment()
    folder = own.search(experiment, 2).folder
    copy = shutil.copytree(folder.path, tmp_path / "copy")
    own.search(experiment, 4)
    shutil.rmtree(folder.path)
    shutil.copytree(copy, folder.path)
    capsys.readouterr()
    outcome = own.search(experiment, 3)
    assert "MLflow had 2 runs of trials that the study does not have" in capsys.readouterr().err
    assert_agree(own, outcome)
    assert len([run for run in own.runs(outcome) if run.state == "interrupted"]) == 2
    mend_runs(outcome.folder, own.workspace.tracking)
    assert "MLflow had" not in capsys.readouterr().err
    assert_agree(own, outcome)


@pytest.mark.slow
@pytest.mark.parametrize("pruning", [{"kind": "none"}, HALVING], ids=["whole", "halving"])
def test_a_search_writes_the_store_anew_that_was_removed_under_it(
    own: Bench,
    inline: InlineTrials,
    capsys: pytest.CaptureFixture[str],
    pruning: dict[str, object],
) -> None:
    def curve(recipe: Recipe, number: int) -> float:
        if len(inline.trained) == 3 and own.workspace.tracking.exists():
            shutil.rmtree(own.workspace.tracking)
            inline.trained.append(recipe)  # once
        return 0.5 + number / 10 + recipe.training.optimizer.lr

    inline.reset(curve)
    outcome = own.search(own.experiment(pruning=pruning), 5)
    said = capsys.readouterr().err
    assert said.count("The tracking store was removed or replaced") == 1
    assert outcome.stopped == ""
    assert len(read_trials(outcome.folder)) == 5
    assert_agree(own, outcome)
    tracking = Tracking(own.workspace.tracking)
    for row in read_trials(outcome.folder):
        assert tracking.logged_epochs(str(row.run_id)) == {epoch.epoch for epoch in row.epochs}


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 4, 6])
def test_the_store_may_be_removed_in_the_middle_of_any_write(
    own: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Seen to be there, and gone when the entry is written."""
    write: Any = SqlAlchemyStore.log_batch
    calls = Counter[str]()

    def struck(self: SqlAlchemyStore, *args: Any, **kwargs: Any) -> None:
        calls["log_batch"] += 1
        if calls["log_batch"] in (nth + 3, nth + 4):
            shutil.rmtree(own.workspace.tracking)
        write(self, *args, **kwargs)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", struck)
    inline.reset(rising)
    outcome = own.search(own.experiment(pruning=HALVING), 5)
    assert calls["log_batch"] > nth + 4
    assert outcome.stopped == ""
    assert len(read_trials(outcome.folder)) == 5
    assert_agree(own, outcome)


@pytest.mark.slow
def test_a_store_that_refuses_what_is_written_ends_the_search_with_a_sentence(
    own: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Any = SqlAlchemyStore.log_batch

    def refused(self: SqlAlchemyStore, *args: Any, **kwargs: Any) -> None:
        if len(inline.trained) == 2:
            raise MlflowException("no") from sqlite3.OperationalError("disk I/O error")
        write(self, *args, **kwargs)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", refused)
    inline.reset(rising)
    with pytest.raises(StudyError, match=r"cannot be written: disk I/O error\. Check that"):
        own.search(own.experiment(), 3)
    monkeypatch.undo()
    outcome = own.search(own.experiment(), 3)
    assert len(read_trials(outcome.folder)) == 3
    assert_agree(own, outcome)


@pytest.mark.slow
def test_a_paused_trial_goes_on_after_its_run_was_lost(own: Bench, inline: InlineTrials) -> None:
    def curve(recipe: Recipe, number: int) -> float:
        if len(inline.trained) == 4:
            inline.trained.append(recipe)
            raise KeyboardInterrupt
        return 0.5 + number / 10 + recipe.training.optimizer.lr

    inline.reset(curve)
    experiment = own.experiment(pruning=HALVING)
    with pytest.raises(KeyboardInterrupt):
        own.search(experiment, 6)
    shutil.rmtree(own.workspace.tracking)
    outcome = own.search(experiment, 6)
    assert len(read_trials(outcome.folder)) == 6
    assert_agree(own, outcome)


@pytest.mark.slow
def test_a_journal_that_was_cut_in_the_middle_gets_its_trials_back(
    own: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.reset(lambda recipe, number: 0.5 + number / 10 + recipe.training.optimizer.lr)
    experiment = own.experiment(pruning=HALVING)
    outcome = own.search(experiment, 6)
    before = read_trials(outcome.folder)
    lines = outcome.folder.journal.read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = lines[len(lines) // 2].replace(b'"', b"'", 1)
    outcome.folder.journal.write_bytes(b"".join(lines))
    with pytest.raises(DamagedFileError, match=r"journal\.log is damaged\. Run `workbench search`"):
        read_trials(outcome.folder)
    inline.trained.clear()
    own.search(experiment, 6)
    said = capsys.readouterr().err
    assert f"is damaged from line {len(lines) // 2 + 1} of {len(lines)} on" in said
    assert inline.trained == []
    after = read_trials(outcome.folder)
    assert [(row.number, row.recipe, row.state, row.objective, row.drawn) for row in after] == [
        (row.number, row.recipe, row.state, row.objective, row.drawn) for row in before
    ]
    assert_agree(own, outcome)
    kept = outcome.folder.path / "journal.log.damaged"
    assert kept.read_bytes() == b"".join(lines)
    outcome.folder.journal.write_bytes(b"no journal\n")
    mend_journal(outcome.folder)
    assert kept.read_bytes() == b"".join(lines)  # of which the second is no copy
    assert kept.with_name("journal.log.damaged-2").read_bytes() == b"no journal\n"


@pytest.mark.slow
def test_a_run_that_is_written_anew_says_what_trained_it(
    own: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = own.experiment()
    outcome = own.search(experiment, 1)
    journal = outcome.folder.journal
    [trial] = read_study(outcome.folder).trials
    code = trial.user_attrs[MADE_BY]["code_hash"]
    text = journal.read_text().replace(json.dumps(code), '"older"')
    journal.write_text(text)
    shutil.rmtree(own.workspace.tracking)
    outcome = own.search(experiment, 2)
    said = capsys.readouterr().err
    assert said.count("The study goes on with other code: version ") == 1
    assert "(code older)." in said
    client = Tracking(own.workspace.tracking).store.client
    tags = [client.get_run(str(row.run_id)).data.tags for row in read_trials(outcome.folder)]
    assert [each["code_hash"] for each in tags] == ["older", code]
    own.search(experiment, 2)
    assert "other code" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_that_goes_while_it_is_written_to_stops_the_search_with_a_sentence(
    own: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.reset(rising)
    experiment = own.experiment()
    log = StudyRuns.log

    def gone(self: StudyRuns, *about: object) -> None:
        shutil.rmtree(own.workspace.tracking, ignore_errors=True)
        raise OSError("unable to open database file")

    monkeypatch.setattr(StudyRuns, "log", gone)
    monkeypatch.setattr(StudyRuns, "reopen", gone)
    from workbench.errors import StudyError

    with pytest.raises(StudyError, match="was removed while the search wrote to it"):
        own.search(experiment, 2)
    monkeypatch.undo()
    assert log is StudyRuns.log


def test_what_is_lost_of_one_trial_is_a_reason_and_no_end(own: Bench, inline: InlineTrials) -> None:
    inline.reset(rising)
    outcome = own.search(own.experiment(), 3)
    rows = read_trials(outcome.folder)
    outcome.folder.trial(rows[0].recipe).result.write_text("{")
    outcome.folder.trial(rows[1].recipe).recipe.unlink()
    after = read_trials(StudyFolder(outcome.folder.path))
    assert [row.state for row in after] == ["failed", "failed", "complete"]
    assert after[0].reason.startswith("result.json is damaged (")
    assert after[1].reason.startswith("recipe.json is gone (")
    assert after[1].backbone == rows[1].backbone
    assert own.search(own.workspace.studies / f"{outcome.folder.name}.yaml", 4).num_new == 1


def test_a_number_that_no_study_reaches_makes_no_room_for_lost_trials(tmp_path: Path) -> None:
    """It is a tag in MLflow, which anybody can change: room for it would take days to make."""
    recipe = made_recipe()
    files = TrialFolder(tmp_path / recipe.uid)
    study, runs = optuna.create_study(), cast(StudyRuns, None)
    about = {"run_id": "a", "uid": "b", "name": "", "status": "", "state": ""}
    for number in (2_000_000_000, 3):
        run = TrialRun.model_validate({**about, "number": number})
        _restore(study, files, recipe, Space(file="s.yaml", tree=THREE), run, runs)
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "FAIL", "FAIL", "RUNNING"]


def test_a_lost_trial_gets_the_last_of_its_runs_back_whatever_clocks_said(tmp_path: Path) -> None:
    recipe, folder = made_recipe(), StudyFolder(tmp_path)
    folder.trial(recipe.uid).write_recipe(recipe)
    about = {"uid": recipe.uid, "name": "", "status": "", "state": ""}
    # Asked again as number 3, on a machine whose clock was hours behind that of the first.
    found = [
        TrialRun.model_validate({**about, "run_id": run_id, "number": number})
        for run_id, number in (("again", 3), ("cut off", 1))
    ]
    tracking = SimpleNamespace(trial_runs=lambda parent: found)
    runs = cast(StudyRuns, SimpleNamespace(tracking=tracking, parent="study"))
    study = optuna.create_study()
    assert restore_trials(study, folder, Space(file="s.yaml", tree=THREE), runs) == 1
    *before, restored = study.trials
    assert len(before) == 3
    assert restored.user_attrs[RUN] == "again"


def test_a_lost_trial_that_mlflow_does_not_know_may_get_another_number_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, folder = made_recipe(), StudyFolder(tmp_path)
    folder.trial(recipe.uid).write_recipe(recipe)
    tracking = SimpleNamespace(trial_runs=lambda parent: [])
    made = SimpleNamespace(tracking=tracking, parent="study", start=lambda *about: "new")
    space = Space(file="s.yaml", tree=THREE)
    study = optuna.create_study()
    assert restore_trials(study, folder, space, cast(StudyRuns, made)) == 1
    assert study.trials[0].user_attrs[THOP] > 10_000  # a constraint may be about it
    said = capsys.readouterr().err
    assert "MLflow does not know 1 trial of these: a number may be another than before" in said


@pytest.mark.slow
def test_parameters_of_a_lost_trial_that_mlflow_does_not_know_are_counted_anew(
    own: Bench, inline: InlineTrials
) -> None:
    """A trial with more than a constraint allows was promoted."""
    experiment = own.experiment(constraints={"params": {"at_most": 200_000}})
    outcome = own.search(experiment, 4)
    before = read_trials(outcome.folder)
    assert 0 < sum(bool(row.breaks) for row in before) < 4
    outcome.folder.journal.unlink()
    shutil.rmtree(own.workspace.tracking)
    after = read_trials(own.search(experiment, 4).folder)
    told = [(row.recipe, row.params_thop, row.params_true, row.breaks) for row in before]
    again = [(row.recipe, row.params_thop, row.params_true, row.breaks) for row in after]
    assert sorted(again) == sorted(told)
