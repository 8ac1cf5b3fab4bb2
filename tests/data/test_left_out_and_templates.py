"""What `init` says of folders of classes beside tables, and which table it takes as template."""

from pathlib import Path

import pytest

from tests import layouts
from tests.commands import run_here
from workbench.api.data_check import check
from workbench.data.inspection import Inspection, inspect_data
from workbench.data.layout import Layout
from workbench.data.manifest import read_labelled, read_manifest


def put(folder: Path, *patterns: str, number: int = 8) -> Path:
    """Make files, `*` of whose names is a number."""
    for pattern in patterns:
        for n in range(number):
            file = folder / pattern.replace("*", str(n))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(file))
    return folder


def table(folder: Path, name: str, called: str, *, number: int = 8, column: str = "label") -> None:
    rows = [f"{called.replace('*', str(n))},{n % 2}" for n in range(number)]
    (folder / name).write_text("\n".join([f"file_name,{column}", *rows]) + "\n")


def left_out(found: Inspection) -> list[str]:
    return [line for line in found.lines() if line.startswith("left out")]


def predicted(found: Inspection) -> set[str]:
    rows = found.files.table[found.files.table["split"] == "test"]
    return {path.removeprefix("./").partition("/")[0] for path in rows["path"]}


@pytest.mark.parametrize(
    ("name", "media", "places"),
    [
        ("train.csv", "train", ("val/real", "val/fake")),
        ("extra.csv", "new", ("real", "fake")),
        ("extra.csv", "new", ("real_photos", "fake_photos")),
        ("extra.csv", "new", ("0", "1")),
        ("test.csv", "test", ("train/real", "train/fake")),
    ],
)
def test_folders_of_classes_beside_tables_are_told(
    tmp_path: Path, name: str, media: str, places: tuple[str, ...]
) -> None:
    data = put(tmp_path / "d", f"{media}/t*.jpg", *(f"{place}/*.jpg" for place in places))
    if places == ("0", "1"):  # a third folder may not be there: they count something else then
        data = put(tmp_path / "e", "t*.jpg", *(f"{place}/*.jpg" for place in places))
    table(data, name, "t*.jpg")
    found = inspect_data(data)
    (said,) = left_out(found)
    one, other = sorted(places)
    assert said.startswith(
        f"left out: 16 media files in folders of classes ('{one}', '{other}'), e.g. {one}/0.jpg: "
        "tables give the labels. Add rows for them, or "
    )
    # A search reads what was written, and tells it too; so does what reads a labelled folder.
    for read in (read_manifest, read_labelled):
        assert said in read(data, found.layout, cache=tmp_path / "cache").understood


def test_what_rows_name_in_folders_of_classes_is_used(tmp_path: Path) -> None:
    data = put(tmp_path, "real/*.jpg", "fake/*.jpg")
    places = ("real", "fake")
    rows = [f"{places[n % 2]}/{n // 2}.jpg,{places[n % 2]}" for n in range(16)]
    (data / "labels.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    assert not left_out(inspect_data(data))
    (data / "labels.csv").write_text("\n".join(["file_name,label", *rows[:13]]) + "\n")
    (said,) = left_out(inspect_data(data))
    assert said.startswith("left out: 3 media files in folders of classes ('fake', 'real')")


def test_folders_that_count_something_and_the_test_are_none_of_classes(tmp_path: Path) -> None:
    data = put(tmp_path, "0/a*.jpg", "1/b*.jpg", "2/c*.jpg", "test/real/t*.jpg", "test/fake/u*.jpg")
    table(data, "labels.csv", "0/a*.jpg")
    found = inspect_data(data)
    assert not left_out(found)
    assert predicted(found) == {"test"}


def test_a_check_says_how_the_data_were_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(8):
        layouts.picture(tmp_path / "d" / "train" / f"{n}.png", fake=bool(n % 2), seed=n)
        place = tmp_path / "d" / "val" / ("fake" if n % 2 else "real")
        layouts.picture(place / f"{n}.png", fake=bool(n % 2), seed=n + 8)
    table(tmp_path / "d", "train.csv", "*.png")
    run_here(tmp_path, "init", "d", "--device", "cpu")
    capsys.readouterr()
    check(tmp_path / "experiments" / "d.yaml", data=tmp_path / "d", root=tmp_path)
    said = "left out: 8 media files in folders of classes ('val/fake', 'val/real')"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quality.csv", "prediction.csv"])
@pytest.mark.parametrize("tables", [("labels.csv",), ("train.csv",), ()])
def test_a_table_of_labelled_files_is_no_template_where_others_are_to_be_predicted(
    tmp_path: Path, name: str, tables: tuple[str, ...]
) -> None:
    place = "clips/c*" if tables else "real/*"
    data = put(tmp_path, f"{place}.jpg", "test/t*.jpg", *([] if tables else ["fake/*.jpg"]))
    for file in tables:
        table(data, file, f"{place}.jpg")
    table(data, name, f"{place}.jpg", column="score")
    found = inspect_data(data)
    assert predicted(found) == {"test"}
    said = "all or nearly all of its files have labels and files of test have none"
    assert f"{name}: {said}, so it is not the template" in found.lines()
    assert not any(line.startswith("template: ") for line in found.lines())
    # Nor does it stand in the way of the one that is.
    table(data, "submission.csv", "t*.jpg", column="score")
    assert "template: submission.csv, whose rows are predicted" in inspect_data(data).lines()


def test_a_template_of_labelled_files_says_so(tmp_path: Path) -> None:
    data = put(tmp_path, "clips/*.jpg")
    table(data, "labels.csv", "clips/*.jpg")
    table(data, "quality.csv", "clips/*.jpg", column="score")
    said = "template: quality.csv, whose rows are predicted; 8 rows of it are of labelled files"
    assert said in inspect_data(data).lines()


def test_a_table_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    data = put(tmp_path, "clips/*.jpg", "test/t*.jpg")
    table(data, "labels.csv", "clips/*.jpg")
    found = inspect_data(data)
    assert found.layout.template == Layout().template and predicted(found) == {"test"}
    assert not any("looked for in" in line or "template: " in line for line in found.lines())


@pytest.mark.parametrize("table", ["train/metadata.csv", "train/real/notes.tsv", "wav/x.xlsx"])
@pytest.mark.parametrize("labels", [True, False])
def test_tables_in_folders_are_told(tmp_path: Path, table: str, labels: bool) -> None:
    for name in ("real", "fake"):
        for n in range(4):
            file = tmp_path / "train" / name / f"{n}{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{name} {n}")
    if labels:
        rows = [f"train/{c}/{n}{c}.jpg,{c}" for c in ("real", "fake") for n in range(4)]
        (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    assert not any("tables in its folders" in line for line in inspect_data(tmp_path).lines())
    (tmp_path / table).parent.mkdir(exist_ok=True)
    (tmp_path / table).write_text("file_name,speaker\nreal/0real.jpg,ann\n")
    (line,) = [s for s in inspect_data(tmp_path).lines() if "tables in its folders" in s]
    assert f"nothing is taken of tables in its folders: {table}; what says more" in line


@pytest.mark.parametrize("aside", ["masks", "c23/mask", "@eaDir", "thumbs"])
def test_masks_within_a_folder_of_a_class_are_told(tmp_path: Path, aside: str) -> None:
    for place in ("real", "fake/frames", f"fake/{aside}"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for n in range(4):
            (tmp_path / place / f"{n}.png").write_text(f"{place} {n}")
    word = aside.rpartition("/")[2]
    told = f"fake: 4 files in folders called {word} within it are of the class of fake"
    assert told in inspect_data(tmp_path).lines()


def test_a_table_in_a_folder_that_is_read_is_not_told(tmp_path: Path) -> None:
    for n in range(4):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n}.jpg").write_text(str(n))
    rows = [f"{n}.jpg,{n % 2}" for n in range(4)]
    (tmp_path / "in" / "list.csv").write_text("\n".join(["filename,label", *rows]))
    layout = Layout(kind="table", table=("in/list.csv",), media=("in",))
    told = read_labelled(tmp_path, layout, cache=tmp_path / "cache").understood
    assert not any("tables in its folders" in line for line in told)
