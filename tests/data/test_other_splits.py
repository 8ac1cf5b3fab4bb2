"""Names and files that lead into the folder of another split than they are meant for."""

from pathlib import Path

import pandas as pd
import pytest

from workbench.data.guessed_columns import Answers
from workbench.data.holdout import read_holdout
from workbench.data.inspection import Inspection, inspect_data
from workbench.data.layout import Layout
from workbench.data.manifest import read_labelled, read_manifest
from workbench.data.split_names import split_in
from workbench.data.targets import Classes
from workbench.errors import DataError

SPLITS = ("train", "val", "test")


def put(folder: Path, *patterns: str, number: int = 8) -> Path:
    """Make files, `*` of whose names is a number, of contents of their own."""
    for pattern in patterns:
        for n in range(number if "*" in pattern else 1):
            file = folder / pattern.replace("*", f"{n:03}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(file))
    return folder


def table(folder: Path, name: str, called: str, *, number: int = 8, column: str = "label") -> None:
    rows = (f"{called.replace('*', f'{n:03}')},{n % 2}" for n in range(number))
    (folder / name).write_text("\n".join([f"filename,{column}", *rows]) + "\n")


def media(found: Inspection, split: str) -> set[str]:
    rows = found.files.table[found.files.table["split"] == split]
    return {path.removeprefix("./").rpartition("/")[0] for path in rows["path"]}


def warned(found: Inspection) -> list[str]:
    return [line for line in found.lines() if "called after another split" in line]


def two_folders(found: Inspection) -> list[str]:
    return [line for line in found.lines() if "in two folders" in line]


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("Training", "train"),
        ("test1", "test"),
        ("test_a", "test"),
        ("test-images", "test"),
        ("val_fake", "val"),
        ("train_station", None),
        ("validation_set", "val"),
        ("train_test", None),
        ("fake", None),
        ("a1", None),
    ],
)
def test_a_folder_may_be_called_after_a_split_with_more_words(
    folder: str, split: str | None
) -> None:
    assert split_in(folder) == split


def test_the_names_of_train_are_not_looked_for_in_the_folder_of_test(tmp_path: Path) -> None:
    # The files of train have another ending than the table says.
    data = put(tmp_path / "a", "train/*.jpg", "test/*.png")
    table(data, "train.csv", "*.png")
    with pytest.raises(DataError, match=r"not there but in test, which is called after the test"):
        inspect_data(data)
    # Those of val were never put there.
    data = put(tmp_path / "b", "train/t*.png", "test_images/*.png")
    table(data, "train.csv", "t*.png")
    table(data, "val.csv", "*.png")
    with pytest.raises(DataError, match=r"val\.csv: the files of its names are not there but in"):
        inspect_data(data)
    put(data, "images/val/*.png")
    found = inspect_data(data)
    assert media(found, "val") == {"images/val"}
    assert not two_folders(found)
    # A name that says its folder is meant.
    data = put(tmp_path / "c", "train/t*.png", "test/*.png")
    table(data, "train.csv", "test/*.png")
    assert media(inspect_data(data), "train") == {"test"}


@pytest.mark.parametrize("beside", ["masks", "zmasks"])
def test_files_of_val_may_lie_in_the_folder_of_train(tmp_path: Path, beside: str) -> None:
    data = put(tmp_path, "train/*.png", number=16)
    table(data, "train.csv", "*.png")
    rows = (f"{n:03}.png,{n % 2}\n" for n in range(8, 16))
    (data / "val.csv").write_text("filename,label\n" + "".join(rows))
    found = inspect_data(data)
    assert media(found, "val") == {"train"}
    (said,) = warned(found)
    assert said.startswith("warning: 8 of 8 files of val are in folders called after another split")
    # What else has their names is told, whichever is taken.
    put(data, *(f"{beside}/{n:03}.png" for n in range(8, 16)))
    said = "\n".join(two_folders(inspect_data(data)))
    assert "val.csv: 8 names are of files in two folders" in said
    assert "'train/008.png'" in said and f"'{beside}/008.png'" in said


def test_labels_of_files_in_a_folder_of_test_are_told(tmp_path: Path) -> None:
    data = put(tmp_path, "train/*.PNG", "test/*.png")
    table(data, "labels.csv", "*.png")
    found = inspect_data(data)
    said = "warning: 8 of 8 files of train are in folders called after another split, e.g. test/000"
    assert [line.startswith(said) for line in warned(found)] == [True]
    # A search reads what was written, and tells it too.
    manifest = read_manifest(data, found.layout, cache=tmp_path / "cache")
    assert warned(found)[0] in manifest.understood


def test_a_folder_called_after_the_split_excuses_none_within_it(tmp_path: Path) -> None:
    folder = "faces_for_training"
    data = put(tmp_path, f"{folder}/train/a*.png", f"{folder}/test/b*.png")
    rows = [f"{folder}/{s}{n:03}.png,{n % 2}" for s in ("train/a", "test/b") for n in range(8)]
    (data / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (said,) = warned(inspect_data(data))
    assert said.startswith("warning: 8 of 16 files of train are in folders called after another")
    assert said.endswith(f"e.g. {folder}/test/b000.png")


def test_splits_of_a_table_whose_folder_is_not_there_are_told(tmp_path: Path) -> None:
    put(tmp_path, "train/*.png", number=20)
    rows = [f"{n:03}.png,{n % 2},train" for n in range(12)]
    rows += [f"{n:03}.png,{n % 2},val" for n in range(12, 20)]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,split", *rows]) + "\n")
    (said,) = warned(inspect_data(tmp_path))
    assert said.startswith("warning: 8 of 8 files of val are in folders called after another")


def test_folders_beside_that_of_test_with_one_of_that_name_are_not_meant(tmp_path: Path) -> None:
    data = put(tmp_path, "train/t*.png", "test/*.png", "masks/test/*.png")
    table(data, "train.csv", "t*.png")
    table(data, "sample_submission.csv", "*.png", column="score")
    found = inspect_data(data)
    assert media(found, "test") == {"test"}
    assert len(two_folders(found)) == 1


@pytest.mark.parametrize("inner", ["", "images/"])
def test_a_template_means_the_folder_of_test_and_others_that_have_its_names_are_told(
    tmp_path: Path, inner: str
) -> None:
    data = put(tmp_path, f"train/{inner}t*.png", f"unlabeled/{inner}*.png", f"test/{inner}*.png")
    (data / f"test/{inner}007.png").unlink()  # of the other folder all are there
    table(data, "labels.csv", "t*.png")
    table(data, "sample_submission.csv", "*.png", column="score")
    found = inspect_data(data)
    assert media(found, "test") == {f"test/{inner}".removesuffix("/")}
    (said,) = two_folders(found)
    assert f"'test/{inner}000.png', which is taken, and 'unlabeled/{inner}000.png'" in said
    assert not warned(found)


def test_where_the_files_of_each_table_are_looked_for_is_told(tmp_path: Path) -> None:
    # Those of train are not there, and others are numbered alike.
    data = put(tmp_path, "masks/*.png", "val/v*.png", "test/t*.png")
    table(data, "train.csv", "*.png")
    table(data, "val.csv", "v*.png")
    table(data, "sample_submission.csv", "t*.png", column="score")
    said = [line for line in inspect_data(data).lines() if "looked for in" in line]
    places = {"train.csv": "masks", "val.csv": "val", "sample_submission.csv": "test"}
    assert said == [f"{n}: its files are looked for in '{place}'" for n, place in places.items()]


def test_a_folder_of_test_that_lacks_many_of_the_names_is_not_meant(tmp_path: Path) -> None:
    data = put(tmp_path, "train/t*.png", "val/*.png", *(f"test/{n:03}.png" for n in range(5)))
    table(data, "labels.csv", "t*.png")
    table(data, "sample_submission.csv", "*.png", column="score")
    found = inspect_data(data)
    assert media(found, "test") == {"val"}
    assert len(warned(found)) == len(two_folders(found)) == 1


def test_of_two_folders_of_test_the_one_that_is_not_taken_is_told(tmp_path: Path) -> None:
    data = put(tmp_path, "train/t*.png", "test_a/*.png", "test_b/*.png")
    table(data, "train.csv", "t*.png")
    table(data, "submission_b.csv", "*.png", column="score")
    (said,) = two_folders(inspect_data(data))
    assert said.startswith("submission_b.csv: 8 names are of files in two folders, e.g. 'test_a/")


def test_a_template_means_no_files_of_the_folders_of_classes(tmp_path: Path) -> None:
    data = put(tmp_path, "train/real/*.png", "train/fake/*.png", "test/images/*.png")
    table(data, "sample_submission.csv", "*.png", column="score")
    assert media(inspect_data(data), "test") == {"test/images"}


def test_a_template_that_names_files_of_val_says_so(tmp_path: Path) -> None:
    data = put(tmp_path, "images/train/t*.png", "images/dev/*.png")
    table(data, "labels.csv", "t*.png")
    table(data, "sample_submission.csv", "*.png", column="score")
    found = inspect_data(data)
    assert media(found, "test") == {"images/dev"}
    (said,) = warned(found)
    assert said.startswith("warning: 8 of 8 files of test are in folders called after another")


@pytest.mark.parametrize(
    "places",
    [
        ("{}_real", "{}_fake"),
        ("{} real", "{} fake"),
        ("real_{}_set", "fake_{}_set"),
        ("{}_real_ffhq", "{}_fake_stylegan"),
    ],
)
def test_splits_in_the_names_of_folders_of_classes_are_not_lost(
    tmp_path: Path, places: tuple[str, ...]
) -> None:
    of_split = [place.format(split) for place in places for split in ("train", "val", "test")]
    put(tmp_path, *(f"{place}/*.png" for place in of_split))
    with pytest.raises(DataError, match="so that the splits would be lost"):
        inspect_data(tmp_path)


def test_folders_of_splits_may_have_such_classes_in_them(tmp_path: Path) -> None:
    places = [f"{split}/{split}_{name}/*.png" for split in SPLITS for name in ("real", "fake")]
    found = inspect_data(put(tmp_path, *places))
    assert media(found, "val") == {"val/val_real", "val/val_fake"}
    assert not warned(found)


@pytest.mark.parametrize("pattern", ["{}/ffhq/{}", "{}/{}_ffhq", "{}/{}_set1"])
def test_splits_deep_within_folders_of_classes_are_told(tmp_path: Path, pattern: str) -> None:
    places = [f"{pattern.format(n, s)}/*.png" for s in SPLITS for n in ("real", "fake")]
    (said,) = warned(inspect_data(put(tmp_path, *places)))
    assert said.startswith("warning: 32 of 48 files of train are in folders called after another")


def test_folders_of_several_splits_are_one_class_where_somebody_says_so(tmp_path: Path) -> None:
    put(tmp_path, "train_real/*.png", "train_fake/*.png", "test_real/*.png", "test_fake/*.png")
    answers = Answers(fake=("train_fake", "test_fake"), real=("train_real", "test_real"))
    found = inspect_data(tmp_path, answers)
    assert len(found.files.table) == 32
    (said,) = warned(found)
    assert said.startswith("warning: 16 of 32 files of train are in folders called after another")


def test_a_labelled_folder_of_other_labels_says_so(tmp_path: Path) -> None:
    put(tmp_path, "*.png")
    table(tmp_path, "labels.csv", "*.png")
    layout = Layout(kind="table", classes=Classes(fake=("clone",), real=("human",)))
    with pytest.raises(DataError, match="no file with a label that counts"):
        read_labelled(tmp_path, layout, cache=tmp_path / "cache")


def test_what_a_holdout_leaves_out_is_kept_to_be_told(tmp_path: Path) -> None:
    put(tmp_path, "real/*.png", "fake/*.png", "fake_sd/*.png")
    layout = Layout(kind="class-folders", classes=Classes(fake=("fake",), real=("real",)))
    for read in (read_holdout, read_labelled):
        manifest = read(tmp_path, layout, cache=tmp_path / "cache")
        (said,) = manifest.understood
        assert said.startswith("left out: 8 media files in ")
        assert isinstance(manifest.table, pd.DataFrame) and len(manifest.table) == 16
