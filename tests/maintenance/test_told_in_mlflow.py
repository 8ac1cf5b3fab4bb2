"""What MLflow says of a study as a whole: here, because the studies of these tests are cheap."""

from tests.maintenance.conftest import ranked, register, write_champion
from tests.study.conftest import Bench
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
