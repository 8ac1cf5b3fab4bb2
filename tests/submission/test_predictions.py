import os
import re
from pathlib import Path

import pandas as pd
import pytest

from workbench.data.names import match
from workbench.data.unlabelled import NAME_COLUMN, SCORE_COLUMN, made_template
from workbench.errors import DataError
from workbench.submission.predictions import PredictionSheet, csv_table, file_cell, fill, read_sheet


def read(folder: Path, text: str | bytes) -> PredictionSheet:
    path = folder / "template.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_sheet(path, name_column="video_name", score_column="y_pred")


def test_every_other_cell_stays_as_it_is(tmp_path: Path) -> None:
    text = 'id,video_name,y_pred,id\n007,"a, b.mp4",,NA\n1e3,c.mp4,0.5,"say ""hi"""\n'
    filled = fill(read(tmp_path, text), {"a, b.mp4": 0.25, "c.mp4": 1.0})
    assert (
        filled.decode()
        == 'id,video_name,y_pred,id\n007,"a, b.mp4",0.25,NA\n1e3,c.mp4,1.0,"say ""hi"""\n'
    )


def test_a_repeated_row_stays_repeated(tmp_path: Path) -> None:
    sheet = read(tmp_path, "video_name,y_pred\nb.mp4,0\na.mp4,0\nb.mp4,0\n")
    assert fill(sheet, {"a.mp4": 0.5, "b.mp4": 0.75}) == (
        b"video_name,y_pred\nb.mp4,0.75\na.mp4,0.5\nb.mp4,0.75\n"
    )


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        (b"\xef\xbb\xbfy_pred,video_name\r\n,a.mp4\r\n\r\n", None),
        (b"y_pred,video_name\n,a.mp4", None),  # its last line has no end
        (b"\n \ny_pred,video_name\r,a.mp4\r\r\n", None),
        (b'"y_pred",video_name\n"0.5",a.mp4\n\n\n', b'"y_pred",video_name\n0.25,a.mp4\n\n\n'),
        ("\ufeffy_pred;video_name\r\n;a.mp4\r\n".encode("utf-16-be"), None),
        ("\ufeffy_pred\tvideo_name\n\ta.mp4\n".encode("utf-32-le"), None),
        ("y_pred,video_name\n,a.mp4\n".encode("utf-16-le"), None),
    ],
)
def test_mark_encoding_and_line_ends_stay_to_the_byte(
    tmp_path: Path, template: bytes, filled: bytes | None
) -> None:
    sheet = read(tmp_path, template)
    assert sheet.names == ("a.mp4",)
    if filled is None:
        # The empty score cell stands before the name, so the score is all that is new.
        wide = len("\n".encode(sheet.codec))
        end = "a.mp4".encode(sheet.codec)
        at = template.index(end) - wide
        filled = template[:at] + "0.25".encode(sheet.codec) + template[at:]
    assert fill(sheet, {"a.mp4": 0.25}) == filled


def test_a_row_may_lack_its_score_cell(tmp_path: Path) -> None:
    sheet = read(tmp_path, "video_name,y_pred\na.mp4\n")
    assert fill(sheet, {"a.mp4": 0.5}) == b"video_name,y_pred\na.mp4,0.5\n"


def test_cells_keep_their_quotes_spaces_separator_and_formulas(tmp_path: Path) -> None:
    text = """"id";"video_name";y_pred;note
'1;"a;b.mp4";"0,5"; "x"
=2+3; c.mp4 ;;"say ""hi""
again"
@x;+d.mp4
"""
    filled = fill(read(tmp_path, text), {"a;b.mp4": 0.25, " c.mp4 ": 1.0, "+d.mp4": 0.5})
    assert (
        filled.decode()
        == """"id";"video_name";y_pred;note
'1;"a;b.mp4";0.25; "x"
=2+3; c.mp4 ;1.0;"say ""hi""
again"
@x;+d.mp4;0.5;
"""
    )


@pytest.mark.parametrize(
    "text", ["Video_Name\tY_pred\na.mp4\t0\n", "video_name,y_pred\r\na.mp4,0\r\n"]
)
def test_a_template_of_another_encoding_and_header_is_filled(tmp_path: Path, text: str) -> None:
    filled = fill(read(tmp_path, text.encode("utf-16")), {"a.mp4": 0.5})
    assert filled == re.sub("0(?=\r?\n)", "0.5", text).encode("utf-16")


@pytest.mark.parametrize("name", ["=1+1.mp4", "+a.mp4", "-a.mp4", "@a.mp4", "\ta.mp4"])
def test_a_files_name_is_no_formula(name: str) -> None:
    assert file_cell(name) == f"./{name}"
    assert match([file_cell(name)], {name, "b.mp4"}, where="t").files == {f"./{name}": name}
    assert file_cell("a=1.mp4") == "a=1.mp4"


def test_a_name_that_is_no_text_can_be_written() -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    assert file_cell(name) == "caf\\udce9.mp4"
    assert file_cell(name).encode()


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_line_end_in_a_name_begins_no_row(tmp_path: Path, end: str) -> None:
    name, path = f"a{end}other.mp4", tmp_path / "table.csv"
    for table, columns in (
        (csv_table([("name", "score"), (name, "0.25")]), ("name", "score")),
        (made_template([name], tmp_path).text or "", (NAME_COLUMN, SCORE_COLUMN)),
    ):
        path.write_bytes(table.encode())
        sheet = read_sheet(path, name_column=columns[0], score_column=columns[1])
        assert sheet.names == (name,)
        assert pd.read_csv(path)[columns[0]].tolist() == [name]


@pytest.mark.parametrize("score", [1 / 3, 1e-17, 1 - 2**-53, 5e-324])
def test_no_digit_of_a_score_is_lost(tmp_path: Path, score: float) -> None:
    sheet = read(tmp_path, "video_name,y_pred\na.mp4,\n")
    assert float(fill(sheet, {"a.mp4": score}).split(b",")[-1]) == score


def test_missing_scores_are_counted(tmp_path: Path) -> None:
    sheet = read(tmp_path, "video_name,y_pred\na.mp4,\nb.mp4,\nb.mp4,\nc.mp4,\n")
    with pytest.raises(DataError, match=r"'b\.mp4'.*1 more"):
        fill(sheet, {"a.mp4": 0.5})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("name,y_pred\na.mp4,\n", "needs one column `video_name`"),
        ("video_name,video_name,y_pred\na.mp4,b.mp4,\n", "needs one column `video_name`"),
        ("video_name,y_pred\na.mp4,0,0\n", "more cells than its header"),
        ("video_name,y_pred\n../a.mp4,0\n", "no file in a media folder"),
        ("video_name,y_pred\n/etc/a.mp4,0\n", "no file in a media folder"),
        ("video_name,y_pred\n..\\a.mp4,0\n", "no file in a media folder"),
        ("video_name,y_pred\n,0\n", "no file in a media folder"),
        (b"video_name,y_pred\n\xff.mp4,0\n", "line 2 is not UTF-8 text"),
    ],
)
def test_unusable_templates_say_why(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


def test_an_absent_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv does not exist"):
        read_sheet(tmp_path / "absent.csv", name_column="video_name", score_column="y_pred")


def test_a_template_that_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path / "pipe", "is a pipe"), (Path("/dev/zero"), "is a device")):
        with pytest.raises(DataError, match=said):
            read_sheet(path, name_column="video_name", score_column="y_pred")


def test_cells_of_formulas_and_markup_are_kept_byte_for_byte(tmp_path: Path) -> None:
    # A submission must have the template's cells; who opens it as a spreadsheet is told so.
    text = "video_name,y_pred\n=1+1.mp4,0.5\n@x.mp4,0.5\n-a|b.mp4,0.5\n+<b>.mp4,0.5\n"
    sheet = read(tmp_path, text)
    assert fill(sheet, dict.fromkeys(sheet.names, 0.5)) == text.encode()
