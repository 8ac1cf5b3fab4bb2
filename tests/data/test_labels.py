from pathlib import Path

import numpy as np
import pytest

from workbench.data.labels import read_labels, read_template
from workbench.data.metadata import Metadata
from workbench.data.names import leaves_folder
from workbench.errors import DataError

OUTSIDE = [
    "../x.mp4",
    "/etc/x",
    "C:\\x",
    "c:x",
    "a/../../b",
    "a/..",
    "..",
    "\\\\server\\x",
    "a\\..\\b",
    "a\x00b",
]
INSIDE = ["a.mp4", "a/b.mp4", "..a", "a..mp4", "...", "007", "clip (1).mp4", "take:1"]


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "train_label.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(path: Path) -> list[tuple[str, int]]:
    table = read_labels(path).table
    return list(zip(table["name"], table["target"], strict=True))


@pytest.mark.parametrize("column", ["video_name", "img_name", "audio_name"])
def test_labels_keep_the_order_of_the_file(tmp_path: Path, column: str) -> None:
    path = written(tmp_path, f"{column},target\nb.mp4,1\na.mp4,0\nc.mp4,1\n")
    assert rows(path) == [("b.mp4", 1), ("a.mp4", 0), ("c.mp4", 1)]
    assert read_labels(path).table["target"].dtype == np.int8
    assert read_labels(path).num_repeated == 0


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfvideo_name,target\na,1\nb,0\n",
        b"video_name,target\r\na,1\r\nb,0\r\n",
        b"\xef\xbb\xbfvideo_name,target\r\na,1\r\nb,0",
        b"target,video_name\n1,a\n0,b\n",
        b" video_name , target \n a , 1 \n b ,0\n",
        b"video_name,target,seconds\na,1,3\nb,0,\n",
        b'"video_name","target"\n"a","1"\n"b","0"\n',
        b"\nvideo_name,target\n\na,1\n  \nb,0\n\n",
    ],
)
def test_the_same_labels_in_other_clothes(tmp_path: Path, text: bytes) -> None:
    assert rows(written(tmp_path, text)) == [("a", 1), ("b", 0)]


def test_names_that_look_like_other_things_are_names(tmp_path: Path) -> None:
    path = written(tmp_path, "video_name,target\n007,1\nNA,0\n1e5,1\nnull,0\n")
    assert [name for name, _ in rows(path)] == ["007", "NA", "1e5", "null"]


@pytest.mark.parametrize("target", ["2", "-1", "1.5", "fake", "", "0.5", "00"])
def test_another_target_is_refused_by_line_and_value(tmp_path: Path, target: str) -> None:
    path = written(tmp_path, f"video_name,target\na.mp4,1\nb.mp4,{target}\n")
    with pytest.raises(DataError) as caught:
        read_labels(path)
    assert f"{path} line 3: the target of b.mp4 is {target!r}." in str(caught.value)


def test_blank_lines_count_as_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "video_name,target\r\n\r\na.mp4,1\r\n   \r\nb.mp4,7\r\nc.mp4,8\r\n")
    with pytest.raises(DataError, match=r"line 5: the target of b.mp4 is '7' \(and 1 more such"):
        read_labels(path)
    with pytest.raises(DataError, match="line 3: the name '/a' leaves"):
        read_labels(written(tmp_path, "video_name,target\n\n/a,1\n"))


def test_repeated_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "video_name,target\na,1\nb,0\na,1\na,1\nc,0\nb,0\n")
    assert rows(path) == [("a", 1), ("b", 0), ("c", 0)]
    assert read_labels(path).num_repeated == 3


def test_one_name_with_two_targets_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "video_name,target\na,1\nb,0\na,0\nb,0\n")
    with pytest.raises(DataError, match=r"gives a both targets, 0 and 1\. Keep one"):
        read_labels(path)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_outside_the_media_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"line 3: the name .* leaves the media folder"):
        read_labels(written(tmp_path, f"video_name,target\na,1\n{name},0\n"))
    with pytest.raises(DataError, match=r"line 3: the name .* leaves the media folder"):
        read_template(written(tmp_path, f"video_name,y_pred\na,\n{name},0\n"))


@pytest.mark.parametrize("name", INSIDE)
def test_an_odd_name_inside_the_media_folder_is_kept(tmp_path: Path, name: str) -> None:
    assert not leaves_folder(name)
    assert rows(written(tmp_path, f"video_name,target\n{name},0\n")) == [(name, 0)]


@pytest.mark.parametrize(
    "text",
    [
        'video_name,target\n"../a\x1b[2J\n",0\n',
        "video_name,target\na\x1b[2J,maybe\u202e\nb,0\n",
        "video_name,\x1b[31mwhat\na,1\n",
        'video_name,target\n"a\x1b[2J",0\n"a\x1b[2J",1\n',
    ],
)
def test_what_strangers_wrote_is_seen_in_an_error_and_does_not_act(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_labels(written(tmp_path, text))
    assert str(caught.value).isprintable()
    assert r"\u001b[" in str(caught.value)


def test_a_missing_name_is_refused(tmp_path: Path) -> None:
    assert leaves_folder("")
    for text in ("video_name,target\na,1\n,0\n", "target,video_name\n1,a\n0\n"):
        with pytest.raises(DataError, match="line 3: a name is missing"):
            read_labels(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("video_name,target\n", "a header and no rows"),
        ("video_name,what\na,1\n", "no column `target`: its header is 'video_name,what'"),
        ("what,target\na,1\n", "needs one column of video_name"),
        ("video_name,img_name,target\na,b,1\n", "needs one column of video_name"),
        ("a.mp4,yes\nb.mp4,no\n", "its header is 'a.mp4,yes'"),
        ("0,1\n1,0\n", "its header is '0,1'"),
        ("video_name,target,Target\na,1,1\n", "has the column 'target' twice"),
        ("video_name,is_fake,label\na,1,1\n", "in the column 'is_fake' or 'label'"),
        ("name,is_real\na,1\n", "no column `target`"),
        ("video_name target\na 1\n", "needs one column"),
        ("video_name,target\na,1,0\nb,0,0\n", "more cells than its header"),
        ("video_name,target\na,1\n\nb,0,0\n", "line 4 has 3 cells, more cells than its header"),
        ('video_name,target\n"a,1\nb,0\n', "line 2 cannot be split into cells at commas"),
        ('video_name;target\na"b;1\n"a"b;0\n', "line 3 cannot be split .* at semicolons"),
        (b"video_name,target\na,1\n\xe9.mp4,0\n", "line 3 is not UTF-8 text"),
        (b"\xff\xfev\x00i", "line 1 is not UTF-16 text"),
    ],
)
def test_a_file_that_is_no_label_file_is_refused(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=says) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_of_a_hundred_thousand_cells_is_refused_at_once(tmp_path: Path, place: int) -> None:
    lines = ["video_name,target", "a,1", "b,0"]
    lines[place] += "," * 100_000
    with pytest.raises(DataError, match=f"line {place + 1} has 100,0.. characters"):
        read_labels(written(tmp_path, "\r".join(lines)))


def test_a_wide_table_is_read(tmp_path: Path) -> None:
    more = ",".join(f"column_{number}" for number in range(400))
    text = f"video_name,target,{more}\na,1{',x' * 400}\nb,0{',x' * 400}\n"
    assert rows(written(tmp_path, text)) == [("a", 1), ("b", 0)]


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_labels(tmp_path / "train_label.txt")
    with pytest.raises(DataError, match="is a folder"):
        read_labels(tmp_path)


def test_a_template_is_kept_as_it_stands(tmp_path: Path) -> None:
    text = "id,video_name,y_pred\n01,b.mp4,\n02,a.mp4,0.50\n03,b.mp4,NA\n"
    template = read_template(written(tmp_path, text))
    assert list(template.names) == ["b.mp4", "a.mp4", "b.mp4"]
    assert (template.name_column, template.score_column) == ("video_name", "y_pred")
    assert template.table.to_csv(index=False) == text


def test_a_template_of_the_other_track_has_score(tmp_path: Path) -> None:
    template = read_template(written(tmp_path, "img_name,score\r\nx.jpg,0\r\n"))
    assert (template.name_column, template.score_column) == ("img_name", "score")


@pytest.mark.parametrize("text", ["video_name,target\na,1\n", "video_name,score,y_pred\na,1,1\n"])
def test_a_template_without_one_score_column_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="needs one column of y_pred, score"):
        read_template(written(tmp_path, text))


def test_many_rows_are_read(tmp_path: Path) -> None:
    count = 200_000
    lines = [f"clip_{i:07}.mp4,{i % 3 == 0:d}" for i in range(count)]
    labels = read_labels(written(tmp_path, "video_name,target\n" + "\n".join([*lines, lines[5]])))
    assert labels.num_repeated == 1
    assert len(labels.table) == count
    assert labels.table["target"].sum() == 66_667
    assert labels.table["name"].iloc[-1] == "clip_0199999.mp4"


def test_a_repeat_that_says_another_generator_is_told(tmp_path: Path) -> None:
    rows = "name,target,generator\na,1,tts\nb,0,\na,1,vocoder\nb,0,\n"
    labels = read_labels(written(tmp_path, rows), metadata=Metadata())
    assert labels.num_repeated == 2
    assert labels.table["meta.generator"].tolist() == ["tts", ""]
    assert labels.understood.endswith(
        "repeated rows say another generator or the like of a: the first row counts"
    )
    again = written(tmp_path, rows.replace("vocoder", "tts"))
    same = read_labels(again, metadata=Metadata())
    assert same.num_repeated == 2
    assert "repeated rows" not in same.understood
