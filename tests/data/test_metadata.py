"""Columns beside name and label: read, joined by name, and part of the fingerprint where used."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.test_manifest import read, write_data
from workbench.data.dataset import Dataset
from workbench.data.manifest import Layout
from workbench.data.metadata import column_of, metadata_of
from workbench.errors import DataError

SPEAKERS = Layout(groups=("speaker",))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def label_train(data: Path, header: str, *cells: str) -> None:
    """Write a label file of the four training files with more columns."""
    rows = [f"train{index}.mp4,{index % 2}{cell}" for index, cell in enumerate(cells)]
    (data / "train_label.txt").write_text("\n".join([f"video_name,target{header}", *rows]))


def told(data: Path, column: str, layout: Layout | None = None) -> dict[str, str]:
    """Return what the manifest says of each file in a metadata column, where it is known."""
    table = read(data, layout).table
    cells = zip(table["name"], table[column_of(column)], strict=True)
    return {name: cell for name, cell in cells if cell}


def test_label_files_may_say_more_and_only_what_is_asked_for_is_kept(data: Path) -> None:
    label_train(data, ",Generator,speaker,notes", ",,ann,x", ",gan, bob ,x", ",,,x", ",tts,ann,x")
    assert metadata_of(read(data).table) == ["meta.generator"]
    assert told(data, "generator") == {"train1.mp4": "gan", "train3.mp4": "tts"}
    found = {"train0.mp4": "ann", "train1.mp4": "bob", "train3.mp4": "ann"}
    assert told(data, "speaker", SPEAKERS) == found
    renamed = Layout(generator="notes")
    assert set(told(data, "notes", renamed)) == {f"train{index}.mp4" for index in range(4)}


def test_data_without_such_columns_have_none(data: Path) -> None:
    assert metadata_of(read(data, SPEAKERS).table) == []


def test_a_metadata_table_is_joined_by_name_and_names_files_as_loosely(data: Path) -> None:
    rows = ["file;Speaker", "trainset/train0.mp4;ann", "val1;bob", "./t0.mp4;cy", "gone.mp4;dee"]
    (data / "metadata.csv").write_text("\n".join(rows))
    assert told(data, "speaker", SPEAKERS) == {
        "train0.mp4": "ann",
        "val1.mp4": "bob",
        "t0.mp4": "cy",
    }
    assert any("metadata.csv, val: 1 name" in line for line in read(data, SPEAKERS).understood)


@pytest.mark.parametrize("again", ["train0.mp4 ", "./train0.mp4", "trainset//train0.mp4"])
def test_a_file_that_is_named_in_two_ways_is_not_said_two_things_of(data: Path, again: str) -> None:
    rows = [f"train{index}.mp4,ann" for index in range(4)]
    rows += [f"val{index}.mp4,bob" for index in range(4)]
    (data / "metadata.csv").write_text("\n".join(["file,speaker", *rows, f"{again},ann"]))
    assert told(data, "speaker", SPEAKERS)["train0.mp4"] == "ann"
    (data / "metadata.csv").write_text("\n".join(["file,speaker", *rows, f"{again},cy"]))
    with pytest.raises(DataError, match=r"rows that differ on train0\.mp4"):
        read(data, SPEAKERS)


def test_what_the_label_file_says_counts_before_the_metadata_table(data: Path) -> None:
    label_train(data, ",generator", ",", ",gan", ",", ",")
    (data / "about.csv").write_text("name,generator\ntrain1.mp4,tts\ntrain3.mp4,vae\n")
    layout = Layout(metadata=("about.csv",))
    assert told(data, "generator", layout) == {"train1.mp4": "gan", "train3.mp4": "vae"}
    (line,) = [one for one in read(data, layout).understood if "another" in one]
    assert line == (
        "about.csv, train: it says another `generator` of train1.mp4 than the labels do, which "
        "count"
    )
    (data / "about.csv").write_text("name,generator\ntrain1.mp4,gan\ntrain3.mp4,vae\n")
    assert not any("another" in one for one in read(data, layout).understood)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,speaker\ntrain0.mp4,a\ntrain0.mp4,b\n", r"rows that differ on train0\.mp4"),
        ("name,speaker\ntrain0.mp4,a\ntrainset/train0.mp4,b\n", r"train has rows that differ"),
        ("person,speaker\ntrain0.mp4,a\n", "needs one column of video_name"),
        ("name,speaker,Speaker\ntrain0.mp4,a,b\n", "the column 'speaker' twice"),
        ("name,speaker\n../train0.mp4,a\n", "leaves the media folder"),
    ],
)
def test_a_metadata_table_that_cannot_be_meant_so_is_refused(
    data: Path, text: str, said: str
) -> None:
    (data / "metadata.csv").write_text(text)
    assert metadata_of(read(data).table) == []  # nobody asked for what it has
    with pytest.raises(DataError, match=said):
        read(data, SPEAKERS)


def test_a_row_for_two_files_or_for_none_is_told(data: Path) -> None:
    (data / "metadata.csv").write_text("file,generator\ntrain1.mp4,tts\n")
    assert read(data).understood == ()
    (data / "metadata.csv").write_text("file,generator\nother1.mp4,tts\n")
    (line,) = read(data).understood
    assert (
        line == "metadata.csv says nothing of any labelled file; its names are such as other1.mp4"
    )
    for split in ("train", "val"):
        (data / f"{split}set" / f"{split}1.mp4").rename(data / f"{split}set" / "1.mp4")
        file = data / f"{split}_label.txt"
        file.write_text(file.read_text().replace(f"{split}1.mp4", "1.mp4"))
    (data / "metadata.csv").write_text("file,generator\n1.mp4,tts\n")
    (line,) = read(data).understood
    assert line.startswith("metadata.csv: a row says something of two files, both called 1.mp4; ")
    (data / "metadata.csv").write_text("file,generator\ntrainset/1.mp4,tts\n")
    assert read(data).understood == ()


def test_rows_of_no_file_beside_files_without_a_row_are_told(data: Path) -> None:
    rows = ["train0.mp4,ann", "trainset/train1,bob", "VAL0.MP4,cy", "val1.mov,dee", "t0.mp4,eve"]
    (data / "metadata.csv").write_text("\n".join(["file,speaker", *rows]))
    (line,) = [line for line in read(data, SPEAKERS).understood if "of no file" in line]
    assert line.startswith(
        "metadata.csv: 1 row of no file that is labelled or predicted, e.g. 'val1.mov', and 5 "
        "labelled files without a row, e.g. 'trainset/train2.mp4'"
    )
    # Rows of more files than are there say nothing of the names, nor do rows of fewer.
    for more in (
        [*rows[:3], "t0.mp4,eve"],
        [f"{s}{n}.mp4,x" for s in ("train", "val") for n in "0123456"],
    ):
        (data / "metadata.csv").write_text("\n".join(["file,speaker", *more]))
        assert not any("of no file" in line for line in read(data, SPEAKERS).understood)


def test_a_speaker_is_one_however_the_accents_are_written(data: Path) -> None:
    label_train(data, ",speaker", ",Jos\u00e9", ",Jose\u0301", ",", ",")
    assert set(told(data, "speaker", SPEAKERS).values()) == {"Jos\u00e9"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("7", "007"), ("Ann", "ann"), ("a n", "a\u00a0n\u200b"), ("a-1", "A_1 ")],
)
def test_values_that_may_be_one_are_told(data: Path, one: str, other: str) -> None:
    label_train(data, ",speaker", f",{one}", ",bob", ",", ",2.5")
    assert not any("count as two" in line for line in read(data, SPEAKERS).understood)
    (data / "metadata.csv").write_text(f"file,speaker\nval0.mp4,{other}\nval1.mp4,2.50\n")
    said = [line for line in read(data, SPEAKERS).understood if "count as two" in line]
    assert len(said) == 1 and said[0].startswith("`speaker`: ")
    assert said[0].endswith("count as two values; if they are one, write them alike")


@pytest.mark.parametrize(("one", "other"), [("5", "-5"), ("5 dB", "-5 dB")])
def test_a_sign_tells_two_values_apart(data: Path, one: str, other: str) -> None:
    label_train(data, ",speaker", f",{one}", f",{other}", ",", ",")
    assert not any("count as two" in line for line in read(data, SPEAKERS).understood)


def test_a_metadata_table_that_is_named_must_be_there(data: Path) -> None:
    with pytest.raises(DataError, match=r"no metadata: looked for about\.csv"):
        read(data, Layout(metadata=("about.csv",)))


def test_metadata_are_part_of_the_fingerprint_only_where_they_are_used(data: Path) -> None:
    bare = read(data, SPEAKERS).fingerprint
    label_train(data, ",speaker", ",ann", ",bob", ",ann", ",bob")
    manifest = read(data, SPEAKERS)
    assert manifest.fingerprint == bare
    used = replace(manifest, used=("speaker",)).fingerprint
    assert used != bare
    label_train(data, ",speaker", ",ann", ",bob", ",ann", ",cy")
    assert replace(read(data, SPEAKERS), used=("speaker",)).fingerprint != used
    assert replace(manifest, used=("absent",)).fingerprint == bare


def test_an_experiment_names_columns_in_yaml_s_words() -> None:
    tree = {"groups": ["speaker", "source"], "generator": "tool", "metadata": "about.csv"}
    about = {"name": "x", "views": {"mel": {"kind": "mel"}}, "data": tree}
    layout = Dataset.model_validate(about).data
    assert layout.described.columns == ("tool", "speaker", "source")
    assert layout.metadata == ("about.csv",)
    one = Dataset.model_validate({**about, "data": {"groups": "speaker"}}).data
    assert one.groups == ("speaker",)
