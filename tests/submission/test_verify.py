import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from tests.submission.made_study import TrainedStudy
from workbench.errors import BundleError, DataError
from workbench.files import hash_file
from workbench.submission.bundle import Bundle
from workbench.submission.verify import check_bundle, run_predict


def test_an_untouched_bundle_passes_wherever_it_lies(own_bundle: Path) -> None:
    assert check_bundle(own_bundle).trial == 7


@pytest.mark.parametrize(
    "name", ["predictions.csv", "model.safetensors", "code/workbench/media/views.py"]
)
def test_one_changed_byte_is_caught_and_named(own_bundle: Path, name: str) -> None:
    path = own_bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is not the exported file"):
        check_bundle(own_bundle)


def test_a_missing_file_is_named(own_bundle: Path) -> None:
    (own_bundle / "recipe.json").unlink()
    with pytest.raises(BundleError, match=r"recipe\.json is missing"):
        check_bundle(own_bundle)


@pytest.mark.parametrize("name", ["code/timm.py", "notes.txt", "code/workbench/deep/x.py"])
def test_a_file_too_many_is_named(own_bundle: Path, name: str) -> None:
    (own_bundle / name).parent.mkdir(exist_ok=True)
    (own_bundle / name).write_text("")
    with pytest.raises(BundleError, match=f"{name} does not belong"):
        check_bundle(own_bundle)


def test_a_link_is_refused_even_to_the_same_bytes(own_bundle: Path, tmp_path: Path) -> None:
    shutil.move(own_bundle / "predict.py", tmp_path / "elsewhere.py")
    (own_bundle / "predict.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(BundleError, match=r"predict\.py is a link"):
        check_bundle(own_bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        check_bundle(tmp_path)


def changed(bundle: Path, **changes: object) -> None:
    """Change keys of the manifest."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | changes))


def files_with(bundle: Path, name: str, **record: object) -> dict[str, object]:
    """The manifest's files and one more, or one of them with another record."""
    files: dict[str, dict[str, object]] = json.loads((bundle / "manifest.json").read_text())[
        "files"
    ]
    old = files.get(name, {"sha256": "0" * 64, "size_bytes": 0})
    return {**files, name: {**old, **record}}


@pytest.mark.parametrize(
    "name",
    [
        "code/workbench/__pycache__/errors.cpython-311.pyc",
        "__pycache__/predict.cpython-311.pyc",
        "code/workbench/errors.pyc",
        "code/timm.PYC",
        "code/__pycache__/x.py",
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_bytecode_does_not_run(own_bundle: Path, tmp_path: Path, name: str, listed: bool) -> None:
    (own_bundle / name).parent.mkdir(exist_ok=True)
    (own_bundle / name).write_bytes(b"")
    if listed:
        empty = hash_file(own_bundle / name)
        changed(own_bundle, files=files_with(own_bundle, name, sha256=empty))
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(BundleError, match="bytecode, which"):
        run_predict(own_bundle, [tmp_path / "clip.mp4"], tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("../outside.txt", {}),
        ("code/../../outside.txt", {}),
        ("/etc/passwd", {}),
        ("code//x.py", {}),
        ("./predict.py", {}),
        ("C:\\x.py", {}),
        ("\x1b[31mred", {}),
        ("\ud800", {}),
        ("", {}),
        ("manifest.json", {}),
        ("x" * 5_000, {}),
        ("predict.py", {"size_bytes": -1}),
        ("predict.py", {"size_bytes": 1e400}),
        ("predict.py", {"size_bytes": "many"}),
        ("predict.py", {"sha256": ""}),
        ("predict.py", {"sha256": "../" * 30}),
        ("predict.py", {"sha256": "A" * 64}),
    ],
)
def test_an_absurd_manifest_is_one_sentence(
    own_bundle: Path, name: str, record: dict[str, object]
) -> None:
    changed(own_bundle, files=files_with(own_bundle, name, **record))
    with pytest.raises(BundleError, match=r"manifest\.json") as refused:
        check_bundle(own_bundle)
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 600


@pytest.mark.parametrize("name", ["predict.py", "model.safetensors"])
def test_a_manifest_without_what_makes_a_bundle_is_refused(own_bundle: Path, name: str) -> None:
    files = files_with(own_bundle, name)
    del files[name]
    changed(own_bundle, files=files)
    with pytest.raises(BundleError, match=f"does not name {name}"):
        check_bundle(own_bundle)


def test_a_vast_manifest_is_not_read(own_bundle: Path) -> None:
    with (own_bundle / "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match="larger than any manifest"):
        check_bundle(own_bundle)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"study": "made"}', "\x00", "9" * 5_000, "[" * 100_000, "\ud800"]
)
def test_an_unreadable_manifest_is_refused(own_bundle: Path, text: str) -> None:
    (own_bundle / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        check_bundle(own_bundle)


def test_the_bundles_own_code_runs_and_leaves_the_bundle_as_it_was(
    own_bundle: Path,
    bundle: Bundle,
    study: TrainedStudy,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Code that differs from this checkout, with its new hash in the manifest: only the bundle's own
    # could name the column so.
    api = own_bundle / "code/workbench/submission/api.py"
    api.write_text(
        api.read_text().replace(
            "named_sheet(read_columns(bundle)", 'named_sheet(("video_name", "own")'
        )
    )
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    record = {"sha256": hash_file(api), "size_bytes": api.stat().st_size}
    manifest["files"]["code/workbench/submission/api.py"] = record
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))

    names = ["t2.mp4", "empty.mp4", "t0.mp4"]
    files = [study.data / "testset" / name for name in names]
    run_predict(own_bundle, files, tmp_path / "out.csv")
    scores = pd.read_csv(tmp_path / "out.csv")
    assert scores.columns.tolist() == ["video_name", "own"]
    assert scores["video_name"].tolist() == names
    stored = pd.read_csv(bundle.path / "predictions.csv").drop_duplicates("video_name")
    wanted = stored.set_index("video_name")["y_pred"][names]
    assert scores["own"].tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    said = capfd.readouterr().err
    before, after = said.split("It is a program, and runs on this machine")
    assert "neutral" not in before  # said by the bundle
    assert f"1 of 3 files could not be read and got a neutral score: {files[1]} (empty: " in after
    check_bundle(own_bundle)


def test_the_name_of_a_bundle_is_no_option_of_python(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own_bundle.rename("-x")
    (tmp_path / "out.csv").symlink_to(tmp_path / "scores.csv")
    run_predict(Path("./-x"), [study.data / "testset" / "t0.mp4"], Path("out.csv"))
    assert (tmp_path / "out.csv").is_symlink()  # what it names is written, not the link replaced
    assert (tmp_path / "scores.csv").read_text().startswith("video_name,y_pred\nt0.mp4,0.")


def test_other_versions_than_the_bundles_are_told(
    own_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    installed = manifest["versions"]["numpy"]
    manifest["versions"] |= {"numpy": "1.0.0", "no-such-package": "3", "": "1"}
    program = own_bundle / "predict.py"
    program.write_text("")
    record = {"sha256": hash_file(program), "size_bytes": 0}
    manifest["files"]["predict.py"] = record
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"predict\.py ended and wrote no scores"):
        run_predict(own_bundle, [program], tmp_path / "out.csv")
    said = capfd.readouterr().err
    assert (
        f"may differ from the exported ones: here is numpy {installed} in place of 1.0.0." in said
    )


def test_what_comes_to_out_while_an_older_bundle_runs_is_kept(
    own_bundle: Path, tmp_path: Path
) -> None:
    out, program = tmp_path / "out.csv", own_bundle / "predict.py"
    program.write_text(
        "import sys; from pathlib import Path\n"
        f"Path({str(out)!r}).write_text('mine')\n"
        "Path(sys.argv[1].removeprefix('--out=')).write_text('scores')\n"
    )
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    record = {"sha256": hash_file(program), "size_bytes": program.stat().st_size}
    manifest["files"]["predict.py"] = record
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"is kept\. The scores are in .*out-1\.csv"):
        run_predict(own_bundle, [program], out)
    assert out.read_text() == "mine"
    assert (tmp_path / "out-1.csv").read_text() == "scores"


def test_a_changed_bundle_is_not_run(own_bundle: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (own_bundle / "predict.py").write_text(f"open({str(marker)!r}, 'w')")
    with pytest.raises(BundleError, match=r"predict\.py is not the exported file"):
        run_predict(own_bundle, [tmp_path / "clip.mp4"], tmp_path / "out.csv")
    assert not marker.exists()


@pytest.mark.parametrize("what", ["absent.mp4", "folder", "pipe"])
def test_what_a_person_names_must_be_there_before_anything_is_scored(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path, what: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    good = study.data / "testset" / "t0.mp4"
    with pytest.raises(DataError, match=f"{what}.*Name (a|the) media file"):
        run_predict(own_bundle, [good, tmp_path / what], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_no_bundle_however_old_writes_over_what_a_person_has(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path
) -> None:
    program = own_bundle / "predict.py"  # one that looks at nothing
    program.write_text("import sys; open(sys.argv[1].partition('=')[2], 'w').write('scores')")
    record = {"sha256": hash_file(program), "size_bytes": program.stat().st_size}
    changed(own_bundle, files=files_with(own_bundle, "predict.py", **record))
    clip, mine = tmp_path / "a.mp4", tmp_path / "mine.txt"
    for path in (clip, mine):
        path.write_text("mine")
    for out in (clip, mine, own_bundle / "out.csv"):
        with pytest.raises(DataError, match="--out"):
            run_predict(own_bundle, [clip], out)
    assert (clip.read_text(), mine.read_text()) == ("mine", "mine")
    run_predict(own_bundle, [clip], tmp_path / "new.csv")
    assert (tmp_path / "new.csv").read_text() == "scores"


def test_a_file_that_may_not_be_read_is_named(
    own_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.mp4").touch(0o000)
    # Root may read everything, so the system's answer is given here.
    monkeypatch.setattr("workbench.submission.paths.os.access", lambda path, mode: False)
    with pytest.raises(DataError, match=r"secret\.mp4 cannot be read: permission denied"):
        run_predict(own_bundle, [tmp_path / "secret.mp4"], tmp_path / "out.csv")


def test_a_failed_run_is_an_error(
    own_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(BundleError, match="ended with exit code 1"):
        run_predict(own_bundle, [tmp_path / "clip.mp4"], tmp_path / "out.csv", "gpu")
    assert "'gpu' is no torch device" in capfd.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_is_predicted_twice_and_a_table_of_a_person_is_kept(
    bundle: Bundle, study: TrainedStudy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (clips := tmp_path / "clips").mkdir()
    for name in ("t0.mp4", "t1.mp4"):
        shutil.copy(study.data / "testset" / name, clips)
    out = tmp_path / "out.csv"
    first = wb.predict(bundle.path, clips, out=out)
    again = wb.predict(bundle.path, clips, out=out)
    pd.testing.assert_frame_equal(first, again)
    assert f"{out} held earlier predictions: they were replaced." in capfd.readouterr().err
    first.assign(y_pred=[0.1, 0.25]).to_csv(out, index=False)
    for files in (clips, sorted(clips.iterdir())):
        with pytest.raises(DataError, match="exists and holds no predictions of the same files"):
            wb.predict(bundle.path, files, out=out)
    assert out.read_text() == "video_name,y_pred\nt0.mp4,0.1\nt1.mp4,0.25\n"
