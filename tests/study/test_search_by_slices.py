"""A search whose objective names families of slices, and whose trials have to keep constraints."""

import shutil
from pathlib import Path

import optuna
import pytest
import yaml

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError, DataError, StudyError
from workbench.files import read_json, write_json
from workbench.study.records import read_trials
from workbench.study.storage import open_storage

OVER = {"over": ["val", "generators"], "aggregate": "worst"}


def test_a_family_that_the_data_lack_is_said_at_the_start_and_the_search_goes_on(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = bench.search(bench.experiment(), 1)
    capsys.readouterr()
    outcome = bench.search(bench.experiment(objective=OVER), 1)
    said = capsys.readouterr()
    note = "No generators: the data's tables have no column `generator`."
    assert (said.out + said.err).count(note) == 1
    assert [row.state for row in read_trials(outcome.folder)] == ["complete"]
    # The column is not there, so it is no part of what the numbers depend on.
    assert outcome.folder.info().fingerprint == plain.folder.info().fingerprint
    # Nor is it named as a place where a value was reached.
    assert "complete  auc 0." in said.out + said.err and "worst auc" not in said.out + said.err
    # Of trials of older versions it is not known on what they were scored.
    folder = outcome.folder
    assert folder.objective() == folder.experiment().objective
    [file] = folder.path.glob("trials/*/result.json")
    result = read_json(file)
    write_json(file, {**result, "by_slice": {"val": result["metrics"]}})
    assert (folder.objective().place, folder.objective().label) == ("val", "auc")
    write_json(file, {**result, "by_slice": {"val": {}, "generators.espeak": {}}})
    assert folder.objective().place == "the worst of val, generators"


def test_a_name_that_is_no_family_ends_the_search_before_it_begins(
    bench: Bench, inline: InlineTrials
) -> None:
    objective = {"over": ["val", "generator"], "aggregate": "worst"}
    file = bench.experiment(objective=objective)
    with pytest.raises(ConfigError, match="names 'generator', which is no slice of the data"):
        bench.search(file, 1)
    assert inline.trained == []
    # Nothing was tried, so the study is none of the name that was corrected.
    about = yaml.safe_load(file.read_text(encoding="utf-8"))
    about["objective"]["over"][1] = "generators"
    file.write_text(yaml.safe_dump(about), encoding="utf-8")
    folder = bench.search(file, 1).folder
    assert folder.experiment().objective.over == ("val", "generators")
    del about["objective"]
    file.write_text(yaml.safe_dump(about), encoding="utf-8")
    with pytest.raises(StudyError, match="begun with other settings"):
        bench.search(file, 1)


def test_a_study_of_which_nothing_was_tried_takes_the_folder_that_was_forgotten(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    file = bench.experiment(objective={"over": ["val", "other"], "aggregate": "worst"})
    with pytest.raises(ConfigError, match="'other', which is no slice of the data"):
        bench.search(file, 1)
    with pytest.raises(DataError, match=r"The labelled folder .*nowhere does not exist"):
        bench.search(file, 1, slices={"other": tmp_path / "nowhere"})
    other = shutil.copytree(bench.data, tmp_path / "other")
    bench.search(file, 1, slices={"other": other})
    assert len(inline.trained) == 1


def test_the_sampler_is_told_by_how_much_a_trial_breaks_a_constraint(
    bench: Bench, inline: InlineTrials
) -> None:
    constraints = {"params": {"at_most": 50_000}, "auc": {"at_least": 0.25}}
    outcome = bench.search(bench.experiment(constraints=constraints), 2)
    name = outcome.folder.name
    journal = optuna.load_study(study_name=name, storage=open_storage(outcome.folder))
    for row, trial in zip(read_trials(outcome.folder), journal.trials, strict=True):
        assert row.state == "complete" and row.params_true is not None
        params = max(row.params_true, row.params_thop or 0)
        assert trial.constraints["constraints.params"] == pytest.approx(params / 50_000 - 1)
        assert ("constraints.auc" in trial.constraints) == ("auc" in row.metrics)
        assert [broken.partition(" ")[0] for broken in row.breaks] == ["params"]


def test_a_search_validates_on_the_fold_that_the_experiment_names(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    validation = {"kind": "stratified", "folds": 4, "fold": 2}
    experiment = bench.experiment(validation=validation)
    outcome = bench.search(experiment, 1)
    said = capsys.readouterr()
    assert "validation: fold 2 of 4 is val, 10 of 40 labelled files" in said.out + said.err
    prepared = Prepared.load(outcome.folder.path)
    assert (len(prepared.rows("train")), len(prepared.rows("val"))) == (30, 10)
    assert prepared.rows("val")["target"].sum() == 5
    assert bench.search(experiment, 1).num_new == 0  # the fold is the same again
