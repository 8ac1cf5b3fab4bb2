"""Tables beside the data's own: of a slice, of a holdout, and those that say more of files."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.data.test_named_files import MIXED, made, targets
from workbench.data.folds import Validation, with_fold
from workbench.data.guessed_columns import Answers
from workbench.data.holdout import read_holdout
from workbench.data.inspection import inspect_data
from workbench.data.layout import Layout
from workbench.data.manifest import read_labelled, read_manifest
from workbench.data.metadata import column_of
from workbench.errors import DataError


def are_right(table: pd.DataFrame) -> bool:
    """Return whether files of odd numbers are labelled fake, and the others real."""
    numbers = [int(Path(path).stem) for path in table["path"]]
    return [number % 2 for number in numbers] == table["target"].tolist()


def beside(folder: Path, header: str, rows: Sequence[str], *patterns: str) -> Path:
    """Return what `made` makes, with the labels in `val.csv`."""
    made(folder, header, rows, *patterns)
    return (folder / "labels.csv").rename(folder / "val.csv").parent


def by_ids(folder: Path) -> Layout:
    """Return the layout of data with `train.csv` and `val.csv` whose files are called by `id`."""
    data = made(folder, "id,label", [f"{n},{n % 2}" for n in MIXED], "train/*.png", "val/1*.png")
    (data / "labels.csv").rename(data / "train.csv")
    (data / "val.csv").write_text("\n".join(["id,label", *(f"1{n},{n % 2}" for n in MIXED)]))
    return inspect_data(data).layout


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("header", ["filename", "audio_path"])
def test_numbers_of_rows_of_a_slice_give_way_to_the_names_beside_them(
    tmp_path: Path, header: str, first: int
) -> None:
    layout = by_ids(tmp_path / "d")
    rows = [f"{row},{n}.png,{n % 2}" for row, n in enumerate(MIXED, start=first)]
    for place, names in (("val/*.png", "val.csv"), ("media/*.png", "labels.csv")):
        held = beside(tmp_path / names, f"id,{header},label", rows, place)
        (held / "val.csv").rename(held / names)
        table = read_holdout(held, layout, cache=tmp_path / "cache").table
        assert are_right(table)
    held = tmp_path / "val.csv"
    table = read_labelled(held, layout, cache=tmp_path / "cache").table
    assert are_right(table)


def test_other_numbers_beside_names_are_the_names_and_it_is_told(tmp_path: Path) -> None:
    layout = by_ids(tmp_path / "d")
    rows = [f"{n},{7 - n}.png,{n % 2}" for n in MIXED]
    held = beside(tmp_path / "h", "id,filename,label", rows, "val/*.png")
    found = read_labelled(held, layout, cache=tmp_path / "cache")
    assert are_right(found.table)
    said = "\n".join(found.understood)
    assert "val.csv: files are named by 'id'; 'filename' names others" in said


def test_numbers_of_rows_of_metadata_give_way_to_names(tmp_path: Path) -> None:
    data = made(tmp_path, "file,label", [f"{n}.wav,{n % 2}" for n in MIXED], "wavs/*.wav")
    lines = [f"{row},wavs/{n}.wav,s{n % 5}" for row, n in enumerate(MIXED)]
    (data / "metadata.csv").write_text("\n".join(["file,filename,speaker", *lines]))
    table = read_manifest(data, inspect_data(data).layout, cache=tmp_path / "cache").table
    told = dict(zip(table["path"], table[column_of("speaker")], strict=True))
    assert all(told[f"wavs/{n}.wav"] == f"s{n % 5}" for n in MIXED)
    (data / "metadata.csv").write_text("\n".join(["clip,audio_path,speaker", *lines]))
    with pytest.raises(DataError, match="in the column 'audio_path' or 'clip', which name other"):
        inspect_data(data)


@pytest.mark.parametrize("kind", ["table", "label-files"])
def test_media_that_are_called_as_those_of_a_holdout_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    if kind == "table":
        layout = inspect_data(made(tmp_path / "d", "name,label", rows, "images/*.png")).layout
        held = made(tmp_path / "h", "name,label", rows, "images/*.png", "*.jpg")
        taken, other = "images/0.png", "0.jpg"
    else:
        layout = by_ids(tmp_path / "d")
        held = made(tmp_path / "h", "id,label", rows, "test/*.png", "images/*.jpg")
        taken, other = "test/0.png", "images/0.jpg"
    read_holdout(held, layout, cache=tmp_path / "cache")
    line = f"8 names of files in two folders, e.g. {taken!r}, which is taken, and {other!r}"
    assert f"holdout: {line}" in capsys.readouterr().err


def test_files_of_a_slice_in_the_folder_of_another_split_are_told(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    data = made(tmp_path / "d", "id,label", rows, "train/*.png", "train/1*.png")
    (data / "labels.csv").rename(data / "train.csv")
    (data / "val.csv").write_text("\n".join(["id,label", *(f"1{n},{n % 2}" for n in MIXED)]))
    layout = inspect_data(data).layout
    held = beside(tmp_path / "h", "id,label", rows, "train/*.png", "val/*.png")
    said = "\n".join(read_labelled(held, layout, cache=tmp_path / "cache").understood)
    assert "8 of 8 files of val are in folders called after another split, e.g. train/7.png" in said
    assert "8 names of files in two folders, e.g. 'train/0.png', which is taken, and 'val/0" in said


def test_splits_of_a_slice_that_number_their_files_alike_are_no_doubt(tmp_path: Path) -> None:
    layout = by_ids(tmp_path / "d")
    held = beside(tmp_path / "h", "id,label", [f"{n},{n % 2}" for n in MIXED], "val/*.png")
    for place in ("train", "test"):
        shutil.copytree(held / "val", held / place)
    said = "\n".join(read_labelled(held, layout, cache=tmp_path / "cache").understood)
    assert "two folders" not in said
    assert "another split" not in said


def test_tables_without_the_columns_that_a_person_names_are_not_those_of_labels(
    tmp_path: Path,
) -> None:
    rows = [f"{n}.png,{n % 2}" for n in MIXED]
    data = made(tmp_path, "image,y", rows, "images/*.png", "test/*.png")
    (data / "test.csv").write_text("\n".join(["image", *(f"{n}.png" for n in MIXED)]))
    lines = [f"{n}.png,s{n % 5}" for n in MIXED]
    (data / "metadata.csv").write_text("\n".join(["clip,speaker", *lines]))
    answers = Answers(name="image", label="y", fake=("1",), real=("0",))
    assert targets(inspect_data(data, answers)) == {f"images/{n}.png": n % 2 for n in MIXED} | {
        f"test/{n}.png": -1 for n in MIXED
    }
    (data / "more.csv").write_text("\n".join(["image,label", *rows]))
    with pytest.raises(DataError, match=r"more.csv has no column 'y'"):
        inspect_data(data, answers)
    with pytest.raises(DataError, match="has no column 'z'"):
        inspect_data(data, Answers(label="z"))


def test_classes_that_no_label_has_are_refused(tmp_path: Path) -> None:
    rows = [f"{n}.png,{('real', 'fake')[n % 2]}" for n in MIXED]
    data = made(tmp_path, "image,label", rows, "images/*.png")
    with pytest.raises(DataError, match="no label that `classes` name: they name 'spoof', 'bona"):
        inspect_data(data, Answers(fake=("spoof",), real=("bonafide",)))


def test_data_without_files_of_train_are_dealt_anew(tmp_path: Path) -> None:
    splits = ["development", "evaluation"]
    rows = [f"{n}.png,{n % 2},{splits[n // 20]}" for n in range(24)]
    for n in range(24):
        (tmp_path / f"{n}.png").write_text(str(n))
    (tmp_path / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    found = inspect_data(tmp_path)
    assert found.validation.kind == "stratified"
    assert any("there is no train, so of 5 parts" in line for line in found.about())
    manifest = read_manifest(tmp_path, found.layout, cache=tmp_path / "cache")
    with pytest.raises(
        DataError, match=r"no files of train\. Say which .* `validation: {kind: str"
    ):
        with_fold(manifest, Validation())


@pytest.mark.parametrize("place", ["images", "media", "."])
def test_media_of_a_holdout_of_one_table_may_lie_beside_it(tmp_path: Path, place: str) -> None:
    rows = [f"{n}.png,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "name,label", rows, "images/*.png")).layout
    held = made(tmp_path / "h", "name,label", rows, f"{place}/*.png")
    table = read_holdout(held, layout, cache=tmp_path / "cache").table
    assert are_right(table)
    assert set(table["status"]) == {"ok"}
