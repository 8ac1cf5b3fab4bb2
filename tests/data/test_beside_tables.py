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


@pytest.mark.parametrize("names", ["val.csv", "labels.csv"])
@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename", "{row},{n}.png"),
        ("image", "{row},{n}"),
        ("audio_path", "{n},{other}.png"),
        ("frame", "{row},{n}.png"),
        ("uid", "{row},{n}.png"),
    ],
)
def test_numbers_beside_names_of_other_files_are_refused_in_a_slice(
    tmp_path: Path, names: str, header: str, row: str
) -> None:
    layout, cache = by_ids(tmp_path / "d"), tmp_path / "cache"
    cells = [row.format(row=at, n=n, other=7 - n) for at, n in enumerate(MIXED)]
    rows = [f"{some},{n % 2}" for some, n in zip(cells, MIXED, strict=True)]
    held = beside(tmp_path / "h", f"id,{header},label", rows, "val/*.png")
    (held / "val.csv").rename(held / names)
    (held / "val").rename(held / ("val" if names == "val.csv" else "media"))
    said = f"could be in the column 'id' or '{header}', which name other files"
    with pytest.raises(DataError, match=said):
        read_holdout(held, layout, cache=cache)
    if names == "val.csv":
        with pytest.raises(DataError, match=said):
            read_labelled(held, layout, cache=cache)
    table = pd.read_csv(held / names)
    table.drop(columns="id").rename(columns={header: "id"}).to_csv(held / names, index=False)
    if "{other}" not in row:
        assert are_right(read_holdout(held, layout, cache=cache).table)


def test_numbers_beside_names_of_the_same_files_or_of_none_of_the_media_are_names(
    tmp_path: Path,
) -> None:
    layout, cache = by_ids(tmp_path / "d"), tmp_path / "cache"
    for header, name in (
        ("filename", "{n}.png"),
        ("photo", "p{n}.jpg"),
        ("source_image", "{other}.png"),
        ("audio_duration", "{other}.25"),
        ("image_quality", "0.{n}"),
        ("video", "{half}"),
        ("real_image", "{made_of}"),
    ):
        cells = {
            n: name.format(n=n, other=7 - n, half=n // 2, made_of=f"{n - 1}.png" if n % 2 else "")
            for n in MIXED
        }
        rows = [f"{n},{cells[n]},{n % 2}" for n in MIXED]
        held = beside(tmp_path / header, f"id,{header},label", rows, "val/*.png", "photos/p*.jpg")
        assert are_right(read_labelled(held, layout, cache=cache).table)


@pytest.mark.parametrize("name", ["wavs/{n}.wav", "{n}"])
def test_numbers_of_metadata_beside_names_of_other_files_are_told(
    tmp_path: Path, name: str
) -> None:
    data = made(tmp_path, "file,label", [f"{n}.wav,{n % 2}" for n in MIXED], "wavs/*.wav")
    lines = [f"{row},{name.format(n=n)},s{n % 5}" for row, n in enumerate(MIXED)]
    (data / "metadata.csv").write_text("\n".join(["file,recording,speaker", *lines]))
    said = "metadata.csv: numbers name the files, e.g. '0', and the column 'recording' names others"
    assert any(line.startswith(said) for line in inspect_data(data).lines())
    lines = [f"{n},{name.format(n=n)},s{n % 5}" for n in MIXED]
    (data / "metadata.csv").write_text("\n".join(["file,recording,speaker", *lines]))
    assert not any("numbers name the files" in line for line in inspect_data(data).lines())


def test_names_of_sources_in_metadata_are_no_doubt(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    data = made(tmp_path, "id,label", rows, "crops/*.png", "photos/p*.jpg")
    lines = [f"{n},p{n}.jpg,s{n % 5}" for n in range(8)]
    (data / "metadata.csv").write_text("\n".join(["id,photo,speaker", *lines]))
    found = inspect_data(data)
    assert not any("numbers name the files" in line for line in found.lines())
    table = read_manifest(data, found.layout, cache=tmp_path / "cache").table
    told = dict(zip(table["path"], table[column_of("speaker")], strict=True))
    assert all(told[f"crops/{n}.png"] == f"s{n % 5}" for n in MIXED)


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
    (data / "val.csv").write_text("\n".join(["image,truth", *rows]))
    with pytest.raises(DataError, match=r"val.csv has no column 'y'"):
        inspect_data(data, answers)
    (data / "val.csv").rename(data / "more.csv").write_text("\n".join(["image,label", *rows]))
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


def test_one_kind_in_one_folder_is_called_alike_and_no_more(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "name,label", rows, "images/*.mp4")).layout
    places = ["images/*.mp4", "images/*.jpg", "sounds/*.wav", "masks/*.mp4"]
    held = made(tmp_path / "h", "name,label", [f"{n}.mp4,{n % 2}" for n in MIXED], *places)
    said = "\n".join(read_labelled(held, layout, cache=tmp_path / "cache").understood)
    assert "two folders" not in said


@pytest.mark.parametrize("place", ["test", "val"])
def test_one_table_without_splits_has_no_files_of_another_split(tmp_path: Path, place: str) -> None:
    rows = [f"train/{n}.png,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "path,label", rows, "train/*.png")).layout
    rows = [f"{place}/{n}.png,{n % 2}" for n in MIXED]
    held = made(tmp_path / "h", "path,label", rows, f"{place}/*.png")
    said = "\n".join(read_labelled(held, layout, cache=tmp_path / "cache").understood)
    assert "another split" not in said


@pytest.mark.parametrize("stray", ["media", "images"])
def test_the_fuller_folder_of_a_holdout_of_one_table_has_its_media(
    tmp_path: Path, stray: str
) -> None:
    rows = [f"{n}.png,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "name,label", rows, "images/*.png")).layout
    held = made(tmp_path / "h", "name,label", rows, "testset/*.png")
    (held / stray).mkdir()
    (held / stray / "x.png").write_text("x")
    table = read_holdout(held, layout, cache=tmp_path / "cache").table
    assert set(table["status"]) == {"ok"}
    assert are_right(table)


def test_numbers_of_metadata_of_more_than_these_files_are_told(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    data = made(tmp_path, "id,label", rows, "images/*.png")
    names = [*range(100, 130), *MIXED]
    lines = [f"{row},{n}.png,s{n % 5}" for row, n in enumerate(names)]
    (data / "metadata.csv").write_text("\n".join(["id,filename,speaker", *lines]))
    said = "metadata.csv: numbers name the files, e.g. '0', and the column 'filename' names others"
    assert any(line.startswith(said) for line in inspect_data(data).lines())


@pytest.mark.parametrize("place", ["original", "speaker_a", "batch2"])
def test_media_are_told_whatever_their_folder_is_called(tmp_path: Path, place: str) -> None:
    rows = [f"{n}.png,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "name,label", rows, "images/*.png")).layout
    held = made(tmp_path / "h", "name,label", rows, "images/*.png", f"{place}/*.png")
    said = "\n".join(read_labelled(held, layout, cache=tmp_path / "cache").understood)
    assert f"e.g. 'images/0.png', which is taken, and '{place}/0.png'" in said


def test_a_holdout_with_folders_of_splits_is_read_as_the_data(tmp_path: Path) -> None:
    rows = [f"{n}.png,{n % 2},train" for n in MIXED] + [f"1{n}.png,{n % 2},val" for n in MIXED]
    places = ("train/*.png", "val/1*.png", "test/*.png", "test/1*.png")
    layout = inspect_data(made(tmp_path / "d", "name,label,split", rows, *places)).layout
    held = made(tmp_path / "h", "name,label,split", rows, *places)
    table = read_holdout(held, layout, cache=tmp_path / "cache").table
    assert are_right(table)
    assert {path.partition("/")[0] for path in table["path"].str.removeprefix("./")} == {
        "train",
        "val",
    }


def test_media_where_the_data_have_them_come_before_fuller_folders(tmp_path: Path) -> None:
    rows = [f"{n}.png,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "name,label", rows, "images/*.png")).layout
    held = made(tmp_path / "h", "name,label", rows, "images/*.png", "testset/*.png")
    (held / "images" / "3.png").unlink()
    table = read_holdout(held, layout, cache=tmp_path / "cache").table
    assert {path.partition("/")[0] for path in table["path"]} == {"images"}
