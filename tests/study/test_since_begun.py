"""Whoever trains or exports a study after tables or its experiment were changed is told."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.test_repeats import begun, train
from workbench.searching.start import SearchOutcome
from workbench.study.since_begun import (
    sentence_on_changed_experiment,
    sentence_on_changed_tables,
    sentence_on_changed_template,
    told_since_begun,
)

LABELS = ("train_label.txt", "val_label.txt", "prediction.txt.csv")


@pytest.fixture
def own(bench: Bench, tmp_path: Path) -> Bench:
    """Data that a test may change; its trials are told values without training."""
    data = shutil.copytree(bench.data, tmp_path / "data")
    return Bench(bench.workspace, data, counter=bench.counter)


def rows_of(data: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(data / name)


def write_rows(data: Path, name: str, rows: pd.DataFrame) -> None:
    rows.to_csv(data / name, index=False)


def turn(data: Path) -> None:
    rows = rows_of(data, LABELS[0])
    rows["target"] = [
        1 - target if row == 2 else target for row, target in enumerate(rows["target"])
    ]
    write_rows(data, LABELS[0], rows)


def drop(data: Path) -> None:
    write_rows(data, LABELS[0], rows_of(data, LABELS[0]).drop(index=3))


def ask_of_one_less(data: Path) -> None:
    write_rows(data, LABELS[2], rows_of(data, LABELS[2]).drop(index=1))


def label_one_more(data: Path) -> None:
    rows = rows_of(data, LABELS[0])
    name = str(rows.iloc[0, 0])
    more = f"more{Path(name).suffix}"
    shutil.copyfile(data / "trainset" / name, data / "trainset" / more)
    write_rows(data, LABELS[0], pd.concat([rows, rows.iloc[[0]].assign(**{rows.columns[0]: more})]))


def write_otherwise(data: Path) -> None:
    """Turn the order of the rows, and delete a picture: neither is another label or name."""
    for name in LABELS[:2]:
        write_rows(data, name, rows_of(data, name)[::-1])
    next((data / "trainset").iterdir()).unlink()


def searched(bench: Bench, **keys: Any) -> SearchOutcome:
    inline = InlineTrials()
    inline.reset(lambda recipe, number: 0.6)
    return bench.search(bench.experiment(**keys), 1, make_runner=inline.make_runner)


FOLDS = {"kind": "stratified", "folds": 3, "use": 3}


@pytest.mark.parametrize("validation", [{"kind": "given"}, FOLDS], ids=["given", "folds"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (turn, "other label: 1 file, e.g. trainset/train2.jpg"),
        (label_one_more, "new: 1 file, e.g. trainset/more.png"),
        (drop, "no longer named: 1 file, e.g. trainset/train3.png"),
        (ask_of_one_less, "no longer named: 1 file, e.g. testset/test1.jpg"),
        (write_otherwise, ""),
    ],
)
def test_what_tables_say_otherwise_is_told(
    own: Bench, change: Callable[[Path], None], told: str, validation: dict[str, Any]
) -> None:
    folder = searched(own, validation=validation).folder
    assert sentence_on_changed_tables(folder) == ""
    change(own.data)
    said = sentence_on_changed_tables(folder)
    assert told in said
    assert bool(said) == bool(told)
    if said:
        assert f"begun with ({told})" in said


def test_a_share_that_is_locked_away_is_no_new_file(own: Bench) -> None:
    folder = searched(own, holdout={"share": 0.25}).folder
    assert sentence_on_changed_tables(folder) == ""


@pytest.mark.parametrize("kind", ["given", "stratified"])
def test_nothing_is_told_where_files_of_two_folders_are_called_alike(own: Bench, kind: str) -> None:
    """Without a template, besides: the files of `valset` are labelled, and none of them new."""
    for split, place, labels in (("train", "trainset", LABELS[0]), ("val", "valset", LABELS[1])):
        rows = rows_of(own.data, labels)
        for name in rows.iloc[:, 0]:
            suffix = Path(name).suffix
            (own.data / place / name).rename(
                own.data / place / f"{name.removeprefix(split).removesuffix(suffix)}{suffix}"
            )
        rows.iloc[:, 0] = rows.iloc[:, 0].str.removeprefix(split)
        write_rows(own.data, labels, rows)
    (own.data / LABELS[2]).unlink()
    shutil.rmtree(own.data / "testset")
    keys = {"data": {"template": []}, "validation": {"kind": kind}}
    folder = searched(own, **keys).folder
    assert sentence_on_changed_tables(folder) == ""


def test_a_folder_that_is_gone_or_has_other_tables_is_not_told(own: Bench) -> None:
    folder = searched(own).folder
    (own.data / LABELS[0]).write_text("no table\n")
    assert sentence_on_changed_tables(folder) == ""
    shutil.rmtree(own.data)
    assert sentence_on_changed_tables(folder) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rulebook": {"max_params": "1M"}}, "`rulebook.max_params` was 200000000, is 1000000"),
        ({"objective": {"metric": "log_loss"}}, "`objective.metric` was 'auc', is 'log_loss'"),
        ({"constraints": {"auc": {"at_least": 0.9}}}, "`constraints.auc` was not there, is "),
        ({"disk_budget": "2GB"}, ""),  # it decides nothing
        ({"rulebook": {"max_params": "many"}}, ""),  # a search says what is wrong with it
    ],
)
def test_what_an_experiment_file_says_otherwise_is_told(
    own: Bench, change: dict[str, Any], told: str
) -> None:
    folder = searched(own).folder
    file = own.workspace.root / folder.info().experiment
    assert file.is_file() and sentence_on_changed_experiment(folder) == ""
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | change))
    said = told_since_begun(folder)
    assert told in said and bool(said) == bool(told)
    if said:
        assert f"is not what the study {folder.name} was begun with (" in said
    file.unlink()
    assert told_since_begun(folder) == ""


def with_a_header(data: Path) -> None:
    file = data / LABELS[2]
    file.write_bytes(file.read_bytes().replace(b"y_pred", b"score", 1))


def of_another_machine(data: Path) -> None:
    file = data / LABELS[2]
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))


def of_a_spreadsheet(data: Path) -> None:
    file = data / LABELS[2]
    file.write_bytes(file.read_bytes().replace(b",", b";"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (with_a_header, "another header"),
        (lambda data: write_rows(data, LABELS[2], rows_of(data, LABELS[2])[::-1]), "order of rows"),
        (
            lambda data: write_rows(data, LABELS[2], rows_of(data, LABELS[2]).assign(id="new")),
            "(other cells in 8 rows, e.g. of 'test0.png')",
        ),
        (
            lambda data: write_rows(data, LABELS[2], rows_of(data, LABELS[2]).assign(more="new")),
            "(another header)",
        ),
        (of_a_spreadsheet, "written otherwise: encoding, separator, quotes or line ends"),
        (of_another_machine, "written otherwise: encoding, separator, quotes or line ends"),
        (ask_of_one_less, "other names"),
        (lambda data: write_rows(data, LABELS[2], rows_of(data, LABELS[2]).assign(y_pred=0.7)), ""),
    ],
)
def test_another_template_is_told_and_a_search_takes_it(
    own: Bench, change: Callable[[Path], None], told: str
) -> None:
    write_rows(own.data, LABELS[2], rows_of(own.data, LABELS[2]).assign(id="old"))
    inline, experiment = InlineTrials(), own.experiment()
    inline.reset(lambda recipe, number: 0.6)
    folder = own.search(experiment, 1, make_runner=inline.make_runner).folder
    assert told_since_begun(folder) == ""
    change(own.data)
    said = sentence_on_changed_template(folder)
    assert told in said and bool(said) == bool(told)
    way = "`workbench search` with the same options takes the new one."
    whole = told_since_begun(folder)
    assert said in whole
    if told == "other names":  # of which a search is refused
        assert way not in whole and "start another study" in whole
        return
    assert (way in whole) == bool(told)
    own.search(experiment, 1, make_runner=inline.make_runner)
    assert folder.template.read_bytes() == (own.data / LABELS[2]).read_bytes()
    assert told_since_begun(folder) == ""


def test_a_template_that_is_no_table_or_was_made_is_not_told(own: Bench) -> None:
    folder = searched(own).folder
    (own.data / LABELS[2]).write_text("")
    assert sentence_on_changed_template(folder) == ""
    (own.data / LABELS[2]).unlink()
    assert sentence_on_changed_template(folder) == ""
    made = searched(own, data={"template": []}).folder
    assert sentence_on_changed_template(made) == ""


def test_who_trains_again_is_told(
    own: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = begun(own, inline, 2)
    train(own, inline, outcome, 1)
    assert "warning: The tables" not in capsys.readouterr().err
    turn(own.data)
    train(own, inline, outcome, 1, num_seeds=3)
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: The tables" in said
    assert "other label: 1 file" in said
