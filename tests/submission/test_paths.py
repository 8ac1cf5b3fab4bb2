import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.submission.paths import check_files, check_out

COLUMNS = ("video_name", "y_pred")


def check(out: Path, *inputs: Path, bundle: Path | None = None) -> None:
    check_out(out, inputs=inputs, bundle=bundle or out.parents[1] / "bundle", columns=COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "video_name,y_pred\na.mp4,0.25\nb.mp4,1.0\n",
        '\ufeffid,y_pred,video_name\r\n7,1e-05,"a, b.mp4"\r\n\r\n',
        "video_name,y_pred\n",
    ],
)
def test_predictions_are_written_anew(tmp_path: Path, text: str) -> None:
    out = tmp_path / "here" / "out.csv"
    out.parent.mkdir()
    check(out)
    out.write_text(text)
    check(out)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x00\x00\x18ftypmp42",
        b"",
        b"video_name,target\na.mp4,1\n",
        b"video_name,y_pred\na.mp4,\n",
        b"video_name,y_pred\na.mp4,7\n",
        b"video_name,y_pred\na.mp4,nan\n",
        b"video_name,y_pred\na.mp4\n",
        b"video_name,y_pred,y_pred\na.mp4,0,0\n",
        b"video_name,y_pred\na.mp4,0.5\nb.mp4,0.5\n",  # a template
        b"video_name,target,y_pred\na.mp4,1,0.25\n",  # labels beside scores
        b"video_name,y_pred\na.mp4,0\n",
        b"video_name,y_pred,speaker\na.mp4,0,s1\nb.mp4,1,s2\n",
        b"video_name,y_pred\n\xff.mp4,0.5\n",
        b"video_name,y_pred\n" + b"x" * 200_000 + b",0.5\n",
    ],
)
def test_what_is_no_table_of_predictions_is_kept(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "here" / "out.csv"
    out.parent.mkdir()
    out.write_bytes(content)
    with pytest.raises(DataError, match="exists and holds no predictions"):
        check(out)


def test_a_folder_a_pipe_and_a_device_are_kept(tmp_path: Path) -> None:
    (tmp_path / "here" / "folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "here" / "pipe")
    for out in (tmp_path / "here" / "folder", tmp_path / "here" / "pipe", Path("/dev/null")):
        with pytest.raises(DataError, match="exists and holds no predictions"):
            check_out(out, inputs=(), bundle=tmp_path / "bundle", columns=COLUMNS)


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
