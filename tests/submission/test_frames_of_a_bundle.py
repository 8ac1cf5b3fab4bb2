"""The scores of frames by a bundle: from Python and by the command."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import workbench as wb
from tests.submission.made_study import TrainedStudy
from workbench.api import prediction
from workbench.cli.main import app
from workbench.errors import BundleError, DataError
from workbench.files import hash_file, read_json, write_json
from workbench.report.mistakes import frames_told
from workbench.study.folder import StudyFolder
from workbench.submission.bundle import Bundle


def test_frames_of_files_with_their_seconds(
    bundle: Bundle, study: TrainedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = study.data / "testset"
    files = [test / name for name in ("t0.mp4", "broken.mp4", "mute.mp4")]
    found = wb.frame_scores(bundle.path, files)
    assert list(found.columns) == ["name", "second", "score"]
    # Two frames of ten pictures at 25 a second. What has no sound is seen all the same.
    assert found["name"].tolist() == ["t0.mp4", "t0.mp4", "mute.mp4", "mute.mp4"]
    assert found["second"].tolist() == pytest.approx([0.1, 0.3] * 2)
    assert found["score"].between(0, 1, inclusive="neither").all()
    assert found["score"].nunique() == 4
    assert "broken.mp4: " in (said := capsys.readouterr().err)
    assert "its frames have no scores" in said
    with pytest.raises(DataError, match="holds no sound, picture or video by its ending"):
        wb.frame_scores(bundle.path, tmp_path)


def test_the_command_writes_a_row_for_each_frame(
    bundle: Bundle, study: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it does without the option is shown elsewhere, and takes a process of its own.
    monkeypatch.setattr(prediction, "predict", lambda *_, **__: pd.DataFrame({"name": ["t1.mp4"]}))
    file, frames = study.data / "testset" / "t1.mp4", tmp_path / "frames.csv"
    command = ["predict", bundle.path, file, "--out", tmp_path / "out.csv", "--frames", frames]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    assert f"The scores of 2 frames are in {frames}." in done.output
    written = pd.read_csv(frames)
    pd.testing.assert_frame_equal(written, wb.frame_scores(bundle.path, [file]))


def test_a_backbone_of_ones_own_is_the_very_version_of_the_bundle(
    own_bundle: Path, study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the model's backbone were its user's own.
    name, source = "code/workbench/plugins/my_net.py", "import timm\n"
    (own_bundle / name).parent.mkdir()
    (own_bundle / name).write_text(source)
    manifest = read_json(own_bundle / "manifest.json")
    sha256 = hash_file(own_bundle / name)
    manifest["files"][name] = {"sha256": sha256, "size_bytes": len(source)}
    write_json(own_bundle / "manifest.json", manifest)
    clip = study.data / "testset" / "t0.mp4"
    for running in ({}, {"my_net": "0" * 12}):
        monkeypatch.setattr("workbench.api.frame_scores.OWN_VERSIONS", running)
        with pytest.raises(BundleError, match=f"by {name}, and that does not run here"):
            wb.frame_scores(own_bundle, clip)
    monkeypatch.setattr("workbench.api.frame_scores.OWN_VERSIONS", {"my_net": sha256[:12]})
    assert len(wb.frame_scores(own_bundle, clip)) == 2


def test_nothing_but_earlier_scores_of_frames_is_written_over(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path
) -> None:
    clip = Path(shutil.copy(study.data / "testset" / "t0.mp4", tmp_path))
    (labels := tmp_path / "labels.csv").write_text("name,target\nt0.mp4,1\n")
    for out, said in (
        (clip, "is one of the files to read"),
        (labels, "holds no predictions"),
        (own_bundle / "README.md", "is inside the bundle"),
    ):
        before = out.read_bytes()
        with pytest.raises(DataError, match=said):
            wb.frame_scores(own_bundle, clip, out=out)
        assert out.read_bytes() == before
    frames = tmp_path / "frames.csv"
    for rows in ("t9.mp4,0.1,0.12345678901\n", "t0.mp4,0.1,0.25\n", "t0.mp4,0.1\n", '"t0'):
        frames.write_text("name,second,score\n" + rows)
        with pytest.raises(DataError, match="holds no predictions of the same files"):
            wb.frame_scores(own_bundle, clip, out=frames)
    frames.unlink()
    clip = clip.rename(tmp_path / "=a\r\udcff.mp4")
    wb.frame_scores(own_bundle, clip, out=frames)
    found = wb.frame_scores(own_bundle, clip, out=frames)
    assert set(found["name"]) == {"./=a\r\\udcff.mp4"}  # as `predict` has it
    pd.testing.assert_frame_equal(pd.read_csv(frames), found)


def test_a_bundle_without_frames_or_changed_is_refused(own_bundle: Path) -> None:
    model = read_json(own_bundle / "model.json")
    model["views"]["frames"]["num_frames"] = 1
    write_json(own_bundle / "model.json", model)
    with pytest.raises(BundleError, match=r"was changed: model\.json"):
        wb.frame_scores(own_bundle, [own_bundle / "README.md"])
    manifest = read_json(own_bundle / "manifest.json")
    manifest["files"]["model.json"] |= {
        "sha256": hash_file(own_bundle / "model.json"),
        "size_bytes": (own_bundle / "model.json").stat().st_size,
    }
    write_json(own_bundle / "manifest.json", manifest)
    with pytest.raises(BundleError, match=r"has more than one frame \(mel, frames\)"):
        wb.frame_scores(own_bundle, [own_bundle / "README.md"])


def test_the_command_says_that_frames_have_no_scores_before_files_are_scored(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    monkeypatch.setattr(prediction, "predict", lambda *_, **__: scored.append("a file"))
    command = ["predict", bundle.path, tmp_path / "gone.mp4", "--out", tmp_path / "out.csv"]
    command += ["--frames", tmp_path / "frames.csv"]
    assert CliRunner().invoke(app, [str(word) for word in command]).exit_code == 1
    assert scored == []


def test_a_studys_page_tells_the_same_of_its_mistakes(
    bundle: Bundle, study: TrainedStudy, own_study: StudyFolder
) -> None:
    test = study.data / "testset"
    files = {name: test / name for name in ("t0.mp4", "broken.mp4", "t1.mp4")}
    [trial] = (study.folder.path / "trials").iterdir()
    told = frames_told(study.folder, trial.name, files)
    rows = wb.frame_scores(bundle.path, [files["t0.mp4"], files["t1.mp4"]])
    assert told == {
        name: ", ".join(f"{row.second:.1f} s {row.score:.2f}" for row in of_file.itertuples())
        for name, of_file in rows.groupby("name")
    }
    assert frames_told(study.folder, trial.name, {}) == {}
    own_study.trial(trial.name).weights.unlink()
    assert frames_told(own_study, trial.name, files) == {}
