"""Data in layouts that nobody made the code for, from `init` to predictions, by the real commands.

After `init` there are two: `search` and `export`.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import layouts
from tests.commands import run_here
from workbench.data.prepared_table import read_prepared_table
from workbench.study.folder import StudyFolder

QUICK = ("--trials", "1", "--jobs", "1", "--device", "cpu", "--pack", "off")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of all studies: the tracking store is made once."""
    return tmp_path_factory.mktemp("any")


def predictions(
    root: Path, make: Callable[[Path], Path], name: str
) -> tuple[str, StudyFolder, list[list[str]]]:
    """Return what `init` says of a data folder, its study, and the rows of its predictions."""
    make(root / name)
    said = run_here(root, "init", name)
    layouts.shrink(root, name)
    run_here(root, "search", f"experiments/{name}.yaml", "--data", name, *QUICK)
    run_here(root, "export", name, "--out", f"{name}-bundle")
    with (root / f"{name}-bundle" / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    return said, StudyFolder(root / "experiments" / name), rows


def are_scores(cells: list[str]) -> bool:
    return all(0 < float(cell) < 1 for cell in cells) and len(set(cells)) > 1


@pytest.mark.slow(minutes=0.4)
def test_a_folder_for_each_class(root: Path) -> None:
    said, study, rows = predictions(root, layouts.class_folders, "faces")
    assert "train: 20 files, 10 fake" in said
    assert "e.g. fake/notes.txt" in said
    assert rows[0] == ["file_name", "score"]
    assert [row[0] for row in rows[1:]] == ["t0.jpg", "t1.jpg", "t2.jpg", "t3.jpg"]
    assert are_scores([row[1] for row in rows[1:]])
    # A fifth of each class was held out, and the study keeps which.
    table = read_prepared_table(study.manifest)
    assert table[table["split"] == "val"].groupby("target").size().to_dict() == {0: 2, 1: 2}
    assert set(table["path"].str.partition("/")[0]) == {"real", "fake", "test"}


@pytest.mark.slow(minutes=0.4)
def test_a_table_of_words_without_val_and_test(root: Path) -> None:
    said, study, rows = predictions(root, layouts.table_of_words, "words")
    assert "fake/real read as 1/0" in said
    assert rows == [["file_name", "score"]]
    table = read_prepared_table(study.manifest)
    assert table["split"].value_counts().to_dict() == {"train": 20, "val": 4}
    # What is predicted is a folder of files, named then.
    layouts.picture(root / "new" / "deep" / "a, b.png", fake=True, seed=1)
    layouts.picture(root / "new" / "c.jpg", fake=False, seed=2)
    (root / "new" / "readme.md").write_text("no medium\n")
    told = run_here(root, "predict", "words-bundle", "new", "--out", "new.csv")
    assert "2 scores are in new.csv" in told
    with (root / "new.csv").open(newline="") as file:
        scored = list(csv.reader(file))
    assert [row[0] for row in scored] == ["file_name", "c.jpg", "deep/a, b.png"]
    assert are_scores([row[1] for row in scored[1:]])


@pytest.mark.slow(minutes=0.4)
def test_sounds_alone(root: Path) -> None:
    said, study, rows = predictions(root, layouts.sounds_alone, "sounds")
    assert "media: 28 sounds" in said
    assert "fake in 'spoof'; real in 'bonafide'" in said
    assert len(rows) == 5
    assert rows[1][0] == "bonafide/eval0.wav"
    assert are_scores([row[1] for row in rows[1:]])
    table = read_prepared_table(study.manifest)
    assert table["split"].value_counts().to_dict() == {"train": 16, "val": 8, "test": 4}
    assert set(table["status.mel"]) == {"ok"}  # wav, flac, mp3 and ogg
    assert set(table.loc[table["split"] == "test", "target"]) == {-1}


@pytest.mark.slow(minutes=0.4)
def test_a_template_with_more_columns(root: Path) -> None:
    _, _, rows = predictions(root, layouts.template_with_more, "columns")
    assert rows[0] == ["row", "image", "is_fake", "note"]
    assert [[row[0], row[1], row[3]] for row in rows[1:]] == [
        [str(n), f"q{n}.png", "public, new"] for n in range(4)
    ]
    assert are_scores([row[2] for row in rows[1:]])


@pytest.mark.slow(minutes=0.4)
def test_recordings_in_a_parquet_table(root: Path) -> None:
    said, study, rows = predictions(root, layouts.recordings, "recordings")
    assert "groups in speaker" in said
    assert [row[0] for row in rows[1:]] == [f"clips/r{n}.flac" for n in range(32, 36)]
    assert are_scores([row[1] for row in rows[1:]])
    table = read_prepared_table(study.manifest)
    by_speaker = table[table["target"] >= 0].groupby("meta.speaker")["split"].nunique()
    assert set(by_speaker) == {1}  # no speaker is in train and in val
