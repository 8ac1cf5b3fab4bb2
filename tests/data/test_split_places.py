"""Tables whose files are in a folder for each split, often called alike."""

from itertools import chain
from pathlib import Path

import pytest

from workbench.data.inspection import Inspection, inspect_data
from workbench.data.split_places import placed

SPLITS = ("train", "val", "test")


def write(folder: Path, rows: list[tuple[str, str]], files: list[str]) -> None:
    """Write a table of names and splits, the rows fake and real in turn, and these files."""
    for number, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(bytes([number]))
    lines = [f"{name},{number % 2},{split}" for number, (name, split) in enumerate(rows)]
    (folder / "labels.csv").write_text("\n".join(["name,label,split", *lines]) + "\n")


def read(found: Inspection) -> dict[str, list[str]]:
    table = found.files.table
    return {split: table.loc[table["split"] == split, "path"].tolist() for split in SPLITS}


@pytest.mark.parametrize("parent", ["", "images/"])
@pytest.mark.parametrize("ending", [".png", ""])
def test_files_that_are_called_alike_are_those_of_the_rows_split(
    tmp_path: Path, parent: str, ending: str
) -> None:
    rows = [(f"{n}{ending}", split) for split in SPLITS for n in range(4)]
    files = {split: [f"{parent}{split}/{n}.png" for n in range(4)] for split in SPLITS}
    write(tmp_path, rows, [*chain(*files.values())])
    found = inspect_data(tmp_path)
    assert found.layout.media == (parent.removesuffix("/") or ".",)
    assert read(found) == files
    said = "labels.csv: 12 names looked for in the folder of the row's split, e.g. "
    assert f"{said}'0{ending}' as 'train/0{ending}'" in "\n".join(found.lines())
    assert "in two folders" not in "\n".join(found.lines())


def test_folders_of_splits_may_have_other_names_and_other_files(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "train" if n < 4 else "validation") for n in range(8)]
    files = [f"trainset/{n}.png" if n < 4 else f"valid/{n}.png" for n in range(8)]
    write(tmp_path, rows, files)
    assert read(inspect_data(tmp_path)) == {"train": files[:4], "val": files[4:], "test": []}


def test_rows_of_several_splits_may_name_files_of_one_folder(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "train" if n < 4 else "val") for n in range(8)]
    files = [f"train/{n}.png" for n in range(8)]
    write(tmp_path, rows, files)
    found = inspect_data(tmp_path)
    assert found.layout.media == ("train",)
    assert read(found) == {"train": files[:4], "val": files[4:], "test": []}


@pytest.mark.parametrize("media", ["", "images/"])
@pytest.mark.parametrize("is_path", [True, False])
def test_what_is_there_as_it_is_named_is_read_whatever_else_is_called_so(
    tmp_path: Path, media: str, is_path: bool
) -> None:
    splits = ["train"] * 4 + ["val"] * 4
    files = [f"{media}{n}.png" for n in range(8)]
    names = files if is_path else [f"{n}.png" for n in range(8)]
    copies = [f"thumbs/{split}/{name}" for name, split in zip(names, splits, strict=True)]
    write(tmp_path, list(zip(names, splits, strict=True)), [*files, *copies])
    found = inspect_data(tmp_path)
    assert read(found) == {"train": files[:4], "val": files[4:], "test": []}
    assert "8 names are of files in two folders" in "\n".join(found.lines())


def test_of_two_folders_that_fit_the_other_one_is_told(tmp_path: Path) -> None:
    rows = [(f"{n}.png", split) for split in ("train", "val") for n in range(4)]
    files = [f"{kind}/{split}/{name}" for kind in ("crops", "faces") for name, split in rows]
    write(tmp_path, rows, files)
    found = inspect_data(tmp_path)
    assert read(found) == {"train": files[:4], "val": files[4:8], "test": []}
    said = "'crops/train/0.png', which is taken, and 'faces/train/0.png'"
    assert said in "\n".join(found.lines())


def test_a_template_names_files_of_test(tmp_path: Path) -> None:
    rows = [(f"{n}.png", split) for split in ("train", "val") for n in range(4)]
    files = {split: [f"{split}/{n}.png" for n in range(4)] for split in SPLITS}
    write(tmp_path, rows, [*chain(*files.values())])
    lines = [f"{n}.png,0.5" for n in range(4)]
    (tmp_path / "prediction.csv").write_text("\n".join(["name,y_pred", *lines]) + "\n")
    assert read(inspect_data(tmp_path)) == files


def test_what_is_a_file_as_it_stands_is_looked_for_nowhere_else() -> None:
    files = ["0.png", "train/0.png", "train/1.png", "val/1.png", "dev/2.png", "val/2.png"]
    names, splits = ["0.png", "./1.png", "1", "train/1.png", "9.png"], ["train"] * 5
    assert placed(names, splits, files) == [
        "0.png",
        "train/1.png",
        "train/1",
        "train/1.png",
        "9.png",
    ]
    # Two folders of one split: nobody says which is meant.
    assert placed(["2.png"], ["val"], files) == ["2.png"]
