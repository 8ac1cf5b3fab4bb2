"""Label tables and templates as people write them: read, and said how; or one sentence."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from workbench.data.columns import Columns
from workbench.data.delimited import raw_cells, read_delimited
from workbench.data.labels import read_labels, read_template
from workbench.data.targets import Classes
from workbench.errors import DataError

ROWS = [("a, b.mp4", 1), ("c.mp4", 0), ("d.mp4", 1)]

LAYOUTS: dict[str, tuple[str | bytes, str]] = {
    "floats": (
        'video_name,target\n"a, b.mp4",1.0\nc.mp4,0.0\nd.mp4,1.\n',
        "1., 1.0/0.0 read as 1/0",
    ),
    "truth": (
        'video_name,target\n"a, b.mp4",True\nc.mp4,False\nd.mp4,TRUE\n',
        "TRUE, True/False read as 1/0",
    ),
    "words": (
        'video_name,target\n"a, b.mp4",Fake\nc.mp4,REAL\nd.mp4,fake\n',
        "Fake, fake/REAL read as 1/0",
    ),
    "synonyms": (
        'video_name,target\n"a, b.mp4",spoof\nc.mp4,bona-fide\nd.mp4,spoof\n',
        "spoof/bona-fide read as 1/0",
    ),
    "semicolons and other columns": (
        "file;label\na, b.mp4;fake\nc.mp4;real\nd.mp4;fake\n",
        "semicolons, columns file and label, fake/real read as 1/0",
    ),
    "tabs, another order, columns that nobody asked for": (
        "id\tlabel\tFile Name\tid\n1\t1\ta, b.mp4\tx\n2\t0\tc.mp4\ty\n3\t1\td.mp4\n",
        "tabs, columns File Name and label, 1 is fake",
    ),
    "UTF-16 of a spreadsheet": (
        "Video_Name\tTarget\r\na, b.mp4\t1\r\nc.mp4\t0\r\nd.mp4\t1\r\n".encode("utf-16"),
        "tabs, UTF-16",
    ),
    "UTF-16 without its mark": (
        "video_name;target\na, b.mp4;1\nc.mp4;0\nd.mp4;1\n".encode("utf-16-be"),
        "semicolons, UTF-16",
    ),
    "the mark of UTF-8, quotes everywhere, empty cells at the ends": (
        b'\xef\xbb\xbf"video_name","target",\r\n"a, b.mp4","1",\r\n,,\r\n\r\n'
        b"c.mp4,0,\r\nd.mp4,1\r\n",
        "",
    ),
    "a header in another case": (
        'VIDEO_NAME, TARGET \n"a, b.mp4",1\nc.mp4,0\nd.mp4,1\n',
        "",
    ),
    "no header": (
        '"a, b.mp4",1\nc.mp4,0\nd.mp4,1\n',
        "no header, column 1 the name and column 2 the label, 1 is fake",
    ),
    "no header, the label first, old line ends": (
        b"fake\ta, b.mp4\rreal\tc.mp4\rfake\td.mp4\r",
        "tabs, no header, column 2 the name and column 1 the label, fake/real read as 1/0",
    ),
}


def written(folder: Path, text: str | bytes, name: str = "train_label.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_is_read_and_it_is_said_how(tmp_path: Path, layout: str) -> None:
    text, how = LAYOUTS[layout]
    labels = read_labels(written(tmp_path, text))
    assert list(zip(labels.table["name"], labels.table["target"], strict=True)) == ROWS
    assert labels.understood == (how and f"train_label.txt: {how}")


def test_columns_and_classes_of_the_experiment_come_first(tmp_path: Path) -> None:
    text = "video_name,utt,is_real,target\nx,a.mp4,1,9\ny,b.mp4,0,9\nz,c.mp4,yes,9\n"
    columns = Columns(name="UTT", target="is_real")
    classes = Classes.model_validate({"fake": [0, "no"], "real": [1, True, "Yes"]})
    labels = read_labels(written(tmp_path, text), columns, classes)
    assert list(labels.table["name"]) == ["a.mp4", "b.mp4", "c.mp4"]
    assert list(labels.table["target"]) == [0, 1, 0]
    assert labels.understood.endswith("columns utt and is_real, 0/1, yes read as 1/0")


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        ("a,b\nx,1\n", Columns(name="name"), "no column 'name', which `columns` names"),
        ("name,n,target\nx,y,1\n", Columns(name="n", target="t"), "no column 't'"),
        ("n,N,target\nx,y,1\n", Columns(name="N "), "the column 'n' twice"),
    ],
)
def test_columns_that_are_not_there_are_told(
    tmp_path: Path, text: str, columns: Columns, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read_labels(written(tmp_path, text), columns)


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (
            ["true", "fake"],
            r"line 3: the target of f1 is 'fake'\. Other rows have labels such as 'true'",
        ),
        (["1", "real"], r"line 3: the target of f1 is 'real'\. Other rows have labels such as '1'"),
        (["real", "reel"], r"line 3: the target of f1 is 'reel'\. A target is 0 \(real\)"),
        (["2", "1", "0"], r"line 2: the target of f0 is '2'\. A target is"),
        (["yes", "no", ""], r"line 2: the target of f0 is 'yes' \(and 2 more such rows\)"),
        (["0", "x" * 500], r"is 'x{57}\.\.\.'"),
        (["0", "\x1b[31m\u202e"], r"is '\\u001b\[31m\\u202e'"),
    ],
)
def test_labels_of_two_kinds_or_of_none_are_told_with_their_line(
    tmp_path: Path, targets: list[str], says: str
) -> None:
    rows = "".join(f"f{index},{target}\n" for index, target in enumerate(targets))
    with pytest.raises(DataError, match=says):
        read_labels(written(tmp_path, f"video_name,target\n{rows}"))


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({"fake": ["f"]}, "name the labels of both classes"),
        ({"fake": ["a", "B"], "real": ["b"]}, "'b' is named for both classes"),
    ],
)
def test_classes_that_cannot_be_are_told(classes: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Classes.model_validate(classes)


def test_names_that_differ_by_spaces_alone_are_two(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "video_name,target\na.mp4,1\n a.mp4,0\na.mp4,1\n"))
    assert list(labels.table["cell"]) == ["a.mp4", " a.mp4"]
    assert labels.num_repeated == 1


def test_a_template_in_other_clothes_keeps_its_cells(tmp_path: Path) -> None:
    text = "Id;File;Prediction\n1;a.mp4 ;\n2;b,c.mp4;0,5\n"
    template = read_template(written(tmp_path, text, "prediction.csv"), Columns(name="utt"))
    assert list(template.names) == ["a.mp4 ", "b,c.mp4"]
    assert (template.name_column, template.score_column) == ("File", "Prediction")
    assert template.understood == "prediction.csv: semicolons, columns File and Prediction"
    named = read_template(written(tmp_path, text), Columns(name="Id", score="File"))
    assert (list(named.names), named.score_column) == (["1", "2"], "File")


@pytest.mark.parametrize(
    ("record", "cells"),
    [
        ("", [""]),
        (",", ["", ""]),
        ('"a,b",c', ['"a,b"', "c"]),
        (',"say ""hi"", all"," x"', ["", '"say ""hi"", all"', '" x"']),
        ('a "b, c" d,"e\nf"', ['a "b', ' c" d', '"e\nf"']),
    ],
)
def test_cells_are_cut_as_they_stand(record: str, cells: list[str]) -> None:
    assert raw_cells(record, ",") == cells


@pytest.mark.parametrize("separator", ["\t", ","])
def test_quotes_that_are_letters_do_not_make_one_row_of_two(tmp_path: Path, separator: str) -> None:
    rows = [("file", "said", "label"), ("a.wav", '"I go, sir', "fake"), ("b.wav", 'I go."', "real")]
    said = [separator.join(row).replace(", sir", "") for row in rows]
    # Read as one row, a.wav would be real, and b.wav would not be there.
    with pytest.raises(DataError, match="line 2: a quote that begins there ends on line 3"):
        read_labels(written(tmp_path, "\n".join([*said, separator.join("cde")])))
    text = separator.join(("file", "said", "label\na.wav", f'"I{separator}go\n\nsir"', "fake\n"))
    assert list(read_labels(written(tmp_path, text)).table["name"]) == ["a.wav"]


def test_rows_know_their_lines(tmp_path: Path) -> None:
    table = read_delimited(written(tmp_path, '\n\nx,y\r\n"a\nb",1\r\n  \n\nc,2'))
    assert table.rows == [["x", "y"], ["a\nb", "1"], ["c", "2"]]
    assert table.lines == [3, 4, 8]
    assert table.records() == ["x,y", '"a\nb",1', "c,2"]
