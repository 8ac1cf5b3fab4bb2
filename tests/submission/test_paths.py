import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.submission.paths import check_files, check_out, write_out
from workbench.submission.predictions import fill, is_filled, named_sheet, read_sheet

SHEET = named_sheet(("video_name", "y_pred"), [Path("a.mp4"), Path("b, c.mp4")])
A, B = "0.1234567890123", "1e-05"
"""Scores as they are written; a model's has many digits but where it is sure."""


def is_earlier(data: bytes) -> bool:
    return is_filled(SHEET, data)


def check(out: Path, *inputs: Path, bundle: Path | None = None) -> None:
    bundle = bundle or out.parents[1] / "bundle"
    check_out(out, inputs=inputs, bundle=bundle, is_earlier=is_earlier)


def test_what_the_same_command_wrote_is_written_anew(tmp_path: Path) -> None:
    out = tmp_path / "here" / "out.csv"
    out.parent.mkdir()
    check(out)
    for scores in ((float(A), float(B)), (0.1 + 0.2, 1.0)):
        out.write_bytes(fill(SHEET, dict(zip(SHEET.names, scores, strict=True))))
        check(out)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x00\x00\x18ftypmp42",
        b"",
        *(
            text.replace("A", A).replace("B", B).encode()
            for text in (
                "video_name,y_pred\n",
                'video_name,y_pred\na.mp4,0.1\n"b, c.mp4",0.25\n',  # a sample, or a person's
                'video_name,y_pred\na.mp4,0.5\n"b, c.mp4",0.5\n',
                'video_name,y_pred\na.mp4,0.0\n"b, c.mp4",1.0\n',
                'video_name,y_pred\na.mp4,0\n"b, c.mp4",A\n',
                'video_name,y_pred\na.mp4,A0\n"b, c.mp4",B\n',
                'video_name,y_pred\na.mp4,A\n"b, c.mp4",\n',
                'video_name,y_pred\na.mp4,A\n"b, c.mp4",7.0\n',
                'video_name,y_pred\na.mp4,A\n"b, c.mp4",-A\n',
                'video_name,y_pred\na.mp4,A\n"b, c.mp4",nan\n',
                'video_name,y_pred\na.mp4,A\n"b, c.mp4",one\n',
                "video_name,y_pred\na.mp4,A\nother.mp4,B\n",
                "video_name,y_pred\na.mp4,A\n",
                'video_name,y_pred\n"b, c.mp4",B\na.mp4,A\n',
                'video_name,y_pred\na.mp4,A\n"b, c.mp4",B\nmore.mp4,A\n',
                'video_name,y_pred,note\na.mp4,A,mine\n"b, c.mp4",B,mine\n',
                'id,score\na.mp4,A\n"b, c.mp4",B\n',
                'video_name,y_pred\r\na.mp4,A\r\n"b, c.mp4",B\r\n',
                '\ufeffvideo_name,y_pred\na.mp4,A\n"b, c.mp4",B\n',
            )
        ),
        b"video_name,y_pred\n\xff.mp4,0.5\n",
        b"video_name,y_pred\n" + b"x" * 200_000 + b",0.5\n",
    ],
)
def test_what_the_same_command_would_not_write_is_kept(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "here" / "out.csv"
    out.parent.mkdir()
    out.write_bytes(content)
    with pytest.raises(DataError, match="exists and holds no predictions"):
        check(out)


def test_a_template_filled_in_is_told_by_all_that_is_not_a_score(tmp_path: Path) -> None:
    template = tmp_path / "template.csv"
    text = '\ufeffid;y_pred;video_name\r\n7;"";"a; b.mp4"\r\n\r\n8;x;c.mp4'
    template.write_bytes(text.encode())
    sheet = read_sheet(template, name_column="video_name", score_column="y_pred")
    filled = fill(sheet, {"a; b.mp4": float(A), "c.mp4": 1.0})
    assert is_filled(sheet, filled)
    for old, new in (("7", "9"), ("c.mp4", "d.mp4"), ("\r\n\r\n", "\r\n"), ("\ufeff", "")):
        assert not is_filled(sheet, filled.replace(old.encode(), new.encode(), 1))
    assert not is_filled(sheet, template.read_bytes())
    utf_16 = replace(sheet, mark=b"\xff\xfe", codec="utf-16-le")
    assert is_filled(utf_16, fill(utf_16, {"a; b.mp4": float(A), "c.mp4": 1.0}))
    assert not is_filled(utf_16, b"\xff\xfe\x00")


def test_a_folder_a_pipe_and_a_device_are_kept(tmp_path: Path) -> None:
    (tmp_path / "here" / "folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "here" / "pipe")
    for out in (tmp_path / "here" / "folder", tmp_path / "here" / "pipe", Path("/dev/null")):
        with pytest.raises(DataError, match="exists and holds no predictions"):
            check_out(out, inputs=(), bundle=tmp_path / "bundle", is_earlier=is_earlier)


def spellings(path: Path) -> Sequence[Path]:
    """Other names of one file."""
    link, hard = path.with_name("link.csv"), path.with_name("hard.csv")
    link.symlink_to(path)
    hard.hardlink_to(path)
    return path, path.parent / ".." / path.parent.name / path.name, link, hard


def test_no_input_is_overwritten_whatever_it_is_called(tmp_path: Path) -> None:
    clip = tmp_path / "here" / "clip.csv"
    clip.parent.mkdir()
    clip.write_text("video_name,y_pred\na.mp4,0.5\n")
    for out in spellings(clip):
        with pytest.raises(DataError, match="is one of the files to read"):
            check(out, tmp_path / "other.mp4", clip)
    # A file that a template names and that is not there yet.
    absent = tmp_path / "here" / "absent.mp4"
    with pytest.raises(DataError, match="is one of the files to read"):
        check(absent, absent)


def test_a_bundle_stays_what_was_exported(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "link").symlink_to(bundle)
    for out in (bundle / "out.csv", bundle / "deep" / "out.csv", tmp_path / "link" / "out.csv"):
        with pytest.raises(DataError, match="is inside the bundle"):
            check(out, bundle=bundle)
    check(tmp_path / "bundle.csv", bundle=bundle)


def test_a_place_that_cannot_be_written_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file is not a folder"):
        check(tmp_path / "file" / "out.csv")
    # Root may write everywhere, so the system's answer is given here.
    monkeypatch.setattr("workbench.submission.paths.os.access", lambda path, mode: False)
    with pytest.raises(DataError, match="permission denied"):
        check(tmp_path / "new" / "folder" / "out.csv")


def test_files_are_looked_at_before_any_is_scored(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not media")
    (tmp_path / "folder").mkdir()
    check_files([tmp_path / "broken.mp4"])
    for name, said in (
        ("typo.mp4", "No such file"),
        ("folder", "is a folder"),
        ("nul\0.mp4", "null"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(DataError, match=said):
            check_files([tmp_path / "broken.mp4", tmp_path / name])


def test_what_came_there_while_files_were_scored_is_kept(tmp_path: Path) -> None:
    out, other = tmp_path / "out.csv", tmp_path / "out-1.csv"
    table = fill(SHEET, dict(zip(SHEET.names, (float(A), float(B)), strict=True)))
    assert not write_out(out, table, is_earlier)
    assert write_out(out, table, is_earlier)
    out.write_text("name,note\n")
    other.write_text("mine, too")
    with pytest.raises(DataError, match=r"is kept\. The scores are in .*out-2\.csv"):
        write_out(out, table, is_earlier)
    assert out.read_text() == "name,note\n"
    assert other.read_text() == "mine, too"
    assert (tmp_path / "out-2.csv").read_bytes() == table
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "named.csv")
    assert not write_out(link, table, is_earlier)
    assert link.is_symlink()
    assert (tmp_path / "named.csv").read_bytes() == table
