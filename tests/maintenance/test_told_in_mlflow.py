"""What MLflow says of a study as a whole: here, because the studies of these tests are cheap."""

import pandas as pd

from tests.maintenance.conftest import ranked, register, write_champion
from tests.study.conftest import Bench
from workbench.api.comparison import compare_trials
from workbench.selection.alias_told import other_alias
from workbench.selection.champion import read_champion
from workbench.selection.told_in_mlflow import tell_in_mlflow
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking


def test_a_study_and_its_model_are_described_by_champion_and_best_trials(bench: Bench) -> None:
    folder = bench.search(bench.experiment(), 3).folder
    first, second, third = ranked(folder)
    version = register(bench, folder, first)
    write_champion(folder, first, version)
    place = bench.workspace.tracking
    tell_in_mlflow(folder, place, read_champion(folder))

    info, tracking = folder.info(), Tracking(place)
    parent = tracking.find_study(info.name, info.id)
    client = ModelRegistry(place)._client
    run = client.get_run(parent)
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"- Champion: trial {first.number}, auc ")
    runs = f"#/experiments/{run.info.experiment_id}/runs"
    places = [
        note.index(f"| [trial {row.number}]({runs}/{row.run_id}) | {row.objective:.4f} |")
        for row in (first, second, third)
    ]
    assert places == sorted(places)
    assert "3 complete, 0 pruned, 0 failed." in note
    assert f"[All trials]({runs}?workflowType=" in note
    of_experiment = client.get_experiment(run.info.experiment_id).tags
    assert of_experiment["mlflow.note.content"] == note
    card = client.get_registered_model(folder.name).description
    assert f"- Champion: trial {first.number}, auc " in card and "@champion" in card


def test_a_trial_that_its_scores_refute_is_not_among_the_best(bench: Bench) -> None:
    folder = bench.search(bench.experiment(), 3).folder
    first, second, third = ranked(folder)
    scores = pd.DataFrame({"slice": "val", "name": list("abcd"), "target": [0, 0, 1, 1]})
    folder.trial(first.recipe).write_scores(scores.assign(score=[0.1, 0.2, 0.8, 0.9]))  # of AUC 1
    write_champion(folder, second, register(bench, folder, second))
    place = bench.workspace.tracking
    tell_in_mlflow(folder, place, read_champion(folder))

    info, tracking = folder.info(), Tracking(place)
    run = ModelRegistry(place)._client.get_run(tracking.find_study(info.name, info.id))
    lines = run.data.tags["mlflow.note.content"].splitlines()
    told = [line.partition("]")[0] for line in lines if line.startswith("| [trial ")]
    assert told == [f"| [trial {row.number}" for row in (second, third)]


def test_an_alias_that_leads_to_another_model_than_the_champion_is_told(bench: Bench) -> None:
    # As where `experiments/` or `mlruns/` alone was put back from a copy.
    folder = bench.search(bench.experiment(), 2).folder
    first, second = ranked(folder)
    assert other_alias(folder) == ""
    write_champion(folder, first, register(bench, folder, first))
    assert other_alias(folder) == ""
    registry = ModelRegistry(bench.workspace.tracking)
    newer = register(bench, folder, second)
    said = other_alias(folder)
    assert f"leads to version {newer}, another model than trial {first.number}, the champ" in said
    assert said in compare_trials(folder, page=False).note
    with folder.promoting():  # it may be between the two just now
        assert other_alias(folder) == ""
    info = folder.info()
    registry.set_champion(folder.name, first.recipe, info.id)
    assert other_alias(folder) == ""

    version = registry._client.get_model_version_by_alias(folder.name, "champion").version
    registry._client.set_model_version_tag(
        folder.name, version, "workbench.weights_sha256", "0" * 64
    )
    assert other_alias(folder) == ""  # of weights whose hash the study does not know
    result = folder.trial(first.recipe).kept_result()
    assert result is not None
    known = result.model_copy(update={"weights_sha256": "1" * 64})
    folder.trial(first.recipe).write_result(known)
    assert "leads to version" in other_alias(folder)
