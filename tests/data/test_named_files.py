"""Which column of a table names the files, where several have names of files."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from workbench.data.columns import Columns
from workbench.data.guessed_columns import Answers
from workbench.data.holdout import read_holdout
from workbench.data.inspection import Inspection, inspect_data
from workbench.data.labels import read_template
from workbench.data.layout import Layout
from workbench.data.manifest import read_labelled, read_manifest
from workbench.data.metadata import column_of
from workbench.data.targets import Classes
from workbench.errors import DataError

MIXED = [7, 2, 5, 0, 3, 6, 1, 4]
"""Numbers of files, in the order of the rows."""


def made(folder: Path, header: str, rows: Sequence[str], *patterns: str) -> Path:
    """Write a table, and files for each pattern, in which `*` stands for the numbers 0 to 7."""
    for pattern in patterns:
        for n in range(8):
            file = folder / pattern.replace("*", str(n))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(file))
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def column(found: Inspection) -> str | None:
    return found.layout.columns.name


def targets(found: Inspection) -> dict[str, int]:
    return {str(path): int(t) for path, t in found.files.table.set_index("path")["target"].items()}


@pytest.mark.parametrize("header", ["", "index", "Unnamed: 0"])
def test_an_index_with_names_of_files_names_the_rows(tmp_path: Path, header: str) -> None:
    rows = [f"{n}.jpg,{n % 2},s{n}.jpg" for n in MIXED]
    places = ("swapped/*.jpg", "sources/s*.jpg")
    data = made(tmp_path / "d", f"{header},label,source_image", rows, *places)
    found = inspect_data(data)
    assert targets(found) == {f"swapped/{n}.jpg": n % 2 for n in MIXED}
    assert f"columns {header or repr('')} and label" in found.lines()[0]
    assert "labels.csv: not used: source_image" in found.lines()
    # What was written is read again as it was understood.
    table = read_manifest(data, found.layout, cache=tmp_path / "cache").table
    assert set(table["path"]) == set(targets(found))


def test_an_index_of_names_in_two_folders_asks_which_is_meant(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{n % 2},masks/{n}.jpg" for n in MIXED]
    data = made(tmp_path, ",label,drawn", rows, "images/*.jpg", "masks/*.jpg")
    with pytest.raises(DataError, match=r"in the column 'drawn' or '', which name other files"):
        inspect_data(data)
    found = inspect_data(data, Answers(name=""))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}
    found = inspect_data(data, Answers(name="drawn"))
    assert targets(found) == {f"masks/{n}.jpg": n % 2 for n in MIXED}


def test_numbers_of_rows_do_not_come_before_whole_names(tmp_path: Path) -> None:
    rows = [f"{row},{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    found = inspect_data(made(tmp_path, "id,image_file,label", rows, "images/*.jpg"))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}
    assert "labels.csv: not used: id" in found.lines()


def test_numbers_that_may_be_names_of_other_files_ask_which_is_meant(tmp_path: Path) -> None:
    rows = [f"{row},s{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    data = made(tmp_path, "id,drawn,label", rows, "images/*.jpg", "more/s*.jpg")
    with pytest.raises(DataError, match=r"in the column 'drawn' or 'id'.*Say which by `workbench"):
        inspect_data(data)
    assert column(inspect_data(data, Answers(name="id"))) == "id"
    assert column(inspect_data(data, Answers(name="drawn"))) == "drawn"


@pytest.mark.parametrize("header", ["image_id", "image"])
def test_names_of_a_usual_header_are_not_given_up_for_references(
    tmp_path: Path, header: str
) -> None:
    rows = [f"{n},s{row % 3}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    places = ("images/*.jpg", "voices/s*.jpg")
    found = inspect_data(made(tmp_path, f"{header},reference,label", rows, *places))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("ending", ["", ".jpg"])
def test_a_usual_header_comes_before_others(tmp_path: Path, ending: str) -> None:
    rows = [f"s{n}.jpg,{n}{ending},{n % 2}" for n in MIXED]
    data = made(tmp_path, "source,filename,label", rows, "images/*.jpg", "sources/s*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("header", ["from,to", "image,file"])
def test_of_two_columns_with_whole_names_it_is_asked_which(tmp_path: Path, header: str) -> None:
    one, other = header.split(",")
    for each in (8, 5):  # some of one may be in several rows
        rows = [f"s{row % each}.jpg,{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
        places = ("images/*.jpg", "sources/s*.jpg")
        data = made(tmp_path / str(each), f"{header},label", rows, *places)
        with pytest.raises(DataError, match=rf"could be in the column '{one}' or '{other}'"):
            inspect_data(data)


def test_a_column_that_some_rows_leave_empty_is_not_of_the_rows(tmp_path: Path) -> None:
    rows = [f"{n},{'s0.jpg' if n == 1 else f's{n}.jpg' if n % 2 else ''},{n % 2}" for n in MIXED]
    rows[0] = "7,s7.jpg,1"
    data = made(tmp_path, "utt,original,label", rows, "images/*.jpg", "sources/s*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}


def test_columns_with_the_same_files_leave_no_doubt(tmp_path: Path) -> None:
    rows = [f"{n},images/{n}.jpg,{n % 2}" for n in MIXED]
    found = inspect_data(made(tmp_path / "a", "id,where,label", rows, "images/*.jpg"))
    assert column(found) == "where" and found.layout.media == (".",)
    # `crops` comes first by its name; the path says which folder is meant.
    data = made(tmp_path / "b", "path,name,label", rows, "images/*.jpg", "crops/*.jpg")
    rows = [f"images/{n}.jpg,{n}.jpg,{n % 2}" for n in MIXED]
    (data / "labels.csv").write_text("\n".join(["path,name,label", *rows]) + "\n")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}
    # One sample of two files.
    rows = [f"{n}.jpg,{n}.wav,{n % 2}" for n in MIXED]
    found = inspect_data(made(tmp_path / "c", "image,audio,label", rows, "m/*.jpg", "m/*.wav"))
    assert column(found) == "image"


def test_a_column_without_a_header_that_is_not_used_is_told(tmp_path: Path) -> None:
    rows = [f"{row},{n}.jpg,{n % 2}," for row, n in enumerate(MIXED)]
    found = inspect_data(made(tmp_path, ",image,label,", rows, "*.jpg"))
    assert "labels.csv: not used: ''" in found.lines()


@pytest.mark.parametrize("is_used", [True, False])
def test_only_the_tables_that_are_used_are_asked_about(tmp_path: Path, is_used: bool) -> None:
    rows = [f"s{n}.jpg,{n}.jpg,{n % 2}" for n in MIXED]
    data = made(tmp_path, "from,to,label", rows, "images/*.jpg", "sources/s*.jpg")
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    (data / "train.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    if is_used:
        with pytest.raises(DataError, match="could be in the column 'from' or 'to'"):
            inspect_data(data, Answers(table="labels.csv"))
    else:
        assert "labels.csv: its labels are not used" in inspect_data(data).lines()


SHUFFLED = [3, 0, 6, 7, 1, 4, 2, 5]
"""Numbers of rows, as an index has them after a shuffle."""


@pytest.mark.parametrize("header", ["", "index", "Unnamed: 0"])
@pytest.mark.parametrize(
    ("column", "name"), [("image_path", "images/{}.jpg"), ("image_id", "{}"), ("where", "{}.jpg")]
)
def test_an_index_of_numbers_gives_way_whatever_they_are(
    tmp_path: Path, header: str, column: str, name: str
) -> None:
    rows = [f"{i},{name.format(n)},{n % 2}" for i, n in zip(SHUFFLED, MIXED, strict=True)]
    for more in ([], [f"8,{name.format(4)},0"]):  # one row twice: the index has more values
        data = made(tmp_path, f"{header},{column},label", [*rows, *more], "images/*.jpg")
        (data / "images" / "8.jpg").write_text("8")
        assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}


def test_an_index_of_numbers_is_the_names_where_no_other_column_may_be(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2},{n % 2}" for n in SHUFFLED]
    data = made(tmp_path / "few", ",width,label", rows, "images/*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in SHUFFLED}
    rows = [f"{n},{n % 3},{n % 2}" for n in SHUFFLED]
    data = made(tmp_path / "more", ",width,label", rows, "images/*.jpg")
    with pytest.raises(DataError, match="in the column '' or 'width'"):
        inspect_data(data)


@pytest.mark.parametrize("header", ["", "id"])
@pytest.mark.parametrize("name", ["/kaggle/input/images/{}.jpg", "C:\\data\\{}.jpg", "{}.mp4"])
def test_numbers_of_rows_are_not_the_names_that_another_column_has_otherwise(
    tmp_path: Path, header: str, name: str
) -> None:
    rows = [f"{row},{name.format(n)},{n % 2}" for row, n in enumerate(MIXED)]
    data = made(tmp_path, f"{header},where,label", rows, "images/*.jpg")
    with pytest.raises(
        DataError, match=f"in the column '{header}' or 'where', .*correct the names"
    ):
        inspect_data(data)
    assert column(inspect_data(data, Answers(name=header))) == header


def test_names_of_other_media_leave_numbers_their_files(tmp_path: Path) -> None:
    rows = [f"{row},take{n}.mov,{row % 2}" for row, n in enumerate(MIXED)]
    data = made(tmp_path, "id,filmed_as,label", rows, "images/*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in range(8)}
    # Nor do they where the header says what they are.
    rows = [f"{row},{n}.mov,{row % 2}" for row, n in enumerate(MIXED)]
    data = made(tmp_path, "video_name,filmed_as,label", rows, "images/*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in range(8)}


def test_an_empty_name_is_told_and_no_other_column_taken(tmp_path: Path) -> None:
    for header, first in (("", SHUFFLED), ("no", range(8))):
        rows = [f"{i},images/{n}.jpg,{n % 2}" for i, n in zip(first, MIXED, strict=True)]
        rows += [f"{i},images/{i - 8}.jpg,{i % 2}" for i in range(8, 19)]
        rows[5] = f"{first[5]},,1"
        data = made(tmp_path / (header or "d"), f"{header},image_path,label", rows, "images/*.jpg")
        for n in range(8, 20):
            (data / "images" / f"{n}.jpg").write_text(str(n))
        with pytest.raises(DataError, match="line 7: a name is missing"):
            inspect_data(data)


def test_names_of_files_of_test_are_not_given_up_for_numbers_of_rows(tmp_path: Path) -> None:
    rows = [f"{row},{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    places = ("train/real/*.jpg", "train/fake/*.jpg", "test/*.jpg")
    found = inspect_data(made(tmp_path, ",filename,label", rows, *places))
    assert column(found) == "filename"


def test_a_video_of_several_frames_does_not_name_them(tmp_path: Path) -> None:
    rows = [f"images/{n}.jpg,{n // 2},{n // 2 % 2}" for n in MIXED]
    for header in ("image_path", "where"):
        data = made(tmp_path / header, f"{header},video,label", rows, "images/*.jpg")
        with pytest.raises(DataError, match=f"in the column '{header}' or 'video'"):
            inspect_data(data)


@pytest.mark.parametrize("header", ["filename", "img_path"])
def test_a_template_with_an_index_is_read_by_its_names(tmp_path: Path, header: str) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    data = made(tmp_path, ",label", rows, "images/*.jpg", "test/*.png")
    names = [f"{n}.png" for n in MIXED]
    lines = [f"{row},{name},0.5" for row, name in enumerate(names)]
    (data / "sample_submission.csv").write_text("\n".join([f",{header},score", *lines]) + "\n")
    found = inspect_data(data)
    assert column(found) == ""
    template = found.files.template
    assert (template.name_column, [*template.names]) == (header, names)


def many(folder: Path, header: str, rows: Sequence[str], *numbers: int) -> Inspection:
    """Look at a table beside pictures that are called by numbers."""
    (folder / "images").mkdir(parents=True)
    for n in numbers:
        (folder / "images" / f"{n}.jpg").write_text(str(n))
    return inspect_data(made(folder, header, rows))


@pytest.mark.parametrize("index", ["", "id", "row_id", "Unnamed: 0.1", "level_0"])
@pytest.mark.parametrize(("header", "name"), [("image_id", "{}"), ("img_path", "images/{}.jpg")])
def test_several_rows_of_a_file_are_not_outnumbered_by_those_of_rows(
    tmp_path: Path, index: str, header: str, name: str
) -> None:
    # Three faces in each picture; more pictures than are labelled, so that rows have files too.
    rows = [
        f"{row},{name.format(MIXED[row // 3])},{row % 3},{MIXED[row // 3] % 2}" for row in range(24)
    ]
    found = many(tmp_path, f"{index},{header},face,label", rows, *range(30))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("index", ["", "id"])
def test_ids_that_are_alike_in_splits_come_before_numbers_of_rows(
    tmp_path: Path, index: str
) -> None:
    every = [(n, split) for split in ("train", "val") for n in MIXED]
    every.sort(key=lambda each: (each[0] * 5 % 8, each[1]))
    rows = [f"{row},{n},{n % 2},{split}" for row, (n, split) in enumerate(every)]
    data = made(tmp_path, f"{index},image_id,label,split", rows, "train/*.jpg", "val/*.jpg")
    expected = {f"{split}/{n}.jpg": n % 2 for n, split in every}
    assert targets(inspect_data(data)) == expected


@pytest.mark.parametrize("header", ["", "id"])
def test_numbers_that_are_the_names_are_not_given_up_for_other_numbers(
    tmp_path: Path, header: str
) -> None:
    for values in ([5] * 8, [1, 2] * 4):
        rows = [f"{n},{value},{n % 2}" for n, value in zip(range(8), values, strict=True)]
        data = made(tmp_path / str(values[0]), f"{header},age,label", rows, "images/*.jpg")
        assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in range(8)}
    rows = [f"{n},{MIXED[n]},{n % 2}" for n in range(8)]
    data = made(tmp_path / "wide", f"{header},num_frames,label", rows, "images/*.jpg")
    with pytest.raises(DataError, match=f"in the column '{header}' or 'num_frames', which name"):
        inspect_data(data)


def test_sources_of_samples_that_are_numbered_leave_a_doubt(tmp_path: Path) -> None:
    rows = [f"{n},s{MIXED[n]}.jpg,{n % 2}" for n in range(8)]
    data = made(tmp_path, "id,source_image,label", rows, "images/*.jpg", "sources/s*.jpg")
    with pytest.raises(DataError, match="could be in the column 'source_image' or 'id'"):
        inspect_data(data)


def test_a_mask_that_is_called_as_its_picture_is_not_the_picture(tmp_path: Path) -> None:
    rows = [f"{n},{n}.png,{n % 2}" for n in MIXED]
    found = inspect_data(made(tmp_path, "image_id,mask,label", rows, "photos/*.jpg", "masks/*.png"))
    assert column(found) == "image_id"
    assert any("in two folders" in line for line in found.lines())


def test_of_two_columns_of_paths_that_whose_header_names_files_counts(tmp_path: Path) -> None:
    rows = [f"masks/m{n}.png,images/{n}.jpg,{n % 2}" for n in MIXED]
    data = made(tmp_path, "mask,image_path,label", rows, "images/*.jpg", "masks/m*.png")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("header", ["speaker_id", "class_id"])
def test_ids_of_what_several_files_have_in_common_are_no_names(tmp_path: Path, header: str) -> None:
    rows = [f"{n},{n // 4},{n // 4 % 2}" for n in range(40)]
    found = many(tmp_path / "d", f"id,{header},label", rows, *range(40))
    assert targets(found) == {f"images/{n}.jpg": n // 4 % 2 for n in range(40)}
    # An image may have several rows, and a video several images.
    with pytest.raises(DataError, match="in the column 'id' or 'video_id'"):
        many(tmp_path / "videos", "id,video_id,label", rows, *range(40))


@pytest.mark.parametrize("header", ["key", "sample", "ID", "sample_id"])
def test_a_word_that_may_head_numbers_heads_names_that_are_none(
    tmp_path: Path, header: str
) -> None:
    rows = [f"{7 - row},{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    found = inspect_data(made(tmp_path, f"age,{header},label", rows, "images/*.jpg"))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("place", ["masks", "face_masks", "originals"])
def test_folders_of_masks_and_the_like_are_not_taken_for_those_of_the_pictures(
    tmp_path: Path, place: str
) -> None:
    rows = [f"{n}.png,{n}.png,{n % 2}" for n in MIXED]
    places = (f"{place}/*.png", "train/*.png", "test/*.png")
    found = inspect_data(made(tmp_path, "image,mask,label", rows, *places))
    assert targets(found) == {f"train/{n}.png": n % 2 for n in MIXED} | {
        f"test/{n}.png": -1 for n in MIXED
    }


@pytest.mark.parametrize("header", ["", "index", "Unnamed: 0", "__index_level_0__"])
@pytest.mark.parametrize("other", ["filename", "path", "sample"])
def test_other_tables_are_not_read_by_their_row_numbers(
    tmp_path: Path, header: str, other: str
) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    data = made(tmp_path / "d", f"{header},label", rows, "images/*.jpg", "test/*.jpg")
    lines = [f"{row},{n}.jpg,0.5" for row, n in enumerate(MIXED)]
    (data / "sample_submission.csv").write_text("\n".join([f"{header},{other},score", *lines]))
    lines = [f"{row},{n}.jpg,s{n % 5}" for row, n in enumerate(MIXED)]
    (data / "metadata.csv").write_text("\n".join([f"{header},{other},speaker", *lines]))
    found = inspect_data(data)
    assert column(found) == header
    template = found.files.template
    assert (template.name_column, [*template.names]) == (other, [f"{n}.jpg" for n in MIXED])
    table = read_manifest(data, found.layout, cache=tmp_path / "cache").table
    speakers = dict(zip(table["path"], table[column_of("speaker")], strict=True))
    assert all(speakers[f"images/{n}.jpg"] == f"s{n % 5}" for n in MIXED)
    # So are the tables of a holdout or a slice.
    rows = [f"{row},{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    held = made(tmp_path / "held", f"{header},{other},label", rows, "images/*.jpg")
    table = read_holdout(held, found.layout, cache=tmp_path / "cache").table
    assert dict(zip(table["name"], table["target"], strict=True)) == {
        f"{n}.jpg": n % 2 for n in MIXED
    }


@pytest.mark.parametrize("header", ["id", "uid", "rank", "sample_id", "image_id"])
@pytest.mark.parametrize("path", ["/kaggle/input/x/{}.jpg", "{}.mp4", "https://a.b/{}.jpg"])
@pytest.mark.parametrize("other", ["where", "filename"])
def test_numbers_in_any_order_are_not_the_names_that_another_column_has_otherwise(
    tmp_path: Path, header: str, path: str, other: str
) -> None:
    rows = [f"{i},{path.format(n)},{n % 2}" for i, n in zip(SHUFFLED, MIXED, strict=True)]
    data = made(tmp_path / "d", f"{header},{other},label", rows[1:], "images/*.jpg")
    with pytest.raises(DataError, match=f"in the column '{header}' or '{other}'"):
        inspect_data(data)
    # Where both name the same files there is no doubt.
    rows = [f"{n},{path.format(n)},{n % 2}" for n in MIXED]
    found = inspect_data(made(tmp_path / "same", f"{header},{other},label", rows, "images/*.jpg"))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("header", ["image_id", "id", "sample"])
@pytest.mark.parametrize("drawn", ["mask", "mask_path", "face_path", "spectrogram"])
def test_masks_are_not_taken_where_each_split_numbers_its_files(
    tmp_path: Path, header: str, drawn: str
) -> None:
    rows = [
        f"{n},{n % 2},{split},masks/{split}_{n}.png" for split in ("train", "val") for n in MIXED
    ]
    places = ("train/*.jpg", "val/*.jpg", "masks/train_*.png", "masks/val_*.png")
    data = made(tmp_path, f"{header},label,split,{drawn}", rows, *places)
    try:
        found = inspect_data(data)
    except DataError as error:
        assert "which name other files" in str(error)
    else:
        assert targets(found) == {f"{s}/{n}.jpg": n % 2 for s in ("train", "val") for n in MIXED}
        assert header == "image_id" and drawn.startswith("mask")


@pytest.mark.parametrize("header", ["id", "uid", "sample"])
def test_an_index_gives_way_to_numbers_under_a_word_for_names(tmp_path: Path, header: str) -> None:
    rows = [f"{i},{n},{n % 2}" for i, n in zip(SHUFFLED, MIXED, strict=True)]
    data = made(tmp_path / "d", f",{header},label", rows, "images/*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}
    # Not to numbers of which nothing says what they are.
    data = made(tmp_path / "odd", ",where,label", rows, "images/*.jpg")
    with pytest.raises(DataError, match="in the column '' or 'where'"):
        inspect_data(data)


def test_a_known_header_comes_before_ids_of_something_else(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{i},{n % 2}" for i, n in zip(SHUFFLED, MIXED, strict=True)]
    data = made(tmp_path, "file_name,video_id,label", rows, "images/*.jpg")
    assert targets(inspect_data(data)) == {f"images/{n}.jpg": n % 2 for n in MIXED}


@pytest.mark.parametrize("index", ["", "id", "Unnamed: 0"])
@pytest.mark.parametrize("header", ["filename", "image", "image_id"])
def test_numbers_of_rows_are_not_taken_for_names_that_are_partly_there(
    tmp_path: Path, index: str, header: str
) -> None:
    # The first rows of a table, and the first of its files: a third of the names is there.
    rows = [f"{row},{(7 * row + 3) % 25},{row % 2}" for row in range(8)]
    data = made(tmp_path, f"{index},{header},label", rows, "images/*.jpg")
    with pytest.raises(DataError, match=f"in the column '{index}' or '{header}'"):
        inspect_data(data)


@pytest.mark.parametrize("header", ["id", "image_id", "key"])
def test_a_template_and_metadata_may_head_names_by_words_for_them(
    tmp_path: Path, header: str
) -> None:
    for n in range(8):
        for place in ("real" if n % 2 else "fake", "test"):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / f"{place}{n}.jpg").write_text(f"{place} {n}")
    lines = [f"test{n},0.5" for n in MIXED]
    (tmp_path / "sample_submission.csv").write_text("\n".join([f"{header},score", *lines]))
    template = inspect_data(tmp_path).files.template
    assert (template.name_column, [*template.names]) == (header, [f"test{n}" for n in MIXED])


@pytest.mark.parametrize("header", ["", "index"])
def test_an_index_that_counts_the_rows_gives_way_to_ids(tmp_path: Path, header: str) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    data = made(tmp_path, f"{header},label", rows, "images/*.jpg", "test/*.jpg")
    lines = [f"{row},{n},0.5" for row, n in enumerate(MIXED)]
    (data / "sample_submission.csv").write_text("\n".join([f"{header},id,score", *lines]))
    template = inspect_data(data).files.template
    assert [*template.names] == [str(n) for n in MIXED]


def test_labels_of_a_holdout_that_another_column_turns_over_are_refused(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "filename,label", rows, "images/*.jpg")).layout
    rows = [f"{n}.jpg,{n % 2},{'real' if n % 2 else 'fake'}" for n in MIXED]
    held = made(tmp_path / "h", "filename,label,label_str", rows, "images/*.jpg")
    with pytest.raises(DataError, match="`label` is '1' where `label_str` is 'real'"):
        read_holdout(held, layout, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="`label` is '1' where `label_str` is 'real'"):
        read_labelled(held, layout, cache=tmp_path / "cache")
    said = layout.model_copy(update={"classes": Classes(fake=("1",), real=("0",))})
    table = read_holdout(held, said, cache=tmp_path / "cache").table
    assert list(table["target"]) == [n % 2 for n in MIXED]


def test_masks_in_a_folder_of_all_are_passed_over_for_pictures_in_those_of_splits(
    tmp_path: Path,
) -> None:
    every = [(n, split) for split in ("train", "val") for n in (MIXED if split == "train" else [])]
    every += [(n, "val") for n in range(8, 14)]
    rows = [f"{n}.png,{n % 2},{split}" for n, split in every]
    data = made(tmp_path, "filename,label,split", rows)
    for n, split in every:
        for place in (split, "masks"):
            (data / place).mkdir(exist_ok=True)
            (data / place / f"{n}.png").write_text(f"{place} {n}")
    assert targets(inspect_data(data)) == {f"{split}/{n}.png": n % 2 for n, split in every}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("filename", "recording_{}.jpg"),
        ("filename", "0{}.jpg"),
        ("image", "/data/upload/1/fee29476-{}.jpg"),
        ("image_id", "take{}"),
        ("file_upload", "fee29476-{}.jpg"),
        ("url", "https://a.b/{}.jpg?X-Amz-Signature=77"),
        ("Which clip?", "clip {}"),
    ],
)
@pytest.mark.parametrize("index", ["", "id", "Nr", "annotation_id"])
def test_numbers_are_not_taken_beside_names_of_which_none_is_there(
    tmp_path: Path, index: str, header: str, name: str
) -> None:
    rows = [f"{row},{name.format(n)},{n % 2}" for row, n in enumerate(MIXED)]
    data = made(tmp_path, f"{index},{header},label", rows, "images/*.jpg")
    with pytest.raises(DataError, match=r"which name other files. Say which by"):
        inspect_data(data)
    assert column(inspect_data(data, Answers(name=index))) == index


@pytest.mark.parametrize(
    ("header", "cell"), [("file_size_mb", "1.{}"), ("video_id", "90{}"), ("remark", "nice {}")]
)
def test_measures_and_remarks_leave_numbers_their_files(
    tmp_path: Path, header: str, cell: str
) -> None:
    rows = [f"{n},{cell.format(row)},{n % 2}" for row, n in enumerate(MIXED)]
    found = inspect_data(made(tmp_path, f"id,{header},label", rows, "images/*.jpg"))
    assert targets(found) == {f"images/{n}.jpg": n % 2 for n in MIXED}


def test_a_template_may_name_the_files_beside_folders_of_classes_from_the_data_folder(
    tmp_path: Path,
) -> None:
    for n in range(8):
        for place in ("real" if n % 2 else "fake", "test"):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / f"{place}{n}.jpg").write_text(f"{place} {n}")
    lines = [f"test/test{n}.jpg,0.5" for n in MIXED]
    (tmp_path / "sample_submission.csv").write_text("\n".join(["filename,score", *lines]))
    found = inspect_data(tmp_path)
    table = found.files.table
    tests = table[table["split"] == "test"]
    assert set(tests["path"].str.removeprefix("./")) == {f"test/test{n}.jpg" for n in MIXED}
    assert not any("missing" in line for line in found.lines())


@pytest.mark.parametrize(
    ("train", "test"),
    [("train_images", "test_images"), ("images/train", "images/test"), ("img_train", "img_test")],
)
@pytest.mark.parametrize("num_test", [6, 8, 12])
def test_files_of_test_are_not_taken_where_those_of_train_are_numbered_alike(
    tmp_path: Path, train: str, test: str, num_test: int
) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    data = made(tmp_path, "filename,label", rows, f"{train}/*.jpg")
    (data / test).mkdir(parents=True)
    for n in range(num_test):
        (data / test / f"{n}.jpg").write_text(f"test {n}")
    lines = [f"{n}.jpg,0.5" for n in range(num_test)]
    (data / "sample_submission.csv").write_text("\n".join(["filename,score", *lines]))
    found = inspect_data(data)
    assert targets(found) == {f"{train}/{n}.jpg": n % 2 for n in MIXED} | {
        f"{test}/{n}.jpg": -1 for n in range(num_test)
    }


def test_metadata_of_a_holdout_that_names_no_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"images/{n}.jpg,{n % 2}" for n in MIXED]
    layout = inspect_data(made(tmp_path / "d", "filename,label", rows, "images/*.jpg")).layout
    layout = layout.model_copy(update={"groups": ("speaker",)})
    held = made(tmp_path / "h", "filename,label", rows, "images/*.jpg")
    lines = [f"{n}.jpg,s{n % 5}" for n in MIXED]
    (held / "metadata.csv").write_text("\n".join(["filename,speaker", *lines]))
    table = read_holdout(held, layout, cache=tmp_path / "cache").table
    assert set(table[column_of("speaker")]) == {""}
    assert "holdout: metadata.csv says nothing of any labelled file" in capsys.readouterr().err


def test_tables_of_a_slice_with_their_names_in_unlike_columns_are_refused(tmp_path: Path) -> None:
    data = made(tmp_path / "d", "", [], "images/*.jpg")
    (data / "labels.csv").unlink()
    rows = [f"{n}.jpg,{n % 2}" for n in range(4)]
    (data / "train.csv").write_text("\n".join([",label", *rows]))
    rows = [f"{n},{n + 4}.jpg,{n % 2}" for n in range(4)]
    (data / "val.csv").write_text("\n".join([",filename,label", *rows]))
    layout = Layout(
        train_labels=("train.csv",),
        val_labels=("val.csv",),
        train_media=("images",),
        val_media=("images",),
        columns=Columns(name="", target="label"),
    )
    with pytest.raises(DataError, match="'' of one table and in 'filename' of another"):
        read_labelled(data, layout, cache=tmp_path / "cache")


@pytest.mark.parametrize("header", ["id", "sample_id", "key", "image_id"])
@pytest.mark.parametrize("table", ["metadata.csv", "sample_submission.csv"])
def test_numbers_that_join_two_tables_are_no_names_of_files(
    tmp_path: Path, header: str, table: str
) -> None:
    rows = [f"{row},{n}.jpg,{n % 2}" for row, n in enumerate(MIXED)]
    data = made(tmp_path, f"{header},filename,label", rows, "images/*.jpg", "test/*.jpg")
    column = "score" if table.startswith("sample") else "speaker"
    lines = [f"{row},{row / 10 if column == 'score' else f's{row % 5}'}" for row in range(8)]
    (data / table).write_text("\n".join([f"{header},{column}", *lines]))
    with pytest.raises(DataError, match=r"needs one column of video_name"):
        inspect_data(data)


def test_ids_that_are_the_names_are_so_in_other_tables(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in MIXED]
    data = made(tmp_path, "id,label", rows, "images/*.jpg", "test/*.jpg")
    # What the files were called before; others are called so now.
    lines = [f"{n},{7 - n}.jpg,s{n % 5}" for n in MIXED]
    (data / "metadata.csv").write_text("\n".join(["id,filename,speaker", *lines]))
    lines = [f"{n},{7 - n}.jpg,0.5" for n in MIXED]
    (data / "sample_submission.csv").write_text("\n".join(["id,image_name,score", *lines]))
    found = inspect_data(data)
    assert [*found.files.template.names] == [str(n) for n in MIXED]
    table = read_manifest(data, found.layout, cache=tmp_path / "cache").table
    speakers = dict(zip(table["path"], table[column_of("speaker")], strict=True))
    assert all(speakers[f"images/{n}.jpg"] == f"s{n % 5}" for n in MIXED)


@pytest.mark.parametrize("own", ["train.csv", "train.csv val.csv", "train_labels.csv dev.csv"])
@pytest.mark.parametrize("other", ["validation.csv", "dev_labels.csv", "train_2.csv"])
def test_labels_of_a_split_that_the_data_call_otherwise_are_refused(
    tmp_path: Path, own: str, other: str
) -> None:
    data = made(tmp_path / "d", "", [], "train/*.jpg", "val/v*.jpg")
    (data / "labels.csv").unlink()
    for name in own.split():
        rows = [f"{'' if 'train' in name else 'v'}{n}.jpg,{n % 2}" for n in MIXED]
        (data / name).write_text("\n".join(["filename,label", *rows]))
    layout = inspect_data(data).layout
    held = shutil.copytree(data, tmp_path / "h")
    assert len(read_labelled(held, layout, cache=tmp_path / "cache").table) == 8 * len(own.split())
    shutil.copy(held / own.split()[0], held / other)
    for read in (read_labelled, read_holdout):
        with pytest.raises(DataError, match=rf"has {other}, which is called otherwise"):
            read(held, layout, cache=tmp_path / "cache")
    # Labels of test do not count, and are told.
    (held / other).rename(held / "test.csv")
    told = read_labelled(held, layout, cache=tmp_path / "cache").understood
    assert "tables of which nothing is taken: test.csv" in told


@pytest.mark.parametrize("name", ["{}.jpg", "{}", "./{}.jpg", "{}.JPG"])
def test_a_row_of_metadata_of_two_files_is_told_however_it_calls_them(
    tmp_path: Path, name: str
) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    data = made(tmp_path, "filename,label", rows, "train/*.jpg", "val/*.jpg")
    shutil.copy(data / "labels.csv", data / "val.csv")
    (data / "labels.csv").rename(data / "train.csv")
    lines = [f"{name.format(n)},s{n % 5}" for n in MIXED]
    (data / "metadata.csv").write_text("\n".join(["filename,speaker", *lines]))
    found = inspect_data(data)
    told = read_manifest(data, found.layout, cache=tmp_path / "cache").understood
    assert any("a row says something of two files, both called" in line for line in told)


def test_tables_of_a_holdout_for_folders_of_classes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = made(tmp_path, "filename,label", ["real/0.jpg,0"], "real/*.jpg", "fake/*.jpg")
    for n in range(8):
        (held / "fake" / f"{n}.jpg").write_text(f"fake {n}")
    layout = Layout(kind="class-folders")
    assert len(read_holdout(held, layout, cache=tmp_path / "cache").table) == 16
    assert "holdout: tables of which nothing is taken: labels.csv" in capsys.readouterr().err


def test_which_of_several_columns_of_scores_counts_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("file_name,prob,y_pred\na.jpg,0.7,1\n")
    assert read_template(file).understood == "p.csv: columns file_name and y_pred"


@pytest.mark.parametrize("place", [".", "media", "train", "images", "data/train"])
@pytest.mark.parametrize("num_test", [4, 8, 20])
def test_labels_of_a_holdout_are_not_given_to_its_test_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, num_test: int
) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    held = made(tmp_path, "img_name,target", rows, f"{place}/*.jpg")
    (held / "test").mkdir()
    for n in range(num_test):
        (held / "test" / f"{n}.jpg").write_text(f"test {n}")
    table = read_holdout(held, Layout(), cache=tmp_path / "cache").table
    told = capsys.readouterr().err
    if place in (".", "media"):
        assert dict(zip(table["path"], table["target"], strict=True)) == {
            f"{place}/{n}.jpg": n % 2 for n in MIXED
        }
    else:
        assert f"e.g. 'test/0.jpg', which is taken, and '{place}/0.jpg'" in told
    assert "of files in two folders" in told


@pytest.mark.parametrize(("place", "num_lost"), [("media", 0), ("test", 1), ("testset", 1)])
def test_files_beside_the_labels_of_a_holdout_are_told_where_others_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, num_lost: int
) -> None:
    rows = [f"{n}.jpg,{n % 2}" for n in MIXED]
    held = made(tmp_path, "img_name,target", rows, "*.jpg", f"{place}/*.jpg")
    for n in range(num_lost):
        (held / f"{n}.jpg").unlink()
    table = read_holdout(held, Layout(), cache=tmp_path / "cache").table
    assert set(table["path"]) == {f"{place}/{n}.jpg" for n in MIXED}
    told = f"e.g. '{place}/{num_lost}.jpg', which is taken, and '{num_lost}.jpg'"
    assert told in capsys.readouterr().err
