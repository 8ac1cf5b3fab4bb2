"""A study whose files are dealt anew, and whose trials are trained once without each fold."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

from tests.study.conftest import Bench
from tests.study.inline import InlineRunner, InlineTrials
from tests.study.tiny import SPACE, THREE
from workbench.data.folds import with_fold
from workbench.data.manifest import Layout, read_manifest
from workbench.data.out_of_fold import FOLD
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError, DataError
from workbench.parts.weights import RANDOM
from workbench.screening import clusters
from workbench.screening.screening import Candidate
from workbench.searching.loop import TrialBug
from workbench.searching.new_study import _data_changes
from workbench.searching.runner import Event
from workbench.study.folder import StudyFolder
from workbench.study.records import read_study, read_trials
from workbench.trial.job import Bug, Died
from workbench.trial.recipe import Recipe
from workbench.trial.result import TrialFolder

IN_TURN = {"kind": "stratified", "folds": 3, "use": 3}
HALVING = {"kind": "halving", "warmup_epochs": 1}


def test_trials_are_held_against_one_another_in_their_first_fold_alone(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.num_folds = 3

    def curve(recipe: Recipe, epoch: int) -> float:
        # The better one is worse than any other in its later folds.
        first = 0.6 if recipe.model.dropout else 0.5
        return first if epoch <= 2 else 0.1

    inline.reset(curve)
    inline.num_folds = 3
    file = bench.experiment(
        {**THREE, "dropout": {"choice": [0.0, 0.1]}}, validation=IN_TURN, pruning=HALVING
    )
    outcome = bench.search(file, 2)
    rows = sorted(read_trials(outcome.folder), key=lambda row: row.state)
    assert [(row.state, len(row.epochs)) for row in rows] == [("complete", 6), ("pruned", 1)]
    assert [epoch.fold for epoch in rows[0].epochs] == [1, 1, 2, 2, 3, 3]
    # Two epochs of six are a rung, where they would not be of two.
    told = read_study(outcome.folder).get_trials()[rows[0].number].intermediate_values
    assert told == {1: 0.6, 2: 0.6}
    run = next(run for run in bench.runs(outcome) if run.number == rows[0].number)
    assert run.state == "complete"
    said = capsys.readouterr().err
    assert "6/6 epochs" in said and "every trial is trained 3 times" in said


def test_a_trial_that_fails_in_a_later_fold_leaves_no_weights(
    bench: Bench, inline: InlineTrials
) -> None:
    file = bench.experiment(THREE, validation=IN_TURN)

    def curve(recipe: Recipe, epoch: int) -> float | Died:
        if epoch < 4:
            return 0.5
        files = StudyFolder(bench.workspace.studies / file.stem).trial(recipe.uid)
        files.weights.write_bytes(b"of the first fold")
        files.fold_scores(1).write_bytes(b"of the first fold")
        return Died("killed")

    inline.reset(curve)
    inline.num_folds = 3
    folder = bench.search(file, 1).folder
    [row] = read_trials(folder)
    assert (row.state, len(row.epochs)) == ("failed", 3)
    left = {path.name for path in folder.trial(row.recipe).path.iterdir()}
    assert left == {"recipe.json", "result.json"}


def test_a_bug_at_the_end_of_all_folds_costs_no_trial(bench: Bench, inline: InlineTrials) -> None:
    class AtEnds(InlineRunner):
        def say(self, trial: Any) -> Event:
            done = len(trial.epochs)
            if done and done % trial.recipe.training.num_epochs == 0:
                del self._running[trial.job.trial]
                return Bug("Traceback: X")
            return super().say(trial)

    inline.reset()
    inline.num_folds = 3
    space = {**SPACE, "num_epochs": {"choice": [2, 30]}}
    file = bench.experiment(space, validation=IN_TURN, pruning={"kind": "none"})
    with pytest.raises(TrialBug, match="Traceback: X"):
        bench.search(file, 4, jobs=3, make_runner=lambda *asked: AtEnds(inline, asked[0], 3))
    rows = read_trials(bench.search(file, 4, jobs=3).folder)
    assert [row.state for row in rows] == ["complete"] * 4


def test_a_study_keeps_its_files_in_train_and_those_of_every_fold_in_val(
    bench: Bench, inline: InlineTrials
) -> None:
    folder = bench.search(bench.experiment(THREE, validation=IN_TURN), 1).folder
    prepared = Prepared.load(folder.path)
    assert prepared.num_folds == 3
    sizes = prepared.table["split"].value_counts().to_dict()
    assert sizes == {"train": 40, "val": 40, "test": 8}
    # A file that is dealt into another fold is named, though it stays in train and in val.
    first = read_manifest(bench.data, Layout(), cache=bench.workspace.cache)
    dealt = with_fold(first, folder.experiment().validation)
    assert _data_changes(prepared.table, dealt) == ""
    moved = dealt.table.assign(**{FOLD: dealt.table[FOLD].replace(3, 2)})
    said = _data_changes(prepared.table, replace(dealt, table=moved))
    assert said.startswith("other fold: 14 files, e.g. ") and said.endswith("(was '3', is '2')")
    for fold in (1, 2, 3):
        own = prepared.for_fold(fold)
        assert not set(own.rows("train")["path"]) & set(own.rows("val")["path"])
        assert len(own.rows("train")) + len(own.rows("val")) == 40


@pytest.mark.slow
def test_degraded_copies_are_of_the_files_of_every_fold(bench: Bench) -> None:
    objective = {"over": ["val", "degraded.jpeg30"], "aggregate": "worst"}
    file = bench.experiment(THREE, validation=IN_TURN, objective=objective)
    outcome = bench.search(file, 1)
    [row] = read_trials(outcome.folder)
    assert row.state == "complete", row.reason
    scores = TrialFolder(outcome.folder.path / "trials" / row.recipe).read_scores()
    assert scores["slice"].value_counts().to_dict() == {
        "val": 40,
        "degraded.jpeg30": 40,
        "test": 8,
    }
    assert row.objective == min(row.by_slice[n]["auc"] for n in ("val", "degraded.jpeg30"))


def _seen(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Let what a network sees of the 40 labelled files be `answer`."""
    candidates = [(Candidate(backbone="seeing", views=("image",), image_px=32, reason=""), RANDOM)]
    monkeypatch.setattr(clusters, "candidates_of", lambda *_: candidates)
    monkeypatch.setattr(clusters, "child_process", nullcontext)
    monkeypatch.setattr(clusters, "ask", lambda *_: answer)


def test_folds_by_clusters_are_found_once_a_study(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the files in order, the first twenty look alike, and the others.
    features = np.repeat([[0.0, 1.0], [1.0, 0.0]], 20, axis=0).astype(np.float32)
    _seen(monkeypatch, features + np.random.default_rng(0).normal(0, 0.01, (40, 2)))
    file = bench.experiment(THREE, validation={"kind": "cluster", "folds": 2, "use": 2})
    folder = bench.search(file, 1).folder
    table = Prepared.load(folder.path).table
    fakes = table[(table["target"] == 1) & (table["split"] == "val")]
    where = fakes.set_index("name")[FOLD]
    first = {f"train{number}" for number in range(1, 20, 2)}
    together = {where[name] for name in where.index if name.partition(".")[0] in first}
    others = {where[name] for name in where.index if name.partition(".")[0] not in first}
    assert len(together) == len(others) == 1 and together != others
    reals = table[(table["target"] == 0) & (table["split"] == "val")]
    assert reals[FOLD].value_counts().to_dict() == {1: 10, 2: 10}
    _seen(monkeypatch, "nothing is asked twice")
    assert bench.search(file, 2).num_new == 1


def test_clusters_of_a_start_that_failed_are_found_anew(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (40, 2))
    _seen(monkeypatch, np.repeat([[0.0, 1.0], [1.0, 0.0]], 20, axis=0) + noise)
    file = bench.experiment(THREE, validation={"kind": "cluster", "folds": 3, "fold": 3})
    with pytest.raises(DataError, match="fakes form only 2 clusters"):
        bench.search(file, 1)
    # By now the files show something else: those of every second fake are alike.
    _seen(monkeypatch, np.repeat([[0.0, 1.0], [1.0, 0.0]] * 10, 2, axis=0) + noise)
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    tree["validation"] = {"kind": "cluster", "folds": 2}
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    table = Prepared.load(bench.search(file, 1).folder.path).table
    fakes = table[(table["target"] == 1) & (table["split"] == "val")]
    numbers = [
        int(name.removeprefix("train"))
        for name in fakes["name"].str.partition(".")[0]
        if name.startswith("train")
    ]
    assert len({number // 2 % 2 for number in numbers}) == 1


def test_a_study_by_clusters_of_which_nothing_was_tried_is_begun_anew(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (40, 2))
    _seen(monkeypatch, np.repeat([[0.0, 1.0], [1.0, 0.0]], 20, axis=0) + noise)
    over = {"over": ["val", "nosuch"], "aggregate": "worst"}
    by_clusters = {"kind": "cluster", "folds": 2}
    file = bench.experiment(THREE, validation=by_clusters, objective=over)
    with pytest.raises(ConfigError, match="names 'nosuch', which is no slice of the data"):
        bench.search(file, 1)
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    tree["objective"]["over"].remove("nosuch")
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert bench.search(file, 1).num_new == 1
    _seen(monkeypatch, "nothing is asked twice")
    assert bench.search(file, 2).num_new == 1


def test_without_features_no_study_is_dealt_by_clusters(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    _seen(monkeypatch, "it took over 5 s")
    file = bench.experiment(THREE, validation={"kind": "cluster", "folds": 2})
    with pytest.raises(DataError, match="cannot be dealt by clusters: it took over 5 s"):
        bench.search(file, 1)
